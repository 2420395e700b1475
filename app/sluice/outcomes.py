"""What became of each event of a request."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, TypedDict

import msgspec

from sluice import events

Status = Literal["created", "duplicate", "conflict", "invalid", "failed"]
STATUSES: tuple[Status, ...] = ("created", "duplicate", "conflict", "invalid", "failed")


class Outcome(msgspec.Struct, gc=False):
    """One event's end. `id` is known for created and duplicate; `retryable` says whether the same event may work later."""

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


def invalid(problem: events.Invalid) -> Outcome:
    return Outcome(
        "invalid",
        problem.event_id,
        error="validation_error",
        reason=problem.reason,
        pointer=problem.pointer,
        detail=problem.detail,
    )


def refused_by_store(event_id: str) -> Outcome:
    """The database itself would not hold it: a gap in our checks, and to the client still an event that can not be stored."""
    return Outcome(
        "invalid",
        event_id,
        error="validation_error",
        reason="refused_by_store",
        detail="the database can not hold this content",
    )


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


def count(outcomes: Iterable[Outcome]) -> Counts:
    counts = Counts(created=0, duplicate=0, conflict=0, invalid=0, failed=0)
    for outcome in outcomes:
        counts[outcome.status] += 1
    return counts
