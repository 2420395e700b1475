"""Does what a plan says (actions.py): each action is one call of the API, or questions to Pods.

What the API server answers to a write is put into the cache at once, so that the next plan knows.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import secrets
from datetime import datetime
from functools import singledispatchmethod

from msgspec.structs import replace

from sluice import keys
from sluice_operator import actions, metrics, names, times, world
from sluice_operator.actions import Action, Marks
from sluice_operator.api import PASSED_OVER, AlreadyExists, Api, ApiError, Conflict, NotFound
from sluice_operator.asking import Asker
from sluice_operator.cache import Cache
from sluice_operator.model import ApiKey, KeySet
from sluice_operator.observe import SEAL_BYTES, Observer, is_up
from sluice_operator.queue import Errands, Key
from sluice_operator.reading import PodFacts, plaintext
from sluice_operator.resources import EVENTS, OF_KIND, PODS, SECRETS, Raw
from sluice_operator.world import Published, Secret

COMPONENT = "sluice-operator"
AT_ONCE = 10
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
    async def _(self, action: actions.StageVersion, key: Key) -> None:
        """The one place where randomness is drawn. A Secret that is there already was made by us before."""
        data, marks = {}, action.marks
        if action.digest is None:
            plain = keys.mint(action.environment)
            data = key_data(plain)
            marks = replace(marks, annotations={**marks.annotations, names.DIGEST: keys.digest(plain)})
        with contextlib.suppress(AlreadyExists):
            await self._create(key, action.secret, names.KEY_TYPE, data, marks, action.immutable)
            metrics.took("Staged", action.since, self._api.clock().server)

    @do.register
    async def _(self, action: actions.RestoreVersion, key: Key) -> None:
        data = key_data(await self._plaintext(key, action.source, action.digest)) if action.source else {}
        await self._create(key, action.secret, names.KEY_TYPE, data, action.marks, action.immutable)
        metrics.REPAIRS.labels("version").inc()

    @do.register
    async def _(self, action: actions.AdoptVersion, key: Key) -> None:
        await self._patch(key, action.secret, action.precondition, {"metadata": written(action.marks)})
        self._handed_out(key, action.secret, action.reason)

    @do.register
    async def _(self, action: actions.PublishKeySet, key: Key) -> None:
        data = {names.KEYSET_DATA: base64.b64encode(action.document).decode()}
        document, memory = keys.parse_document(action.document), self._observer.memory(key)
        before = self._cache.secret(key.namespace, action.secret)
        try:
            unsealed, seal = None, await self._seal(key, action.marks)
        except PASSED_OVER as error:  # a revocation goes out all the same
            unsealed, seal = error, b""
        notes = {names.SEAL: world.seal(seal, document)} if seal else {}
        marks = replace(action.marks, annotations={**action.marks.annotations, **notes})
        if action.precondition is None:
            await self._create(key, action.secret, names.KEYSET_TYPE, data, marks)
        else:
            await self._patch(key, action.secret, action.precondition, {"metadata": written(marks), "data": data})
        memory.know(document)
        memory.converging = action.revision
        if isinstance(before, Published):
            self._published(key, document, before)
            if revoked(document) - revoked(before.document):
                memory.revoking = {action.revision}
            if action.restores:
                metrics.REPAIRS.labels("keyset").inc()
        if unsealed is not None:
            raise unsealed

    @do.register
    async def _(self, action: actions.AnnotatePods, key: Key) -> None:
        await asyncio.gather(*(self._annotate(key, pod, action.edition) for pod in action.pods))

    @do.register
    async def _(self, action: actions.AwaitConvergence, key: Key) -> None:
        """Who plans waits."""

    @do.register
    async def _(self, action: actions.ProbeWhoami, key: Key) -> None:
        self._errands.start(key, f"whoami {action.secret}", lambda: self._prove_all(action, key))

    async def _prove_all(self, action: actions.ProbeWhoami, key: Key) -> float | None:
        keyset, memory = self._cache.key_set(key.namespace, key.keyset), self._observer.memory(key)
        if not isinstance(keyset, KeySet):
            return None
        plain = await self._plaintext(key, action.secret, action.digest)
        pods = [pod for pod in await self._observer.pods(key, keyset) if pod.metadata.name in action.pods and is_up(pod)]
        await asyncio.gather(*(self._prove(key, keyset, pod, plain, action) for pod in pods))
        proved = any(action.digest in memory.proved.get(pod.metadata.uid, ()) for pod in pods)
        return 0.0 if proved else UNPROVED_SECONDS

    @do.register
    async def _(self, action: actions.ActivateClient, key: Key) -> None:
        await self._hand_out(action, key)
        self._handed_out(key, action.source, action.reason)

    @do.register
    async def _(self, action: actions.RepairClient, key: Key) -> None:
        await self._hand_out(action, key)
        metrics.REPAIRS.labels("client").inc()

    @do.register
    async def _(self, action: actions.RemoveClient | actions.RetireVersion, key: Key) -> None:
        await self._api.delete(SECRETS, key.namespace, action.secret, action.precondition)
        self._cache.remove(SECRETS, key.namespace, action.secret)
        self._observer.unseen.forget(key.namespace, action.secret)
        if isinstance(action, actions.RetireVersion):
            metrics.took("Retired", action.since, self._api.clock().server)

    @do.register
    async def _(self, action: actions.DropPlaintext, key: Key) -> None:
        await self._patch(key, action.secret, action.precondition, {"data": None})

    @do.register
    async def _(self, action: actions.SetStatus, key: Key) -> None:
        resource = OF_KIND[action.kind]
        try:
            raw = await self._api.set_status(resource, key.namespace, action.name, action.status)
        except NotFound:
            return
        self._cache.put(resource, raw, ours=True)

    @do.register
    async def _(self, action: actions.EmitEvent, key: Key) -> None:
        """An event that can not be written is no reason to stop."""
        about = self._about(action, key)
        if about is None:
            return
        try:
            await self._api.create(EVENTS, key.namespace, event(action, key, about, self._instance, self._api.clock().here))
        except ApiError:
            return

    async def _seal(self, key: Key, marks: Marks) -> bytes:
        """The key that the key set is sealed with, made when there is none."""
        found = await self._observer.seals.get(key)
        if found is None:
            name, drawn = names.seal_secret(key.keyset), secrets.token_bytes(SEAL_BYTES)
            with contextlib.suppress(AlreadyExists):
                await self._create(key, name, names.KEYSET_TYPE, {names.SEAL_DATA: base64.b64encode(drawn).decode()}, marks, True)
            found = await self._observer.seals.get(key)
        if found is None:
            raise Conflict("get", SECRETS.plural, f"{names.seal_secret(key.keyset)} is no seal of ours")
        return found

    async def _hand_out(self, action: actions.ActivateClient, key: Key) -> None:
        data = key_data(await self._plaintext(key, action.source, action.digest))
        if action.precondition is None:
            await self._create(key, action.secret, names.KEY_TYPE, data, action.marks)
        else:
            await self._patch(key, action.secret, action.precondition, {"metadata": written(action.marks), "data": data})

    def _published(self, key: Key, document: keys.KeySetDocument, before: Published) -> None:
        """Measure the staged versions that `document` has and `before` had not."""
        old = {entry.digest for entry in before.document.entries} if before.document is not None else set()
        now, memory = self._api.clock().server, self._observer.memory(key)
        for entry in document.entries:
            made = self._cache.secret(key.namespace, names.version_secret(entry.key_id, entry.version))
            if entry.digest not in old and isinstance(made, Secret) and made.note(names.ACTIVATED_AT) is None:
                memory.staged[made.name] = made.metadata.creation_timestamp
                metrics.took("Published", made.metadata.creation_timestamp, now)

    def _handed_out(self, key: Key, version: str, reason: str | None) -> None:
        """Count a version that was handed out, and when it had been made. No reason: it was not, or not now."""
        made = self._cache.secret(key.namespace, version)
        if reason is not None:
            metrics.ROTATIONS.labels(reason).inc()
            metrics.took("Activated", made.metadata.creation_timestamp if made is not None else None, self._api.clock().server)

    async def _plaintext(self, key: Key, name: str, digest: str) -> str:
        """The key in a Secret, when it has that digest; raises Conflict when it has not."""
        try:
            plain = plaintext(await self._api.get(SECRETS, key.namespace, name))
        except NotFound as error:
            raise Conflict(error.verb, error.resource, error.told) from None
        if plain is None or keys.digest(plain) != digest:
            raise Conflict("get", SECRETS.plural, f"{name} holds another key than was seen")
        return plain

    async def _create(self, key: Key, name: str, kind: str, data: Raw, marks: Marks, immutable: bool = False) -> None:
        body = {"metadata": {"name": name, **written(marks)}, "type": kind, "data": data, "immutable": immutable}
        try:
            raw = await self._api.create(SECRETS, key.namespace, body)
        finally:
            self._observer.unseen.forget(key.namespace, name)
        self._cache.put(SECRETS, raw, ours=True)

    async def _patch(self, key: Key, name: str, precondition: str, body: Raw) -> None:
        metadata = {**body.get("metadata", {}), "resourceVersion": precondition}
        try:
            raw = await self._api.merge(SECRETS, key.namespace, name, {**body, "metadata": metadata})
        except NotFound as error:
            raise Conflict(error.verb, error.resource, error.told) from None
        finally:
            self._observer.unseen.forget(key.namespace, name)
        if names.LABEL_KEYSET in (raw["metadata"].get("labels") or {}):
            self._cache.put(SECRETS, raw, ours=True)

    async def _annotate(self, key: Key, pod: str, edition: str) -> None:
        patch = {"metadata": {"annotations": {names.POD_REVISION: edition}}}
        async with self._room:
            try:
                self._cache.put(PODS, await self._api.merge(PODS, key.namespace, pod, patch), ours=True)
            except NotFound:
                return

    async def _prove(self, key: Key, keyset: KeySet, pod: PodFacts, plain: str, action: actions.ProbeWhoami) -> None:
        found = await self._asker.whoami(pod.ip or "", keyset.spec.target, plain)
        if found is not None and (found.key_id, found.version) == (action.key_id, action.version):
            self._observer.memory(key).prove(pod.metadata.uid, action.digest)

    def _about(self, action: actions.EmitEvent, key: Key) -> ApiKey | KeySet | None:
        if action.kind == names.API_KEY:
            return self._cache.api_key(key.namespace, action.name)
        found = self._cache.key_set(key.namespace, action.name)
        return found if isinstance(found, KeySet) else None


def revoked(document: keys.KeySetDocument | None) -> set[str]:
    """The digests that it revokes."""
    return {entry.digest for entry in document.entries if entry.state == "revoked"} if document is not None else set()


def key_data(plain: str) -> dict[str, str]:
    return {names.KEY_DATA: base64.b64encode(plain.encode()).decode()}


def written(marks: Marks) -> Raw:
    """As metadata: the one owner replaces all others."""
    owner = {
        "apiVersion": names.API_VERSION,
        "kind": marks.owner.kind,
        "name": marks.owner.name,
        "uid": marks.owner.uid,
        "controller": marks.owner.controller,
    }
    return {"labels": marks.labels, "annotations": marks.annotations, "ownerReferences": [owner]}


def event(action: actions.EmitEvent, key: Key, about: ApiKey | KeySet, instance: str, now: datetime) -> Raw:
    return {
        "metadata": {"name": f"{action.name}.{secrets.token_hex(8)}"},
        "involvedObject": {
            "apiVersion": names.API_VERSION,
            "kind": action.kind,
            "namespace": key.namespace,
            "name": action.name,
            "uid": about.metadata.uid,
        },
        "type": action.type,
        "reason": action.reason,
        "message": action.message[:1024],
        "source": {"component": COMPONENT},
        "reportingComponent": COMPONENT,
        "reportingInstance": instance,
        "firstTimestamp": times.stamp(now),
        "lastTimestamp": times.stamp(now),
        "count": 1,
    }
