"""What was last seen of every object that is watched, without any plaintext.

Fed by the watches, by lists and by the answers to our own writes; an older version of an object never replaces a newer one.
"""

from __future__ import annotations

import base64
import binascii
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Container, Iterable, Mapping
from datetime import datetime
from typing import Any, TypeVar

import msgspec
import structlog
from msgspec import Struct
from msgspec.structs import replace

from sluice import keys
from sluice_operator import api_types, probes
from sluice_operator.api_types import API_KEYS, DEPLOYMENTS, KEY_SETS, PODS, SECRETS, ApiKey, KeySet, Metadata, Raw, Resource
from sluice_operator.world import Aside, Pod, Published, Secret

log = structlog.get_logger()


class Unreadable(Struct, frozen=True):
    """An ApiKey that breaks the rules of its kind. `keyset` None: not even the KeySet that it names can be told."""

    aside: Aside
    keyset: str | None = None

    @property
    def metadata(self) -> Metadata:
        return self.aside.metadata

    @property
    def revoked(self) -> bool:
        return self.aside.revoked


class DeploymentFacts(Struct, frozen=True):
    """What is kept of a Deployment. `raw`: all that the lints read; `muted`: the findings that its owner accepts, with why."""

    metadata: Metadata
    raw: Raw
    replicas: int
    muted: Mapping[str, str]


Kept = ApiKey | KeySet | Unreadable | Secret | Published | Pod | DeploymentFacts


def metadata(raw: Raw) -> Metadata:
    return msgspec.convert(raw["metadata"], Metadata)


def api_key(raw: Raw) -> ApiKey | Unreadable:
    try:
        return api_types.parse(ApiKey, raw)
    except api_types.InvalidObject as error:
        # What is obeyed of it: what ends a key.
        spec, status = part(raw, "spec"), part(raw, "status")
        ended = {field: spec.get(field) is True for field in ("suspended", "revoked")}
        aside = Aside(metadata=metadata(raw), reason="InvalidApiKey", about=str(error), status=status, **ended)
        named = part(spec, "keySetRef").get("name")
        return Unreadable(aside, named if isinstance(named, str) else None)


# In the place of fields of a KeySet that cannot be read: no Deployment, and an environment that no key is made for.
UNREAD: Raw = {"environment": "unread", "target": {"name": ""}}


def key_set(raw: Raw) -> KeySet:
    """With `fault`, and as much of the spec as can be read, when one of its fields cannot."""
    whole = {"metadata": raw["metadata"], "spec": raw.get("spec"), "status": part(raw, "status")}
    try:
        return api_types.parse(KeySet, whole)
    except api_types.InvalidObject as error:
        spec = {name: value for name, value in part(raw, "spec").items() if readable(whole, {name: value})}
        return replace(api_types.parse(KeySet, whole | {"spec": UNREAD | spec}), fault=str(error))


def readable(keyset: Raw, field: Raw) -> bool:
    try:
        api_types.parse(KeySet, keyset | {"spec": UNREAD | field})
    except api_types.InvalidObject:
        return False
    return True


def part(raw: Raw, name: str) -> Raw:
    """A field that should be an object."""
    found = raw.get(name)
    return found if isinstance(found, dict) else {}


def secret(raw: Raw) -> Secret | Published:
    """Its data is read here, and only a digest or the published document, which holds digests, is kept."""
    found, data, kind, immutable = metadata(raw), raw.get("data") or {}, str(raw.get("type")), raw.get("immutable") is True
    if kind == api_types.KEYSET_TYPE:
        return Published(metadata=found, type=kind, document=document(data), immutable=immutable)
    key = decoded(data, api_types.KEY_DATA)
    return Secret(metadata=found, type=kind, digest=keys.digest(key.decode("latin-1")) if key else None, immutable=immutable)


def document(data: Raw) -> keys.KeySetDocument | None:
    try:
        found = keys.parse_document(decoded(data, api_types.KEYSET_DATA) or b"")
    except keys.InvalidKeySet:
        return None
    return replace(found, generated_at=api_types.within(found.generated_at), entries=tuple(map(within, found.entries)))


def within(entry: keys.KeyEntry) -> keys.KeyEntry:
    """With dates that can be reckoned with."""
    dates = [date for date in (entry.not_before, entry.not_after) if date is not None]
    if all(api_types.FIRST <= date <= api_types.LAST for date in dates):
        return entry
    first, last = (date and api_types.within(date) for date in (entry.not_before, entry.not_after))
    return replace(entry, not_before=first, not_after=last)


def plaintext(raw: Raw) -> str | None:
    """The key in a Secret; the caller forgets it at once. None: there is none in it that could be one."""
    key = decoded(raw.get("data") or {}, api_types.KEY_DATA)
    return key.decode("ascii") if key and key.isascii() else None


def decoded(data: Raw, name: str) -> bytes | None:
    try:
        return base64.b64decode(data[name], validate=True)
    except (KeyError, TypeError, binascii.Error):
        return None


def pod(raw: Raw) -> Pod:
    spec, status = raw.get("spec") or {}, raw.get("status") or {}
    containers = status.get("containerStatuses") or []
    found = metadata(raw)
    ended = bool(containers) and all("terminated" in (each.get("state") or {}) for each in containers)
    return Pod(
        metadata=found,
        owner=next((owner.uid for owner in found.owner_references if owner.kind == "ReplicaSet"), None),
        ip=status.get("podIP"),
        started=bool(spec.get("nodeName")),
        up=any(each.get("started") for each in containers),
        was_ready=any(each.get("type") == "Ready" and each.get("status") == "True" for each in status.get("conditions") or ()),
        finished=status.get("phase") in ("Succeeded", "Failed") or (found.deletion_timestamp is not None and ended),
    )


def deployment(raw: Raw) -> DeploymentFacts:
    notes = {name: raw["metadata"].get(name) or {} for name in ("labels", "annotations")}
    kept = {"metadata": notes, "spec": raw.get("spec") or {}}
    return DeploymentFacts(metadata(raw), kept, probes.wanted_replicas(kept), probes.muted(kept))


def moment(text: Any) -> datetime | None:
    """RFC 3339 as the service and the API server write it; None for anything else."""
    try:
        found = datetime.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        return None
    return api_types.within(found) if found is not None and found.tzinfo is not None else None


READERS: dict[Resource, Callable[[Raw], Kept]] = {
    API_KEYS: api_key,
    KEY_SETS: key_set,
    SECRETS: secret,
    PODS: pod,
    DEPLOYMENTS: deployment,
}


def read(resource: Resource, raw: Raw) -> Kept | None:
    """None: it cannot be read, and whatever one object contains, the others are kept."""
    try:
        return READERS[resource](raw)
    except Exception:
        about = raw["metadata"]
        log.exception("object not read", resource=resource.plural, namespace=about["namespace"], name=about["name"])
        return None


Objects = dict[str, Kept]
# More than can go within the time that an answer takes.
GONE = 10_000
Found = TypeVar("Found", bound=Kept)
# Told of each change: the namespace, what was there and what is.
Listener = Callable[[str, Kept | None, Kept | None], None]


class Cache:
    """Objects by kind, namespace and name. `listener` hears of changes that matter: not of a new resourceVersion alone."""

    def __init__(self, listener: Listener = lambda *_: None) -> None:
        self._listener = listener
        self._objects: dict[tuple[Resource, str], Objects] = defaultdict(dict)
        # The uids of objects that are gone, and up to which version: an answer that comes late brings none of them back.
        self._gone: OrderedDict[str, int] = OrderedDict()

    def put(self, resource: Resource, raw: Raw, *, older: bool = False, ours: bool = False) -> Kept | None:
        """What is kept of `raw`; None: it could not be read, and what was there stays.

        older: also below the resourceVersion that is there, or gone before, as in the list of a watch after a restore
        ours: the answer to a write of ours, which is no news; what somebody else changed just before is
        """
        namespace, kept = str(raw["metadata"]["namespace"]), read(resource, raw)
        if kept is None:
            return None
        if older:
            self._gone.pop(kept.metadata.uid, None)
        if version(kept) <= self._gone.get(kept.metadata.uid, -1):
            return kept
        objects = self._objects[resource, namespace]
        before = objects.get(kept.metadata.name)
        if before is not None and not older and version(before) >= version(kept):
            return before
        objects[kept.metadata.name] = kept
        if not same(before, kept, ours):
            self._listener(namespace, before, kept)
        return kept

    def remove(
        self, resource: Resource, namespace: str, name: str, uid: str | None = None, last: Raw | None = None, at: int = 0
    ) -> None:
        """`uid`: only that object, not one of the same name that came after it; `last`: what it was at its end; `at`: when.

        A watch by label says so too when an object only lost its label: later versions are taken in again.
        """
        objects = self._objects[resource, namespace]
        before, end = objects.get(name), None if last is None else read(resource, last)
        if before is not None and uid in (None, before.metadata.uid):
            del objects[name]
            if before.metadata.uid:
                self._gone[before.metadata.uid] = max(at, version(before), 0 if end is None else version(end))
                if len(self._gone) > GONE:
                    self._gone.popitem(last=False)
        elif last is None:
            return
        self._listener(namespace, before if last is None else end, None)

    def retain(self, resource: Resource, namespace: str, names: Container[str], listed_at: int) -> None:
        """Remove what a list did not name; what came after `listed_at` stays."""
        for name, kept in list(self._objects[resource, namespace].items()):
            if name not in names and version(kept) <= listed_at:
                self.remove(resource, namespace, name, at=listed_at)

    def api_keys(self, namespace: str) -> Iterable[ApiKey | Unreadable]:
        return self._all(API_KEYS, namespace, ApiKey, Unreadable)

    def key_sets(self, namespace: str) -> Iterable[KeySet]:
        return self._all(KEY_SETS, namespace, KeySet)

    def key_set(self, namespace: str, name: str) -> KeySet | None:
        found = self._objects[KEY_SETS, namespace].get(name)
        return found if isinstance(found, KeySet) else None

    def api_key(self, namespace: str, name: str) -> ApiKey | None:
        found = self._objects[API_KEYS, namespace].get(name)
        return found if isinstance(found, ApiKey) else None

    def secrets(self, namespace: str) -> Iterable[Secret | Published]:
        return self._all(SECRETS, namespace, Secret, Published)

    def secret(self, namespace: str, name: str) -> Secret | Published | None:
        found = self._objects[SECRETS, namespace].get(name)
        return found if isinstance(found, Secret | Published) else None

    def pods(self, namespace: str) -> Iterable[Pod]:
        return self._all(PODS, namespace, Pod)

    def uids(self, namespace: str) -> set[str]:
        """Of the Deployments that are there."""
        return {each.metadata.uid for each in self._all(DEPLOYMENTS, namespace, DeploymentFacts)}

    def deployment(self, namespace: str, name: str) -> DeploymentFacts | None:
        found = self._objects[DEPLOYMENTS, namespace].get(name)
        return found if isinstance(found, DeploymentFacts) else None

    def _all(self, resource: Resource, namespace: str, *kinds: type[Found]) -> list[Found]:
        return [each for each in self._objects[resource, namespace].values() if isinstance(each, kinds)]


def version(kept: Kept) -> int:
    """resourceVersions can be compared as numbers (Kubernetes 1.35, KEP-5504); what is no number is older than all."""
    text = kept.metadata.resource_version
    return int(text) if text.isdigit() else 0


def same(before: Kept | None, kept: Kept, ours: bool) -> bool:
    """Whether nothing but the resourceVersion is another, and (`ours`) what we write.

    A status is written whatever the object is by then: the answer may be the first that tells of a revocation.
    """
    if ours and not isinstance(kept, ApiKey | KeySet | Unreadable):
        return True
    if before is None or type(before) is not type(kept):
        return False
    status = {"status": kept.status} if ours and isinstance(kept, ApiKey | KeySet) else {}
    metadata = replace(before.metadata, resource_version=kept.metadata.resource_version)
    return bool(replace(before, metadata=metadata, **status) == kept)


def keysets_of(cache: Cache, namespace: str, kept: Kept, deployments: Mapping[str, str | None]) -> set[str]:
    """The names of the KeySets that should be looked at when `kept` changed. `deployments`: uids, by that of a ReplicaSet."""
    if isinstance(kept, KeySet):
        return {kept.name}
    if isinstance(kept, ApiKey):
        return {kept.spec.key_set_ref.name}
    if isinstance(kept, Unreadable) and kept.keyset is not None:
        return {kept.keyset}
    everyone = {each.name for each in cache.key_sets(namespace)}
    if isinstance(kept, Pod):
        # Without a ReplicaSet it is of a Job, a StatefulSet and the like.
        unknown = kept.owner is not None and kept.owner not in deployments
        return everyone if unknown else targeting(cache, namespace, deployments.get(kept.owner or ""))
    if isinstance(kept, Secret | Published):
        label = kept.metadata.labels.get(api_types.LABEL_KEYSET)
        return {label} if label is not None else everyone
    if isinstance(kept, DeploymentFacts):
        return {each.name for each in cache.key_sets(namespace) if each.spec.target.name == kept.metadata.name}
    return everyone


def targeting(cache: Cache, namespace: str, deployment: str | None) -> set[str]:
    """The names of the KeySets whose target has this uid."""
    targets = ((each.name, cache.deployment(namespace, each.spec.target.name)) for each in cache.key_sets(namespace))
    return {name for name, target in targets if target is not None and target.metadata.uid == deployment}
