"""The event: what a client may send, what makes two events the same, and the record that a store gets.

Pure: the clock is a parameter, nothing here does I/O.
"""

from __future__ import annotations

import functools
import hashlib
import os
import re
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Annotated, Any, Literal, get_args

import msgspec
from msgspec import Meta

from sluice import errors, fingerprint
from sluice.errors import InvalidEvent, InvalidReason

EventType = Literal["behavioral", "telemetry", "observability", "error", "performance", "log", "record"]
Priority = Literal["normal", "high"]
Name = Annotated[str, Meta(min_length=1, max_length=255)]
Text = Annotated[str, Meta(max_length=255)]
Timestamp = Annotated[str, Meta(extra_json_schema={"format": "date-time"})]
Int64 = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]

# The rule by which the digest of a record is made. Rule 1, of release 0.1, took numbers, times and defaults as they were written.
RULE = 2
MAX_AHEAD = timedelta(hours=24)
MAX_DEPTH = 64
# A client may write 0001-01-01T00:00+14:00, which is year 0 in UTC: PostgreSQL would store it and Python could not read it back.
EARLIEST = datetime(1, 1, 2, tzinfo=UTC)
# An offset without its colon was always accepted.
HOUR = r"(?:[01]\d|2[0-3])"
RFC_3339 = re.compile(rf"\d{{4}}-\d\d-\d\d[Tt ]{HOUR}:\d\d:\d\d(?:\.\d+)?(?:[Zz]|[+-]{HOUR}:?[0-5]\d)", re.ASCII).fullmatch
TIME_DETAIL = "must be RFC 3339 with an offset, such as 2024-01-15T10:30:00Z"
OBJECT, ARRAY, BACKSLASH = b"{[\\"
# Up to here an integer that a client wrote as a float (1e39) is compared as the integer; beyond, only with other floats.
MAX_INTEGRAL = 1e40


class Event(msgspec.Struct, kw_only=True, omit_defaults=True, forbid_unknown_fields=True, gc=False):
    """One event as a client sends it. A field that is null is the same as absent. (JSON makes no circle: `gc=False` is safe.)"""

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


class Lenient(Event):
    """The same with a sequence number that a client of floats alone writes: 7.0, 1e2."""

    sequence_number: Decimal | None = None  # type: ignore[assignment]


class Record(msgspec.Struct, gc=False):
    """A valid event on its way to a store.

    `event`: the client's own fields, as sent. `timestamp`: theirs in UTC; None: time of receipt. `canonical`: see `contents`.
    `digest`: the SHA-256 of that, by which a duplicate differs from a conflict; `digest_1`: the same by rule 1, for rows that the
    release before wrote or reads. `fingerprint`: of errors only. `accepted`: when it was taken in, where the store gets it later
    (queue mode); else None. `traceparent`: of its request, where that matters later.
    """

    event: Event
    event_id: str
    timestamp: datetime | None
    canonical: bytes
    digest: bytes
    digest_1: bytes
    key_id: str
    fingerprint: str | None = None
    accepted: datetime | None = None
    traceparent: str | None = None


class Rules(msgspec.Struct, frozen=True):
    """The limits that an operator of the service may set."""

    max_event_bytes: int = 256 << 10
    retention_days: int | None = None


class Integral:
    """A number that is an integer and was written as a float: 100.0, 1e2."""

    __slots__ = ("sent",)

    def __init__(self, sent: float) -> None:
        self.sent = sent


def number(text: str) -> float | Integral:
    """A float of free JSON; raises ValueError beyond the range of a double."""
    value = float(text)
    if abs(value) == float("inf"):
        raise ValueError("Number out of range")
    return Integral(value) if value.is_integer() and abs(value) < MAX_INTEGRAL else value


def as_sent(value: Integral) -> float:
    return value.sent


# Without a hook an Integral is a TypeError: nearly every event has none, and then one encoding serves every rule.
encode_plain = msgspec.json.Encoder(order="deterministic").encode
encode_as_sent = msgspec.json.Encoder(order="deterministic", enc_hook=as_sent).encode
encode_by_value = msgspec.json.Encoder(order="deterministic", enc_hook=lambda value: int(Decimal(repr(value.sent)))).encode
decode_instant: Callable[[str], datetime] = msgspec.json.Decoder(Annotated[datetime, Meta(tz=True)]).decode
decode_event = msgspec.json.Decoder(Event, float_hook=number).decode
decode_lenient = msgspec.json.Decoder(Lenient, float_hook=number).decode
A_FLOAT = "Expected `int | null`, got `float` - at `$.sequence_number`"


def parse(data: bytes | msgspec.Raw) -> Event:
    """One JSON object to an Event; raises InvalidEvent. Duplicate names: the last one counts, as in PostgreSQL's jsonb."""
    try:
        try:
            return decode_event(data)
        except msgspec.ValidationError as error:
            if str(error) != A_FLOAT or (found := of_floats(data)) is None:
                raise
            return found
    except errors.NOT_JSON as error:
        raise explain(error, event_id_of(data)) from error


def of_floats(data: bytes | msgspec.Raw) -> Event | None:
    """The event with its sequence number as an integer; None: it is none. Raises ValidationError."""
    event = decode_lenient(data)
    number = event.sequence_number or Decimal()
    if abs(number) > 2**64 or number % 1:
        return None
    return msgspec.convert({**msgspec.structs.asdict(event), "sequence_number": int(number)}, Event)


def prepare(event: Event, *, now: datetime, key_id: str, rules: Rules, new_id: Callable[[], str] | None = None) -> Record:
    """The record of a well-formed event; raises InvalidEvent for what only a look at its values can show."""
    moment, exact = None, True
    if event.timestamp is not None:
        try:
            moment = instant(event.timestamp)
        except ValueError:
            raise invalid(event, TIME_DETAIL, "invalid_value", "/timestamp") from None
        first, last = window(now, rules)
        if moment > last:
            raise invalid(event, "the timestamp is more than 24 hours ahead", "too_far_ahead", "/timestamp")
        if moment < first:
            raise invalid(event, "the timestamp is older than what is kept", "too_old", "/timestamp")
        exact = moment.tzinfo is UTC and not event.timestamp[26:27].isdigit()  # the digit after microseconds
        moment = moment if exact else moment.astimezone(UTC)
    try:
        canonical, by_rule_1 = contents(event, moment, exact)
    except RecursionError as error:  # the decoder stood one call less deep in the stack, and just came through
        raise invalid(event, TOO_DEEP, "too_deep") from error
    if len(canonical) > rules.max_event_bytes:
        raise invalid(event, f"the event has {len(canonical)} bytes; at most {rules.max_event_bytes} are taken", "too_large")
    # No nesting without a bracket: counting them spares nearly every event the walk. First, for what follows recurses.
    # (Numbers of characters are looked for in a quarter of the time of texts.)
    brackets = canonical.count(OBJECT) + (canonical.count(ARRAY) if ARRAY in canonical else 0)
    if brackets > MAX_DEPTH and depth(event) > MAX_DEPTH:
        raise invalid(event, TOO_DEEP, "too_deep")
    # The escape also stands in the innocent text "\\u0000", so its absence proves, its presence only suspects.
    escape = BACKSLASH in canonical and b"\\u0000" in canonical
    if escape and (where := nul_in(msgspec.to_builtins(event, enc_hook=as_sent))) is not None:
        raise invalid(event, "the character U+0000 cannot be stored", "nul_character", where)
    digest = hashlib.sha256(canonical).digest()
    return Record(
        event,
        event.event_id if event.event_id is not None else (new_id or uuid7)(),
        moment,
        canonical,
        digest,
        digest if by_rule_1 is canonical else hashlib.sha256(by_rule_1).digest(),
        key_id,
        fingerprint.of(event.event_name, event.source, event.properties or {}) if event.event_type == "error" else None,
    )


@functools.lru_cache(maxsize=16)
def window(now: datetime, rules: Rules) -> tuple[datetime, datetime]:
    """The first and the last timestamp that an event may have: the same for all of a batch."""
    first = EARLIEST if rules.retention_days is None else max(EARLIEST, now - timedelta(days=rules.retention_days))
    return first, now + MAX_AHEAD


def invalid(event: Event, detail: str, reason: InvalidReason, pointer: str = "") -> InvalidEvent:
    return InvalidEvent(detail, pointer=pointer, reason=reason, event_id=event.event_id)


def instant(text: str) -> datetime:
    """The moment of an RFC 3339 text, in its own offset; digits beyond microseconds are cut. Raises ValueError."""
    # msgspec reads nearly all of them in half the time; it rounds what is finer than microseconds, and knows JSON's escapes.
    if "\\" in text or text[26:27].isdigit():
        return cut_to_microseconds(text)
    try:
        return decode_instant(f'"{text}"')
    except msgspec.DecodeError:
        return cut_to_microseconds(text)


def cut_to_microseconds(text: str) -> datetime:
    if RFC_3339(text) is None:
        raise ValueError(TIME_DETAIL)
    if not is_leap_second(text):
        return datetime.fromisoformat(text.upper())
    # A leap second (RFC 3339 section 5.7) is the last moment before midnight: Python has no other.
    moment = datetime.fromisoformat(f"{text[:17]}59{text[19:]}".upper())
    midnight = timedelta(hours=moment.hour, minutes=moment.minute + 1) - (moment.utcoffset() or timedelta())
    if midnight % timedelta(days=1):
        raise ValueError(TIME_DETAIL)
    return moment.replace(microsecond=999_999)


def is_leap_second(text: str) -> bool:
    """Of an RFC 3339 text."""
    return text[17:19] == "60"


def contents(event: Event, moment: datetime | None, exact: bool) -> tuple[bytes, bytes]:
    """What makes two events the same, as canonical JSON: by today's rule, and by rule 1.

    Equal are: numbers of one value, one instant under two offsets, a default that is given and one that is not, null and absent.
    Before any default is filled in, so a retry without a timestamp is the same content. `exact`: `moment` is as it was sent.
    """
    content = msgspec.structs.replace(event, timestamp=moment)
    if spelled_out := event.properties == {} or event.device_info == {} or event.priority == "normal":
        content.properties, content.device_info = event.properties or None, event.device_info or None
        content.priority = None if event.priority == "normal" else event.priority
    try:
        canonical = encode_plain(content)
        if exact and not spelled_out:
            return canonical, canonical
    except TypeError:
        canonical = encode_by_value(content)
    # Rule 1 rounded what is finer than microseconds, and kept the offset. It knew no leap second.
    is_known = event.timestamp is not None and not is_leap_second(event.timestamp)
    sent = msgspec.convert(event.timestamp, datetime) if is_known else moment
    return canonical, encode_as_sent(msgspec.structs.replace(event, timestamp=sent))


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


TOO_DEEP = f"nested deeper than {MAX_DEPTH} levels"
# msgspec says so of a surrogate before the end of a text too.
TRUNCATED = "Input data was truncated"
MISSING = re.compile(r"^Object missing required field `(.*?)`(?: - at `(.*)`)?$", re.DOTALL)
UNKNOWN = re.compile(r"^Object contains unknown field `(.*?)`(?: - at `(.*)`)?$", re.DOTALL)
NO_CHOICE = re.compile(r"^Invalid enum value '.*'(?: - at `\$\.(event_type|priority)`)$", re.DOTALL)
AT = re.compile(r"^(.*) - at `(.*)`$", re.DOTALL)
CHOICES = {"event_type": get_args(EventType), "priority": get_args(Priority)}


def explain(error: Exception, event_id: str | None = None) -> InvalidEvent:
    """What msgspec says, as a detail and a pointer."""
    text, pointer = str(error), ""
    reason: InvalidReason = "invalid_value" if isinstance(error, msgspec.ValidationError) else "invalid_json"
    if isinstance(error, RecursionError):
        text, reason = TOO_DEEP, "too_deep"
    elif isinstance(error, UnicodeDecodeError):
        text, reason = "the text is not UTF-8", "not_utf8"
    elif text == TRUNCATED:
        text = "the JSON ends too early, or a text in it ends with half a surrogate pair, such as \\ud83d"
    elif match := MISSING.match(text):
        text, pointer, reason = "this field is required", f"/{escaped(match[1])}", "missing_field"
    elif match := UNKNOWN.match(text):
        text = "no such field; put values of your own under properties (POST /log takes any object)"
        pointer, reason = f"/{escaped(match[1])}", "unknown_field"
    elif match := NO_CHOICE.match(text):
        # msgspec repeats what the client sent, and does not say what it may send.
        text, pointer = f"must be one of {', '.join(CHOICES[match[1]])}", f"/{match[1]}"
    elif match := AT.match(text):
        # `$.properties[...].a[0]` is `/properties/*/a/0`: msgspec does not give the name of a free key.
        parts = re.findall(r"\.([^.\[]+)|\[([^\]]*)\]", match[2])
        text, pointer = match[1], "".join(f"/{escaped(name or ('*' if index == '...' else index))}" for name, index in parts)
    return InvalidEvent(text, pointer=pointer, reason=reason, event_id=event_id)


class OnlyId(msgspec.Struct):
    event_id: str | None = None


decode_only_id = msgspec.json.Decoder(OnlyId).decode


def event_id_of(data: bytes | msgspec.Raw) -> str | None:
    """The id of an event that is not valid, so that its sender can find it; None when there is none worth repeating."""
    try:
        event_id = decode_only_id(data).event_id
    except errors.NOT_JSON:
        return None
    return event_id if event_id is not None and len(event_id) <= 255 else None


def uuid7(now_ms: int | None = None, random: Callable[[int], bytes] = os.urandom) -> str:
    """A UUID of version 7 (RFC 9562 section 5.7): ids that are made later sort later, which keeps the index on them local."""
    milliseconds = int(datetime.now(UTC).timestamp() * 1000) if now_ms is None else now_ms
    value = (milliseconds & (1 << 48) - 1) << 80 | int.from_bytes(random(10), "big")
    value = value & ~(0xF000 << 64) | 0x7000 << 64
    value = value & ~(0xC000 << 48) | 0x8000 << 48
    return str(uuid.UUID(int=value))
