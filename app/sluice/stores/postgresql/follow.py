"""Each event once, as it is committed, without an index, a trigger or a lock of its own.

An event may commit later than others whose id, or `created_at`, is higher. So snapshots say what is new: a row is new when
the statement sees it and the snapshot of the poll before does not. Rows are found by the index on `created_at`: most polls look a
few seconds behind the newest one, and a deep poll, now and then, further back for what committed late; it knows for each row by
which snapshot the polls before it would have seen it.

A standby that takes over may lack the last transactions of the server before, and gives their numbers to others, which the
snapshots of that one would hide.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
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
NEAR, SOON = timedelta(seconds=1), timedelta(microseconds=1)
# Seconds from one deep poll to the next, more in a flood, and how far one looks: as far as is cheap, and as a commit may last.
DEEP_LEAST, DEEP_MOST, DEEP_SHARE = 10.0, 30.0, 0.01
LEAST, MOST = timedelta(seconds=60), timedelta(days=1)
CHEAP, DEAR = 0.05, 0.2
# In-progress transactions make a snapshot long; one that is longer in a position is replaced by its lower bound.
MAX_SNAPSHOT = 300
# While one transaction lasts, positions that wait for its end are kept; later ones wait for those.
MAX_MARKS = 100
# How often a new follower looks for the end of the transactions that it met.
SETTLE = 10
NEVER = datetime(1, 1, 1, tzinfo=UTC)
# A snapshot that sees nothing.
NOTHING = "1:1:"
# Of the events before a standby took over, as many come again: what was accepted before and is stored by the new server is there.
AGAIN = timedelta(seconds=5)
# Goes up with each standby that takes over; the second is there first, and the first stays. Not every service shows them.
TIMELINE = """
SELECT greatest(control.timeline_id, recovery.min_recovery_end_timeline)
FROM pg_control_checkpoint() AS control, pg_control_recovery() AS recovery"""
HIDDEN = ("not_permitted", "schema_behind", "database_error")

# `next`: the number of the next transaction, which a snapshot does not know: its upper bound is behind the last one that ended.
NOW = """
WITH ids AS MATERIALIZED (
    SELECT coalesce(last_value, 0) AS last FROM pg_sequences WHERE schemaname = 'sluice' AND sequencename = 'events_id_seq'
), upto AS MATERIALIZED (SELECT last, pg_snapshot_xmax(pg_current_snapshot())::text::bigint AS xmax FROM ids)
SELECT pg_current_snapshot()::text AS snapshot, (SELECT max(created_at) FROM sluice.events) AS newest, last,
    xmax + age((xmax & 4294967295)::text::xid) AS next, concat(pg_postmaster_start_time(), pg_is_in_recovery()) AS server
FROM upto"""
# A row's transaction with the epoch that the system column lacks: it cannot be 2^32 transactions older than the snapshot.
XID = sql.SQL("(({upto} - (({upto} - e.xmin::text::bigint) & 4294967295))::text::xid8)").format(
    upto=sql.SQL("(SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint)")
)
NEW = sql.SQL("FROM sluice.events AS e WHERE e.created_at >= %s AND e.id > %s AND {unseen} AND ({wanted})")
# To keep all that is new would be dear in a flood: the newest are read by the index, and then the others are counted only.
FRESH = sql.SQL("""
WITH fresh AS MATERIALIZED (
    SELECT e.event_id, e.created_at, e.id, {matched} AS matched {new} ORDER BY e.created_at DESC, e.id DESC LIMIT {most}
), meta AS MATERIALIZED (
    SELECT pg_current_snapshot()::text AS snapshot, CASE WHEN (SELECT count(*) FROM fresh) < {most}
        THEN (SELECT {counts_of_fresh} FROM fresh) ELSE (SELECT {counts} {new}) END AS counts
)
SELECT meta.snapshot, meta.counts, found.* FROM meta LEFT JOIN LATERAL (
    SELECT e.created_at AS at, e.id AS row_id, {log} AS log, {matched} AS matched FROM sluice.events AS e
    WHERE e.event_id = ANY(ARRAY(
        SELECT event_id FROM (
            SELECT event_id, row_number() OVER newest AS place,
                sum(octet_length(concat(properties, device_info))) OVER newest AS size
            FROM fresh JOIN sluice.events USING (event_id)
            WINDOW newest AS (ORDER BY fresh.created_at DESC, fresh.id DESC)
        ) AS sized WHERE size <= %s OR place = 1
    ))
) AS found ON true ORDER BY found.at, found.row_id
""")
# The snapshots since the last deep poll, and from which `created_at` on the poll after each of them looked. Nearly every row is
# below the lowest transaction of its snapshot, or behind the last one of all: then two numbers say whether it is new.
UNSEEN = sql.SQL("""age(e.xmin) <= (
    SELECT array_agg(age(lowest::text::xid) ORDER BY place) FROM unnest(%s::bigint[]) WITH ORDINALITY AS each(lowest, place)
)[{bucket}] AND (
    age(e.xmin) <= (SELECT age(%s::text::xid)) OR NOT pg_visible_in_snapshot({xid}, (%s::pg_snapshot[])[{bucket}])
)""")
UNSEEN_NEAR = UNSEEN.format(xid=XID, bucket=sql.SQL("1"))
UNSEEN_DEEP = UNSEEN.format(xid=XID, bucket=sql.SQL("1 + width_bucket(e.created_at, %s::timestamptz[])"))
BETWEEN = sql.SQL("""age(e.xmin) <= (SELECT age(%s::text::xid))
    AND NOT pg_visible_in_snapshot({xid}, %s::pg_snapshot) AND pg_visible_in_snapshot({xid}, %s::pg_snapshot)
    AND (NOT pg_visible_in_snapshot({xid}, %s::pg_snapshot) OR (e.created_at, e.id) > (%s, %s))""").format(xid=XID)

Query = Callable[[Any, Any], list[Any]]


class Position(msgspec.Struct, array_like=True, frozen=True):
    """Behind which event: everything that `before` sees, and of what only `until` sees the events up to (`at`, `id`).

    `newest`: the newest event by then. `timeline`: of the server; 0 where nobody knows.
    """

    before: str
    until: str
    at: datetime
    id: int
    newest: datetime
    timeline: int = 0


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
        self._newest = self._deep_newest = NEVER
        self._snapshots: list[str] = []
        self._bounds: list[datetime] = []
        self._floor = 0
        self._marks: list[tuple[int, int]] = []
        self._server = ""
        self._timeline = 0
        self._begin()

    def poll(self, filters: Sequence[tuple[Match, ...]]) -> Poll:
        ((now, newest, *mark, server),) = self._query(NOW, None)
        if server != self._server and self._meet(server):
            self._look_again()
        if highest(now) < highest(self._snapshots[-1]):
            # A backup was restored, and other transactions get the same numbers: new is what is newer.
            self._snapshots, self._bounds = [NOTHING], [self._newest + SOON]
            self._floor, self._marks = 0, []
        restored = self._snapshots == [NOTHING]
        deep = self._clock() >= self._deep_at and not restored
        near = max([self._newest - NEAR, *self._bounds[-1:]]) if self._newest > NEVER else NEVER
        bound = max(NEVER, self._deep_newest - min(self._window, self._deep_newest - NEVER)) if deep else near
        began = self._clock()
        # What is near was in sight of every poll, so that the last of them saw what any of them did.
        unseen, snapshots, bounds = UNSEEN_NEAR, self._snapshots[-1:], list[Any]()
        if deep:
            unseen, snapshots, bounds = UNSEEN_DEEP, self._snapshots, [self._bounds]
        last = max(highest(each) for each in snapshots)
        seen = [[xid(lowest(each)) for each in snapshots], *bounds, xid(last), snapshots, *bounds]
        try:
            self._mark(*mark)
            snapshot, counts, rows = self._read(bound, self._floor, unseen, seen, filters)
        except errors.QueryTimeout:
            if deep:
                self._window = max(self._window / 4, LEAST)
                self._deep_at = self._clock() + DEEP_MOST
            raise
        # What an earlier poll missed was not seen by the first of them.
        before, self._newest = min(snapshots, key=lowest), self._bound(newest)
        if deep:
            self._widen(self._clock() - began)
        if deep or restored:
            self._begin_deep(snapshot, self._clock() - began)
        else:
            self._snapshots.append(snapshot)
            self._bounds.append(bound)
        events = [self._fresh(row, before, snapshot) for row in rows[:-1]]
        # Behind the last of them there is nothing left that this poll saw.
        return Poll([*events, *(self._fresh(row, snapshot, snapshot) for row in rows[-1:])], counts)

    def place(self) -> str:
        here = shortened(self._snapshots[-1])
        return self._written(Position(here, here, NEVER, 0, self._newest, self._timeline))

    def check(self, position: str) -> None:
        self._position(position)

    def since(self, position: str, matches: tuple[Match, ...]) -> Poll:
        place = self._position(position)
        bound = max(NEVER, place.newest - min(self._window, place.newest - NEVER))
        until = self._snapshots[-1]
        if highest(place.before) > highest(until):
            # Of before a backup was restored, or of a poll that was later than the last one here.
            place, bound = Position(NOTHING, NOTHING, NEVER, 0, place.newest), place.newest + SOON
        elif place.until == NOTHING or place.timeline not in (0, self._timeline):
            # The first is the place of a poll that looks again, and has not ended.
            place, bound = Position(NOTHING, NOTHING, NEVER, 0, place.newest), max(place.newest, NEVER + AGAIN) - AGAIN
        values = [xid(lowest(place.before)), place.before, until, place.until, place.at, place.id]
        _, counts, rows = self._read(bound, 0, BETWEEN, values, [matches])
        return Poll([self._fresh(row, place.before, until) for row in rows], counts)

    def _read(
        self, bound: datetime, floor: int, unseen: sql.Composable, seen: list[Any], filters: Sequence[tuple[Match, ...]]
    ) -> tuple[str, list[int], list[Any]]:
        """What `unseen` is true of, from `bound` on and with an id above `floor`, which needs no look at the row."""
        conditions: list[sql.Composable] = []
        values: list[Any] = []
        for matches in filters:
            texts, given = statements.where(matches)
            conditions.append(sql.SQL("({})").format(sql.SQL(" AND ").join(texts)) if texts else sql.SQL("true"))
            values.extend(given)
        text = FRESH.format(
            new=NEW.format(unseen=unseen, wanted=sql.SQL(" OR ").join(conditions)),
            most=sql.Literal(MAX_FRESH),
            matched=array(conditions, "boolean"),
            counts_of_fresh=counts(sql.SQL("matched[{}]").format(sql.Literal(n)) for n in range(1, len(filters) + 1)),
            counts=counts(conditions),
            log=sql.SQL(statements.LOG),
        )
        new = [bound, floor, *seen, *values]
        rows = self._query(text, [*values, *new, *values, *new, *values, MAX_FRESH_BYTES])
        return rows[0][0], rows[0][1], [row[2:] for row in rows if row[4] is not None]

    def _fresh(self, row: Any, before: str, until: str) -> Fresh:
        at, id, log, matched = row
        place = Position(shortened(before), shortened(until), at, id, self._newest, self._timeline)
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

    def _begin(self) -> None:
        """Everything that is committed from here on is new. A few looks until the floor is raised, or the first deep poll would
        look at every event of its time."""
        ((_, _, *mark, server),) = self._query(NOW, None)
        self._meet(server)
        self._mark(*mark)
        for _ in range(SETTLE):
            ((snapshot, newest, *_),) = self._query(NOW, None)
            self._newest = self._bound(newest)
            self._begin_deep(snapshot, 0)
            if not self._marks:
                break
            time.sleep(0.02)

    def _meet(self, server: str) -> bool:
        """Whether `server`, another one or the same since its promotion, took over from the one before."""
        try:
            ((timeline,),) = self._query(TIMELINE, None)
        except errors.StoreUnavailable as error:
            if error.reason not in HIDDEN:
                raise
            timeline = 0
        before, self._timeline, self._server = self._timeline, timeline, server
        return before not in (0, timeline)

    def _look_again(self) -> None:
        """All of the last seconds is new, by a deep poll; what is older is judged as before."""
        since = max(self._newest, NEVER + AGAIN) - AGAIN
        while self._bounds and self._bounds[-1] >= since:
            self._bounds.pop()
            self._snapshots.pop()
        self._snapshots.append(NOTHING)
        self._bounds.append(since)
        self._floor, self._marks = 0, []
        self._deep_at = 0.0

    def _begin_deep(self, snapshot: str, took: float) -> None:
        self._snapshots = [snapshot]
        self._bounds = []
        self._deep_newest = self._newest
        self._deep_at = self._clock() + max(DEEP_LEAST, min(took / DEEP_SHARE, DEEP_MOST))
        finished = [last for last, upto in self._marks if upto <= lowest(snapshot)]
        if finished:
            self._floor = finished[-1]
            del self._marks[: len(finished)]

    def _mark(self, last: int, upto: int) -> None:
        """A transaction has its number before its ids (INSERT), so that those with ids up to `last`, which was read before
        `upto`, have numbers below it. When these are finished nothing new comes up to `last`, and no poll looks there again."""
        if last < self._floor:
            # Another server, which lost what this one had.
            self._floor, self._marks = 0, []
        if len(self._marks) < MAX_MARKS:
            self._marks.append((last, upto))

    def _widen(self, seconds: float) -> None:
        if seconds < CHEAP:
            self._window = min(self._window * 2, MOST)
        elif seconds > DEAR:
            self._window = max(self._window / 2, LEAST)


def shortened(snapshot: str) -> str:
    """`snapshot`, or one that sees less: a tail that goes on there gets some events twice, and misses none."""
    return snapshot if len(snapshot) <= MAX_SNAPSHOT else f"{lowest(snapshot)}:{lowest(snapshot)}:"


def lowest(snapshot: str) -> int:
    """Every transaction below is finished."""
    return int(snapshot.partition(":")[0])


def highest(snapshot: str) -> int:
    """No transaction from here on was there yet."""
    return int(snapshot.split(":")[1])


def xid(number: int) -> int:
    """As the system column has it: without the epoch."""
    return number & 0xFFFFFFFF


def counts(conditions: Iterable[sql.Composable]) -> sql.Composed:
    return array([sql.SQL("count(*) FILTER (WHERE {})").format(each) for each in conditions], "bigint")


def array(items: Sequence[sql.Composable], kind: str) -> sql.Composed:
    return sql.SQL("ARRAY[{}]::{}[]").format(sql.SQL(", ").join(items), sql.SQL(kind))
