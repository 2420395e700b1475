"""From what each commit counted (sluice.error_deltas) to groups: one process at a time, in the background and before a read.

A step takes rows out and adds them up in one transaction, so that a process that is killed has done all of it or nothing. In the
background groups and hours go that are too old.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta

import msgspec
import structlog
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from sluice import errors
from sluice.stores.postgresql.connections import Connection
from sluice.stores.postgresql.database import Database
from sluice.stores.postgresql.purge import BEFORE
from sluice.stores.postgresql.statements import LOCK_ERROR_GROUPS, TRY_LOCK_ERROR_GROUPS

log = structlog.get_logger()
# Rows of one step, or groups that go, each with up to 1,001 users: some tens of milliseconds.
STEP = 200
# Steps that a read makes before it answers with what is counted so far, and a round before it looks how far behind it is.
MOST_STEPS = 50
ROUND = 5.0
# A round that took long is followed by as many times of it, up to a minute: while a transaction of anybody lasts, what was taken
# out since it began stays in the table, and to see that nothing is left takes 80 ms for each million rows.
REST, MOST_REST = 10, 60.0
# Where a table begins.
FIRST = "(0,0)"
# Of each group and hour the count is kept for so long.
HOURS_KEPT = timedelta(days=30)
# Users and services of a group are exact up to here.
MAX_USERS, MAX_SERVICES = 1_000, 100

ANY = "SELECT EXISTS (SELECT FROM sluice.error_deltas)"
FOLD = """
WITH taken AS (
    DELETE FROM sluice.error_deltas WHERE ctid = ANY(ARRAY(
        SELECT ctid FROM sluice.error_deltas WHERE ctid > %(after)s::tid LIMIT %(step)s
    )) RETURNING *, ctid AS place
), sums AS MATERIALIZED (
    SELECT fingerprint, sum(events)::bigint AS events, min(first_seen) AS first_seen, max(last_seen) AS last_seen,
        coalesce(array_agg(DISTINCT service) FILTER (WHERE service <> ''), '{}') AS services
    FROM taken GROUP BY fingerprint
), hours AS (
    INSERT INTO sluice.error_hours AS h (fingerprint, hour, events)
    SELECT fingerprint, hour, sum(events) FROM taken WHERE hour >= %(oldest)s GROUP BY 1, 2
    ON CONFLICT (fingerprint, hour) DO UPDATE SET events = h.events + excluded.events
), seen AS MATERIALIZED (
    SELECT t.fingerprint, t.user_id, coalesce(g.users, 0) + row_number() OVER (PARTITION BY t.fingerprint) AS place
    FROM (SELECT DISTINCT fingerprint, unnest(users) AS user_id FROM taken) AS t
    LEFT JOIN sluice.error_groups AS g USING (fingerprint)
    WHERE NOT coalesce(g.more_users, false)
        AND NOT EXISTS (SELECT FROM sluice.error_users AS u WHERE u.user_id = t.user_id AND u.fingerprint = t.fingerprint)
), users AS (
    INSERT INTO sluice.error_users (user_id, fingerprint) SELECT user_id, fingerprint FROM seen WHERE place <= %(max_users)s
), people AS (
    SELECT fingerprint, count(*) FILTER (WHERE place <= %(max_users)s) AS users, bool_or(place > %(max_users)s) AS more_users
    FROM seen GROUP BY 1
), regressed AS MATERIALIZED (
    SELECT fingerprint FROM sluice.error_groups AS g JOIN sums USING (fingerprint)
    WHERE g.status = 'resolved' AND sums.last_seen > g.changed_at
), totals AS (
    UPDATE sluice.error_totals SET regressions = regressions + (SELECT count(*) FROM regressed)
    WHERE EXISTS (SELECT FROM regressed)
), folded AS (
    INSERT INTO sluice.error_groups AS g (fingerprint, events, first_seen, last_seen, services, more_services, users, more_users)
    SELECT fingerprint, events, first_seen, last_seen, services[1:%(max_services)s], cardinality(services) > %(max_services)s,
        coalesce(users, 0), coalesce(more_users, false)
    FROM sums LEFT JOIN people USING (fingerprint)
    ON CONFLICT (fingerprint) DO UPDATE SET
        events = g.events + excluded.events,
        first_seen = least(g.first_seen, excluded.first_seen),
        last_seen = greatest(g.last_seen, excluded.last_seen),
        (services, more_services) = (
            SELECT coalesce((array_agg(service ORDER BY service))[1:%(max_services)s], '{}'),
                g.more_services OR excluded.more_services OR count(*) > %(max_services)s
            FROM (SELECT DISTINCT unnest(g.services || excluded.services) AS service) AS both_
        ),
        users = g.users + excluded.users,
        more_users = g.more_users OR excluded.more_users,
        status = CASE WHEN g.status = 'resolved' AND excluded.last_seen > g.changed_at THEN 'unresolved' ELSE g.status END,
        regressed_at = CASE WHEN g.status = 'resolved' AND excluded.last_seen > g.changed_at THEN %(now)s ELSE g.regressed_at END
)
SELECT (SELECT count(*) FROM taken), coalesce((SELECT array_agg(fingerprint) FROM regressed), '{}'),
    (SELECT max(place)::text FROM taken)
"""
PURGE_HOURS = f"""
DELETE FROM sluice.error_hours WHERE ctid = ANY(ARRAY(
    SELECT ctid FROM sluice.error_hours WHERE hour < {BEFORE} ORDER BY hour LIMIT %(step)s
))
"""  # noqa: S608 - names of ours
# What is stored and not counted yet keeps its group.
PURGE_GROUPS = f"""
WITH due AS MATERIALIZED (
    SELECT fingerprint FROM (
        SELECT fingerprint FROM sluice.error_groups WHERE last_seen < {BEFORE} ORDER BY last_seen, id LIMIT %(step)s
    ) AS g WHERE NOT EXISTS (SELECT FROM sluice.error_deltas AS d WHERE d.fingerprint = g.fingerprint)
), hours AS (
    DELETE FROM sluice.error_hours WHERE fingerprint = ANY(ARRAY(SELECT fingerprint FROM due))
), users AS (
    DELETE FROM sluice.error_users WHERE fingerprint = ANY(ARRAY(SELECT fingerprint FROM due))
)
DELETE FROM sluice.error_groups WHERE fingerprint = ANY(ARRAY(SELECT fingerprint FROM due))
"""  # noqa: S608
FIGURES = """
SELECT (SELECT regressions FROM sluice.error_totals),
    (SELECT greatest(0, extract(epoch FROM clock_timestamp() - min(stored_at)))::float8 FROM sluice.error_deltas)
"""


class Folded(msgspec.Struct, frozen=True):
    """`rows`: how many were added up, of which `place` is the last. `regressed`: fingerprints of resolved groups that are open
    again."""

    rows: int
    regressed: list[str]
    place: str | None = None


def step(connection: Connection, now: datetime, *, wait: bool, after: str = FIRST) -> Folded:
    """Add up to STEP rows behind `after` to their groups. Without `wait` nothing is done while another process does it."""
    with connection.transaction():
        if connection.execute(LOCK_ERROR_GROUPS if wait else TRY_LOCK_ERROR_GROUPS).fetchone() != (True,):
            return Folded(0, [])
        limits = {"step": STEP, "max_users": MAX_USERS, "max_services": MAX_SERVICES}
        values = {**limits, "after": after, "now": now, "oldest": now - HOURS_KEPT}
        return Folded(*(connection.execute(FOLD, values).fetchone() or (0, [])))


class Steps:
    """Steps by `run`, which gives each a connection. One goes on where the last one ended: before it may be a million rows that
    were taken out and that an older transaction keeps."""

    def __init__(self, run: Callable[[Callable[[Connection], Folded]], Folded], *, wait: bool) -> None:
        self._run = run
        self._wait = wait
        self.after = FIRST

    def next(self, now: datetime) -> bool:
        """Make one; whether there may be more. Regressions are logged when they are committed."""
        after = self.after
        done = self._run(lambda connection: step(connection, now, wait=self._wait, after=after))
        for fingerprint in done.regressed:
            log.warning("error_group.regressed", fingerprint=fingerprint)
        # At the end of the table it begins again: new rows take the place of old ones.
        self.after = done.place if done.place and done.rows == STEP else FIRST
        return done.rows == STEP or after != FIRST


def drain(database: Database, now: datetime) -> bool:
    """Fold all that was committed before this call. False when MOST_STEPS are too few: then some is not counted yet."""
    if not database.query(ANY)[0][0]:
        return True
    steps = Steps(database.run_aside, wait=True)
    return any(not steps.next(now) for _ in range(MOST_STEPS))


class Folder(Collector):
    """Call `run` in a thread. Every pod has one; the database lets one of them work at a time. A collector of its metrics.

    `kept`: for how long a group is kept after its newest event; None for ever.
    """

    def __init__(self, database: Database, clock: Callable[[], datetime], kept: timedelta | None = None) -> None:
        self._database = database
        self._clock = clock
        self._kept = kept
        self.removed = 0
        self._regressions: int | None = None
        self._age: float | None = None

    def run(self, stop: threading.Event) -> None:
        """Fold every few seconds until `stop`."""
        while True:
            more, began = False, time.monotonic()
            try:
                more = self.round(stop)
            except errors.StoreUnavailable as error:
                self._age = None
                log.info("error_groups.wait", reason=error.reason)
            if stop.wait(0 if more else min(max(ROUND, REST * (time.monotonic() - began)), MOST_REST)):
                return

    def round(self, stop: threading.Event) -> bool:
        """Fold and remove, by turns, for up to MOST_STEPS, and look how far behind the groups are. Whether there may be more."""
        before, more, steps = self.removed, True, Steps(self._database.run, wait=False)
        for _ in range(MOST_STEPS):
            # By turns: neither a flood of errors nor one of groups that go keeps the other waiting.
            more = any([steps.next(self._clock()), self._remove()])
            if not more or stop.is_set():
                break
        if self.removed > before:
            log.info("error_groups.removed", groups=self.removed - before)
        row = self._database.run(lambda connection: connection.execute(FIGURES).fetchone())
        self._regressions, age = row or (None, None)
        self._age = age or 0.0
        return more

    def _remove(self) -> bool:
        """A step of hours and one of groups that are too old; whether there may be more."""
        now = self._clock()

        def work(connection: Connection) -> tuple[int, int]:
            with connection.transaction():
                if connection.execute(TRY_LOCK_ERROR_GROUPS).fetchone() != (True,):
                    return 0, 0
                step = {"clock": now, "step": STEP}
                hours = connection.execute(PURGE_HOURS, {**step, "before": now - HOURS_KEPT}).rowcount
                if self._kept is None:
                    return hours, 0
                return hours, connection.execute(PURGE_GROUPS, {**step, "before": now - self._kept}).rowcount

        hours, groups = self._database.run(work)
        self.removed += groups
        return max(hours, groups) == STEP

    def collect(self) -> Iterable[CounterMetricFamily | GaugeMetricFamily]:
        """What the last round saw of the database, the same on every pod, and what this process removed."""
        if self._regressions is not None:
            text = "Resolved error groups that an event reopened, over all pods"
            yield CounterMetricFamily("sluice_error_regressions", text, value=self._regressions)
        if self._age is not None:
            text = "Seconds since the oldest error was stored that no group counts yet"
            yield GaugeMetricFamily("sluice_error_uncounted_age_seconds", text, value=self._age)
        text = "Error groups that this pod removed because no event came for too long"
        yield CounterMetricFamily("sluice_error_groups_removed", text, value=self.removed)
