"""The InfluxDB store: looked up before it is written, read by way of what was accepted when."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta

import msgspec

from sluice import errors
from sluice.events import Record
from sluice.filters import Filter, Match
from sluice.outcomes import Outcome
from sluice.settings import Settings
from sluice.stores import RETENTION_GRACE, Capability, Page, matching, walked
from sluice.stores.influxdb import points
from sluice.stores.influxdb.bucket import MAX_LINES_BYTES, Bucket, Deadline, OneOf, Value
from sluice.stores.influxdb.points import Batch, New, Stored
from sluice.stores.stored import EachForItself, Result, judged
from sluice.stores.stored import Stored as Held

VERSION = 1
# No retention of a bucket reaches what lies in the future.
META_NS = points.nanoseconds(datetime(2200, 1, 1, tzinfo=UTC))
# Ids that one query asks for: with fewer each costs more, and from some hundred on those that are there do.
ASKED = 250
# Events that one page looks at, in at most this part of the deadline; what is beyond is behind its cursor.
LOOKED_AT, LOOKING = 2_000, 0.5
# Of the times of acceptance that one query reads: grows as long as it finds little.
FIRST_SPAN_NS, SPAN_GROWTH = 10**9, 8
RANGE = (
    "from(bucket: bucket) |> range(start: time(v: start), stop: time(v: stop)) |> filter(fn: (r) => r._measurement == measurement"
)
VALUES = '|> group() |> keep(columns: ["_value"])'


class Meta(msgspec.Struct, frozen=True):
    """What the bucket says of itself; `secret`: what cursors are signed with."""

    version: int
    secret: bytes


class InfluxdbStore(EachForItself):
    """Implements stores.Store."""

    capabilities: frozenset[Capability] = frozenset(("export", "filters"))

    def __init__(self, settings: Settings, deadline: float, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._bucket = Bucket(settings, settings.threads + 4)
        self._retention = None if settings.retention_days is None else timedelta(days=settings.retention_days) + RETENTION_GRACE
        self._seconds, self._clock = deadline, clock
        self._process, self._numbers = os.urandom(5).hex(), itertools.count()
        self._known: Meta | None = None

    def check(self) -> None:
        self._meta()

    def close(self) -> None:
        self._bucket.close()

    def insert(self, records: Sequence[Record], at: datetime) -> list[Outcome]:
        """What is not there is written. Of two processes that write one event at once the last one wins."""
        first: dict[str, int] = {}
        for place, record in enumerate(records):
            first.setdefault(record.event_id, place)
        asked = {each.key: each for each in (points.new(records[place], at) for place in first.values())}
        deadline = Deadline(self._seconds)
        looked = [key for key, each in asked.items() if points.may_be_there(each.record)]
        before = self._find(looked, points.FIRST_NS, points.LAST_NS, deadline)
        missing = [each for each in asked.values() if each.key not in before]
        refused = self._add(missing, deadline) if missing else set()
        of_id: dict[str, Result] = {}
        for key, each in asked.items():
            there = before[key].digest if key in before else matching.digest_of(each.record)
            of_id[each.record.event_id] = errors.RecordsRefused() if key in refused else Held(key not in before, there)
        return judged(records, first, of_id)

    def get(self, event_id: str) -> msgspec.Raw | None:
        key = points.key_of(event_id)
        found = self._find([key], points.FIRST_NS, points.LAST_NS, Deadline(self._seconds)).get(key)
        return found.log if found is not None else None

    def page(self, query: Filter) -> Page:
        until = Deadline(self._seconds * LOOKING)
        return walked.page_of(
            query,
            self.cursor_secret,
            lambda after: self._shown(query, after, query.page_size + 1),
            lambda number: number == LOOKED_AT or until.left <= 0,
        )

    def export(self, query: Filter) -> Iterator[bytes]:
        return walked.lines_of(self._shown(msgspec.structs.replace(query, descending=False), None, walked.EXPORT_ROWS))

    def purge(self, before: datetime, claims_before: datetime, limit: int) -> tuple[int, int]:
        """The bucket removes what is older than its own retention; until then no read shows it."""
        return 0, 0

    @property
    def cursor_secret(self) -> bytes:
        return (self._known or self._meta()).secret

    def _meta(self) -> Meta:
        found = meta_of(self._bucket, Deadline(self._seconds))
        if found is None or found.version < VERSION:
            raise errors.StoreUnavailable("schema_behind")
        self._known = found
        return found

    def _oldest(self) -> str | None:
        return None if self._retention is None else matching.stamp(self._clock() - self._retention)

    def _find(self, keys: Sequence[str], start: int, stop: int, deadline: Deadline) -> dict[str, Stored]:
        """What is stored under these keys, at any time from `start` to `stop` in nanoseconds."""
        found: list[str] = []
        for first in range(0, len(keys), ASKED):
            asked = OneOf("event_key", keys[first : first + ASKED])
            flux = f'{RANGE} and r._field == "{points.EVENT}") |> filter(fn: asked) {VALUES}'
            given: dict[str, Value] = {"measurement": points.EVENTS, "start": start, "stop": stop, "asked": asked}
            found += self._bucket.query(flux, given, deadline)
        return points.shown(found, self._oldest())

    def _add(self, missing: list[New], deadline: Deadline) -> set[str]:
        """Write events and, before them, what names them for pages; the keys of those that InfluxDB refuses."""
        wrong = {each.key for each in missing if not points.FIRST_NS <= each.time <= points.LAST_NS}
        good = [each for each in missing if each.key not in wrong]
        if not good:
            return wrong
        now = self._clock()
        try:
            self._bucket.write([points.batch_line(each) for each in points.batches(good, self._process, self._numbers)], deadline)
        except errors.RecordsRefused as error:  # they hold nothing of a client: so it is not the events
            raise errors.StoreUnavailable("database_error") from error
        for some in in_pieces([(each, points.event_line(each, now)) for each in good]):
            wrong |= self._write(some, deadline)
        return wrong

    def _write(self, some: list[tuple[New, str]], deadline: Deadline) -> set[str]:
        """A server that refuses some points writes the others, or none: what it left out is tried again, at last one by one."""
        try:
            self._bucket.write([line for _, line in some], deadline)
        except errors.RecordsRefused:
            if len(some) == 1:
                return {some[0][0].key}
            there = self._find([each.key for each, _ in some], points.FIRST_NS, points.LAST_NS, deadline)
            left = [(each, line) for each, line in some if each.key not in there]
            if len(left) < len(some):
                return self._write(left, deadline) if left else set()
            half = len(left) // 2
            return self._write(left[:half], deadline) | self._write(left[half:], deadline)
        return set()

    def _shown(self, query: Filter, after: str | None, ahead: int) -> walked.Walk:
        """What fulfils `query`."""
        for place, stored in self._walk(query, after, ahead):
            yield place, stored.log if matches(stored, query.matches) else None

    def _walk(self, query: Filter, after: str | None, ahead: int) -> Iterator[tuple[str, Stored]]:
        """Places and events that may fulfil `query`, in order, from behind the place `after`. They still have to be looked at."""
        for match in query.matches:
            if match.column == "event_id":
                key = points.key_of(str(match.value))
                found = self._find([key], points.FIRST_NS, points.LAST_NS, Deadline(self._seconds)) if after is None else {}
                yield from ((stored.entry, stored) for stored in found.values())
                return
        named = self._named(query, after)
        while some := list(itertools.islice(named, ahead)):
            times = [time for _, _, time in some]
            there = self._find([key for _, key, _ in some], min(times), max(times) + 1, Deadline(self._seconds))
            for place, key, _ in some:
                if key in there and place.startswith(there[key].entry):
                    yield place, there[key]

    def _named(self, query: Filter, after: str | None) -> Iterator[tuple[str, str, int]]:
        """(place, event_key, time of its point) of what was accepted, in order, from behind `after`."""
        for batch in self._batches(query, after):
            several = [(f"{batch.entry}-{number:05}", key, time) for number, (key, time) in enumerate(batch.events)]
            for each in reversed(several) if query.descending else several:
                if after is None or (each[0] < after if query.descending else each[0] > after):
                    yield each

    def _batches(self, query: Filter, after: str | None) -> Iterator[Batch]:
        """In order of acceptance; read span by span, each begun where there is something."""
        low, high = bounds(query.matches)
        if after is not None:
            place = points.time_of_entry(after)
            low, high = (low, min(high, place + 1)) if query.descending else (max(low, place), high)
        span = FIRST_SPAN_NS
        while low < high and (begin := self._next(low, high, descending=query.descending)) is not None:
            start, stop = (max(low, begin + 1 - span), begin + 1) if query.descending else (begin, min(high, begin + span))
            texts = self._bucket.query(
                f'{RANGE} and r._field == "batch") {VALUES}',
                {"measurement": points.BATCHES, "start": start, "stop": stop},
                Deadline(self._seconds),
            )
            found = sorted(map(points.decode_batch, texts), key=lambda batch: batch.entry, reverse=query.descending)
            yield from found
            low, high = (low, start) if query.descending else (stop, high)
            span *= SPAN_GROWTH if len(found) < LOOKED_AT else 1

    def _next(self, low: int, high: int, *, descending: bool) -> int | None:
        """The time of the last or first Batch that is there from `low` to before `high`; one row for each process that wrote."""
        end = "last" if descending else "first"
        found = self._bucket.query(
            f'{RANGE} and r._field == "batch") |> {end}() |> group() |> map(fn: (r) => ({{_value: int(v: r._time)}}))',
            {"measurement": points.BATCHES, "start": low, "stop": high},
            Deadline(self._seconds),
        )
        times = map(int, found)
        return max(times, default=None) if descending else min(times, default=None)


def meta_of(bucket: Bucket, deadline: Deadline) -> Meta | None:
    given: dict[str, Value] = {"measurement": points.META, "start": META_NS, "stop": META_NS + 1}
    found = bucket.query(f'{RANGE} and r._field == "meta") {VALUES}', given, deadline)
    return msgspec.json.decode(found[0], type=Meta) if found else None


def matches(stored: Stored, conditions: Sequence[Match]) -> bool:
    return not conditions or matching.holds(points.log_of(stored), conditions)


def bounds(conditions: Sequence[Match]) -> tuple[int, int]:
    """The times of acceptance that can fulfil the conditions, in nanoseconds, the second not included."""
    low, high = points.FIRST_NS, points.LAST_NS
    for match in conditions:
        if not isinstance(match.value, datetime):
            continue
        moment = points.nanoseconds(match.value)
        if match.operator == ">=":
            # No event is more than a day ahead of its receipt.
            low = max(low, moment if match.column == "created_at" else moment - points.DAY_NS)
        elif match.column == "created_at":
            # A process numbers the calls of one microsecond.
            high = min(high, moment + 1_000)
    return low, high


def in_pieces(lines: list[tuple[New, str]]) -> Iterator[list[tuple[New, str]]]:
    """As many as one request may hold."""
    piece: list[tuple[New, str]] = []
    size = 0
    for each in lines:
        size += len(each[1].encode())
        if piece and size > MAX_LINES_BYTES:
            yield piece
            piece, size = [], len(each[1].encode())
        piece.append(each)
    yield piece
