"""The event: what a client may send, what makes two events the same, and the record that a store gets.

Pure: the clock is a parameter, nothing here does I/O.
"""

from __future__ import annotations

import hashlib
import os
import re
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal, get_args

import msgspec
from msgspec import Meta

from sluice import fingerprint
from sluice.errors import InvalidEvent

EventType = Literal["behavioral", "telemetry", "observability", "error", "performance", "log", "record"]
Priority = Literal["normal", "high"]
Name = Annotated[str, Meta(min_length=1, max_length=255)]
Text = Annotated[str, Meta(max_length=255)]
Timestamp = Annotated[datetime, Meta(tz=True)]
Int64 = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]

MAX_AHEAD = timedelta(hours=24)
MAX_DEPTH = 64
# A client may write 0001-01-01T00:00+14:00, which is year 0 in UTC: PostgreSQL would store it and Python could not read it back.
EARLIEST = datetime(1, 1, 2, tzinfo=UTC)


class Event(msgspec.Struct, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """One event as a client sends it. A field that is null is the same as absent."""

    event_type: EventType
    event_name: Name
    event_id: Name | None = None
    timestamp: Timestamp | None = None
    properties: dict[str, Any] | None = None
    device_info: dict[str, Any] | None = None
    user_id: Text | None = None
    session_id: Text | None = None
    app_version: Text | None = None
    source: Text | None = None
    sequence_number: Int64 | None = None
    priority: Priority | None = None


class Record(msgspec.Struct, gc=False):
    """A valid event on its way to a store.

    `event`: the client's own fields. `canonical`: their canonical JSON, before any default is filled in. `digest`: the SHA-256 of
    that in hex, by which a duplicate differs from a conflict. `fingerprint`: of errors only.
    """

    event: Event
    event_id: str
    canonical: bytes
    digest: str
    key_id: str
    fingerprint: str | None = None


class Rules(msgspec.Struct, frozen=True):
    """The limits that an operator of the service may set."""

    max_event_bytes: int = 256 << 10
    retention_days: int | None = None


encode_canonical = msgspec.json.Encoder(order="deterministic").encode
decode_event = msgspec.json.Decoder(Event).decode


def parse(data: bytes | msgspec.Raw) -> Event:
    """One JSON object to an Event; raises InvalidEvent. Duplicate names: the last one counts, as in PostgreSQL's jsonb."""
    try:
        return decode_event(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise explain(error, event_id_of(data)) from error


def prepare(event: Event, *, now: datetime, key_id: str, rules: Rules, new_id: Callable[[], str] | None = None) -> Record:
    """The record of a well-formed event; raises InvalidEvent for what only a look at its values can show.

    The digest is made before any default is filled in, so a retry without a timestamp is the same content.
    """
    try:
        canonical = encode_canonical(event)
    except RecursionError as error:  # the decoder stood one call less deep in the stack, and just came through
        raise too_deep(event) from error
    check(event, canonical, now, rules)
    event_id = event.event_id if event.event_id is not None else (new_id or uuid7)()
    group = fingerprint.of(event.event_name, event.source, event.properties or {}) if event.event_type == "error" else None
    return Record(event, event_id, canonical, hashlib.sha256(canonical).hexdigest(), key_id, group)


def check(event: Event, canonical: bytes, now: datetime, rules: Rules) -> None:
    """Raise InvalidEvent when `event` breaks a rule that its type does not say."""
    if len(canonical) > rules.max_event_bytes:
        raise invalid(
            event,
            f"the event has {len(canonical)} bytes; at most {rules.max_event_bytes} are taken",
            reason="too_large",
        )
    # No nesting without a bracket: counting them spares nearly every event the walk. First, for what follows recurses.
    if canonical.count(b"{") + canonical.count(b"[") > MAX_DEPTH and depth(event) > MAX_DEPTH:
        raise too_deep(event)
    # The escape also stands in the innocent text "\\u0000", so its absence proves, its presence only suspects.
    if b"\\u0000" in canonical and (where := nul_in(msgspec.to_builtins(event))) is not None:
        raise invalid(event, "the character U+0000 cannot be stored", pointer=where, reason="nul_character")
    if event.timestamp is not None:
        check_time(event, event.timestamp, now, rules)


def check_time(event: Event, timestamp: datetime, now: datetime, rules: Rules) -> None:
    if timestamp > now + MAX_AHEAD:
        raise invalid(event, "the timestamp is more than 24 hours ahead", pointer="/timestamp", reason="too_far_ahead")
    oldest = EARLIEST if rules.retention_days is None else max(EARLIEST, now - timedelta(days=rules.retention_days))
    if timestamp < oldest:
        raise invalid(event, "the timestamp is older than what is kept", pointer="/timestamp", reason="too_old")


def invalid(event: Event, detail: str, *, pointer: str = "", reason: str) -> InvalidEvent:
    return InvalidEvent(detail, pointer=pointer, reason=reason, event_id=event.event_id)


def too_deep(event: Event) -> InvalidEvent:
    return invalid(event, f"nested deeper than {MAX_DEPTH} levels", reason="too_deep")


def depth(event: Event) -> int:
    """How many objects and arrays stand inside each other, the event itself counted."""
    level: list[Any] = [event.properties, event.device_info]
    deepest = 1
    while containers := [item for item in level if isinstance(item, dict | list)]:
        deepest += 1
        level = [child for item in containers for _, child in children(item)]
    return deepest


def nul_in(value: Any) -> str | None:
    """The JSON pointer of the first string that holds U+0000, or of the object with such a name; None without."""
    if isinstance(value, str):
        return "" if "\0" in value else None
    for name, child in children(value):
        if isinstance(name, str) and "\0" in name:
            return ""
        # Written on the way back: on the way down a long name would be copied for every child it has.
        if (found := nul_in(child)) is not None:
            return f"/{escaped(name)}{found}"
    return None


def children(value: Any) -> Iterator[tuple[Any, Any]]:
    if isinstance(value, dict):
        yield from value.items()
    elif isinstance(value, list):
        yield from enumerate(value)


def escaped(name: object) -> str:
    """A name as it stands in a JSON pointer (RFC 6901 section 3)."""
    return str(name).replace("~", "~0").replace("/", "~1")


MISSING = re.compile(r"^Object missing required field `(.*?)`(?: - at `(.*)`)?$", re.DOTALL)
UNKNOWN = re.compile(r"^Object contains unknown field `(.*?)`(?: - at `(.*)`)?$", re.DOTALL)
NO_CHOICE = re.compile(r"^Invalid enum value '.*'(?: - at `\$\.(event_type|priority)`)$", re.DOTALL)
AT = re.compile(r"^(.*) - at `(.*)`$", re.DOTALL)
CHOICES = {"event_type": get_args(EventType), "priority": get_args(Priority)}


def explain(error: Exception, event_id: str | None = None) -> InvalidEvent:
    """What msgspec says, as a detail and a pointer."""
    text = str(error)
    if isinstance(error, RecursionError):
        return InvalidEvent(f"nested deeper than {MAX_DEPTH} levels", reason="too_deep", event_id=event_id)
    if isinstance(error, UnicodeDecodeError):
        return InvalidEvent("the text is not UTF-8", reason="not_utf8", event_id=event_id)
    if match := MISSING.match(text):
        return InvalidEvent("this field is required", pointer=f"/{escaped(match[1])}", reason="missing_field", event_id=event_id)
    if match := UNKNOWN.match(text):
        detail = "no such field; put values of your own under properties"
        return InvalidEvent(detail, pointer=f"/{escaped(match[1])}", reason="unknown_field", event_id=event_id)
    if match := NO_CHOICE.match(text):
        # msgspec repeats what the client sent, and does not tell what it may send.
        detail = f"must be one of {', '.join(CHOICES[match[1]])}"
        return InvalidEvent(detail, pointer=f"/{match[1]}", event_id=event_id)
    match = AT.match(text)
    detail, pointer = (match[1], pointer_of(match[2])) if match else (text, "")
    reason = "invalid_value" if isinstance(error, msgspec.ValidationError) else "invalid_json"
    return InvalidEvent(detail, pointer=pointer, reason=reason, event_id=event_id)


def pointer_of(path: str) -> str:
    """msgspec's `$.properties[...].a[0]` as the JSON pointer `/properties/*/a/0` (it does not tell the name of a free key)."""
    parts = re.findall(r"\.([^.\[]+)|\[([^\]]*)\]", path)
    return "".join(f"/{escaped(name or ('*' if index == '...' else index))}" for name, index in parts)


class OnlyId(msgspec.Struct):
    event_id: str | None = None


decode_only_id = msgspec.json.Decoder(OnlyId).decode


def event_id_of(data: bytes | msgspec.Raw) -> str | None:
    """The id of an event that is not valid, so that its sender can find it; None when there is none worth repeating."""
    try:
        event_id = decode_only_id(data).event_id
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return event_id if event_id is not None and len(event_id) <= 255 else None


def uuid7(now_ms: int | None = None, random: Callable[[int], bytes] = os.urandom) -> str:
    """A UUID of version 7 (RFC 9562 section 5.7): ids that are made later sort later, which keeps the index on them local."""
    milliseconds = int(datetime.now(UTC).timestamp() * 1000) if now_ms is None else now_ms
    value = (milliseconds & (1 << 48) - 1) << 80 | int.from_bytes(random(10), "big")
    value = value & ~(0xF000 << 64) | 0x7000 << 64
    value = value & ~(0xC000 << 48) | 0x8000 << 48
    return str(uuid.UUID(int=value))
