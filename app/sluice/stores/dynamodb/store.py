"""The DynamoDB store: parallel conditional puts, pages merged from the shards of an index."""

from __future__ import annotations

import contextlib
import functools
import heapq
import itertools
import operator
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from datetime import UTC, datetime, timedelta

import msgspec

from sluice import errors
from sluice.events import MAX_AHEAD, Record
from sluice.filters import Filter
from sluice.outcomes import Outcome
from sluice.settings import Settings
from sluice.stores import RETENTION_GRACE, Capability, Page, matching, walked
from sluice.stores.dynamodb import items
from sluice.stores.dynamodb.table import BATCH, META, Index, Item, Table
from sluice.stores.stored import EachForItself, Stored, judged

# A put takes some milliseconds and most of them are spent waiting. Batches of more records than LARGE have writers of their own,
# which they fill for seconds.
WRITERS, READERS = 16, 8
LARGE = 250
# Items that one page looks at; what is beyond is behind its cursor.
LOOKED_AT = 5_000
# Before and after every position.
FIRST, LAST = "0", "A"
VERSION = 1


class Meta(msgspec.Struct, frozen=True):
    """What the table says of itself: over how many shards its indexes are spread, and what cursors are signed with."""

    version: int
    shards: int
    secret: bytes


class DynamodbStore(EachForItself):
    """Implements stores.Store."""

    capabilities: frozenset[Capability] = frozenset(("conflicts", "export", "filters", "sources"))

    def __init__(self, settings: Settings, deadline: float, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._table = Table(settings, 2 * WRITERS + READERS + settings.threads)
        self._retention = None if settings.retention_days is None else timedelta(days=settings.retention_days) + RETENTION_GRACE
        self._deadline = deadline
        self._clock = clock
        self._writers, self._large = ThreadPoolExecutor(WRITERS, "dynamodb-write"), ThreadPoolExecutor(WRITERS, "dynamodb-large")
        self._readers = ThreadPoolExecutor(READERS, "dynamodb-read")
        # Of the last look: writers may be behind, for what they write is in a shard that every reader looks at.
        self._known: Meta | None = None

    @property
    def table(self) -> Table:
        """Where pull sources keep their records too."""
        return self._table

    def check(self) -> None:
        self._meta()

    def close(self) -> None:
        for pool in (self._writers, self._large, self._readers):
            pool.shutdown(wait=False, cancel_futures=True)
        self._table.close()

    def insert(self, records: Sequence[Record], at: datetime) -> list[Outcome]:
        """Each by a put of its own: no commit holds them together, so single ones can be `failed`."""
        if not records:
            return []
        shards, now, stop = (self._known or self._meta()).shards, self._clock(), threading.Event()
        first: dict[str, int] = {}
        for place, record in enumerate(records):
            first.setdefault(record.event_id, place)
        made = (items.of_record(records[n], n, shards, at, now, self._expiry(records[n], at)) for n in first.values())
        writers = self._large if len(first) > LARGE else self._writers
        work = [writers.submit(self._put, item, stop) for item in made]
        done, late = wait(work, self._deadline)
        stop.set()
        for each in late:
            each.cancel()
        results = [each.result() if each in done else errors.StoreUnavailable("query_timeout") for each in work]
        return judged(records, first, dict(zip(first, results, strict=True)))

    def get(self, event_id: str) -> msgspec.Raw | None:
        item = self._table.get(items.PREFIX + event_id)
        return None if item is None or items.expired(item, self._clock()) else msgspec.Raw(matching.encoded(items.log_of(item)))

    def page(self, query: Filter) -> Page:
        meta = self._meta()
        return walked.page_of(query, meta.secret, lambda after: self._shown(query, meta.shards, after), LOOKED_AT.__eq__)

    def export(self, query: Filter) -> Iterator[bytes]:
        step = msgspec.structs.replace(query, descending=False)
        yield from walked.lines_of(self._shown(step, self._meta().shards, None, walked.EXPORT_ROWS))

    def purge(self, before: datetime, claims_before: datetime, limit: int) -> tuple[int, int]:
        """DynamoDB removes what expired by itself, within some days; until then no read shows it."""
        return 0, 0

    @property
    def cursor_secret(self) -> bytes:
        return (self._known or self._meta()).secret

    def _meta(self) -> Meta:
        item = self._table.get(META)
        if item is None:
            raise errors.StoreUnavailable("schema_behind")
        self._known = Meta(int(item["version"]["N"]), int(item["shards"]["N"]), bytes(item["secret"]["B"]))
        if self._known.version < VERSION:
            raise errors.StoreUnavailable("schema_behind")
        return self._known

    def _expiry(self, record: Record, at: datetime) -> int | None:
        timestamp = record.timestamp or record.accepted or at
        return int((timestamp + self._retention).timestamp()) if self._retention is not None else None

    def _put(self, item: Item, stop: threading.Event) -> Stored | errors.StoreError:
        """Store an item that is new. One that finds nobody there spares the others of its batch the wait."""
        if stop.is_set():
            return errors.StoreUnavailable("database_unreachable")
        try:
            before = self._table.put(item, int(self._clock().timestamp()))
        except errors.StoreError as error:
            if isinstance(error, errors.StoreUnavailable) and error.reason != "database_busy":
                stop.set()
            return error
        return Stored(before is None, items.digest_in(before or item))

    def _shown(self, query: Filter, shards: int, after: str | None, ahead: int | None = None) -> walked.Walk:
        """What fulfils `query` and has not expired."""
        for at, item in self._walk(query, shards, after, ahead):
            log = items.log_of(item)
            there = not items.expired(item, self._clock()) and matching.holds(log, query.matches)
            yield at, msgspec.Raw(matching.encoded(log)) if there else None

    def _walk(self, query: Filter, shards: int, after: str | None, ahead: int | None = None) -> Iterator[tuple[str, Item]]:
        """Positions and items that may fulfil `query`, in order, from behind `after`. They still have to be looked at."""
        ahead = ahead or query.page_size + 1
        for match in query.matches:
            if match.column == "event_id":
                item = self._table.get(f"{items.PREFIX}{match.value}")
                yield from [(item["at"]["S"], item)] if item is not None and after is None else []
                return
        low, high = bounds(query, after)
        index, partitions = partitions_of(query, shards)
        keys_of = functools.partial(self._table.keys, index, descending=query.descending, size=min(ahead, 1_000))
        walks = [keys_of(partition, low, high) for partition in partitions]
        # The first call of every shard at once.
        heads = [self._readers.submit(next, walk, None) for walk in walks]
        firsts = [(head.result(), walk) for head, walk in zip(heads, walks, strict=True)]
        begun = (itertools.chain([first], walk) for first, walk in firsts if first is not None)
        ordered = heapq.merge(*begun, key=operator.itemgetter(0), reverse=query.descending)
        found = (key for key in ordered if key[0] != after)
        while keys := list(itertools.islice(found, min(ahead, BATCH))):
            at_of = {id: at for at, id in keys}
            yield from ((at_of[item["id"]["S"]], item) for item in self._table.get_all(list(at_of)))


def bounds(query: Filter, after: str | None) -> tuple[str, str]:
    """The first and the last position that can fulfil `query`."""
    low, high = FIRST, LAST
    for match in query.matches:
        if not isinstance(match.value, datetime):
            continue
        with contextlib.suppress(OverflowError):
            if match.column == "created_at" and match.operator == "<=":
                high = min(high, f"{matching.stamp(match.value)}#{LAST}")
            elif match.operator == ">=":
                # No event is more than a day ahead of its receipt.
                early = match.value if match.column == "created_at" else match.value - MAX_AHEAD
                low = max(low, matching.stamp(early))
    if after is not None:
        low, high = (low, min(high, after)) if query.descending else (max(low, after), high)
    return low, high


def partitions_of(query: Filter, shards: int) -> tuple[Index, list[str]]:
    names = [str(shard) for shard in range(shards)]
    for match in query.matches:
        if match.column == "event_type":
            return "by_type", [items.type_shard(str(match.value), name) for name in names]
    return "by_time", names
