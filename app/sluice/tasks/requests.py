"""What a client may ask of tasks: bodies, query parameters and If-Match. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import UNSET, Meta, UnsetType

from sluice import cursors, errors, events, filters
from sluice.env import one_of, whole
from sluice.errors import InvalidEvent
from sluice.events import Name, Timestamp
from sluice.parsing import batches

T = TypeVar("T", bound="NewTask | Change")
Status = Literal["pending", "completed"]
Priority = Annotated[str, Meta(min_length=1, max_length=32)]
MAX_LIMIT = 1_000
# A time zone's offset must not lead out of the calendar, neither here nor in PostgreSQL.
LATEST = datetime(9999, 12, 30, tzinfo=UTC)
# RFC 9110 section 8.8.3; a list of them may have empty elements (section 5.6.1).
ETAG = r'(?:W/)?"[\x21\x23-\x7e\x80-\xff]*"'
ETAGS = re.compile(rf"[ \t,]*{ETAG}(?:[ \t]*,[ \t,]*{ETAG})*[ \t,]*")


class NewTask(msgspec.Struct, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """A task as a client makes it; null is the same as absent."""

    title: Name
    priority: Priority
    due_at: Timestamp | None = None
    event_id: Name | None = None
    fingerprint: Name | None = None


class Change(msgspec.Struct, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """A JSON Merge Patch (RFC 7396) of a task: what is absent stays, null removes."""

    title: Name | UnsetType = UNSET
    priority: Priority | UnsetType = UNSET
    due_at: Timestamp | UnsetType | None = UNSET
    event_id: Name | UnsetType | None = UNSET
    fingerprint: Name | UnsetType | None = UNSET


class Query(msgspec.Struct, frozen=True):
    """Which tasks are listed: None is any."""

    status: Status | None = None
    priority: str | None = None
    event_id: str | None = None
    fingerprint: str | None = None
    limit: int = 100
    cursor: str | None = None


decode_new = msgspec.json.Decoder(NewTask).decode
decode_change = msgspec.json.Decoder(Change).decode


def new_task(body: bytes) -> dict[str, Any]:
    """The columns of a new task; raises BadRequest."""
    return columns(body, decode_new)


def change(body: bytes) -> dict[str, Any]:
    """The columns that a change sets; raises BadRequest."""
    return columns(body, decode_change)


def columns(body: bytes, decode: Callable[[bytes], T]) -> dict[str, Any]:
    try:
        asked = decode(body)
    except errors.NOT_JSON as error:
        problem = events.explain(error)
        if problem.reason == "unknown_field":
            named = ", ".join(NewTask.__struct_fields__)
            problem = InvalidEvent(f"no such field; a task has {named}", pointer=problem.pointer, reason=problem.reason)
        raise batches.refused(body, problem) from error
    found: dict[str, Any] = {name: value for name in asked.__struct_fields__ if (value := getattr(asked, name)) is not UNSET}
    for name, value in found.items():
        if value is not None and "\0" in value:
            raise batches.refused(body, InvalidEvent(filters.NUL, pointer=f"/{name}", reason="nul_character"))
    if found.get("due_at") is not None:
        try:
            found["due_at"] = moment(found["due_at"])
        except InvalidEvent as problem:
            raise batches.refused(body, problem) from None
    return found


def moment(text: str) -> datetime:
    """In UTC; raises InvalidEvent for what is no RFC 3339, or at the very ends of the calendar."""
    try:
        found = events.instant(text)
    except ValueError:
        raise InvalidEvent(events.TIME_DETAIL, pointer="/due_at") from None
    if not events.EARLIEST <= found <= LATEST:
        raise InvalidEvent("must be from 0001-01-02 to 9999-12-30; leave it out for never", pointer="/due_at")
    return found.astimezone(UTC)


def etags(if_match: str | None) -> frozenset[str] | None:
    """The ETags that If-Match names, None for any (`*`, or no such header); raises BadRequest. A weak one never matches."""
    if if_match is None or if_match.strip(" \t") == "*":
        return None
    if ETAGS.fullmatch(if_match) is None:
        raise errors.BadRequest('If-Match takes ETags in double quotes, such as "3", or *', error="invalid_if_match")
    return frozenset(re.findall(ETAG, if_match))


def query(parameters: Iterable[tuple[str, str]]) -> Query:
    """Query parameters to a Query; raises BadRequest with every problem."""
    return Query(**filters.values(parameters, PARAMETERS))


PARAMETERS: dict[str, Callable[[str], Any]] = {
    "status": one_of("pending", "completed"),
    "priority": str,
    "event_id": str,
    "fingerprint": str,
    "limit": whole(1, MAX_LIMIT),
    "cursor": cursors.given,
}
