"""What became of each event of a request."""

from __future__ import annotations

import operator
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Literal, TypedDict, cast, get_args

import msgspec

from sluice.errors import InvalidEvent

Status = Literal["created", "duplicate", "conflict", "invalid", "failed", "queued"]
STATUSES: tuple[Status, ...] = get_args(Status)


class Outcome(msgspec.Struct, gc=False, omit_defaults=True):
    """What became of one event. `id` is known for created and duplicate; `retryable`: the same event may work later."""

    status: Status
    event_id: str | None = None
    id: int | None = None
    error: str | None = None
    reason: str | None = None
    pointer: str | None = None
    detail: str | None = None
    retryable: bool = False


def created(event_id: str, id: int) -> Outcome:
    return Outcome("created", event_id, id)


def duplicate(event_id: str, id: int) -> Outcome:
    return Outcome("duplicate", event_id, id)


def conflict(event_id: str) -> Outcome:
    return Outcome(
        "conflict",
        event_id,
        error="duplicate_event",
        reason="other_content",
        detail="this event_id is stored with other content",
    )


def invalid(problem: InvalidEvent) -> Outcome:
    return Outcome(
        "invalid",
        problem.event_id,
        error="validation_error",
        reason=problem.reason,
        pointer=problem.pointer,
        detail=problem.detail,
    )


def refused_by_store(event_id: str, pointer: str) -> Outcome:
    """The database itself would not hold it: a gap in our checks, and to the client still an event that cannot be stored."""
    detail = "the database cannot hold this content"
    return invalid(InvalidEvent(detail, pointer=pointer, reason="refused_by_store", event_id=event_id))


def failed(event_id: str | None, reason: str) -> Outcome:
    return Outcome("failed", event_id, error="database_error", reason=reason, detail="not stored; send it again", retryable=True)


def rolled_back(event_id: str | None) -> Outcome:
    """A good event of an atomic batch that another event spoilt."""
    return Outcome(
        "failed",
        event_id,
        error="validation_error",
        reason="atomic",
        detail="not stored: another event of this batch was refused",
    )


class Counts(TypedDict):
    """How many of each status."""

    created: int
    duplicate: int
    conflict: int
    invalid: int
    failed: int
    queued: int


def count(outcomes: Iterable[Outcome]) -> Counts:
    # Counted by C: a batch of a thousand passes here twice.
    found = Counter(map(operator.attrgetter("status"), outcomes))
    return cast(Counts, {status: found[status] for status in STATUSES})


def merged(found: Sequence[Outcome | None], of_records: Sequence[Outcome]) -> list[Outcome]:
    """The outcomes of all items in order: `of_records` fill the places that are still None."""
    rest = iter(of_records)
    return [outcome or next(rest) for outcome in found]
