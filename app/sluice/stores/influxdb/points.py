"""A record as a point, and a point as a log. Pure.

logs    one point an event. Tags: `event_key` (made of the event_id), `event_type`, `service`, `endpoint`. Fields, all of them
        strings: `sluice_event`, and of error reports `error` and `traceback`, as seed 000 wrote them.
sluice  what was accepted when, for pages: a point for each call of `insert` and time of acceptance, in one series a process. Its
        field `batch` names the events of that call. It is written before them, so it may name some that are not there, or that
        were taken in by another call: an event counts where `entry` in its own point says so, and so once.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from sluice.events import Record
from sluice.filters import DOCUMENTS
from sluice.stores import matching

EVENTS, BATCHES, META = "logs", "sluice", "sluice_meta"
# A name that nobody else gives a field of `logs`: where one shard has a number under it, no query over several finds a text.
EVENT = "sluice_event"
# How many events one point of BATCHES names: an InfluxDB takes strings of 64 KB everywhere.
NAMED = 500
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
DAY_NS, MINUTE_NS = 86_400 * 10**9, 60 * 10**9
# The times that InfluxDB knows, in nanoseconds.
FIRST_NS, LAST_NS = -(2**63) + 2, 2**63 - 2
UUID7 = 7


class Stored(msgspec.Struct, frozen=True):
    """The field EVENT: the log as it is shown, by which call it was taken in, and what makes it a duplicate."""

    digest: bytes
    entry: str
    log: msgspec.Raw


class Dates(msgspec.Struct, frozen=True):
    """Of a log, what decides whether and where it is shown; the texts compare as times do."""

    event_id: str
    timestamp: str
    created_at: str


class Batch(msgspec.Struct, frozen=True):
    """The field `batch`: (event_key, time of the point) of each event, in the order of the request."""

    entry: str
    events: list[tuple[str, int]]


class New(msgspec.Struct):
    """A record that is not stored yet. `time`: of its point, in nanoseconds; `entry`: of the Batch that names it."""

    record: Record
    key: str
    created_at: datetime
    time: int
    entry: str = ""


decode_stored = msgspec.json.Decoder(Stored).decode
decode_batch = msgspec.json.Decoder(Batch).decode
decode_dates = msgspec.json.Decoder(Dates).decode
decode_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
decode_any = msgspec.json.decode


def key_of(event_id: str) -> str:
    """The tag of an event: no text of a client is ever escaped for a tag by which we look, or compared there."""
    return hashlib.sha256(event_id.encode()).hexdigest()[:32]


def may_be_there(record: Record) -> bool:
    """False for an id that the service gave the event just now, which not even a repetition of the call stores twice."""
    return record.event.event_id is not None or record.accepted is not None


def nanoseconds(moment: datetime) -> int:
    return (moment - EPOCH) // timedelta(microseconds=1) * 1_000


def new(record: Record, at: datetime) -> New:
    created_at = record.accepted or at
    return New(record, key_of(record.event_id), created_at, time_of(record, created_at))


def time_of(record: Record, created_at: datetime) -> int:
    """The same for the same event, whenever it comes: its own timestamp, else the time in its id (every id that the service
    gives has one), else the minute of its receipt, at whose turn two processes that race may choose two."""
    if record.timestamp is not None:
        return nanoseconds(record.timestamp)
    received = nanoseconds(created_at)
    found = time_in(record.event_id)
    if found is not None and abs(found - received) < DAY_NS:
        return found
    return received // MINUTE_NS * MINUTE_NS


def time_in(event_id: str) -> int | None:
    """The milliseconds of a UUID of version 7, in nanoseconds."""
    try:
        found = uuid.UUID(event_id)
    except ValueError:
        return None
    return (found.int >> 80) * 10**6 if found.version == UUID7 else None


def batches(several: Iterable[New], process: str, numbers: Iterator[int]) -> Iterator[Batch]:
    """What names these events, one point for each time of acceptance; sets their `entry`, which sorts as those times do.

    `numbers` tells the calls of one process at one microsecond apart.
    """
    accepted: dict[datetime, list[New]] = {}
    for each in several:
        accepted.setdefault(each.created_at, []).append(each)
    for created_at, events in accepted.items():
        for first in range(0, len(events), NAMED):
            named = events[first : first + NAMED]
            entry = f"{nanoseconds(created_at) + next(numbers) % 1_000:020}-{process}"
            for each in named:
                each.entry = entry
            yield Batch(entry, [(each.key, each.time) for each in named])


def time_of_entry(entry: str) -> int:
    return int(entry[:20])


def batch_line(batch: Batch) -> str:
    time, _, process = batch.entry.partition("-")
    return line(BATCHES, {"process": process}, {"batch": msgspec.json.encode(batch).decode()}, int(time))


def event_line(event: New, now: datetime) -> str:
    record = event.record
    log = matching.encoded(matching.log_of(record, event.created_at, now))
    stored = Stored(matching.digest_of(record), event.entry, msgspec.Raw(log))
    properties = record.event.properties or {}
    tags = {"event_key": event.key, "event_type": record.event.event_type, "service": record.event.source}
    fields = {EVENT: msgspec.json.encode(stored).decode()}
    if record.event.event_type == "error" and all(isinstance(properties.get(name), str) for name in REPORT):
        tags["endpoint"] = record.event.event_name
        fields |= {name: properties[name] for name in ("error", "traceback")}
    return line(EVENTS, tags, fields, event.time)


# What an error report of seed 000 has.
REPORT = ("service", "endpoint", "error", "traceback")


def line(measurement: str, tags: dict[str, str | None], fields: dict[str, str], time: int) -> str:
    """Line protocol. A tag that is empty is none."""
    head = "".join(f",{name}={in_tag(value)}" for name, value in tags.items() if value)
    texts = ",".join(f'{name}="{quoted(text)}"' for name, text in fields.items())
    return f"{measurement}{head} {texts} {time}"


# A line end cannot be written in a tag, and is a space there. (The client's own Point takes 90 us for a text of 500 characters,
# and this 7.)
TAG = {**dict.fromkeys([*range(33), 127], r"\ "), ord(","): r"\,", ord("="): r"\="}


def in_tag(text: str) -> str:
    """A backslash means itself, but at the end, where it gets a space behind it."""
    return text.translate(TAG) + (r"\ " if text.endswith("\\") else "")


def quoted(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"")


def log_of(stored: Stored) -> dict[str, Any]:
    """As matching.holds looks at it."""
    values = decode_fields(stored.log)
    return {name: bytes(value).decode() if name in DOCUMENTS else decode_any(value) for name, value in values.items()}


def shown(found: Sequence[str], oldest: str | None) -> dict[str, Stored]:
    """event_key -> the event, of the fields EVENT that were found, without those older than `oldest`.

    Of two points of one event, which only writers that raced can leave, the one that was accepted first.
    """
    chosen: dict[str, tuple[tuple[str, str], Stored]] = {}
    for text in found:
        stored = decode_stored(text)
        dates = decode_dates(stored.log)
        if oldest is not None and dates.timestamp <= oldest:
            continue
        key, rank = key_of(dates.event_id), (dates.created_at, stored.entry)
        if key not in chosen or rank < chosen[key][0]:
            chosen[key] = rank, stored
    return {key: stored for key, (_, stored) in chosen.items()}
