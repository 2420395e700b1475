"""The MongoDB store: a batch is one insert_many of documents that each stand for themselves, pages go on by position."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from operator import itemgetter
from typing import Any

import msgspec
from pymongo import monitoring

from sluice import cursors, errors
from sluice.cursors import Cursor
from sluice.events import Record
from sluice.filters import Filter
from sluice.outcomes import Outcome
from sluice.settings import Settings
from sluice.stores import COUNT_CAP, EXPORT_BYTES, Capability, Page, capped, matching, within
from sluice.stores.matching import stamp
from sluice.stores.mongodb import documents, queries
from sluice.stores.mongodb.connection import CONTENT, DUPLICATE, NOT_VALID, RAW, Connection, reason_of, refuses_all
from sluice.stores.mongodb.documents import Document
from sluice.stores.mongodb.migrate import META, VERSION, missing
from sluice.stores.stored import EachForItself, Result, Stored, judged

EXPORT_ROWS = 1_000
# A document, and its log as text.
Row = tuple[Document, bytes]
text_of = itemgetter(1)


class Batch:
    """The records of one insert. `first`: the place of the first with an id that MongoDB can hold. `found`: what became of it."""

    def __init__(self, records: Sequence[Record], at: datetime, now: datetime) -> None:
        self.first: dict[str, int] = {}
        self.found: dict[str, Result] = {}
        self._records, self._at, self._now = records, at, now
        self._made: dict[str, bytes] = {}
        for place, record in enumerate(records):
            if record.event_id not in self.first:
                with contextlib.suppress(errors.RecordsRefused):
                    self._made[record.event_id] = documents.of_record(record, place, at, now)
                    self.first[record.event_id] = place

    def left(self) -> dict[str, bytes]:
        """The documents of which nothing is known yet."""
        return {id: made for id, made in self._made.items() if id not in self.found}

    def as_text(self, ids: Iterable[str]) -> dict[str, bytes]:
        """The documents of `ids` without subdocuments, of those that MongoDB can hold so."""
        made: dict[str, bytes] = {}
        for id in ids:
            place = self.first[id]
            with contextlib.suppress(errors.RecordsRefused):
                made[id] = documents.of_record(self._records[place], place, self._at, self._now, text=True)
        return made

    def digest(self, id: str) -> bytes:
        return matching.digest_of(self._records[self.first[id]])


class MongodbStore(EachForItself):
    """Implements stores.Store."""

    capabilities: frozenset[Capability] = frozenset(("conflicts", "export", "filters", "numbered_pages", "sorting"))

    def __init__(
        self,
        settings: Settings,
        deadline: float,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        listeners: Sequence[monitoring.CommandListener] = (),
    ) -> None:
        self._connection = Connection(settings, deadline, listeners)
        self._events = self._connection.events
        self._clock = clock
        self._cursor_secret: bytes | None = None
        self._checked = False

    def check(self) -> None:
        if self._connection.run(lambda: self._described()["version"]) < VERSION:
            raise errors.StoreUnavailable("schema_behind")
        if self._connection.run(lambda: missing(self._events)):
            raise errors.StoreUnavailable("schema_behind")
        self._checked = True

    def close(self) -> None:
        self._connection.close()

    def insert(self, records: Sequence[Record], at: datetime) -> list[Outcome]:
        """Each document for itself: no commit holds them together, so single ones can be `failed`."""
        if not records:
            return []
        if not self._checked:
            # MongoDB would make a collection that is not there, without its indexes.
            self.check()
        batch = Batch(records, at, self._clock())

        def work() -> None:
            refused = self._put(batch, batch.left())
            # Once more without subdocuments: servers differ in what these may hold.
            refused |= self._put(batch, batch.as_text(refused))
            left = {id: code for id, code in refused.items() if id not in batch.found}
            all_are = NOT_VALID in left.values() and not self._takes_the_newest()
            for id, code in left.items():
                batch.found[id] = refuses_all() if all_are and code == NOT_VALID else errors.RecordsRefused()

        self._connection.run(work)
        return judged(records, batch.first, batch.found)

    def get(self, event_id: str) -> msgspec.Raw | None:
        document = self._connection.query(lambda: self._events.find_one(event_id))
        return None if document is None else msgspec.Raw(matching.encoded(documents.log_of(document)))

    def page(self, query: Filter) -> Page:
        scope = cursors.scope_of(query.matches, query.sort_by, query.descending)
        cursor = cursors.decode(query.cursor, self.cursor_secret, scope) if query.cursor else None
        after = msgspec.json.decode(cursor.value) if cursor else None
        skipped = 0 if cursor else query.offset
        rows, short = self._connection.query(lambda: within(self._rows(query, after, skipped, query.page_size + 1), text_of))
        kept = rows[: query.page_size]
        if cursor:
            total, exact = cursor.total, cursor.exact
        elif not query.counted:
            total, exact = 0, False
        else:
            total, exact = self._total(query, len(rows))
        following = None
        if short or len(rows) > query.page_size:
            last = kept[-1][0]
            place = documents.encode((last.get(queries.key_of(query.sort_by)), last["at"])).decode()
            following = cursors.encode(Cursor(place, 0, total, exact), self.cursor_secret, scope)
        return Page([msgspec.Raw(text) for _, text in kept], total, exact, following, short and len(kept) < query.page_size)

    def export(self, query: Filter) -> Iterator[bytes]:
        # Short queries, each from where the last one ended: a slow reader holds no cursor of the server open.
        step = msgspec.structs.replace(query, sort_by="created_at", descending=False)
        after: tuple[Any, str] | None = None
        while True:
            rows, short = self._connection.query(lambda after=after: within(self._step(step, after), text_of, EXPORT_BYTES))  # type: ignore[misc]
            if lines := b"".join(text + b"\n" for _, text in rows if text):
                yield lines
            if not short and len(rows) < EXPORT_ROWS:
                return
            after = (None, rows[-1][0]["at"])

    def _step(self, query: Filter, after: tuple[Any, str] | None) -> Iterator[Row]:
        """Each document of a step of an export; without a log where that is not of the filter."""
        for each in self._found(query, after).limit(EXPORT_ROWS):
            log = documents.log_of(each)
            yield each, matching.encoded(log) if matching.holds(log, query.matches) else b""

    def purge(self, before: datetime, claims_before: datetime, limit: int) -> tuple[int, int]:
        """Without a lock: two pods that find the same events remove each of them once."""
        old = {"timestamp": {"$lt": stamp(before)}}

        def work() -> int:
            ids = [each["_id"] for each in self._events.find(old, {"_id": 1}).sort("timestamp").limit(limit)]
            return self._events.delete_many({"_id": {"$in": ids}, **old}).deleted_count if ids else 0

        return self._connection.run(work), 0

    @property
    def cursor_secret(self) -> bytes:
        if self._cursor_secret is None:
            self._cursor_secret = bytes(self._connection.query(self._described)["secret"])
        return self._cursor_secret

    def _described(self) -> Document:
        found = self._connection.meta.find_one(META)
        if found is None:
            raise errors.StoreUnavailable("schema_behind")
        return found

    def _takes_the_newest(self) -> bool:
        """Whether a validator would take the newest event again: else it is the validator that is wrong, and no new event.

        It stores nothing, for then the id is taken.
        """
        newest = self._events.with_options(RAW).find_one(sort=[("at", -1)])
        return newest is not None and self._connection.put([bytes(newest.raw)]) == {0: DUPLICATE}

    def _put(self, batch: Batch, made: dict[str, bytes]) -> dict[str, int]:
        """Store what is new, and tell `batch` what is known then; id and error code of those whose content was refused."""
        if not made:
            return {}
        ids = list(made)
        codes = {ids[place]: code for place, code in self._connection.put(list(made.values())).items()}
        batch.found.update({id: Stored(True, batch.digest(id)) for id in ids if id not in codes})
        # Read as it is on most members: what may still be rolled back is no duplicate yet. Also of what was refused: a validator
        # that is newer than the event is asked before the index.
        held = self._events.find({"_id": {"$in": list(codes)}}, {"digest": 1}) if codes else ()
        there = {each["_id"]: bytes(each["digest"]) for each in held}
        for id, code in codes.items():
            if id in there:
                batch.found[id] = Stored(False, there[id])
            elif code not in CONTENT:
                batch.found[id] = errors.StoreUnavailable("database_busy" if code == DUPLICATE else reason_of(code))
        return {id: code for id, code in codes.items() if code in CONTENT}

    def _found(self, query: Filter, after: tuple[Any, str] | None) -> Any:
        return self._events.find(queries.conditions(query, after)).sort(queries.order(query))

    def _rows(self, query: Filter, after: tuple[Any, str] | None, skipped: int, size: int) -> Iterator[Row]:
        """Up to `size` documents that fulfil `query`, and their logs."""
        found = self._found(query, after)
        wide = queries.wide(query.matches)
        with found.batch_size(size) if wide else found.skip(skipped).limit(size):
            logs = ((each, documents.log_of(each)) for each in found)
            rows = ((each, matching.encoded(log)) for each, log in logs if not wide or matching.holds(log, query.matches))
            yield from itertools.islice(rows, skipped, skipped + size) if wide else rows

    def _total(self, query: Filter, rows: int) -> tuple[int, bool]:
        """`rows`: how many were found for this page and the next."""
        if queries.wide(query.matches):
            # Counting would read everything: it is exact where this page is the last, and "at least" elsewhere.
            return min(query.offset + rows, COUNT_CAP), rows <= query.page_size and (rows > 0 or query.page == 1)
        conditions = queries.conditions(query)
        return capped(self._connection.query(lambda: self._events.count_documents(conditions, limit=COUNT_CAP + 1)))
