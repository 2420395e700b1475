"""The PostgreSQL store: events in one statement per commit, pages by keyset."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator, Sequence
from datetime import datetime
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Any, get_args

import msgspec
from psycopg.pq import TransactionStatus

from sluice import cursors, errors, events, outcomes
from sluice.events import Event, Record, Rules
from sluice.filters import Filter
from sluice.outcomes import Outcome
from sluice.stores import (
    CLAIM_AGE,
    COUNT_CAP,
    EXPORT_BYTES,
    PAGE_BYTES,
    Capability,
    Claim,
    Figures,
    Kept,
    MinuteCount,
    Page,
    TypeCount,
    capped,
)
from sluice.stores.postgresql import arrays, follow, statements, volume
from sluice.stores.postgresql import errors as driver_errors
from sluice.stores.postgresql.connections import Connection
from sluice.stores.postgresql.database import Database
from sluice.stores.postgresql.login import Login
from sluice.stores.postgresql.purge import Purge
from sluice.stores.volume import Span, Split, Volume

# As COUNT_CAP, for figures.
FIGURES_CAP = 100_000
EXPORT_ROWS = 1_000
# Records of a commit that may not take the last connection: it keeps one for some ten times as long as a few of them do.
LARGE = 250
encode = msgspec.json.Encoder().encode
decode_outcomes = msgspec.json.Decoder(list[Outcome]).decode
MIGRATIONS = resources.files("sluice") / "migrations"
# No migration: yoyo runs it after them.
AFTER_ALL = "post-apply.sql"
# The line of a migration that the version which brings it serves without: an index, the contract step after an expand.
CAN_WAIT = "-- serving does not wait for this"


class Aborted(Exception):
    """Rolls a transaction back and carries the outcomes of its records: none of them is stored by it."""

    def __init__(self, found: list[Outcome]) -> None:
        self.outcomes = [outcomes.rolled_back(o.event_id) if o.status == "created" else o for o in found]


class PostgresqlStore:
    """Implements stores.Store. Give it a login; it keeps up to `pool_size` connections of its own."""

    capabilities: frozenset[Capability] = frozenset(get_args(Capability))

    def __init__(self, login: Login, pool_size: int = 4, deadline: float = 5.0) -> None:
        self.database = Database(login, pool_size, deadline)
        self._query = self.database.query
        self.retention = Purge(self.database)
        self._cursor_secret: bytes | None = None

    def check(self) -> None:
        applied = self.database.run(lambda c: {row[0] for row in c.execute(statements.APPLIED)})
        if not needed() <= applied:
            raise errors.StoreUnavailable("schema_behind")
        unlogged = self.database.run(lambda c: c.execute(statements.UNLOGGED).fetchone())
        if unlogged != (0,):
            raise errors.StoreUnavailable("not_durable")

    def close(self) -> None:
        self.database.close()

    def insert(self, records: Sequence[Record], at: datetime) -> list[Outcome]:
        return self._commit(None, records, [None] * len(records), at, atomic=False).outcomes

    def insert_all(self, records: Sequence[Record], at: datetime) -> list[Outcome]:
        return self._commit(None, records, [None] * len(records), at, atomic=True).outcomes

    def insert_once(
        self, claim: Claim, records: Sequence[Record], found: Sequence[Outcome | None], at: datetime, *, atomic: bool
    ) -> Kept:
        return self._commit(claim, records, found, at, atomic=atomic)

    def get(self, event_id: str) -> msgspec.Raw | None:
        return next((msgspec.Raw(row[0].encode()) for row in self._query(statements.GET, [event_id])), None)

    def page(self, query: Filter) -> Page:
        scope = cursors.scope_of(query.matches, query.sort_by, query.descending)
        cursor = cursors.decode(query.cursor, self.cursor_secret, scope) if query.cursor else None
        rows = self._query(*statements.page(query, (cursor.value, cursor.id) if cursor else None, PAGE_BYTES))
        if cursor:
            total, exact = cursor.total, cursor.exact
        elif not query.counted:
            total, exact = 0, False
        else:
            total, exact = capped(self._query(*statements.count(query, COUNT_CAP))[0][0])
        kept = rows[: query.page_size]
        following = None
        if statements.is_more(rows, kept):
            last = cursors.Cursor(value=kept[-1][0], id=kept[-1][1], total=total, exact=exact)
            following = cursors.encode(last, self.cursor_secret, scope)
        short = following is not None and len(kept) < query.page_size
        return Page([msgspec.Raw(row[2].encode()) for row in kept], total, exact, following, short)

    def export(self, query: Filter) -> Iterator[bytes]:
        # Short statements, each from where the last one ended: a slow reader holds neither a connection nor a snapshot open.
        # By the time that ends it: in another order its last step would look at all that came since.
        ends = any((match.column, match.operator) == ("timestamp", "<=") for match in query.matches)
        order = "timestamp" if ends else "created_at"
        step = msgspec.structs.replace(query, sort_by=order, descending=False, page=1, page_size=EXPORT_ROWS)
        after: tuple[str, int] | None = None
        while True:
            rows = self._query(*statements.page(step, after, EXPORT_BYTES))
            kept = rows[: step.page_size]
            if kept:
                yield "".join(f"{row[2]}\n" for row in kept).encode()
            if not statements.is_more(rows, kept):
                return
            after = (kept[-1][0], kept[-1][1])
            # The server makes the text of as many rows as it is asked for.
            step = msgspec.structs.replace(step, page_size=min(EXPORT_ROWS, 2 * len(kept)))

    def follow(self) -> follow.EventFollower:
        return follow.EventFollower(self._query_by_index, self.cursor_secret)

    def _query_by_index(self, text: Any, values: Any) -> list[Any]:
        """As `_query`: of a table that grows fast the planner knows little, and would read all of it for the newest rows."""

        def work(connection: Connection) -> list[Any]:
            with whole(connection):
                connection.execute(statements.BY_INDEX)
                return connection.execute(text, values, prepare=False).fetchall()

        return self.database.read(work)

    def volume(self, over: Span, by: Split) -> Volume:
        return volume.read(self._query, over, by)

    def figures(self, now: datetime) -> Figures:
        ((counted,),) = self._query(statements.ESTIMATE)
        if counted <= FIGURES_CAP:
            ((counted,),) = self._query(statements.COUNT_UP_TO, [FIGURES_CAP + 1])
        (row,) = self._query(statements.FIGURES, {"now": now, "cap": FIGURES_CAP})
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

    def purge(self, before: datetime, claims_before: datetime, limit: int) -> tuple[int, int]:
        return self.retention.step(before, claims_before, limit)

    @property
    def cursor_secret(self) -> bytes:
        """Never changes. Not a cached_property: its lock (Python 3.11) makes readers wait for each other's deadlines."""
        if self._cursor_secret is None:
            self._cursor_secret = bytes(self._query(statements.CURSOR_SECRET)[0][0])
        return self._cursor_secret

    def _commit(
        self, claim: Claim | None, records: Sequence[Record], found: Sequence[Outcome | None], at: datetime, *, atomic: bool
    ) -> Kept:
        """One commit, and a second one without the records that the database refuses. `found`: see stores.IdempotencyStore."""

        insertion = Insertion(records, at)

        def work(connection: Connection) -> Kept:
            if claim is None and not atomic:
                return Kept(outcomes.merged(found, insertion.run(connection)))
            with whole(connection):
                return once(connection, claim, insertion, found, at, atomic)

        try:
            return self.database.writes.run(work, large=len(records) > LARGE)
        except Aborted as aborted:
            return Kept(outcomes.merged(found, aborted.outcomes))
        except errors.RecordsRefused:
            refusals = self._refusals(records, at)
        good = [record for record, refusal in zip(records, refusals, strict=True) if refusal is None]
        if len(good) == len(records):
            raise errors.StoreUnavailable("database_error")
        if atomic:
            return Kept(
                outcomes.merged(
                    found, [refusal or outcomes.rolled_back(r.event_id) for r, refusal in zip(records, refusals, strict=True)]
                )
            )
        rest = iter(refusals)
        return self._commit(claim, good, [outcome or next(rest) for outcome in found], at, atomic=False)

    def _refusals(self, records: Sequence[Record], at: datetime) -> list[Outcome | None]:
        """The outcome of each record that the database refuses: halved until each stands alone, one never takes another along."""
        if self._takes(records, at):
            return [None] * len(records)
        if len(records) > 1:
            middle = len(records) // 2
            return [*self._refusals(records[:middle], at), *self._refusals(records[middle:], at)]
        return [outcomes.refused_by_store(records[0].event_id, self._refused_field(records[0], at))]

    def _refused_field(self, record: Record, at: datetime) -> str:
        """The JSON pointer of the field that is refused by itself; raises StoreUnavailable when any record is refused."""
        control = events.prepare(Event(event_type="log", event_name="control"), now=at, key_id="", rules=Rules())
        if not self._takes([control], at):
            raise errors.StoreUnavailable("database_error")
        replace = msgspec.structs.replace
        for name in Event.__struct_fields__:
            if name in ("event_id", "timestamp"):
                alone = replace(control, **{name: getattr(record, name)})
            else:
                alone = replace(control, event=replace(control.event, **{name: getattr(record.event, name)}))
            if not self._takes([alone], at):
                return f"/{name}"
        return ""

    def _takes(self, records: Sequence[Record], at: datetime) -> bool:
        """Whether the database would store `records`; none is stored."""

        insertion = Insertion(records, at)

        def work(connection: Connection) -> None:
            with connection.transaction(force_rollback=True):
                insertion.run(connection)

        try:
            self.database.writes.run(work)
        except errors.RecordsRefused:
            return False
        return True


def whole(connection: Connection) -> contextlib.AbstractContextManager[object]:
    """A transaction, and the one that there is behind a pooler: in a savepoint rows would have a transaction id of their own,
    which no snapshot lists as in progress (follow)."""
    idle = connection.info.transaction_status == TransactionStatus.IDLE
    return connection.transaction() if idle else contextlib.nullcontext()


def migrations(folder: Traversable = MIGRATIONS) -> dict[str, str]:
    """The text of every migration of this version by its name; a newer schema may have more."""
    files = (file for file in folder.iterdir() if file.name.endswith(".sql") and file.name != AFTER_ALL)
    return {file.name.removesuffix(".sql"): file.read_text("utf-8") for file in files}


@functools.cache
def needed(folder: Traversable = MIGRATIONS) -> frozenset[str]:
    """The names of the migrations without which this version does not serve."""
    return frozenset(name for name, text in migrations(folder).items() if CAN_WAIT not in text.splitlines())


class Insertion:
    """New records and the statement that stores them; of those with one id the first. Made without a connection, for it takes
    Python as long as it takes the server."""

    def __init__(self, records: Sequence[Record], at: datetime) -> None:
        self._records = records
        self._event_ids = [record.event_id for record in records]
        # From behind, so that of those with one id the first stays.
        self._first = dict(zip(reversed(self._event_ids), reversed(range(len(records))), strict=True))
        places = [self._first[event_id] for event_id in sorted(self._first)]
        if places:
            self._columns = arrays.of([records[place] for place in places], places, at)

    def run(self, connection: Connection) -> list[Outcome]:
        """An outcome per record. Raises RecordsRefused: only what this statement says of these records is about their content."""
        records, event_ids, first = self._records, self._event_ids, self._first
        if not records:
            return []
        # A text of its own: batches without errors pay nothing for groups.
        with_errors = arrays.any_value(self._columns["fingerprint"], len(first))
        insert = statements.INSERT_ERRORS if with_errors else statements.INSERT_EVENTS
        values = {**self._columns, "count": len(first)}
        try:
            base, count, ids = connection.execute(insert, values, prepare=True).fetchone() or (None, 0, None)
        except driver_errors.CONTENT as error:
            raise errors.RecordsRefused(type(error).__name__) from error
        if base is None:
            raise driver_errors.repeats.unavailable("a setting of the server", "not_durable")
        if count == len(records):
            return [outcomes.created(event_id, id) for id, event_id in enumerate(event_ids, base)]
        known: dict[str, tuple[int, bytes, bytes | None]] = {}
        if count < len(first):
            missing = list(first.keys() - {event_ids[id - base] for id in ids or ()})
            # As the driver would write it, an array takes as long as the rest of a duplicate.
            asked = arrays.array("text", len(missing), arrays.of_texts(missing))
            ids, *stored = connection.execute(statements.STORED, [asked], binary=True).fetchone() or ([],)
            known = dict(zip(ids, zip(*stored, strict=True), strict=True)) if ids else {}
            if len(known) < len(missing):
                # Removed by retention between the two statements: the client sends it again and gets the truth then.
                raise errors.StoreUnavailable("database_busy", retry_after=1)
        found: list[Outcome] = []
        for place, (event_id, record) in enumerate(zip(event_ids, records, strict=True)):
            if event_id in known:
                id, digest_1, digest = known[event_id]
                same = digest == arrays.versioned(record.digest) if digest else digest_1 in (record.digest_1, record.digest)
            else:
                twin = first[event_id]
                id, same = base + twin, record.digest == records[twin].digest
                if twin == place:
                    found.append(outcomes.created(event_id, id))
                    continue
            found.append(outcomes.duplicate(event_id, id) if same else outcomes.conflict(event_id))
        return found


def once(
    connection: Connection,
    claim: Claim | None,
    insertion: Insertion,
    found: Sequence[Outcome | None],
    at: datetime,
    atomic: bool,
) -> Kept:
    """The outcomes kept for `claim`, or new ones that are kept in the same commit as their records."""
    names: list[str] = []
    if claim is not None:
        # The lock belongs to the transaction: a process that dies gives the claim back, and no row says "in use" for ever.
        lock = f"{len(claim.key_id)}:{claim.key_id}:{claim.idempotency_key}"
        if connection.execute(statements.CLAIM_LOCK, [lock]).fetchone() != (True,):
            raise errors.IdempotencyKeyInUse
        names = [claim.key_id, claim.idempotency_key]
        connection.execute(statements.DROP_OLD_CLAIM, [*names, at - CLAIM_AGE, CLAIM_AGE])
        if kept := connection.execute(statements.CLAIM, names).fetchone():
            request, encoded, body = kept
            if bytes(request) != claim.request:
                raise errors.IdempotencyKeyReused
            before = decode_outcomes(encoded) if encoded is not None else kept_by_the_release_before(bytes(body))
            return Kept(before, replayed=True)
    stored = insertion.run(connection)
    if atomic and any(outcome.status == "conflict" for outcome in stored):
        raise Aborted(stored)
    merged = outcomes.merged(found, stored)
    if claim is not None and any(outcome.status in ("created", "duplicate") for outcome in merged):
        connection.execute(statements.KEEP_CLAIM, [*names, claim.request, encode(merged).decode(), at])
    return Kept(merged)


def kept_by_the_release_before(body: bytes) -> list[Outcome]:
    """The outcomes that a response body of release 0.1 reports. Its rows are gone 24 hours after the upgrade."""
    data = msgspec.json.decode(body)["data"]
    if "results" not in data:
        return [Outcome(data["status"], data["event_id"], data["id"])]
    listed = {result.pop("index"): msgspec.convert(result, Outcome) for result in data["results"]}
    return [listed.get(index, Outcome("created")) for index in range(data["total_received"])]
