"""Whether all that a Pod refers to is there when it starts, under plain Helm and under Argo CD.

Helm runs the hooks of an event one by one, by weight and then by name, and applies everything else by kind; Argo CD goes by
phase, wave and kind, makes PreSync and PostSync of Helm's install and upgrade hooks, and never runs its tests. So a hook that is
right under one of them can wait for ever under the other. Sources: Helm 4.2 (kind order, hooks); Argo CD 3.5, "Sync Phases and
Waves" and "Helm".
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from tests.chart.manifests import Object, annotation, pod_of, title

Position = tuple[Any, ...]

# Of the kinds that a Pod can need or that make Pods; Helm and Argo CD agree on their order. Any other kind comes last.
KINDS = (
    "ServiceAccount",
    "Secret",
    "ConfigMap",
    "PersistentVolumeClaim",
    "DaemonSet",
    "Pod",
    "ReplicaSet",
    "Deployment",
    "StatefulSet",
    "Job",
    "CronJob",
)
APPLY = "apply"
OPERATIONS = {
    "install": ("pre-install", APPLY, "post-install", "test"),
    "upgrade": ("pre-upgrade", APPLY, "post-upgrade", "test"),
}
PHASES = {"PreSync": 0, "Sync": 1, "PostSync": 2}
PHASE_OF_EVENT = {"pre-install": "PreSync", "pre-upgrade": "PreSync", "post-install": "PostSync", "post-upgrade": "PostSync"}
KEPT_FROM_BEFORE: Position = (-1,)


@dataclass(frozen=True)
class Need:
    """What a Pod can not start without."""

    kind: str
    name: str


def late(objects: Collection[Object], external: Collection[str] = ()) -> list[str]:
    """A sentence for each need that is not met in time. `external` are names that the values declare to be made elsewhere."""
    return [words for way in (*map(Helm, OPERATIONS), Argo()) for words in way.late(objects, external)]


class Way:
    """One tool's order. A position sorts before another when its object is there before it."""

    name: str

    def positions(self, thing: Object) -> list[Position]:
        """Where the tool applies an object: nowhere, once, or once for each event."""
        raise NotImplementedError

    def gone_after(self, thing: Object) -> bool:
        """Whether the object is deleted at the end of its stage."""
        raise NotImplementedError

    def late(self, objects: Iterable[Object], external: Collection[str]) -> Iterator[str]:
        there = {(one["kind"], one["metadata"]["name"]): one for one in objects}
        for consumer in there.values():
            for at in self.positions(consumer):
                for need in needs(consumer):
                    if need.name not in external and not self.met(there.get((need.kind, need.name)), at):
                        yield f"{self.name}: {title(consumer)} needs {need.kind}/{need.name} earlier"

    def met(self, provider: Object | None, at: Position) -> bool:
        return provider is not None and any(
            position <= at and (position[0] == at[0] or not self.gone_after(provider)) for position in self.positions(provider)
        )


class Helm(Way):
    def __init__(self, operation: str) -> None:
        self.name = f"helm {operation}"
        self.stages = OPERATIONS[operation]

    def positions(self, thing: Object) -> list[Position]:
        events = hooks(thing, "helm.sh/hook")
        if not events:
            return [(self.stages.index(APPLY), rank(thing))]
        order = (weight(thing, "helm.sh/hook-weight"), thing["metadata"]["name"], rank(thing))
        here = [(self.stages.index(event), *order) for event in events if event in self.stages]
        return here or [KEPT_FROM_BEFORE for event in events if event in OPERATIONS["install"]]

    def gone_after(self, thing: Object) -> bool:
        return "hook-succeeded" in hooks(thing, "helm.sh/hook-delete-policy")


class Argo(Way):
    name = "argo sync"

    def positions(self, thing: Object) -> list[Position]:
        return [(PHASES[phase], self.wave(thing), rank(thing)) for phase in sorted(self.phases(thing)) if phase in PHASES]

    def phases(self, thing: Object) -> set[str]:
        """An Argo CD hook replaces the Helm hooks of its object; a Helm hook that Argo CD does not know is not run at all."""
        if own := hooks(thing, "argocd.argoproj.io/hook"):
            return set(own)
        if events := hooks(thing, "helm.sh/hook"):
            return {PHASE_OF_EVENT[event] for event in events if event in PHASE_OF_EVENT}
        return {"Sync"}

    def wave(self, thing: Object) -> int:
        own = annotation(thing, "argocd.argoproj.io/sync-wave")
        return int(own) if own else weight(thing, "helm.sh/hook-weight")

    def gone_after(self, thing: Object) -> bool:
        own = hooks(thing, "argocd.argoproj.io/hook-delete-policy")
        return "HookSucceeded" in own or (not own and "hook-succeeded" in hooks(thing, "helm.sh/hook-delete-policy"))


def rank(thing: Object) -> int:
    return KINDS.index(thing["kind"]) if thing["kind"] in KINDS else len(KINDS)


def hooks(thing: Object, name: str) -> list[str]:
    """The comma-separated words of an annotation."""
    return [word.strip() for word in annotation(thing, name).split(",") if word.strip()]


def weight(thing: Object, name: str) -> int:
    return int(annotation(thing, name) or 0)


def needs(thing: Object) -> set[Need]:
    """Secrets, ConfigMaps, ServiceAccount and claims that the Pod of an object refers to; optional ones are not needed."""
    pod = pod_of(thing)
    if pod is None:
        return set()
    spec = pod["spec"]
    found = [*account(spec), *pull_secrets(spec), *mounted(spec)]
    for container in [*(spec.get("initContainers") or []), *spec["containers"]]:
        found += [*environment(container)]
    return set(found)


def account(spec: Object) -> Iterator[Need]:
    name = spec.get("serviceAccountName") or "default"
    if name != "default":
        yield Need("ServiceAccount", name)


def pull_secrets(spec: Object) -> Iterator[Need]:
    yield from (Need("Secret", one["name"]) for one in spec.get("imagePullSecrets") or [])


def mounted(spec: Object) -> Iterator[Need]:
    for volume in spec.get("volumes") or []:
        for source in (volume, *(volume.get("projected") or {}).get("sources", [])):
            yield from referred(source, "secret", "secretName" if source is volume else "name", "Secret")
            yield from referred(source, "configMap", "name", "ConfigMap")
        yield from referred(volume, "persistentVolumeClaim", "claimName", "PersistentVolumeClaim")


def environment(container: Object) -> Iterator[Need]:
    for source in container.get("envFrom") or []:
        yield from referred(source, "secretRef", "name", "Secret")
        yield from referred(source, "configMapRef", "name", "ConfigMap")
    for variable in container.get("env") or []:
        source = variable.get("valueFrom") or {}
        yield from referred(source, "secretKeyRef", "name", "Secret")
        yield from referred(source, "configMapKeyRef", "name", "ConfigMap")


def referred(source: Object, field: str, key: str, kind: str) -> Iterator[Need]:
    reference = source.get(field)
    if reference and not reference.get("optional"):
        yield Need(kind, reference[key])
