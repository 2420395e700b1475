"""Each event once, as it is committed, without an index, a trigger or a lock of its own.

An event may commit later than others whose id, or `created_at`, is higher. So snapshots say what is new: a row is new when
the statement sees it and the snapshot of the poll before does not. Rows are found by the index on `created_at`: most polls look a
few seconds behind the newest one, and a deep poll, now and then, further back for what committed late; it knows for each row by
which snapshot the polls before it would have seen it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from itsdangerous import BadData
from psycopg import sql

from sluice import cursors, errors
from sluice.filters import Match
from sluice.stores import MAX_FRESH, MAX_FRESH_BYTES, Fresh, Poll
from sluice.stores.postgresql import statements

# How far behind the newest event a poll looks.
NEAR = timedelta(seconds=3)
# How often a poll is a deep one, and how far that looks: as far as is cheap, and at least as long as a commit may last.
DEEP_EVERY = 10.0
LEAST, MOST = timedelta(seconds=60), timedelta(days=1)
CHEAP, DEAR = 0.05, 0.2
# In-progress transactions make a snapshot long; one that is longer in a position is replaced by its lower bound.
MAX_SNAPSHOT = 300
NEVER = datetime(1, 1, 1, tzinfo=UTC)

NOW = "SELECT pg_current_snapshot()::text, (SELECT max(created_at) FROM sluice.events)"
# A row's transaction with the epoch that the system column lacks: it cannot be 2^32 transactions older than the snapshot.
XID = sql.SQL("((upto.xmax - ((upto.xmax - e.xmin::text::bigint) & 4294967295))::text::xid8)")
FRESH = sql.SQL("""
WITH upto AS MATERIALIZED (
    SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint AS xmax, age(%s::text::xid) AS age
), fresh AS MATERIALIZED (
    SELECT e.event_id, e.created_at, e.id, {matched} AS matched
    FROM sluice.events AS e, upto
    WHERE e.created_at >= %s AND age(e.xmin) <= upto.age AND {unseen} AND ({wanted})
), meta AS MATERIALIZED (
    SELECT pg_current_snapshot()::text AS snapshot, (SELECT max(created_at) FROM sluice.events) AS newest, {counts} AS counts
    FROM fresh
)
SELECT meta.snapshot, meta.newest, meta.counts, found.* FROM meta LEFT JOIN LATERAL (
    SELECT e.created_at AS at, e.id AS row_id, {log} AS log, {matched} AS matched FROM sluice.events AS e
    WHERE e.event_id = ANY(ARRAY(
        SELECT event_id FROM (
            SELECT event_id, row_number() OVER newest AS place,
                sum(octet_length(concat(properties, device_info))) OVER newest AS size
            FROM (SELECT event_id FROM fresh ORDER BY created_at DESC, id DESC LIMIT %s) AS last
            JOIN sluice.events USING (event_id)
            WINDOW newest AS (ORDER BY created_at DESC, id DESC)
        ) AS sized WHERE size <= %s OR place = 1
    ))
) AS found ON true ORDER BY found.at, found.row_id
""")
# The snapshots since the last deep poll, and from which `created_at` on the poll after each of them looked.
UNSEEN = sql.SQL(
    "NOT pg_visible_in_snapshot({xid}, (%s::pg_snapshot[])[1 + width_bucket(e.created_at, %s::timestamptz[])])"
).format(xid=XID)
BETWEEN = sql.SQL("""NOT pg_visible_in_snapshot({xid}, %s::pg_snapshot) AND pg_visible_in_snapshot({xid}, %s::pg_snapshot)
    AND (NOT pg_visible_in_snapshot({xid}, %s::pg_snapshot) OR (e.created_at, e.id) > (%s, %s))""").format(xid=XID)

Query = Callable[[Any, Any], list[Any]]


class Position(msgspec.Struct, array_like=True, frozen=True):
    """Behind which event: everything that `before` sees, and of what only `until` sees the events up to (`at`, `id`).

    `newest`: the newest event by then.
    """

    before: str
    until: str
    at: datetime
    id: int
    newest: datetime


class EventFollower:
    """Implements stores.Follower. `query`: the rows of a statement and its values."""

    def __init__(
        self,
        query: Query,
        secret: bytes,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._query = query
        self._serializer = cursors.serializer(secret, "tail")
        self._clock = clock
        self._window = timedelta(minutes=10)
        self._deep_at = 0.0
        ((snapshot, newest),) = query(NOW, None)
        self._newest = self._bound(newest)
        self._begin_deep(snapshot)

    def poll(self, filters: Sequence[tuple[Match, ...]]) -> Poll:
        deep = self._clock() >= self._deep_at
        near = max([self._newest - NEAR, *self._bounds[-1:]]) if self._newest > NEVER else NEVER
        bound = max(NEVER, self._deep_newest - min(self._window, self._deep_newest - NEVER)) if deep else near
        began = self._clock()
        try:
            seen = [self._snapshots, self._bounds]
            snapshot, newest, counts, rows = self._read(bound, self._snapshots[0], UNSEEN, seen, filters)
        except errors.QueryTimeout:
            if deep:
                self._window = max(self._window / 4, LEAST)
                self._deep_at = self._clock() + DEEP_EVERY
            raise
        before, self._newest = self._snapshots[-1], self._bound(newest)
        if deep:
            self._widen(self._clock() - began)
            # What an earlier poll missed was not seen by the first of them.
            before = self._snapshots[0]
            self._begin_deep(snapshot)
        else:
            self._snapshots.append(snapshot)
            self._bounds.append(bound)
        events = [self._fresh(row, before, snapshot) for row in rows[:-1]]
        # Behind the last of them there is nothing left that this poll saw.
        return Poll([*events, *(self._fresh(row, snapshot, snapshot) for row in rows[-1:])], counts)

    def place(self) -> str:
        return self._written(Position(shortened(self._snapshots[-1]), shortened(self._snapshots[-1]), NEVER, 0, self._newest))

    def check(self, position: str) -> None:
        self._position(position)

    def since(self, position: str, matches: tuple[Match, ...]) -> Poll:
        place = self._position(position)
        bound = max(NEVER, place.newest - min(self._window, place.newest - NEVER))
        until = self._snapshots[-1]
        values = [place.before, until, place.until, place.at, place.id]
        _, _, counts, rows = self._read(bound, place.before, BETWEEN, values, [matches])
        return Poll([self._fresh(row, place.before, until) for row in rows], counts)

    def _read(
        self, bound: datetime, oldest: str, unseen: sql.Composable, seen: list[Any], filters: Sequence[tuple[Match, ...]]
    ) -> tuple[str, datetime | None, list[int], list[Any]]:
        """What `unseen` is true of. `oldest`: a snapshot that sees all transactions before its lowest one. That number alone
        rules out nearly every row, which is cheap."""
        conditions: list[sql.Composable] = []
        values: list[Any] = []
        for matches in filters:
            texts, given = statements.where(matches)
            conditions.append(sql.SQL("({})").format(sql.SQL(" AND ").join(texts)) if texts else sql.SQL("true"))
            values.extend(given)
        counts = [sql.SQL("count(*) FILTER (WHERE matched[{}])").format(sql.Literal(n)) for n in range(1, len(filters) + 1)]
        text = FRESH.format(
            matched=array(conditions, "boolean"),
            wanted=sql.SQL(" OR ").join(conditions),
            unseen=unseen,
            counts=array(counts, "bigint"),
            log=sql.SQL(statements.LOG),
        )
        lowest = int(oldest.partition(":")[0]) & 0xFFFFFFFF
        rows = self._query(text, [lowest, *values, bound, *seen, *values, *values, MAX_FRESH, MAX_FRESH_BYTES])
        snapshot, newest, numbers = rows[0][:3]
        return snapshot, newest, numbers, [row[3:] for row in rows if row[5] is not None]

    def _fresh(self, row: Any, before: str, until: str) -> Fresh:
        at, id, log, matched = row
        place = Position(shortened(before), shortened(until), at, id, self._newest)
        return Fresh(log, self._written(place), tuple(index for index, holds in enumerate(matched) if holds))

    def _written(self, place: Position) -> str:
        return str(self._serializer.dumps(msgspec.to_builtins(place)))

    def _position(self, text: str) -> Position:
        if not cursors.WRITTEN.fullmatch(text):
            raise errors.InvalidCursor
        try:
            return msgspec.convert(self._serializer.loads(text), Position)
        except (BadData, msgspec.ValidationError, ValueError) as error:
            raise errors.InvalidCursor from error

    def _bound(self, newest: datetime | None) -> datetime:
        """Behind which the next poll looks: a clock that runs ahead, of another process, must not hide what the others store."""
        return NEVER if newest is None else min(newest, datetime.now(UTC))

    def _begin_deep(self, snapshot: str) -> None:
        self._snapshots = [snapshot]
        self._bounds: list[datetime] = []
        self._deep_newest = self._newest
        self._deep_at = self._clock() + DEEP_EVERY

    def _widen(self, seconds: float) -> None:
        if seconds < CHEAP:
            self._window = min(self._window * 2, MOST)
        elif seconds > DEAR:
            self._window = max(self._window / 2, LEAST)


def shortened(snapshot: str) -> str:
    """`snapshot`, or one that sees less: a tail that goes on there gets some events twice, and misses none."""
    lowest = snapshot.partition(":")[0]
    return snapshot if len(snapshot) <= MAX_SNAPSHOT else f"{lowest}:{lowest}:"


def array(items: Sequence[sql.Composable], kind: str) -> sql.Composed:
    return sql.SQL("ARRAY[{}]::{}[]").format(sql.SQL(", ").join(items), sql.SQL(kind))
