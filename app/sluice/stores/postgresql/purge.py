"""The steps of retention in PostgreSQL. Each goes on where the one before ended.

What is removed stays in the indexes for as long as any older transaction lasts, that of a backup or a forgotten one: a step that
began with the oldest row would walk over all that the steps before it removed.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import structlog

from sluice.stores.postgresql.connections import Connection
from sluice.stores.postgresql.database import Database

log = structlog.get_logger()
# Seconds after which a table is looked at from its first row again: what a trigger kept may go now.
LOOK_AGAIN = 86_400.0
# Seconds for which one call looks behind rows that a trigger keeps.
BUDGET = 1.0
START = ("-infinity", 0)

# One pod at a time removes. The lock belongs to the transaction, so a dead pod holds nothing.
LOCK = "SELECT pg_try_advisory_xact_lock(126934213878629)"
# A clock of this process that is ahead of the server's removes nothing that the server's would not.
BEFORE = "%(before)s::timestamptz - greatest(interval '0', %(clock)s::timestamptz - now())"
# By its place: to look each up by its key would read another page of that index for every row. ANY(ARRAY()) instead of IN, for a
# join may be planned as a scan of the table for every step: it is, of a statement that is planned for any values.
EVENTS = f"""
WITH due AS MATERIALIZED (
    SELECT ctid AS place, "timestamp", id FROM sluice.events
    WHERE ("timestamp", id) > (%(after)s::timestamptz, %(id)s) AND "timestamp" < {BEFORE}
    ORDER BY "timestamp", id LIMIT %(limit)s
), gone AS (
    DELETE FROM sluice.events WHERE ctid = ANY(ARRAY(SELECT place FROM due)) RETURNING 1
)
SELECT count(*), (SELECT count(*) FROM gone), (array_agg("timestamp"::text ORDER BY "timestamp" DESC, id DESC))[1],
    (array_agg(id ORDER BY "timestamp" DESC, id DESC))[1] FROM due
"""  # noqa: S608 - names of ours
CLAIMS = f"""
WITH due AS MATERIALIZED (
    SELECT ctid AS place, created_at FROM sluice.idempotency_keys
    WHERE created_at >= %(after)s::timestamptz AND created_at < {BEFORE} ORDER BY created_at LIMIT %(limit)s
), gone AS (
    DELETE FROM sluice.idempotency_keys WHERE ctid = ANY(ARRAY(SELECT place FROM due)) RETURNING 1
)
SELECT count(*), (SELECT count(*) FROM gone), max(created_at)::text, 0 FROM due
"""  # noqa: S608


class Purge:
    """Implements stores.Retention for one process."""

    def __init__(
        self,
        database: Database,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._now = now
        self._clock = clock
        self.places = {EVENTS: START, CLAIMS: START}
        self._look_again = dict.fromkeys(self.places, clock() + LOOK_AGAIN)

    def step(self, before: datetime, claims_before: datetime, limit: int) -> tuple[int, int]:
        """Remove some `limit` events and claims; how many of each went."""
        give_up = self._clock() + BUDGET
        # A commit of their own: where an administrator lets no event go, the claims do.
        _, claims = self._once(CLAIMS, claims_before, limit)
        removed = kept = 0
        while True:
            due, gone = self._once(EVENTS, before, limit)
            removed, kept = removed + gone, kept + due - gone
            if due < limit or removed >= limit or self._clock() > give_up:
                break
        if kept:
            log.warning("retention.kept", events=kept, fix="a trigger or a policy of the database keeps what is due")
        return removed, claims

    def _once(self, text: str, before: datetime, limit: int) -> tuple[int, int]:
        """How many were due, and how many of them went."""
        after, id = self.places[text]
        if self._clock() > self._look_again[text]:
            # Once, also when that takes too long: then the next step goes on where the last one ended.
            (after, id), self._look_again[text] = START, self._clock() + LOOK_AGAIN
        values = {"before": before, "clock": self._now(), "limit": limit, "after": after, "id": id}

        def work(connection: Connection) -> Any:
            with connection.transaction():
                if connection.execute(LOCK).fetchone() != (True,):
                    return None
                return connection.execute(text, values).fetchone()

        due, gone, *last = self._database.run(work) or (0, 0)
        if due:
            self.places[text] = tuple(last)
        return due, gone
