"""The steps of an erasure. Each is one short transaction with its share of the record, and safe to repeat.

Events are walked in the order of their receipt, with an index on users or without: no statement looks at more than WINDOW rows.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from datetime import datetime
from typing import Any

import msgspec

from sluice.stores.postgresql import errors as driver_errors
from sluice.stores.postgresql.connections import Connection
from sluice.stores.postgresql.database import Database
from sluice.stores.postgresql.statements import LOCK_ERROR_GROUPS

# Rows that one step looks at, and removes at most: some tens of milliseconds.
WINDOW, STEP = 20_000, 1_000
# Seconds of steps in one request, well within its deadline.
BUDGET = 3.0
BEGIN = """
INSERT INTO sluice.erasures (id, key_id, request_id, started_at) VALUES (%s, %s, %s, %s) ON CONFLICT DO NOTHING
"""
# ANY(ARRAY()): each row is found by its place.
REMOVE = """
WITH looked AS MATERIALIZED (
    SELECT ctid AS place, event_id, user_id, created_at, id FROM sluice.events
    WHERE (created_at, id) > (%(received)s::timestamptz, %(id)s) ORDER BY created_at, id LIMIT %(window)s
), due AS MATERIALIZED (
    SELECT place, event_id, created_at, id FROM looked WHERE user_id = %(user_id)s ORDER BY created_at, id LIMIT %(step)s
), gone AS (
    DELETE FROM sluice.events WHERE ctid = ANY(ARRAY(SELECT place FROM due)) RETURNING event_id
), recorded AS (
    UPDATE sluice.erasures SET events = events + (SELECT count(*) FROM gone) WHERE id = %(erasure)s
)
SELECT (SELECT count(*) FROM gone), (SELECT min(event_id) FROM due WHERE event_id NOT IN (SELECT event_id FROM gone)),
    (SELECT count(*) FROM due) = %(step)s, (SELECT count(*) FROM looked) = %(window)s,
    created_at::text, id
FROM (
    SELECT created_at, id FROM looked
    WHERE (SELECT count(*) FROM due) < %(step)s
        OR (created_at, id) <= (SELECT created_at, id FROM due ORDER BY created_at DESC, id DESC LIMIT 1)
    ORDER BY created_at DESC, id DESC LIMIT 1
) AS last
"""
FORGET_UNCOUNTED = """
UPDATE sluice.error_deltas SET users = array_remove(users, %(user_id)s) WHERE %(user_id)s = ANY(users)
"""
FORGET = """
WITH gone AS (DELETE FROM sluice.error_users WHERE user_id = %(user_id)s RETURNING fingerprint)
UPDATE sluice.error_groups AS g SET users = g.users - 1 FROM gone WHERE gone.fingerprint = g.fingerprint
"""
FINISH = "UPDATE sluice.erasures SET finished_at = %(at)s WHERE id = %(erasure)s AND finished_at IS NULL"
ERASED = "SELECT events FROM sluice.erasures WHERE id = %s"


class Place(msgspec.Struct, array_like=True, frozen=True):
    """Up to where events were looked at: receipt as text, and id."""

    received: str = "-infinity"
    id: int = 0


def begin(database: Database, erasure: str, key_id: str, request_id: str, at: datetime) -> None:
    """The record of an erasure, before anything goes."""
    database.run(lambda connection: connection.execute(BEGIN, [erasure, key_id, request_id, at]))


def remove(
    database: Database, erasure: str, user_id: str, place: Place, clock: Callable[[], float] = time.monotonic
) -> tuple[int, Place | None]:
    """Remove step by step for BUDGET seconds, at least one; how many went, and where to go on, None at the end.

    Raises StoreUnavailable when the database keeps an event that is to go.
    """
    give_up = clock() + BUDGET
    total, following, kept_before = 0, place, None
    while True:
        row = database.run(functools.partial(step, erasure=erasure, user_id=user_id, place=following))
        if row is None:
            return total, None
        removed, kept, full, more, received, id = row
        total += removed
        if kept is not None:
            # Retention, or another erasure, may have removed it in this moment: then it is not found again.
            if kept == kept_before:
                raise driver_errors.repeats.unavailable("a trigger or a policy of the database keeps events", "not_permitted")
            kept_before = kept
            continue
        if not (full or more):
            return total, None
        following = Place(received, id)
        if clock() > give_up:
            return total, following


def step(connection: Connection, erasure: str, user_id: str, place: Place) -> tuple[Any, ...] | None:
    values = {"erasure": erasure, "user_id": user_id, "received": place.received, "id": place.id}
    return connection.execute(REMOVE, {**values, "window": WINDOW, "step": STEP}).fetchone()


def finish(database: Database, erasure: str, user_id: str, at: datetime) -> None:
    """Error groups forget the user, also what no group counts yet; their counts of events stay."""
    values = {"erasure": erasure, "user_id": user_id, "at": at}

    def work(connection: Connection) -> None:
        with connection.transaction():
            connection.execute(LOCK_ERROR_GROUPS)
            for text in (FORGET_UNCOUNTED, FORGET, FINISH):
                connection.execute(text, values)

    database.run_aside(work)


def erased(database: Database, erasure: str) -> int:
    """How many events went in all, of the record."""
    return int(database.query(ERASED, [erasure])[0][0])
