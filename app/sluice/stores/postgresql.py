"""The PostgreSQL store: events in one statement per commit, pages by keyset."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from datetime import datetime
from functools import cached_property
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Any

import msgspec
import psycopg
from psycopg import pq
from psycopg.adapt import Dumper

from sluice import cursors, errors, outcomes
from sluice.events import Row
from sluice.filters import Filter
from sluice.outcomes import Outcome
from sluice.stores import (
    Answer,
    Claim,
    Figures,
    InFlight,
    MinuteCount,
    OtherRequest,
    Page,
    Render,
    TypeCount,
    statements,
)
from sluice.stores.connections import Connection, Connections
from sluice.stores.login import Login

# Counting costs as much as the rows it passes; beyond this the answer says "at least".
COUNT_CAP = 10_000
FIGURES_CAP = 100_000
EXPORT_ROWS = 1_000
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
    """Rolls a transaction back and carries what became of its rows: none of them is stored by it."""

    def __init__(self, found: list[Outcome]) -> None:
        self.found = [outcomes.rolled_back(o.event_id) if o.status == "created" else o for o in found]


class PostgresqlStore:
    """Implements stores.Store. Give it a login; it keeps up to `pool_size` connections of its own."""

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

    def insert(self, rows: Sequence[Row], at: datetime) -> list[Outcome]:
        try:
            return self.connections.run(lambda c: store(c, rows, at))
        except errors.RowsRefused:
            return self._without_refused(rows, at)

    def insert_all(self, rows: Sequence[Row], at: datetime) -> list[Outcome]:
        def work(connection: Connection) -> list[Outcome]:
            with connection.transaction():
                return all_or_none(store(connection, rows, at))

        try:
            return self.connections.run(work)
        except Aborted as aborted:
            return aborted.found
        except errors.RowsRefused:
            return [outcomes.refused_by_store(row.event_id) for row in rows]

    def insert_once(self, claim: Claim, rows: Sequence[Row], at: datetime, *, atomic: bool, render: Render) -> Answer:
        def work(connection: Connection) -> Answer:
            with connection.transaction():
                return answered(connection, claim, rows, at, atomic, render)

        try:
            return self.connections.run(work)
        except Aborted as aborted:
            return Answer(*render(aborted.found))
        except errors.RowsRefused:
            return Answer(*render([outcomes.refused_by_store(row.event_id) for row in rows]))

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

    def purge(self, before: datetime, answers_before: datetime, limit: int) -> int:
        def work(connection: Connection) -> int:
            with connection.transaction():
                if connection.execute(statements.JANITOR_LOCK).fetchone() != (True,):
                    return 0
                connection.execute(statements.PURGE_ANSWERS, {"before": answers_before, "limit": limit})
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

    def _without_refused(self, rows: Sequence[Row], at: datetime) -> list[Outcome]:
        """Halve until the rows that the database refuses stand alone: one bad event never takes its neighbours along."""
        if len(rows) == 1:
            return [outcomes.refused_by_store(rows[0].event_id)]
        middle = len(rows) // 2
        return [*self.insert(rows[:middle], at), *self.insert(rows[middle:], at)]


def migrations(folder: Traversable = MIGRATIONS) -> dict[str, str]:
    """The text of every migration of this version by its name; a newer schema may have more."""
    return {file.name.removesuffix(".sql"): file.read_text("utf-8") for file in folder.iterdir() if file.name.endswith(".sql")}


@functools.cache
def needed(folder: Traversable = MIGRATIONS) -> frozenset[str]:
    """The names of the migrations without which this version does not serve."""
    return frozenset(name for name, text in migrations(folder).items() if CAN_WAIT not in text.splitlines())


def store(connection: Connection, rows: Sequence[Row], at: datetime) -> list[Outcome]:
    """Store new rows by one statement; an outcome per row. Of rows with one id the first is stored."""
    first: dict[str, int] = {}
    for index, row in enumerate(rows):
        first.setdefault(row.event_id, index)
    order = sorted(first)
    values = {"rows": document(rows, first, order), "at": at, "count": len(order)}
    base, count, ids = connection.execute(statements.INSERT, values, prepare=True).fetchone() or (0, 0, None)
    stored = {rows[id - base].event_id for id in ids or ()} if count < len(order) else first.keys()
    known = lookup(connection, [event_id for event_id in order if event_id not in stored])
    found: list[Outcome] = []
    for index, row in enumerate(rows):
        place = first[row.event_id]
        if row.event_id in known:
            id, content = known[row.event_id]
            found.append(against(row, id, content))
        elif place == index:
            found.append(outcomes.created(row.event_id, base + index))
        else:
            found.append(against(row, base + place, rows[place].content))
    return found


def document(rows: Sequence[Row], first: dict[str, int], order: list[str]) -> Document:
    """One JSON array with the first row of each id, sorted by id: two requests with the same ids lock them in the same order."""
    return Document(b"[%b]" % b",".join(b'%b,"ord":%d}' % (rows[first[event_id]].json, first[event_id]) for event_id in order))


def lookup(connection: Connection, event_ids: list[str]) -> dict[str, tuple[int, str]]:
    """Id and content of events that were there before."""
    if not event_ids:
        return {}
    known = {row[0]: (row[1], row[2]) for row in connection.execute(statements.STORED, [event_ids])}
    if len(known) < len(event_ids):
        # Removed by retention between the two statements: the client sends it again and is told the truth then.
        raise errors.StoreUnavailable("database_busy", retry_after=1)
    return known


def against(row: Row, id: int, content: str) -> Outcome:
    """What `row` is beside the stored event of the same id."""
    return outcomes.duplicate(row.event_id, id) if content == row.content else outcomes.conflict(row.event_id)


def all_or_none(found: list[Outcome]) -> list[Outcome]:
    """Roll back, by Aborted, when any row is a conflict."""
    if any(outcome.status == "conflict" for outcome in found):
        raise Aborted(found)
    return found


def answered(connection: Connection, claim: Claim, rows: Sequence[Row], at: datetime, atomic: bool, render: Render) -> Answer:
    """The answer kept for `claim`, or a new one that is kept in the same commit as its rows."""
    # The lock belongs to the transaction: a process that dies gives the claim back, and no row says "in flight" for ever.
    lock = f"{len(claim.key_id)}:{claim.key_id}:{claim.idempotency_key}"
    if connection.execute(statements.CLAIM, [lock]).fetchone() != (True,):
        raise InFlight
    kept = connection.execute(statements.ANSWER, [claim.key_id, claim.idempotency_key]).fetchone()
    if kept is not None:
        if bytes(kept[0]) != claim.request:
            raise OtherRequest
        return Answer(kept[1], bytes(kept[2]), replayed=True)
    found = store(connection, rows, at) if rows else []
    if atomic:
        all_or_none(found)
    status, body = render(found)
    if status < 300:
        values = [claim.key_id, claim.idempotency_key, claim.request, status, body, at]
        connection.execute(statements.KEEP_ANSWER, values)
    return Answer(status, body)


def open_store(login: Login, pool_size: int = 4, deadline: float = 5.0) -> PostgresqlStore:
    """A PostgreSQL store; nothing is waited for, so the service boots while the database is away."""
    return PostgresqlStore(login, pool_size, deadline)
