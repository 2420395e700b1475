"""What a plan consists of. The engine does the actions in order and stops at the first that fails; then it looks again.

Each action is one call of the API (AnnotatePods: one for each Pod; ProbeWhoami and AwaitConvergence: none). `precondition` is the
resourceVersion that the object was seen with; None: it must not be there. A call that fails because of it is no error: the world
has changed, and the next plan knows.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Literal

from msgspec import Struct, field

from sluice_operator.model import OwnerReference
from sluice_operator.times import Clock


class Marks(Struct, frozen=True):
    """The metadata that a Secret of ours should have. Other labels and annotations on it are nobody's business here."""

    labels: dict[str, str]
    annotations: dict[str, str]
    owner: OwnerReference


class StageVersion(Struct, frozen=True, kw_only=True):
    """Make a version Secret. The only place where randomness is drawn: `keys.mint(environment)`, its digest into DIGEST.

    `digest` given (Provided): no data; the annotation holds it. `environment` is then not used. AlreadyExists is a success.
    `since`: when the reason for it came about, if that is known; for metrics only, as every `since` and `reason` here.
    """

    secret: str
    environment: str
    digest: str | None
    immutable: bool
    marks: Marks
    since: datetime | None = None


class RestoreVersion(Struct, frozen=True, kw_only=True):
    """Make a version Secret again: with the key that `source` holds, if its digest is `digest`; None: without data."""

    secret: str
    digest: str
    source: str | None
    immutable: bool
    marks: Marks


class AdoptVersion(Struct, frozen=True, kw_only=True):
    """Give a version Secret its labels, annotations and owner (again). `reason`: why it is handed out by that (Provided)."""

    secret: str
    marks: Marks
    precondition: str
    reason: str | None = None


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


class ActivateClient(Struct, frozen=True, kw_only=True):
    """Put the key of version Secret `source` into the client Secret, after a check that its digest is `digest`."""

    secret: str
    source: str
    digest: str
    marks: Marks
    precondition: str | None
    reason: str | None = None


class RepairClient(ActivateClient, frozen=True, kw_only=True):
    """The same for a client Secret that was deleted or edited: the version that it should hold does not change."""


class RemoveClient(Struct, frozen=True):
    """Delete the client Secret."""

    secret: str
    precondition: str


class DropPlaintext(Struct, frozen=True):
    """Take the data out of a version Secret; its metadata stays as the record of the version."""

    secret: str
    precondition: str


class RetireVersion(Struct, frozen=True):
    """Delete a version Secret. `since`: when it was due by the clock."""

    secret: str
    precondition: str
    since: datetime | None = None


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


Action = (
    StageVersion
    | RestoreVersion
    | AdoptVersion
    | PublishKeySet
    | AnnotatePods
    | AwaitConvergence
    | ProbeWhoami
    | ActivateClient
    | RepairClient
    | RemoveClient
    | DropPlaintext
    | RetireVersion
    | SetStatus
    | EmitEvent
)


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
