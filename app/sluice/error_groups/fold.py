"""From what each commit counted (sluice.error_deltas) to groups: one process at a time, in the background and before a read.

A step takes rows out and adds them up in one transaction, so that a process that is killed has done all of it or nothing.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta

import msgspec
import structlog
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from sluice import errors
from sluice.stores.postgresql.connections import Connection
from sluice.stores.postgresql.database import Database
from sluice.stores.postgresql.statements import LOCK_ERROR_GROUPS, TRY_LOCK_ERROR_GROUPS

log = structlog.get_logger()
# Rows of one step, each with up to 1,001 users: some tens of milliseconds.
STEP = 200
# Steps that a read makes before it answers with what is counted so far.
MOST_STEPS = 50
ROUND = 5.0
# Of each group and hour the count is kept for so long.
HOURS_KEPT = timedelta(days=30)
# Users and services of a group are exact up to here.
MAX_USERS, MAX_SERVICES = 1_000, 100

ANY = "SELECT EXISTS (SELECT FROM sluice.error_deltas)"
FOLD = """
WITH taken AS (
    DELETE FROM sluice.error_deltas WHERE ctid = ANY(ARRAY(SELECT ctid FROM sluice.error_deltas LIMIT %(step)s)) RETURNING *
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
SELECT (SELECT count(*) FROM taken), coalesce((SELECT array_agg(fingerprint) FROM regressed), '{}')
"""
PURGE_HOURS = """
DELETE FROM sluice.error_hours WHERE (fingerprint, hour) IN (
    SELECT fingerprint, hour FROM sluice.error_hours WHERE hour < %s ORDER BY hour LIMIT 1000
)
"""
FIGURES = """
SELECT (SELECT regressions FROM sluice.error_totals),
    (SELECT greatest(0, extract(epoch FROM clock_timestamp() - min(stored_at)))::float8 FROM sluice.error_deltas)
"""


class Folded(msgspec.Struct, frozen=True):
    """`rows`: how many were added up. `regressed`: fingerprints of resolved groups that are open again."""

    rows: int
    regressed: list[str]


def step(connection: Connection, now: datetime, *, wait: bool) -> Folded:
    """Add up to STEP rows to their groups. Without `wait` nothing is done while another process does it."""
    with connection.transaction():
        if connection.execute(LOCK_ERROR_GROUPS if wait else TRY_LOCK_ERROR_GROUPS).fetchone() != (True,):
            return Folded(0, [])
        values = {"step": STEP, "now": now, "oldest": now - HOURS_KEPT, "max_users": MAX_USERS, "max_services": MAX_SERVICES}
        return Folded(*(connection.execute(FOLD, values).fetchone() or (0, [])))


def folded(run: Callable[[Callable[[Connection], Folded]], Folded], now: datetime, *, wait: bool) -> int:
    """One step by `run`, which gives it a connection; how many rows it took. Regressions are logged when they are committed."""
    done = run(lambda connection: step(connection, now, wait=wait))
    for fingerprint in done.regressed:
        log.warning("error_group.regressed", fingerprint=fingerprint)
    return done.rows


def drain(database: Database, now: datetime) -> bool:
    """Fold all that was committed before this call. False when MOST_STEPS are too few: then some is not counted yet."""
    if not database.query(ANY)[0][0]:
        return True
    return any(folded(database.run_aside, now, wait=True) < STEP for _ in range(MOST_STEPS))


class Folder(Collector):
    """Call `run` in a thread. Every pod has one; the database lets one of them work at a time. A collector of its metrics."""

    def __init__(self, database: Database, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._clock = clock
        self._regressions: int | None = None
        self._age: float | None = None

    def run(self, stop: threading.Event) -> None:
        """Fold every few seconds until `stop`."""
        while True:
            try:
                self.round(stop)
            except errors.StoreUnavailable as error:
                self._age = None
                log.info("error_groups.wait", reason=error.reason)
            if stop.wait(ROUND):
                return

    def round(self, stop: threading.Event) -> None:
        """Fold until a step finds no more, drop hours that are too old, and look how far behind the groups are."""
        while folded(self._database.run, self._clock(), wait=False) == STEP and not stop.is_set():
            pass
        oldest = self._clock() - HOURS_KEPT
        self._database.run(lambda connection: connection.execute(PURGE_HOURS, [oldest]))
        row = self._database.run(lambda connection: connection.execute(FIGURES).fetchone())
        self._regressions, age = row or (None, None)
        self._age = age or 0.0

    def collect(self) -> Iterable[CounterMetricFamily | GaugeMetricFamily]:
        """What the last round saw; both are figures of the database, the same on every pod."""
        if self._regressions is not None:
            text = "Resolved error groups that an event reopened, over all pods"
            yield CounterMetricFamily("sluice_error_regressions", text, value=self._regressions)
        if self._age is not None:
            text = "Seconds since the oldest error was stored that no group counts yet"
            yield GaugeMetricFamily("sluice_error_uncounted_age_seconds", text, value=self._age)
