"""Whether a Deployment that verifies keys has the probes, the shutdown and the key set mount that it needs.

`lint` reads raw objects (apps/v1 Deployment, policy/v1 PodDisruptionBudget) as the API server returns them, and writes nothing.
What it looks for is what turns a small fault into an outage; each finding has a reason out of REASONS.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from msgspec import Struct

from sluice_operator import api_types
from sluice_operator.api_types import KeySet

Object = Mapping[str, Any]
VOLUME = "sluice-keyset"
MUTE = "mute.sluice.dev/"
NUMBER = re.compile("[0-9]{1,9}")
KEYSET_FILE = "KEYSET_FILE"
PROBES = ("startupProbe", "readinessProbe", "livenessProbe")
# What the API server takes for a field that is not there.
PERIOD, TIMEOUT, THRESHOLD, GRACE = 10, 1, 3, 30

REASONS = {
    "ContainerNotFound": "the container that verifies keys is not in the Pod template",
    "ProbeMissing": "a Pod without it gets requests too early, or hangs for ever",
    "TcpReadiness": "a port that is open says nothing of whether requests are answered; use httpGet",
    "SamePath": "liveness and readiness ask the same: a Pod that should only be left alone is killed",
    "PortUnresolved": "no port of the container has this name: the probe fails always",
    "ExecProbe": "it starts a process each time and says nothing of the port that clients use; use httpGet",
    "TimeoutNotBelowPeriod": "timeoutSeconds must be below periodSeconds, or probes overtake each other",
    "LivenessTighter": "liveness gives up before readiness: a busy Pod is killed instead of left alone",
    "NoDisruptionBudget": "nothing keeps a node drain from taking all Pods at once",
    "BudgetAllowsNone": "the PodDisruptionBudget lets the last Pod go",
    "GraceTooShort": "terminationGracePeriodSeconds ends before preStop and drain do: requests are cut off",
    "RolloutDropsAll": "a rollout may leave no Pod ready",
    "NotJudged": "a fault of the operator: report it with the operator's log",
    "NotMounted": "the key set is not mounted: its keys are unknown to the service",
    "SubPathMount": "a subPath mount never sees a new key set; mount the whole volume",
    "KeysetInEnvironment": "a variable never sees a new key set; mount the volume",
}


class Finding(Struct, frozen=True):
    """`reason` is one of REASONS, `where` the field."""

    reason: str
    where: str

    @property
    def message(self) -> str:
        return f"{self.where}: {REASONS[self.reason]}"


def lint(deployment: Object, budgets: Sequence[Object], secret: str, container: str | None = None) -> list[Finding]:
    """All that is wrong. `budgets`: those of the namespace; `secret`: with the key set; `container`: the one that verifies."""
    pod = template(deployment)
    chosen = verifier(pod, container)
    if chosen is None:
        return [Finding("ContainerNotFound", container or "containers")]
    return [
        *probes(chosen),
        *availability(deployment, budgets),
        *grace(pod, chosen),
        *mounts(pod, chosen, secret),
    ]


def template(deployment: Object) -> Object:
    found: Object = deployment.get("spec", {}).get("template", {}).get("spec", {})
    return found


def verifier(pod: Object, name: str | None) -> Object | None:
    """The named container; without a name the one that reads the key set, else the first."""
    containers: list[Object] = list(pod.get("containers", []))
    if name is not None:
        return next((each for each in containers if each.get("name") == name), None)
    reading = (each for each in containers if any(mount.get("name") == VOLUME for mount in each.get("volumeMounts", [])))
    return next(reading, containers[0] if containers else None)


def probes(container: Object) -> Iterator[Finding]:
    for name in PROBES:
        probe = container.get(name)
        if probe is None:
            yield Finding("ProbeMissing", name)
            continue
        yield from probe_faults(name, probe, container)
    readiness, liveness = container.get("readinessProbe"), container.get("livenessProbe")
    if readiness is not None and liveness is not None:
        yield from pair_faults(readiness, liveness, container)


def probe_faults(name: str, probe: Object, container: Object) -> Iterator[Finding]:
    if "exec" in probe:
        yield Finding("ExecProbe", name)
    if "tcpSocket" in probe and name == "readinessProbe":
        yield Finding("TcpReadiness", name)
    port = handler(probe).get("port")
    if isinstance(port, str) and port not in (each.get("name") for each in container.get("ports", [])):
        yield Finding("PortUnresolved", name)
    # A second is the least of both.
    if probe.get("timeoutSeconds", TIMEOUT) >= max(2, probe.get("periodSeconds", PERIOD)):
        yield Finding("TimeoutNotBelowPeriod", name)


def pair_faults(readiness: Object, liveness: Object, container: Object) -> Iterator[Finding]:
    if "httpGet" in liveness and asked(liveness, container) == asked(readiness, container):
        yield Finding("SamePath", "livenessProbe")
    if budget(liveness) < budget(readiness):
        yield Finding("LivenessTighter", "livenessProbe")


def asked(probe: Object, container: Object) -> tuple[Any, Any] | None:
    """Port, by its number where its name tells it, and path; None: it asks no path."""
    get = probe.get("httpGet")
    if get is None:
        return None
    named = {each.get("name"): each.get("containerPort") for each in container.get("ports", [])}
    return named.get(get.get("port"), get.get("port")), get.get("path") or "/"


def handler(probe: Object) -> Object:
    found: Object = probe.get("httpGet") or probe.get("tcpSocket") or probe.get("grpc") or {}
    return found


def budget(probe: Object) -> int:
    """Seconds of failure that a probe puts up with."""
    return int(probe.get("periodSeconds", PERIOD)) * int(probe.get("failureThreshold", THRESHOLD))


def availability(deployment: Object, budgets: Sequence[Object]) -> Iterator[Finding]:
    replicas = wanted_replicas(deployment)
    if replicas == 0:
        return
    if replicas - unavailable(deployment, replicas) < 1:
        yield Finding("RolloutDropsAll", "strategy")
    if replicas < 2:
        return
    covering = [each for each in budgets if covers(each, deployment)]
    if not covering:
        yield Finding("NoDisruptionBudget", "PodDisruptionBudget")
    elif all(replicas - evictable(each, replicas) < 1 for each in covering):
        yield Finding("BudgetAllowsNone", "PodDisruptionBudget")


def wanted_replicas(deployment: Object) -> int:
    """What the Deployment asks for; an autoscaler writes that field too."""
    return int(deployment.get("spec", {}).get("replicas", 1))


def unavailable(deployment: Object, replicas: int) -> int:
    """How many Pods a rollout may take away at once (maxUnavailable is rounded down, maxSurge up; both 0 means 1 and 0)."""
    strategy = deployment.get("spec", {}).get("strategy", {})
    if strategy.get("type") == "Recreate":
        return replicas
    rolling = strategy.get("rollingUpdate") or {}
    taken = math.floor(part(rolling.get("maxUnavailable", "25%"), replicas))
    return max(taken, 0 if math.ceil(part(rolling.get("maxSurge", "25%"), replicas)) else 1)


def part(value: Any, whole: int) -> float:
    """A number, or a percentage of `whole`."""
    return int(value[:-1]) * whole / 100 if isinstance(value, str) else float(value)


def covers(pdb: Object, deployment: Object) -> bool:
    """Whether a PodDisruptionBudget selects the Deployment's Pods; without a selector it selects none, with an empty one all."""
    labels = deployment.get("spec", {}).get("template", {}).get("metadata", {}).get("labels", {})
    selector = pdb.get("spec", {}).get("selector")
    if selector is None:
        return False
    wanted = selector.get("matchLabels") or {}
    return wanted.items() <= labels.items() and all(matches(each, labels) for each in selector.get("matchExpressions") or [])


def matches(expression: Object, labels: Object) -> bool:
    """A label selector requirement, as the API server judges it; of an unknown operator nothing is known."""
    there, values = labels.get(str(expression.get("key"))), expression.get("values") or []
    judged = {"In": there in values, "NotIn": there not in values, "Exists": there is not None, "DoesNotExist": there is None}
    return judged.get(str(expression.get("operator")), False)


def muted(deployment: Object) -> dict[str, str]:
    """The findings that the owner of a Deployment accepts, each with why: annotation `mute.sluice.dev/<finding>`."""
    notes = deployment.get("metadata", {}).get("annotations") or {}
    found = {reason: notes.get(f"{MUTE}{reason}", "").strip() for reason in REASONS}
    return {reason: why[:100] for reason, why in found.items() if why}


def evictable(pdb: Object, replicas: int) -> int:
    """How many Pods a drain may take at once (both percentages are rounded up)."""
    spec = pdb.get("spec", {})
    if "maxUnavailable" in spec:
        return math.ceil(part(spec["maxUnavailable"], replicas))
    return replicas - math.ceil(part(spec.get("minAvailable", 1), replicas))


def grace(pod: Object, container: Object) -> Iterator[Finding]:
    asleep = container.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
    drain = next((each.get("value", "") for each in container.get("env", []) if each.get("name") == "DRAIN_SECONDS"), "")
    needed = int(asleep) + (int(drain) if NUMBER.fullmatch(drain) else 0)
    if needed >= pod.get("terminationGracePeriodSeconds", GRACE):
        yield Finding("GraceTooShort", "terminationGracePeriodSeconds")


def mounts(pod: Object, container: Object, secret: str) -> Iterator[Finding]:
    yield from in_environment(container, secret)
    volumes = {each["name"] for each in pod.get("volumes", []) if secret in secrets_of(each)}
    found = [each for each in container.get("volumeMounts", []) if each.get("name") in volumes]
    if not found:
        yield Finding("NotMounted", "volumeMounts")
    elif any("subPath" in each or "subPathExpr" in each for each in found):
        yield Finding("SubPathMount", "volumeMounts")


def secrets_of(volume: Object) -> Iterator[str]:
    """The Secrets that a volume holds, on its own or projected."""
    yield volume.get("secret", {}).get("secretName", "")
    for source in volume.get("projected", {}).get("sources", []):
        yield source.get("secret", {}).get("name", "")


def in_environment(container: Object, secret: str) -> Iterator[Finding]:
    single = (each.get("valueFrom", {}).get("secretKeyRef", {}).get("name") for each in container.get("env", []))
    whole = (each.get("secretRef", {}).get("name") for each in container.get("envFrom", []))
    if secret in (*single, *whole):
        yield Finding("KeysetInEnvironment", "env")


Body = dict[str, Any]

# A Deployment takes part only with this label: it is its owner who opts in.
OPT_IN = (f"{api_types.GROUP}/enforce", "true")
MOUNT_PATH = "/etc/sluice/keyset"


def opted_in(deployment: Mapping[str, Any]) -> bool:
    label, value = OPT_IN
    return bool(deployment.get("metadata", {}).get("labels", {}).get(label) == value)


def patch(keyset: KeySet, deployment: Mapping[str, Any]) -> Body | None:
    """The apply of `keyset` on its target; None when the Deployment has no such container."""
    container = verifier(template(deployment), keyset.spec.probes.container)
    if container is None:
        return None
    spec, port = keyset.spec.probes, keyset.spec.target.admin_port
    wired = {
        "name": container["name"],
        "env": [{"name": KEYSET_FILE, "value": f"{MOUNT_PATH}/{api_types.KEYSET_DATA}"}],
        "volumeMounts": [{"name": VOLUME, "mountPath": MOUNT_PATH, "readOnly": True}],
        # Start-up gets two minutes, readiness reacts in 6 s, liveness gives up after a minute: long after readiness.
        "startupProbe": wanted_probe(spec.liveness_path, port, period=2, threshold=60),
        "readinessProbe": wanted_probe(spec.readiness_path, port, period=2, threshold=3),
        "livenessProbe": wanted_probe(spec.liveness_path, port, period=10, threshold=6),
    }
    # Optional: a Pod starts without its key set, and is not ready until there is one.
    volume = {"name": VOLUME, "secret": {"secretName": api_types.published_secret(keyset.name), "optional": True}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": keyset.spec.target.name},
        "spec": {"template": {"spec": {"containers": [wired], "volumes": [volume]}}},
    }


def other_handlers(keyset: KeySet, deployment: Mapping[str, Any]) -> tuple[str, ...]:
    """The probes with a handler beside which httpGet is refused, each as `readinessProbe.tcpSocket`."""
    container = verifier(template(deployment), keyset.spec.probes.container) or {}
    handlers = ((probe, handler) for probe in PROBES for handler in ("exec", "grpc", "tcpSocket"))
    return tuple(f"{probe}.{handler}" for probe, handler in handlers if handler in container.get(probe, {}))


def wanted_probe(path: str, port: int, period: int, threshold: int) -> dict[str, Any]:
    """With every field that the API server would fill in, so that a second apply is the same."""
    return {
        "httpGet": {"path": path, "port": port, "scheme": "HTTP"},
        "periodSeconds": period,
        "timeoutSeconds": 1,
        "failureThreshold": threshold,
        "successThreshold": 1,
    }


def is_wired(patch: Mapping[str, Any], deployment: Mapping[str, Any]) -> bool:
    """Whether `deployment` has every field of `patch`."""
    return has(deployment.get("spec"), patch["spec"])


def has(whole: Any, wanted: Any) -> bool:
    """Objects by their fields, lists of objects by any element that has all fields, all else by value."""
    if isinstance(wanted, Mapping):
        return isinstance(whole, Mapping) and all(name in whole and has(whole[name], value) for name, value in wanted.items())
    if isinstance(wanted, Sequence) and not isinstance(wanted, str):
        return isinstance(whole, Sequence) and all(any(has(each, value) for each in whole) for value in wanted)
    return bool(whole == wanted)
