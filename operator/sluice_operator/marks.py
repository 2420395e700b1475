"""The labels, annotations and owner that our Secrets should have, and whether they have them."""

from __future__ import annotations

from datetime import datetime

from sluice_operator import names, rotation, times
from sluice_operator.actions import Marks
from sluice_operator.ledger import Version
from sluice_operator.model import ApiKey, KeySet, Metadata, OwnerReference


def staged(key: ApiKey, digest: str | None) -> Marks:
    """Of a version Secret that is made now. `digest` None: the engine adds DIGEST when it has drawn the key."""
    notes = {names.MADE_FOR: rotation.fingerprint(key)}
    return of_key(key, notes if digest is None else {**notes, names.DIGEST: digest})


def record(key: ApiKey, version: Version, activated_at: datetime | None, ends_at: datetime | None) -> Marks:
    """Of the Secret of a version that exists: all that is known of it. What was forgotten is taken from the ApiKey as it is."""
    notes = {names.DIGEST: version.digest or "", names.MADE_FOR: version.made_for or rotation.fingerprint(key)}
    if activated_at is not None:
        notes[names.ACTIVATED_AT] = times.stamp(activated_at)
    if ends_at is not None:
        notes[names.ENDS_AT] = times.stamp(ends_at)
    return of_key(key, notes)


def client(key: ApiKey, version: Version, activated_at: datetime) -> Marks:
    """Of the client Secret while it holds `version`."""
    notes = {
        names.VERSION: str(version.number),
        names.ACTIVATED_AT: times.stamp(activated_at),
        names.MADE_FOR: version.made_for or rotation.fingerprint(key),
    }
    return of_key(key, notes)


def of_key(key: ApiKey, notes: dict[str, str]) -> Marks:
    labels = {names.LABEL_KEYSET: key.spec.key_set_ref.name, names.LABEL_API_KEY: key.name}
    return Marks(labels, notes, OwnerReference(names.API_KEY, key.name, key.metadata.uid, controller=True))


def published(keyset: KeySet) -> Marks:
    """Of the published Secret, to which who writes it adds the SEAL, and of the Secret with the key of the seals."""
    owner = OwnerReference(names.KEY_SET, keyset.name, keyset.metadata.uid, controller=True)
    return Marks({names.LABEL_KEYSET: keyset.name}, {}, owner)


def there(marks: Marks, metadata: Metadata) -> bool:
    """Whether `metadata` has all of `marks`. Other labels and annotations are left alone, other owners are not."""
    owners = [owner.uid for owner in metadata.owner_references]
    return (
        marks.labels.items() <= metadata.labels.items()
        and marks.annotations.items() <= metadata.annotations.items()
        and owners == [marks.owner.uid]
    )
