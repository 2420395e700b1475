"""The next steps of one key, as actions. `plan` puts them in order; the table of states is in its docstring."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from datetime import datetime

from msgspec import Struct

from sluice import keys
from sluice_operator import api_types, schedule
from sluice_operator.api_types import ApiKey, Clock, KeySet, Metadata, OwnerReference
from sluice_operator.entries import Refusal, expired, valid_now
from sluice_operator.versions import Ledger, Version
from sluice_operator.world import Copy, DeleteSecret, Marks, Mint, PatchSecret, ProbeWhoami, PutSecret, SecretAction, World


def record_marks(key: ApiKey, version: Version, activated_at: datetime | None, ends_at: datetime | None) -> Marks:
    """Of the Secret of a version that exists: all that is known of it. What was forgotten is taken from the ApiKey as it is."""
    notes = {api_types.DIGEST: version.digest, api_types.MADE_FOR: version.made_for or schedule.fingerprint(key)}
    if activated_at is not None:
        notes[api_types.ACTIVATED_AT] = api_types.stamp(activated_at)
    if ends_at is not None:
        notes[api_types.ENDS_AT] = api_types.stamp(ends_at)
    return of_key(key, notes)


def client_marks(key: ApiKey, version: Version, activated_at: datetime) -> Marks:
    """Of the client Secret while it holds `version`."""
    notes = {
        api_types.VERSION: str(version.number),
        api_types.ACTIVATED_AT: api_types.stamp(activated_at),
        api_types.MADE_FOR: version.made_for or schedule.fingerprint(key),
    }
    marks, template = of_key(key, notes), key.spec.delivery.secret_template
    return Marks(theirs(template.labels) | marks.labels, theirs(template.annotations) | marks.annotations, marks.owner)


def theirs(template: Mapping[str, str]) -> dict[str, str]:
    """Without what is ours, and what would make Argo CD or kubectl take the Secret for one of their own."""
    return {name: value for name, value in template.items() if not name.partition("/")[0].endswith(RESERVED)}


def of_key(key: ApiKey, notes: dict[str, str]) -> Marks:
    labels = {api_types.LABEL_KEYSET: key.spec.key_set_ref.name, api_types.LABEL_API_KEY: key.name}
    return Marks(labels, notes, OwnerReference(api_types.API_KEY, key.name, key.metadata.uid, controller=True))


def published_marks(keyset: KeySet) -> Marks:
    """Of the published Secret, to which who writes it adds the SEAL, and of the Secret with the key of the seals."""
    owner = OwnerReference(api_types.KEY_SET, keyset.name, keyset.metadata.uid, controller=True)
    return Marks({api_types.LABEL_KEYSET: keyset.name}, {}, owner)


def has_marks(marks: Marks, metadata: Metadata) -> bool:
    """Whether `metadata` has all of `marks`. Other labels and annotations are left alone, other owners are not."""
    owners = [owner.uid for owner in metadata.owner_references]
    return (
        marks.labels.items() <= metadata.labels.items()
        and marks.annotations.items() <= metadata.annotations.items()
        and owners == [marks.owner.uid]
    )


RESERVED = ("sluice.dev", "argoproj.io", "kubectl.kubernetes.io")


class Scene(Struct, frozen=True, kw_only=True):
    """One key and all that its next steps depend on.

    entries: those of it that are published, by digest, when they are ours
    wanted: those of it that should be
    stale: revisions that Pods may still have, and which Pods
    revoked: the digests of its tombstones
    """

    world: World
    clock: Clock
    keyset: KeySet
    ledger: Ledger
    refusal: Refusal | None
    entries: dict[str, keys.KeyEntry]
    wanted: dict[str, keys.KeyEntry]
    revoked: frozenset[str]
    stale: Mapping[str, Set[str]]

    @property
    def dead(self) -> bool:
        """Revoked or expired: nothing is made or handed out any more."""
        return self.ledger.key.spec.revoked or expired(self.ledger.key, self.clock)

    def accepts(self, version: Version) -> bool:
        """Whether the key set, as we wrote it, accepts `version` (its dates apart)."""
        entry = self.entries.get(version.digest)
        return entry is not None and entry.state == "active"

    @property
    def unwanted(self) -> bool:
        """No version of it should be accepted."""
        return self.dead or self.ledger.key.spec.suspended

    @property
    def resting(self) -> bool:
        """Nothing new is made or handed out; what is there is kept as it is."""
        return self.unwanted or self.refusal is not None


def repairs(scene: Scene) -> Iterator[SecretAction]:
    """What brings the Secrets of a key back to what they should be."""
    if scene.dead:
        return
    for version in scene.ledger.live:
        yield from repair_version(scene, version)
    active = scene.ledger.active
    if active is not None and scene.ledger.key.client_secret is not None and not is_dropped(scene, active):
        yield from repair_client(scene, active)


def repair_version(scene: Scene, version: Version) -> Iterator[SecretAction]:
    ledger, secret = scene.ledger, version.secret
    wanted = version_marks(scene, version)
    if is_over(scene, version):
        return
    if secret is None:
        source = ledger.key.client_secret if ledger.held_by_client(version) and not is_dropped(scene, version) else None
        yield PutSecret(
            secret=api_types.version_secret(ledger.key.name, version.number),
            marks=wanted,
            event="VersionRestored",
            data=Copy(source, version.digest) if source else None,
            immutable=is_immutable(scene),
        )
    elif is_broken(scene, version) and version.digest in scene.entries:
        yield DeleteSecret(secret=secret.name, precondition=secret.metadata.resource_version, event="VersionRetired")
    elif not has_marks(wanted, secret.metadata):
        yield PatchSecret(secret=secret.name, marks=wanted, precondition=secret.metadata.resource_version)


def version_marks(scene: Scene, version: Version) -> Marks:
    ends_at = schedule.end(scene.ledger, version, scene.world, scene.clock) if version.role == "superseded" else None
    return record_marks(scene.ledger.key, version, activation(scene, version), ends_at)


def activation(scene: Scene, version: Version) -> datetime | None:
    """When `version` was handed out, as far as it is known; of the active one it has to be."""
    return version.activated_at or (scene.clock.latest if version.role == "active" else None)


def is_over(scene: Scene, version: Version) -> bool:
    """Whether a superseded version has left the key set."""
    date = over_date(scene, version)
    return date is not None and scene.clock.earliest >= date


def over_date(scene: Scene, version: Version) -> datetime | None:
    """When a superseded version leaves the key set."""
    if version.role != "superseded" or version.ends_at is None:
        return None
    ends_at = schedule.end(scene.ledger, version, scene.world, scene.clock)
    return schedule.removal(scene.ledger.key, ends_at)


def is_broken(scene: Scene, version: Version) -> bool:
    """Whether the Secret holds another key than its version's, or none although the client Secret has it."""
    secret = version.secret
    if secret is None or version.plaintext:
        return False
    mountable = scene.ledger.key.spec.delivery.mode == "Retain" and scene.ledger.held_by_client(version)
    return (secret.digest is not None and not is_dropped(scene, version)) or mountable


def is_immutable(scene: Scene) -> bool:
    """Under DropAfter the plaintext has to come out again."""
    return scene.ledger.key.spec.delivery.mode != "DropAfter"


def repair_client(scene: Scene, active: Version) -> Iterator[SecretAction]:
    """The client Secret holds the active version, whatever was done to it: the same value, never a new one."""
    key, client = scene.ledger.key, scene.ledger.client
    if not active.plaintext or active.secret is None or key.client_secret is None or key.client_secret in scene.ledger.foreign:
        return
    wanted = client_marks(key, active, activation(scene, active) or scene.clock.latest)
    if client is None or client.digest != active.digest or not has_marks(wanted, client.metadata):
        yield PutSecret(
            secret=key.client_secret,
            marks=wanted,
            event="ClientRepaired",
            data=Copy(active.secret.name, active.digest),
            precondition=client.metadata.resource_version if client else None,
        )


def hand_out(scene: Scene) -> Iterator[SecretAction | ProbeWhoami]:
    """The staged version goes to the client when every Pod accepts it, proved by its own answer."""
    staged, key = scene.ledger.staged, scene.ledger.key
    if staged is None or staged.secret is None or blocked(scene) is not None:
        return
    digest, reason = staged.digest, schedule.why(scene.ledger, scene.clock) or schedule.WITHDRAWN
    if staged.plaintext and (pods := unproved(scene, staged)):
        yield ProbeWhoami(staged.secret.name, digest, key.name, staged.number, pods)
    elif key.client_secret is None:
        yield PatchSecret(
            secret=staged.secret.name,
            marks=record_marks(key, staged, scene.clock.latest, None),
            precondition=staged.secret.metadata.resource_version,
            reason=reason,
        )
    else:
        client = scene.ledger.client
        yield PutSecret(
            secret=key.client_secret,
            marks=client_marks(key, staged, scene.clock.latest),
            event="VersionActivated",
            data=Copy(staged.secret.name, digest),
            precondition=client.metadata.resource_version if client else None,
            reason=reason,
        )


def blocked(scene: Scene) -> str | None:
    """Why the staged version is not handed out yet, as a reason; None: only a proof may be missing, or nothing."""
    staged = scene.ledger.staged
    if scene.resting:
        return "Resting"
    if staged is None or not scene.accepts(staged):
        return "Publishing"
    if (why := schedule.nobody(scene.world)) is not None:
        return why
    return "Converging" if schedule.lagging(scene.world, scene.clock, schedule.has_digest(scene.world, staged.digest)) else None


def unproved(scene: Scene, staged: Version) -> tuple[str, ...]:
    """The Pods that have not yet answered with the staged key. One that is not valid yet can prove nothing."""
    entry = scene.entries.get(staged.digest)
    if entry is not None and not valid_now(entry, scene.clock):
        return ()
    return schedule.unproved(scene.world.pods, staged.digest)


def stage(scene: Scene) -> Iterator[SecretAction]:
    """A new version, if there is a reason for one and the one before the active is gone: never a third."""
    ledger, key = scene.ledger, scene.ledger.key
    if scene.resting or schedule.reason(ledger, scene.clock) is None or not is_alone(scene):
        return
    digest = key.spec.delivery.digest  # of a key that is drawn who draws it adds it
    notes = {api_types.MADE_FOR: schedule.fingerprint(key)} | ({api_types.DIGEST: digest} if digest is not None else {})
    yield PutSecret(
        secret=api_types.version_secret(key.name, ledger.highest + 1),
        marks=of_key(key, notes),
        event="VersionStaged",
        data=Mint(scene.keyset.spec.environment) if digest is None else None,
        immutable=is_immutable(scene),
        since=schedule.since(ledger, scene.clock),
    )


def is_alone(scene: Scene) -> bool:
    """Whether no version but the active one is published or should be."""
    active = scene.ledger.active
    superseded = [version for version in scene.ledger.having("superseded") if not is_over(scene, version)]
    others = [digest for digest in scene.entries if active is None or digest != active.digest]
    return not superseded and not others


def is_dropped(scene: Scene, version: Version) -> bool:
    """Whether the plaintext of `version` should be nowhere: DropAfter, and its time is over."""
    delivery = scene.ledger.key.spec.delivery
    if delivery.mode != "DropAfter" or version.role == "staged":
        return False
    if version.role == "superseded" or (version.secret is not None and version.secret.digest is None):
        return True
    drop_at = drop_date(scene, version)
    return drop_at is not None and scene.clock.earliest >= drop_at


def drop_date(scene: Scene, version: Version) -> datetime | None:
    """When the plaintext of the active version goes; None: it stays."""
    after = scene.ledger.key.spec.delivery.drop_after
    return None if after is None or version.activated_at is None else version.activated_at + after


def drops(scene: Scene) -> Iterator[SecretAction]:
    """DropAfter: first the client Secret, then the data of the version Secret; neither before that says what the other did."""
    active, client = scene.ledger.active, scene.ledger.client
    if active is not None and client is not None and is_dropped(scene, active) and is_noted(scene, active):
        yield DeleteSecret(secret=client.name, precondition=client.metadata.resource_version, event="ClientRemoved")
    for version in scene.ledger.live:
        if version.secret is not None and version.secret.digest is not None and is_dropped(scene, version):
            precondition = version.secret.metadata.resource_version
            yield PatchSecret(secret=version.secret.name, precondition=precondition, event="PlaintextDropped")


def is_noted(scene: Scene, version: Version) -> bool:
    """Whether the version Secret has all that is known of its version."""
    return version.secret is not None and has_marks(version_marks(scene, version), version.secret.metadata)


def removals(scene: Scene) -> Iterator[SecretAction]:
    """Secrets of versions that the key set, as we wrote it, no longer accepts."""
    client, key = scene.ledger.client, scene.ledger.key
    if not scene.world.authentic:
        return
    if key.spec.revoked and client is not None and not scene.entries:
        yield DeleteSecret(secret=client.name, precondition=client.metadata.resource_version, event="ClientRemoved")
    for version in scene.ledger.versions:
        gone = version.role == "stray" or key.spec.revoked or is_over(scene, version)
        if gone and version.secret is not None and version.digest not in scene.entries:
            precondition, since = version.secret.metadata.resource_version, over_date(scene, version)
            yield DeleteSecret(secret=version.secret.name, precondition=precondition, event="VersionRetired", since=since)
