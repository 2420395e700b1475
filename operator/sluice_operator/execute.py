"""Does what a plan says (the actions of world.py): each action is one call of the API, or questions to Pods.

What the API server answers to a write is put into the cache at once, so that the next plan knows.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import secrets
from datetime import datetime
from functools import singledispatchmethod

import structlog
from msgspec.structs import replace

from sluice import keys
from sluice_operator import api_types, probes, steps, telemetry, world
from sluice_operator.api_types import DEPLOYMENTS, EVENTS, OF_KIND, PODS, SECRETS, ApiKey, KeySet, Raw
from sluice_operator.cache import Cache, DeploymentFacts, plaintext
from sluice_operator.client import (
    FIELD_MANAGER,
    PASSED_OVER,
    AlreadyExists,
    Api,
    ApiError,
    Conflict,
    Forbidden,
    NotFound,
    Refused,
)
from sluice_operator.memory import Memory
from sluice_operator.observe import AT_ONCE, SEAL_BYTES, Observer
from sluice_operator.pods import Asker
from sluice_operator.queue import Errands, Key
from sluice_operator.world import Action, Marks, Obstacle, Pod, Published, Secret

log = structlog.get_logger()

# Events of repairs, and what was repaired.
REPAIRED = {"VersionRestored": "version", "ClientRepaired": "client"}
# Without its data, and without the copy of it that `kubectl apply` makes, as of a backup.
DROPPED: Raw = {"data": None, "metadata": {"annotations": {"kubectl.kubernetes.io/last-applied-configuration": None}}}
# Between attempts to prove a key that no Pod accepted.
UNPROVED_SECONDS = 0.5


class Doer:
    """Raises ApiError when an action could not be done; Conflict also when the world is not the one of the plan."""

    def __init__(self, api: Api, cache: Cache, asker: Asker, observer: Observer, errands: Errands, instance: str) -> None:
        self._api = api
        self._cache = cache
        self._asker = asker
        self._observer = observer
        self._errands = errands
        self._instance = instance
        self._room = asyncio.Semaphore(AT_ONCE)

    @singledispatchmethod
    async def do(self, action: Action, key: Key) -> None:
        """Do one action for KeySet `key`."""
        raise TypeError(type(action).__name__)

    @do.register
    async def _(self, action: world.PutSecret, key: Key) -> None:
        data, marks = {}, action.marks
        if isinstance(action.data, world.Mint):
            plain = keys.mint(action.data.environment)
            data = key_data(plain)
            marks = replace(marks, annotations={**marks.annotations, api_types.DIGEST: keys.digest(plain)})
        elif action.data is not None:
            data = key_data(await self._plaintext(key, action.data.source, action.data.digest))
        try:
            await self._put(key, action.secret, api_types.KEY_TYPE, data, marks, action.precondition, action.immutable)
        except AlreadyExists:
            if action.event != "VersionStaged":
                raise
            self._observer.memory(key).taken.add(action.secret)  # made by us before, or by somebody else: the next look tells
            return
        if action.event == "VersionStaged":
            telemetry.took("Staged", action.since, self._api.clock().server)
        elif action.event in REPAIRED:
            telemetry.REPAIRS.labels(REPAIRED[action.event]).inc()
        elif isinstance(action.data, world.Copy):
            self._handed_out(key, action.data.source, action.reason)

    @do.register
    async def _(self, action: world.PatchSecret, key: Key) -> None:
        body = DROPPED if action.marks is None else {"metadata": written(action.marks)}
        await self._patch(key, action.secret, action.precondition, body)
        self._handed_out(key, action.secret, action.reason)

    @do.register
    async def _(self, action: world.DeleteSecret, key: Key) -> None:
        await self._api.delete(SECRETS, key.namespace, action.secret, action.precondition)
        self._cache.remove(SECRETS, key.namespace, action.secret)
        self._observer.unseen.forget(key.namespace, action.secret)
        if action.event == "VersionRetired":
            telemetry.took("Retired", action.since, self._api.clock().server)

    @do.register
    async def _(self, action: world.PublishKeySet, key: Key) -> None:
        data = {api_types.KEYSET_DATA: base64.b64encode(action.document).decode()}
        document, memory = keys.parse_document(action.document), self._observer.memory(key)
        before = self._cache.secret(key.namespace, action.secret)
        memory.bury(document)
        try:
            unsealed, seal = None, await self._seal(key, action.marks)
        except PASSED_OVER as error:  # a revocation goes out all the same
            unsealed, seal = error, b""
        notes = {api_types.SEAL: world.seal(seal, document)} if seal else {}
        marks = replace(action.marks, annotations={**action.marks.annotations, **notes})
        await self._put(key, action.secret, api_types.KEYSET_TYPE, data, marks, action.precondition)
        memory.know(document)
        memory.converging = action.revision
        if isinstance(before, Published):
            self._published(key, document, before)
            if revoked(document) - revoked(before.document):
                memory.revoking = {action.revision}
            if action.restores:
                telemetry.REPAIRS.labels("keyset").inc()
        if unsealed is not None:
            raise unsealed

    @do.register
    async def _(self, action: world.AnnotatePods, key: Key) -> None:
        await asyncio.gather(*(self._annotate(key, pod, action.edition) for pod in action.pods))

    @do.register
    async def _(self, action: world.AwaitConvergence, key: Key) -> None:
        """Who plans waits."""

    @do.register
    async def _(self, action: world.ProbeWhoami, key: Key) -> None:
        self._errands.start(key, f"whoami {action.secret}", lambda: self._prove_all(action, key))

    async def _prove_all(self, action: world.ProbeWhoami, key: Key) -> float | None:
        memory = self._observer.memory(key)
        async with memory.proving:
            keyset = self._cache.key_set(key.namespace, key.keyset)
            if keyset is None:
                return None
            plain = await self._plaintext(key, action.secret, action.digest)
            pods = [pod for pod in await self._observer.pods(key, keyset) if pod.name in action.pods and pod.answers]
            await asyncio.gather(*(self._prove(key, keyset, pod, plain, action) for pod in pods))
        proved = any(action.digest in memory.pods[pod.uid].proved for pod in pods)
        return 0.0 if proved else UNPROVED_SECONDS

    @do.register
    async def _(self, action: world.SetStatus, key: Key) -> None:
        resource = OF_KIND[action.kind]
        try:
            raw = await self._api.set_status(resource, key.namespace, action.name, action.status)
        except NotFound:
            return
        self._cache.put(resource, raw, ours=True)

    @do.register
    async def _(self, action: world.EmitEvent, key: Key) -> None:
        """An event that cannot be written is no reason to stop."""
        found = self._cache.api_key if action.kind == api_types.API_KEY else self._cache.key_set
        about = found(key.namespace, action.name)
        if about is None:
            return
        try:
            await self._api.create(EVENTS, key.namespace, event(action, key, about, self._instance, self._api.clock().here))
        except ApiError:
            return

    async def _seal(self, key: Key, marks: Marks) -> bytes:
        """The key that the key set is sealed with, made when there is none."""
        name, found = api_types.seal_secret(key.keyset), await self._observer.seals.get(key)
        seen = self._cache.secret(key.namespace, name)
        if found and seen is not None and not steps.has_marks(marks, seen.metadata):
            with contextlib.suppress(ApiError):  # the next publish tries again
                await self._patch(key, name, seen.metadata.resource_version, {"metadata": written(marks)})
        if found is None:
            drawn = secrets.token_bytes(SEAL_BYTES)
            with contextlib.suppress(AlreadyExists):
                data = {api_types.SEAL_DATA: base64.b64encode(drawn).decode()}
                await self._put(key, name, api_types.KEYSET_TYPE, data, marks, immutable=True)
            found = await self._observer.seals.get(key)
        if not found:
            raise Refused("get", SECRETS.plural, f"{name} is no seal of ours")
        return found

    def _published(self, key: Key, document: keys.KeySetDocument, before: Published) -> None:
        """Measure the staged versions that `document` has and `before` had not."""
        old = {entry.digest for entry in before.document.entries} if before.document is not None else set()
        now, memory = self._api.clock().server, self._observer.memory(key)
        for entry in document.entries:
            made = self._cache.secret(key.namespace, api_types.version_secret(entry.key_id, entry.version))
            if entry.digest not in old and isinstance(made, Secret) and made.note(api_types.ACTIVATED_AT) is None:
                memory.staged[made.name] = made.metadata.creation_timestamp
                telemetry.took("Published", made.metadata.creation_timestamp, now)

    def _handed_out(self, key: Key, version: str, reason: str | None) -> None:
        """Count a version that was handed out, and when it had been made. No reason: it was not, or not now."""
        made = self._cache.secret(key.namespace, version)
        if reason is not None:
            telemetry.ROTATIONS.labels(reason).inc()
            telemetry.took("Activated", made.metadata.creation_timestamp if made is not None else None, self._api.clock().server)

    async def _plaintext(self, key: Key, name: str, digest: str) -> str:
        """The key in a Secret, when it has that digest; raises Conflict when it has not."""
        try:
            plain = plaintext(await self._api.get(SECRETS, key.namespace, name))
        except NotFound as error:
            raise Conflict(error.verb, error.resource, error.told) from None
        if plain is None or keys.digest(plain) != digest:
            raise Conflict("get", SECRETS.plural, f"{name} holds another key than was seen")
        return plain

    async def _put(
        self, key: Key, name: str, kind: str, data: Raw, marks: Marks, precondition: str | None = None, immutable: bool = False
    ) -> None:
        """Make a Secret, or write over the one that is there. Raises AlreadyExists, Conflict."""
        if precondition is not None:
            await self._patch(key, name, precondition, {"metadata": written(marks), "data": data})
            return
        body = {"metadata": {"name": name, **written(marks)}, "type": kind, "data": data, "immutable": immutable}
        try:
            raw = await self._api.create(SECRETS, key.namespace, body)
        finally:
            self._observer.unseen.forget(key.namespace, name)
        self._cache.put(SECRETS, raw, ours=True)

    async def _patch(self, key: Key, name: str, precondition: str, body: Raw) -> None:
        metadata = {**body.get("metadata", {}), "resourceVersion": precondition}
        try:
            if "data" in body and (seen := await self._observer.secret(key, name)) is not None and seen.immutable:
                raw = await self._replace(key, name, precondition, body)
            else:
                raw = await self._api.merge(SECRETS, key.namespace, name, {**body, "metadata": metadata})
        except NotFound as error:
            raise Conflict(error.verb, error.resource, error.told) from None
        finally:
            self._observer.unseen.forget(key.namespace, name)
        if api_types.LABEL_KEYSET in (raw["metadata"].get("labels") or {}):
            self._cache.put(SECRETS, raw, ours=True)

    async def _replace(self, key: Key, name: str, precondition: str, body: Raw) -> Raw:
        """What is immutable is made again: a Secret that somebody made so may not keep a revocation from going out."""
        old = await self._api.get(SECRETS, key.namespace, name)
        whole = {
            "metadata": {"name": name},
            "type": old["type"],
            "data": None if body["data"] is None else {**(old.get("data") or {}), **body["data"]},
        }
        for field in ("labels", "annotations"):
            both = {**(old["metadata"].get(field) or {}), **body.get("metadata", {}).get(field, {})}
            whole["metadata"][field] = {name: value for name, value in both.items() if value is not None}
        owners = old["metadata"].get("ownerReferences") or []
        whole["metadata"]["ownerReferences"] = body.get("metadata", {}).get("ownerReferences", owners)
        await self._api.delete(SECRETS, key.namespace, name, precondition)
        return await self._api.create(SECRETS, key.namespace, whole)

    async def _annotate(self, key: Key, pod: str, edition: str) -> None:
        patch = {"metadata": {"annotations": {api_types.POD_REVISION: edition}}}
        async with self._room:
            try:
                self._cache.put(PODS, await self._api.merge(PODS, key.namespace, pod, patch), ours=True)
            except NotFound:
                return

    async def _prove(self, key: Key, keyset: KeySet, pod: Pod, plain: str, action: world.ProbeWhoami) -> None:
        found = await self._asker.whoami(pod.ip or "", keyset.spec.target, plain)
        if found is not None and (found.key_id, found.version) == (action.key_id, action.version):
            self._observer.memory(key).pods[pod.uid].proved.add(action.digest)


def revoked(document: keys.KeySetDocument | None) -> set[str]:
    """The digests that it revokes."""
    return {entry.digest for entry in document.entries if entry.state == "revoked"} if document is not None else set()


def key_data(plain: str) -> dict[str, str]:
    return {api_types.KEY_DATA: base64.b64encode(plain.encode()).decode()}


def written(marks: Marks) -> Raw:
    """As metadata: the one owner replaces all others."""
    owner = {
        "apiVersion": api_types.API_VERSION,
        "kind": marks.owner.kind,
        "name": marks.owner.name,
        "uid": marks.owner.uid,
        "controller": marks.owner.controller,
    }
    return {"labels": marks.labels, "annotations": marks.annotations, "ownerReferences": [owner]}


def event(action: world.EmitEvent, key: Key, about: ApiKey | KeySet, instance: str, now: datetime) -> Raw:
    return {
        "metadata": {"name": f"{action.name}.{secrets.token_hex(8)}"},
        "involvedObject": {
            "apiVersion": api_types.API_VERSION,
            "kind": action.kind,
            "namespace": key.namespace,
            "name": action.name,
            "uid": about.metadata.uid,
        },
        "type": action.type,
        "reason": action.reason,
        "message": action.message[:1024],
        "source": {"component": FIELD_MANAGER},
        "reportingComponent": FIELD_MANAGER,
        "reportingInstance": instance,
        "firstTimestamp": api_types.stamp(now),
        "lastTimestamp": api_types.stamp(now),
        "count": 1,
    }


class Enforcer:
    """`allowed`: whether this operator may patch Deployments at all."""

    def __init__(self, api: Api, cache: Cache, allowed: bool) -> None:
        self._api = api
        self._cache = cache
        self._allowed = allowed

    async def wire(self, key: Key, keyset: KeySet, memory: Memory) -> float | None:
        """Notes in `memory.enforcement` why it could not be done. None: nothing is new. Raises ApiError."""
        deployment, before = self._cache.deployment(key.namespace, keyset.spec.target.name), memory.enforcement
        asked = keyset.spec.probes.mode == "Enforce" and deployment is not None
        memory.enforcement = await self._obstacle(key, keyset, deployment, memory) if asked and deployment is not None else None
        return 0.0 if memory.enforcement != before else None

    async def _obstacle(self, key: Key, keyset: KeySet, deployment: DeploymentFacts, memory: Memory) -> Obstacle | None:
        """Wires the Deployment; else why not."""
        patch = probes.patch(keyset, deployment.raw)
        if patch is None:
            return Obstacle("EnforceNoContainer")
        if probes.is_wired(patch, deployment.raw):
            return None
        if not self._allowed:
            return Obstacle("EnforceDisabled")
        if not probes.opted_in(deployment.raw):
            return Obstacle("NotOptedIn")
        if others := probes.other_handlers(keyset, deployment.raw):
            return Obstacle("ProbeHandlers", others)
        return await self._apply(key, deployment, patch, memory)

    async def _apply(self, key: Key, deployment: DeploymentFacts, patch: probes.Body, memory: Memory) -> Obstacle | None:
        seen = (deployment.metadata.uid, deployment.metadata.generation)
        if seen == memory.contested:
            return Obstacle("FieldConflict")
        try:
            raw = await self._api.apply(DEPLOYMENTS, key.namespace, deployment.metadata.name, patch)
        except Forbidden:
            return Obstacle("EnforceDisabled")
        except Refused:
            return Obstacle("EnforceRefused")
        except Conflict as error:
            memory.contested = seen
            log.warning("field conflict", namespace=key.namespace, deployment=deployment.metadata.name, told=error.told)
            return Obstacle("FieldConflict")
        self._cache.put(DEPLOYMENTS, raw)
        return None
