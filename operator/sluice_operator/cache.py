"""What was last seen of every object that is watched, without any plaintext (reading.py).

Fed by the watches, by lists and by the answers to our own writes; an older version of an object never replaces a newer one.
"""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterable
from typing import TypeVar

from msgspec.structs import replace

from sluice_operator import names
from sluice_operator.model import ApiKey, KeySet
from sluice_operator.reading import READERS, DeploymentFacts, Kept, PodFacts, Unreadable
from sluice_operator.resources import API_KEYS, DEPLOYMENTS, KEY_SETS, PODS, SECRETS, Raw, Resource
from sluice_operator.world import Published, Secret

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
        # The uids of objects that are gone: an answer that comes late brings none of them back.
        self._gone: OrderedDict[str, None] = OrderedDict()

    def put(self, resource: Resource, raw: Raw, *, older: bool = False, ours: bool = False) -> Kept:
        """What is kept of `raw`.

        older: also below the resourceVersion that is there, as a list after a restore may be
        ours: the answer to a write of ours, which is no news
        """
        kept = READERS[resource](raw)
        namespace = str(raw["metadata"]["namespace"])
        if kept.metadata.uid in self._gone:
            return kept
        objects = self._objects[resource, namespace]
        before = objects.get(kept.metadata.name)
        if before is not None and not older and version(before) >= version(kept):
            return before
        objects[kept.metadata.name] = kept
        if not ours and not same(before, kept):
            self._listener(namespace, before, kept)
        return kept

    def remove(self, resource: Resource, namespace: str, name: str, uid: str | None = None) -> None:
        """`uid`: only that object, not one of the same name that came after it."""
        objects = self._objects[resource, namespace]
        before = objects.get(name)
        if before is not None and uid in (None, before.metadata.uid):
            del objects[name]
            if before.metadata.uid:
                self._gone[before.metadata.uid] = None
                if len(self._gone) > GONE:
                    self._gone.popitem(last=False)
            self._listener(namespace, before, None)

    def replace(self, resource: Resource, namespace: str, items: Iterable[Raw], listed_at: int) -> None:
        """All objects of a kind in a namespace, as a list gave them; what came after `listed_at` stays."""
        listed = {self.put(resource, raw).metadata.name for raw in items}
        for name, kept in list(self._objects[resource, namespace].items()):
            if name not in listed and version(kept) <= listed_at:
                self.remove(resource, namespace, name)

    def api_keys(self, namespace: str) -> Iterable[ApiKey | Unreadable]:
        return self._all(API_KEYS, namespace, ApiKey, Unreadable)

    def key_sets(self, namespace: str) -> Iterable[KeySet]:
        return self._all(KEY_SETS, namespace, KeySet)

    def key_set(self, namespace: str, name: str) -> KeySet | Unreadable | None:
        found = self._objects[KEY_SETS, namespace].get(name)
        return found if isinstance(found, KeySet | Unreadable) else None

    def api_key(self, namespace: str, name: str) -> ApiKey | None:
        found = self._objects[API_KEYS, namespace].get(name)
        return found if isinstance(found, ApiKey) else None

    def secrets(self, namespace: str) -> Iterable[Secret | Published]:
        return self._all(SECRETS, namespace, Secret, Published)

    def secret(self, namespace: str, name: str) -> Secret | Published | None:
        found = self._objects[SECRETS, namespace].get(name)
        return found if isinstance(found, Secret | Published) else None

    def pods(self, namespace: str) -> Iterable[PodFacts]:
        return self._all(PODS, namespace, PodFacts)

    def deployment(self, namespace: str, name: str) -> DeploymentFacts | None:
        found = self._objects[DEPLOYMENTS, namespace].get(name)
        return found if isinstance(found, DeploymentFacts) else None

    def _all(self, resource: Resource, namespace: str, *kinds: type[Found]) -> list[Found]:
        return [each for each in self._objects[resource, namespace].values() if isinstance(each, kinds)]


def version(kept: Kept) -> int:
    """resourceVersions can be compared as numbers (Kubernetes 1.35, KEP-5504); what is no number is older than all."""
    text = kept.metadata.resource_version
    return int(text) if text.isdigit() else 0


def same(before: Kept | None, kept: Kept) -> bool:
    """Whether nothing but the resourceVersion is another."""
    if before is None or type(before) is not type(kept):
        return False
    metadata = replace(before.metadata, resource_version=kept.metadata.resource_version)
    return bool(replace(before, metadata=metadata) == kept)


def keysets_of(cache: Cache, namespace: str, kept: Kept) -> set[str]:
    """The names of the KeySets that should be looked at when `kept` changed."""
    if isinstance(kept, KeySet):
        return {kept.name}
    if isinstance(kept, ApiKey):
        return {kept.spec.key_set_ref.name}
    if isinstance(kept, Unreadable) and kept.keyset is not None:
        return {kept.keyset}
    everyone = {each.name for each in cache.key_sets(namespace)}
    if isinstance(kept, Secret | Published):
        label = kept.metadata.labels.get(names.LABEL_KEYSET)
        return {label} if label is not None else everyone
    if isinstance(kept, DeploymentFacts):
        return {each.name for each in cache.key_sets(namespace) if each.spec.target.name == kept.metadata.name}
    return everyone
