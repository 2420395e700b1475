"""What the planner is told: one KeySet and all that belongs to it, as it was seen at one moment.

The engine fills this in before each `plan`; the planner asks nobody else. No plaintext ever comes in here: of a key in a
Secret the engine keeps its digest. Wanted of the engine:

- `keys`: every ApiKey of the namespace whose `keySetRef` names the KeySet, without those that are being deleted.
- `secrets`: every Secret of type sluice.dev/api-key with the KeySet's label, and, read by name, whatever Secret `wanted_names`
  lists: a Secret whose labels were taken away is invisible to a watch that selects by label.
- `pods`: those of the target (its ReplicaSets'), asked for `/keyset` at most ten seconds ago whenever a key of the set has a
  staged or a superseded version, and at most a minute ago otherwise.
- `known`: what each revision accepts that this process published, by digest; only memory, and lost without harm.
"""

from __future__ import annotations

import hmac
import itertools
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any, Literal

from msgspec import Struct, field

from sluice.keys import KeyEntry, KeySetDocument
from sluice_operator import api_types
from sluice_operator.api_types import ApiKey, Clock, KeySet, Metadata, OwnerReference
from sluice_operator.probes import Finding

# A revoked key is refused as revoked, and not as unknown, for so long; its entry's notAfter says since when it is revoked.
TOMBSTONE = timedelta(days=30)


class Secret(Struct, frozen=True, kw_only=True):
    """A Secret of a version or a client. `digest`: `sha256:<hex>` of its data `key`; None when there is none in it."""

    metadata: Metadata
    type: str
    digest: str | None = None
    immutable: bool = False

    @property
    def name(self) -> str:
        return self.metadata.name

    def note(self, annotation: str) -> str | None:
        return self.metadata.annotations.get(annotation)


class Published(Struct, frozen=True, kw_only=True):
    """The Secret with the key set. `document` None: its data is missing or is no key set (keys.parse_document refused it).

    sealed: its SEAL is right, so an operator wrote this document; None: there is no key to tell it with
    seal_taken: that key can be neither read nor made, for its Secret is somebody else's
    """

    metadata: Metadata
    type: str
    document: KeySetDocument | None = None
    sealed: bool | None = None
    seal_taken: bool = False
    immutable: bool = False

    @property
    def authentic(self) -> bool:
        """Whether an operator wrote the document. Of any other nothing is believed."""
        return self.ours and self.document is not None and self.sealed is True

    @property
    def ours(self) -> bool:
        return self.type == api_types.KEYSET_TYPE

    @property
    def edition(self) -> str | None:
        """One publication. A key set that comes again after another has its old revision, and is delivered again."""
        return f"{self.document.revision}@{api_types.stamp(self.document.generated_at)}" if self.document is not None else None


def seal(key: bytes, document: KeySetDocument) -> str:
    """The MAC of a document. Its revision is the SHA-256 of its entries, and was checked when it was parsed."""
    return hmac.digest(key, f"{document.revision}@{document.generated_at.isoformat()}".encode(), "sha256").hex()


class Report(Struct, frozen=True):
    """What a Pod's `/keyset` answered. `revision` None: its workers differ, or have none.

    later: the revisions that were published after it was asked, each of which it may have by now; None: one that nobody can tell
    """

    revision: str | None
    later: frozenset[str | None] = frozenset()

    @property
    def possible(self) -> frozenset[str | None]:
        """The revisions of which it has one now."""
        return self.later | {self.revision}


class Pod(Struct, frozen=True, kw_only=True):
    """A Pod, as the API server has it, and (from `asked` on) what the engine found out by asking it.

    owner: uid of its ReplicaSet
    started: it has a node and its containers were started, so its volumes are mounted
    up: a container of it passed its start-up
    was_ready: Ready now or at any time before: clients may have a connection to it
    finished: all its containers have ended for good, or nobody will ever know
    asked: whether it was ever asked
    report: None when it did not answer
    last: the last answer by which all its workers had one revision, however long ago; None: there was none
    proved: digests of staged keys with which this Pod's `whoami` answered 200, that keyId and version
    ready_seen: its readiness probe was seen to answer 200 by the operator itself
    """

    metadata: Metadata
    owner: str | None = None
    ip: str | None = None
    started: bool = True
    up: bool = False
    was_ready: bool = True
    finished: bool = False
    asked: bool = True
    report: Report | None = None
    last: Report | None = None
    proved: frozenset[str] = frozenset()
    ready_seen: bool = False

    @property
    def name(self) -> str:
        return self.metadata.name

    @property
    def uid(self) -> str:
        return self.metadata.uid

    @property
    def terminating(self) -> bool:
        return self.metadata.deletion_timestamp is not None

    @property
    def edition(self) -> str | None:
        """The publication that it was poked for."""
        return self.metadata.annotations.get(api_types.POD_REVISION)

    @property
    def answers(self) -> bool:
        """Whether it can be asked at all."""
        return self.ip is not None and not self.finished


class Aside(Struct, frozen=True, kw_only=True):
    """An ApiKey that cannot be planned, and all that is believed of it. `reason`: of its conditions; `about`: for its sentence.

    NotRead: a Secret of it could not be read just now; InvalidKeySet: its KeySet cannot be read; neither is news of the key.

    `suspended`, `revoked`: as its spec says. These two are obeyed whatever else is wrong with it.
    """

    metadata: Metadata
    reason: Literal["InvalidApiKey", "InvalidKeySet", "NotPlanned", "NotRead"]
    about: str = ""
    suspended: bool = False
    revoked: bool = False
    status: dict[str, Any] = field(default_factory=dict)


def set_aside(key: ApiKey, reason: Literal["InvalidKeySet", "NotPlanned", "NotRead"]) -> Aside:
    spec = key.spec
    return Aside(metadata=key.metadata, reason=reason, suspended=spec.suspended, revoked=spec.revoked, status=key.status)


# Reasons that change no status of an ApiKey.
NO_NEWS = ("InvalidKeySet", "NotRead")


class Obstacle(Struct, frozen=True):
    """A reason of ProbesWired, and what its sentence is about."""

    reason: str
    about: tuple[str, ...] = ()


class World(Struct, frozen=True, kw_only=True):
    """All that one plan is made of.

    keyset: None when no such KeySet exists; `keys` then only get a status
    aside: ApiKeys that cannot be planned, by name; what is published of them stays as it is
    remembered: the tombstones of the authentic documents that this process saw
    replicas: how many Pods the target wants; None: it is not there
    pods_known: false when nobody can tell which Pods the target has: nothing is handed out then
    settled: whether everything that is asked for beside was asked once: until then a status would only tell that it was not
    last_used: when `keyId/version` was last accepted, over all Pods and as far back as the engine knows
    last_refused: when one that is published was last presented and refused
    findings: what the lints say of the target; None: not looked at yet
    refused: calls that the API server refuses for good, each as `create secrets`
    muted: findings that the Deployment's owner accepts, each with their reason
    enforcement: why Enforce could not wire the target; None: it could, or was not asked to
    """

    keyset: KeySet | None
    keys: tuple[ApiKey, ...] = ()
    aside: Mapping[str, Aside] = field(default_factory=dict)
    remembered: tuple[KeyEntry, ...] = ()
    secrets: Mapping[str, Secret] = field(default_factory=dict)
    published: Published | None = None
    known: Mapping[str, Mapping[str, KeyEntry]] = field(default_factory=dict)
    replicas: int | None = None
    pods: tuple[Pod, ...] = ()
    pods_known: bool = True
    settled: bool = True
    last_used: Mapping[str, datetime] = field(default_factory=dict)
    last_refused: Mapping[str, datetime] = field(default_factory=dict)
    findings: tuple[Finding, ...] | None = None
    refused: tuple[str, ...] = ()
    muted: Mapping[str, str] = field(default_factory=dict)
    enforcement: Obstacle | None = None

    @property
    def document(self) -> KeySetDocument | None:
        """What is published now, by anybody."""
        return self.published.document if self.published is not None else None

    @property
    def authentic(self) -> bool:
        """Whether there is a key set, and an operator wrote it."""
        return self.published is not None and self.published.authentic


def taken(world: World) -> tuple[str, ...]:
    """Names of Secrets that the key set needs and somebody else has."""
    found, keyset = world.published, world.keyset
    if found is None or keyset is None:
        return ()
    names = {api_types.published_secret(keyset.name): not found.ours, api_types.seal_secret(keyset.name): found.seal_taken}
    return tuple(name for name, is_taken in names.items() if is_taken)


def wanted_names(world: World) -> Iterator[str]:
    """Names of Secrets that a plan may need and a watch by label may miss."""
    versions = (api_types.version_secret(entry.key_id, entry.version) for entry in entries(world))
    return itertools.chain((key.client_secret for key in world.keys if key.client_secret is not None), versions)


def names_of(key: ApiKey, world: World) -> set[str]:
    """Those of one ApiKey."""
    versions = {api_types.version_secret(key.name, entry.version) for entry in entries(world) if entry.key_id == key.name}
    return versions | ({key.client_secret} if key.client_secret is not None else set())


def published(world: World) -> tuple[KeyEntry, ...]:
    """What is published now, if an operator wrote it."""
    return world.document.entries if world.document is not None and world.authentic else ()


def entries(world: World) -> tuple[KeyEntry, ...]:
    """The same, and what was revoked before, whatever became of the document. Pods may still accept that."""
    return tuple({entry.digest: entry for entry in (*published(world), *world.remembered)}.values())


class Marks(Struct, frozen=True):
    """The metadata that a Secret of ours should have. Other labels and annotations on it are nobody's business here."""

    labels: dict[str, str]
    annotations: dict[str, str]
    owner: OwnerReference


class Mint(Struct, frozen=True):
    """A new key: the only place where randomness is drawn, `keys.mint(environment)`. Its digest goes into annotation DIGEST."""

    environment: str


class Copy(Struct, frozen=True):
    """The key in Secret `source`, after a check that its digest is `digest`."""

    source: str
    digest: str


class PutSecret(Struct, frozen=True, kw_only=True):
    """Make the Secret of a version or a client with `data` (None: without any), or write over the one of `precondition`.

    event: what tells of it, and what is counted for it; one that is staged may be there already
    reason: why the key is handed out by that; since: when the reason for it came about, if that is known; both for metrics only
    """

    secret: str
    marks: Marks
    event: Literal["VersionStaged", "VersionRestored", "VersionActivated", "ClientRepaired"]
    data: Mint | Copy | None = None
    immutable: bool = False
    precondition: str | None = None
    reason: str | None = None
    since: datetime | None = None


class PatchSecret(Struct, frozen=True, kw_only=True):
    """Give a Secret its labels, annotations and owner (again). `marks` None: take its data out, its metadata stays."""

    secret: str
    precondition: str
    marks: Marks | None = None
    event: Literal["", "PlaintextDropped"] = ""
    reason: str | None = None


class DeleteSecret(Struct, frozen=True, kw_only=True):
    """`since`: when it was due by the clock."""

    secret: str
    precondition: str
    event: Literal["ClientRemoved", "VersionRetired"]
    since: datetime | None = None


class PublishKeySet(Struct, frozen=True, kw_only=True):
    """Write the key set: `document` is its bytes. Who does it adds the annotation SEAL. `restores`: somebody else wrote there."""

    secret: str
    document: bytes
    revision: str
    marks: Marks
    precondition: str | None
    restores: bool = False


class AnnotatePods(Struct, frozen=True):
    """Set POD_REVISION on each of `pods`, so that the kubelet delivers the key set at once."""

    pods: tuple[str, ...]
    edition: str


class AwaitConvergence(Struct, frozen=True):
    """Ask `pods` for `/keyset` again soon. `since`: when the revision was published."""

    revision: str
    pods: tuple[str, ...]
    since: datetime


class ProbeWhoami(Struct, frozen=True):
    """Ask the `whoami` of each of `pods` with the key in `secret`.

    A 200 with this keyId and version puts `digest` into that Pod's `proved`.
    """

    secret: str
    digest: str
    key_id: str
    version: int
    pods: tuple[str, ...]


class SetStatus(Struct, frozen=True):
    """Replace the status of an ApiKey or KeySet."""

    kind: str
    name: str
    status: dict[str, Any]


class EmitEvent(Struct, frozen=True):
    """A Kubernetes Event about an ApiKey or KeySet; `reason` is one of reasons.EVENTS."""

    kind: str
    name: str
    type: Literal["Normal", "Warning"]
    reason: str
    message: str


SecretAction = PutSecret | PatchSecret | DeleteSecret
Action = SecretAction | PublishKeySet | AnnotatePods | AwaitConvergence | ProbeWhoami | SetStatus | EmitEvent


class Plan(Struct, frozen=True):
    """`next_deadline`: when the same world would give another plan, by the earlier of the two clocks; None: never.

    `foreign`: Secrets of others that keys wait for. No watch tells when one goes.
    `faults`: why ApiKeys could not be planned, by name; "": something of the KeySet, and only its key set is planned.
    """

    actions: tuple[Action, ...]
    next_deadline: datetime | None
    foreign: frozenset[str] = frozenset()
    faults: Mapping[str, Exception] = field(default_factory=dict)

    def delay(self, clock: Clock) -> timedelta | None:
        """How long nothing has to be done, if nothing changes."""
        return None if self.next_deadline is None else max(timedelta(), self.next_deadline - clock.earliest)
