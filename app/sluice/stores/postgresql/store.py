"""The PostgreSQL store: events in one statement per commit, pages by keyset."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from datetime import datetime
from functools import cached_property
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Any, get_args

import msgspec
import psycopg
from psycopg import pq
from psycopg.adapt import Dumper

from sluice import cursors, errors, outcomes
from sluice.events import Record
from sluice.filters import Filter
from sluice.outcomes import Outcome
from sluice.stores import CLAIM_AGE, Capability, Claim, Figures, Kept, MinuteCount, Page, TypeCount
from sluice.stores.postgresql import statements
from sluice.stores.postgresql.connections import Connection, Connections
from sluice.stores.postgresql.login import Login

# Counting costs as much as the rows it passes; beyond this the answer says "at least".
COUNT_CAP = 10_000
FIGURES_CAP = 100_000
EXPORT_ROWS = 1_000
encode = msgspec.json.Encoder().encode
decode_outcomes = msgspec.json.Decoder(list[Outcome]).decode
MIGRATIONS = resources.files("sluice") / "migrations"
# The line of a migration that the version which brings it serves without: an index, the contract step after an expand.
CAN_WAIT = "-- serving does not wait for this"


class Document(bytes):
    """JSON text that is already encoded: sent as it is, without a copy through str."""


class DocumentDumper(Dumper):
    oid = 3802  # jsonb
    format = pq.Format.TEXT

    def dump(self, obj: Document) -> bytes:
        return obj


psycopg.adapters.register_dumper(Document, DocumentDumper)


class Aborted(Exception):
    """Rolls a transaction back and carries the outcomes of its records: none of them is stored by it."""

    def __init__(self, found: list[Outcome]) -> None:
        self.outcomes = [outcomes.rolled_back(o.event_id) if o.status == "created" else o for o in found]


class PostgresqlStore:
    """Implements stores.Store. Give it a login; it keeps up to `pool_size` connections of its own."""

    capabilities: frozenset[Capability] = frozenset(get_args(Capability))

    def __init__(self, login: Login, pool_size: int = 4, deadline: float = 5.0) -> None:
        self.connections = Connections(login, pool_size, deadline)

    def check(self) -> None:
        applied = self.connections.run(lambda c: {row[0] for row in c.execute(statements.APPLIED)})
        if not needed() <= applied:
            raise errors.StoreUnavailable("schema_behind")
        unlogged = self.connections.run(lambda c: c.execute(statements.UNLOGGED).fetchone())
        if unlogged != (0,):
            raise errors.StoreUnavailable("not_durable")

    def close(self) -> None:
        self.connections.close()

    def insert(self, records: Sequence[Record], at: datetime) -> list[Outcome]:
        try:
            return self.connections.run(lambda c: store(c, records, at))
        except errors.RecordsRefused:
            return self._without_refused(records, at)

    def insert_all(self, records: Sequence[Record], at: datetime) -> list[Outcome]:
        def work(connection: Connection) -> list[Outcome]:
            with connection.transaction():
                return all_or_none(store(connection, records, at))

        try:
            return self.connections.run(work)
        except Aborted as aborted:
            return aborted.outcomes
        except errors.RecordsRefused:
            return [outcomes.refused_by_store(record.event_id) for record in records]

    def insert_once(
        self, claim: Claim, records: Sequence[Record], found: Sequence[Outcome | None], at: datetime, *, atomic: bool
    ) -> Kept:
        def work(connection: Connection) -> Kept:
            with connection.transaction():
                return once(connection, claim, records, found, at, atomic)

        try:
            return self.connections.run(work)
        except Aborted as aborted:
            return Kept(outcomes.merged(found, aborted.outcomes))
        except errors.RecordsRefused:
            return Kept(outcomes.merged(found, [outcomes.refused_by_store(record.event_id) for record in records]))

    def page(self, query: Filter) -> Page:
        scope = cursors.scope_of(query.matches, query.sort_by, query.descending)
        cursor = cursors.decode(query.cursor, self.cursor_secret, scope) if query.cursor else None
        text, values = statements.page(query, (cursor.value, cursor.id) if cursor else None)
        rows = self._all(text, values)
        total, exact = (cursor.total, cursor.exact) if cursor else self._count(query)
        kept = rows[: query.page_size]
        following = None
        if len(rows) > query.page_size:
            last = cursors.Cursor(value=kept[-1][0], id=kept[-1][1], total=total, exact=exact)
            following = cursors.encode(last, self.cursor_secret, scope)
        return Page([msgspec.Raw(row[2].encode()) for row in kept], total, exact, following)

    def get(self, event_id: str) -> msgspec.Raw | None:
        row = self._one(statements.GET, [event_id])
        return None if row is None else msgspec.Raw(row[0].encode())

    def export(self, query: Filter) -> Iterator[bytes]:
        # Short statements, each from where the last one ended: a slow reader holds neither a connection nor a snapshot open.
        step = msgspec.structs.replace(query, sort_by="created_at", descending=False, page=1, page_size=EXPORT_ROWS)
        after: tuple[str, int] | None = None
        while True:
            text, values = statements.page(step, after)
            rows = self._all(text, values)
            kept = rows[:EXPORT_ROWS]
            if kept:
                yield "".join(f"{row[2]}\n" for row in kept).encode()
            if len(rows) <= EXPORT_ROWS:
                return
            after = (kept[-1][0], kept[-1][1])

    def figures(self, now: datetime) -> Figures:
        estimate = self._one(statements.ESTIMATE)[0]
        counted = self._one(statements.COUNT_UP_TO, [FIGURES_CAP + 1])[0] if estimate <= FIGURES_CAP else estimate
        row = self._one(statements.FIGURES, {"now": now, "cap": FIGURES_CAP})
        return Figures(
            total_logs=max(counted, row[1]),
            total_logs_exact=counted <= FIGURES_CAP,
            logs_last_hour=row[0],
            logs_last_day=row[1],
            logs_last_day_exact=row[1] < FIGURES_CAP,
            average_latency_ms=row[2],
            error_rate_percent=row[3],
            active_sessions=row[4],
            top_event_types=msgspec.json.decode(row[5], type=list[TypeCount]),
            logs_per_minute=msgspec.json.decode(row[6], type=list[MinuteCount]),
        )

    def purge(self, before: datetime, claims_before: datetime, limit: int) -> int:
        def work(connection: Connection) -> int:
            with connection.transaction():
                if connection.execute(statements.RETENTION_LOCK).fetchone() != (True,):
                    return 0
                connection.execute(statements.PURGE_CLAIMS, {"before": claims_before, "limit": limit})
                return connection.execute(statements.PURGE_EVENTS, {"before": before, "limit": limit}).rowcount

        return self.connections.run(work)

    @cached_property
    def cursor_secret(self) -> bytes:
        return bytes(self._one(statements.CURSOR_SECRET)[0])

    def _count(self, query: Filter) -> tuple[int, bool]:
        counted = self._one(*statements.count(query, COUNT_CAP))[0]
        return min(counted, COUNT_CAP), counted <= COUNT_CAP

    def _one(self, text: Any, values: Any = None) -> Any:
        return self.connections.run(lambda c: c.execute(text, values).fetchone())

    def _all(self, text: Any, values: Any) -> list[Any]:
        return self.connections.run(lambda c: c.execute(text, values).fetchall())

    def _without_refused(self, records: Sequence[Record], at: datetime) -> list[Outcome]:
        """Halve until the records that the database refuses stand alone: one bad event never takes its neighbours along."""
        if len(records) == 1:
            return [outcomes.refused_by_store(records[0].event_id)]
        middle = len(records) // 2
        return [*self.insert(records[:middle], at), *self.insert(records[middle:], at)]


def migrations(folder: Traversable = MIGRATIONS) -> dict[str, str]:
    """The text of every migration of this version by its name; a newer schema may have more."""
    return {file.name.removesuffix(".sql"): file.read_text("utf-8") for file in folder.iterdir() if file.name.endswith(".sql")}


@functools.cache
def needed(folder: Traversable = MIGRATIONS) -> frozenset[str]:
    """The names of the migrations without which this version does not serve."""
    return frozenset(name for name, text in migrations(folder).items() if CAN_WAIT not in text.splitlines())


def store(connection: Connection, records: Sequence[Record], at: datetime) -> list[Outcome]:
    """Store new records by one statement; an outcome per record. Of those with one id the first is stored."""
    first: dict[str, int] = {}
    for index, record in enumerate(records):
        first.setdefault(record.event_id, index)
    order = sorted(first)
    values = {"rows": document(records, first, order), "at": at, "count": len(order)}
    base, count, ids = connection.execute(statements.INSERT, values, prepare=True).fetchone() or (0, 0, None)
    stored = {records[id - base].event_id for id in ids or ()} if count < len(order) else first.keys()
    known = lookup(connection, [event_id for event_id in order if event_id not in stored])
    found: list[Outcome] = []
    for index, record in enumerate(records):
        place = first[record.event_id]
        if record.event_id in known:
            found.append(against(record, *known[record.event_id]))
        elif place == index:
            found.append(outcomes.created(record.event_id, base + index))
        else:
            found.append(against(record, base + place, records[place].digest))
    return found


def document(records: Sequence[Record], first: dict[str, int], order: list[str]) -> Document:
    """One JSON array with the first record of each id, sorted: two requests with the same ids lock them in the same order."""
    return Document(b"[%b]" % b",".join(row(records[first[event_id]], first[event_id]) for event_id in order))


def row(record: Record, place: int) -> bytes:
    """The canonical JSON and what the server sets, as one object."""
    server_set = b',"key_id":%b,"content":"%b","ord":%d}' % (encode(record.key_id), record.digest.encode(), place)
    if record.event.event_id is None:
        server_set = b',"event_id":"%b"%b' % (record.event_id.encode(), server_set)
    if record.fingerprint is not None:
        server_set = b',"fingerprint":"%b"%b' % (record.fingerprint.encode(), server_set)
    return record.canonical[:-1] + server_set


def lookup(connection: Connection, event_ids: list[str]) -> dict[str, tuple[int, str]]:
    """Id and content of events that were there before."""
    if not event_ids:
        return {}
    known = {row[0]: (row[1], row[2]) for row in connection.execute(statements.STORED, [event_ids])}
    if len(known) < len(event_ids):
        # Removed by retention between the two statements: the client sends it again and is told the truth then.
        raise errors.StoreUnavailable("database_busy", retry_after=1)
    return known


def against(record: Record, id: int, digest: str) -> Outcome:
    """What `record` is beside the stored event of the same id."""
    return outcomes.duplicate(record.event_id, id) if digest == record.digest else outcomes.conflict(record.event_id)


def all_or_none(found: list[Outcome]) -> list[Outcome]:
    """Roll back, by Aborted, when any record is a conflict."""
    if any(outcome.status == "conflict" for outcome in found):
        raise Aborted(found)
    return found


def once(
    connection: Connection, claim: Claim, records: Sequence[Record], found: Sequence[Outcome | None], at: datetime, atomic: bool
) -> Kept:
    """The outcomes kept for `claim`, or new ones that are kept in the same commit as their records."""
    # The lock belongs to the transaction: a process that dies gives the claim back, and no row says "in use" for ever.
    lock = f"{len(claim.key_id)}:{claim.key_id}:{claim.idempotency_key}"
    if connection.execute(statements.CLAIM_LOCK, [lock]).fetchone() != (True,):
        raise errors.IdempotencyKeyInUse
    names = [claim.key_id, claim.idempotency_key]
    connection.execute(statements.DROP_OLD_CLAIM, [*names, at - CLAIM_AGE])
    kept = connection.execute(statements.CLAIM, names).fetchone()
    if kept is not None:
        request, told, body = kept
        if bytes(request) != claim.request:
            raise errors.IdempotencyKeyReused
        return Kept(decode_outcomes(told) if told is not None else kept_by_the_release_before(bytes(body)), replayed=True)
    stored = store(connection, records, at) if records else []
    if atomic:
        all_or_none(stored)
    merged = outcomes.merged(found, stored)
    if any(outcome.status in ("created", "duplicate") for outcome in merged):
        connection.execute(statements.KEEP_CLAIM, [*names, claim.request, encode(merged).decode(), at])
    return Kept(merged)


def kept_by_the_release_before(body: bytes) -> list[Outcome]:
    """The outcomes that a response body of release 0.1 reports. Its rows are gone 24 hours after the upgrade."""
    data = msgspec.json.decode(body)["data"]
    if "results" not in data:
        return [Outcome(data["status"], data["event_id"], data["id"])]
    listed = {result.pop("index"): msgspec.convert(result, Outcome) for result in data["results"]}
    return [listed.get(index, Outcome("created")) for index in range(data["total_received"])]
