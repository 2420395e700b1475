"""What the planner is told: one KeySet and all that belongs to it, as it was seen at one moment.

The engine fills this in before each `plan`; the planner asks nobody else. No plaintext ever comes in here: of a key in a
Secret the engine keeps its digest. Wanted of the engine:

- `keys`: every ApiKey of the namespace whose `keySetRef` names the KeySet, without those that are being deleted.
- `secrets`: every Secret of type sluice.dev/api-key with the KeySet's label, and, read by name, whatever Secret `wanted_names`
  lists: a Secret whose labels were taken away is invisible to a watch that selects by label.
- `pods`: those of the target (its ReplicaSets'), asked for `/keyset` at most ten seconds ago whenever a key of the set has a
  staged or a superseded version, and at most a minute ago otherwise.
- `known`: the digests of each revision that this process published; only memory, and lost without harm.
"""

from __future__ import annotations

import hmac
import itertools
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, Literal

from msgspec import Struct, field

from sluice import keys
from sluice.keys import KeyEntry
from sluice_operator import names, times
from sluice_operator.lints import Finding
from sluice_operator.model import ApiKey, KeySet, Metadata


class Secret(Struct, frozen=True, kw_only=True):
    """A Secret of a version or a client. `digest`: `sha256:<hex>` of its data `key`; None when there is none in it."""

    metadata: Metadata
    type: str
    digest: str | None = None

    @property
    def name(self) -> str:
        return self.metadata.name

    def note(self, annotation: str) -> str | None:
        return self.metadata.annotations.get(annotation)


class Published(Struct, frozen=True, kw_only=True):
    """The Secret with the key set. `document` None: its data is missing or is no key set (keys.parse_document refused it).

    sealed: its SEAL is right, so an operator wrote this document; None: there is no key to tell it with
    """

    metadata: Metadata
    type: str
    document: keys.KeySetDocument | None = None
    sealed: bool | None = None

    @property
    def authentic(self) -> bool:
        """Whether an operator wrote the document. Of any other nothing is believed."""
        return self.ours and self.document is not None and self.sealed is True

    @property
    def ours(self) -> bool:
        return self.type == names.KEYSET_TYPE

    @property
    def edition(self) -> str | None:
        """One publication. A key set that comes again after another has its old revision, and is delivered again."""
        return f"{self.document.revision}@{times.stamp(self.document.generated_at)}" if self.document is not None else None


def seal(key: bytes, document: keys.KeySetDocument) -> str:
    """The MAC of a document. Its revision is the SHA-256 of its entries, and was checked when it was parsed."""
    return hmac.digest(key, f"{document.revision}@{document.generated_at.isoformat()}".encode(), "sha256").hex()


class Report(Struct, frozen=True):
    """What a Pod's `/keyset` answered. `revision` None: its workers differ, or have none.

    later: the revisions that were published after it was asked, each of which it may have by now; None: one that nobody can tell
    """

    revision: str | None
    workers: int = 1
    loaded: int = 1
    later: frozenset[str | None] = frozenset()

    @property
    def possible(self) -> frozenset[str | None]:
        """The revisions of which it has one now."""
        return self.later | {self.revision}


class Pod(Struct, frozen=True, kw_only=True):
    """A Pod of the target.

    was_ready: Ready now or at any time before: clients may have a connection to it
    started: it has a node and its containers were started, so its volumes are mounted
    finished: all its containers have ended for good
    asked: whether it was ever asked
    report: None when it did not answer
    proved: digests of staged keys with which this Pod's `whoami` answered 200, that keyId and version
    ready_seen: its readiness probe was seen to answer 200 by the operator itself
    """

    name: str
    uid: str
    created: datetime
    resource_version: str = ""
    edition: str | None = None  # the annotation
    started: bool = True
    was_ready: bool = True
    terminating: bool = False
    finished: bool = False
    asked: bool = True
    report: Report | None = None
    proved: frozenset[str] = frozenset()
    ready_seen: bool = False


class Target(Struct, frozen=True):
    """The Deployment: how many Pods it wants."""

    replicas: int


class Aside(Struct, frozen=True, kw_only=True):
    """An ApiKey that cannot be planned, and all that is believed of it. `reason`: of its conditions; `about`: for its sentence.

    NotRead: a Secret of it could not be read just now, which is no news of the key.

    `suspended`, `revoked`: as its spec says. These two are obeyed whatever else is wrong with it.
    """

    metadata: Metadata
    reason: Literal["InvalidApiKey", "NotPlanned", "NotRead"]
    about: str = ""
    suspended: bool = False
    revoked: bool = False
    status: dict[str, Any] = field(default_factory=dict)


class Obstacle(Struct, frozen=True):
    """A reason of ProbesWired, and what its sentence is about."""

    reason: str
    about: tuple[str, ...] = ()


class World(Struct, frozen=True, kw_only=True):
    """All that one plan is made of.

    keyset: None when no such KeySet exists; `keys` then only get a status
    aside: ApiKeys that cannot be planned, by name; what is published of them stays as it is
    remembered: the tombstones of the last authentic document that this process saw
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
    known: Mapping[str, frozenset[str]] = field(default_factory=dict)
    target: Target | None = None
    pods: tuple[Pod, ...] = ()
    pods_known: bool = True
    settled: bool = True
    last_used: Mapping[str, datetime] = field(default_factory=dict)
    last_refused: Mapping[str, datetime] = field(default_factory=dict)
    findings: tuple[Finding, ...] | None = None
    refused: tuple[str, ...] = ()
    muted: Mapping[str, str] = field(default_factory=dict)
    enforcement: Obstacle | None = None


def wanted_names(world: World) -> Iterator[str]:
    """Names of Secrets that a plan may need and a watch by label may miss."""
    versions = (names.version_secret(entry.key_id, entry.version) for entry in entries(world))
    return itertools.chain((key.client_secret for key in world.keys if key.client_secret is not None), versions)


def names_of(key: ApiKey, world: World) -> set[str]:
    """Those of one ApiKey."""
    versions = {names.version_secret(key.name, entry.version) for entry in entries(world) if entry.key_id == key.name}
    return versions | ({key.client_secret} if key.client_secret is not None else set())


def entries(world: World) -> tuple[keys.KeyEntry, ...]:
    """What is published now, if an operator wrote it."""
    published = world.published
    return published.document.entries if published is not None and published.document is not None and published.authentic else ()
