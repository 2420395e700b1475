"""The rows of error groups: a page of them, one of them, and their state."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import msgspec

from sluice import cursors
from sluice.error_groups import fold
from sluice.error_groups.query import Query, Status
from sluice.stores import COUNT_CAP, PAGE_BYTES, Page, capped
from sluice.stores.postgresql.connections import Connection
from sluice.stores.postgresql.database import Database
from sluice.stores.postgresql.statements import BOUNDED, LOCK_ERROR_GROUPS, LOG, is_more

# What the list shows of the hours; one group shows all that are kept.
LISTED_HOURS = timedelta(hours=24)
SORTS = {
    "last_seen": ("last_seen", "timestamptz"),
    "first_seen": ("first_seen", "timestamptz"),
    "count": ("events", "bigint"),
    "users": ("users", "integer"),
}
# The example is the newest event that is still kept: what retention or an erasure removed is none.
GROUP = f"""json_build_object(
    'fingerprint', g.fingerprint, 'status', g.status, 'count', g.events, 'first_seen', g.first_seen, 'last_seen', g.last_seen,
    'services', g.services, 'services_exact', NOT g.more_services, 'users', g.users, 'users_exact', NOT g.more_users,
    'regressed', g.regressed_at IS NOT NULL, 'regressed_at', g.regressed_at,
    'changed_at', g.changed_at, 'changed_by', g.changed_by,
    'histogram', (
        SELECT coalesce(json_agg(json_build_object('hour', h.hour, 'count', h.events) ORDER BY h.hour), '[]')
        FROM sluice.error_hours AS h WHERE h.fingerprint = g.fingerprint AND h.hour > %s
    ),
    'example', (
        SELECT ({LOG})::json FROM sluice.events
        WHERE fingerprint = g.fingerprint COLLATE "default" ORDER BY created_at DESC, id DESC LIMIT 1
    ))::text"""  # noqa: S608 - names of ours
ONE = f"SELECT {GROUP} FROM sluice.error_groups AS g WHERE g.fingerprint = %s"  # noqa: S608
CHANGE = """
UPDATE sluice.error_groups SET status = %(status)s, changed_at = %(at)s, changed_by = %(key_id)s, regressed_at = NULL
WHERE fingerprint = %(fingerprint)s AND status <> %(status)s
"""


def page(database: Database, secret: bytes, query: Query, now: datetime) -> Page:
    """One page of groups as JSON. Raises errors.InvalidCursor and errors.QueryTimeout."""
    scope = cursors.scope_of("error_groups", msgspec.structs.replace(query, cursor=None, page_size=0))
    cursor = cursors.decode(query.cursor, secret, scope) if query.cursor else None
    conditions, values = where(query)
    if cursor is None:
        text = f"SELECT count(*) FROM (SELECT 1 FROM sluice.error_groups AS g {joined(conditions)} LIMIT %s) AS counted"  # noqa: S608
        ((counted,),) = database.query(text, [*values, COUNT_CAP + 1])
        total, exact = capped(counted)
    else:
        total, exact = cursor.total, cursor.exact
    column, kind = SORTS[query.sort_by]
    direction, compare = ("DESC", "<") if query.descending else ("ASC", ">")
    if cursor is not None:
        conditions.append(f"(g.{column}, g.id) {compare} (%s::{kind}, %s)")
        values += [cursor.value, cursor.id]
    order = f"ORDER BY g.{column} {direction}, g.id {direction}"
    found = f"""SELECT g.{column}::text AS sort_value, g.id AS row_id, {GROUP} AS log
        FROM (SELECT * FROM sluice.error_groups AS g {joined(conditions)} {order} LIMIT %s) AS g {order}"""  # noqa: S608
    rows = database.query(BOUNDED.format(found=found), [now - LISTED_HOURS, *values, query.page_size + 1, PAGE_BYTES])
    kept = rows[: query.page_size]
    following = None
    if is_more(rows, kept):
        last = cursors.Cursor(value=kept[-1][0], id=kept[-1][1], total=total, exact=exact)
        following = cursors.encode(last, secret, scope)
    return Page([msgspec.Raw(row[2].encode()) for row in kept], total, exact, following)


def where(query: Query) -> tuple[list[str], list[Any]]:
    conditions = [f"g.{column} {operator} %s" for column, operator, _ in query.times]
    values: list[Any] = [moment for _, _, moment in query.times]
    if query.status is not None:
        conditions.append("g.status = %s")
        values.append(query.status)
    if query.service is not None:
        conditions.append("%s = ANY(g.services)")
        values.append(query.service)
    return conditions, values


def joined(conditions: list[str]) -> str:
    return f"WHERE {' AND '.join(conditions)}" if conditions else ""


def get(database: Database, fingerprint: str, now: datetime) -> msgspec.Raw | None:
    """One group as JSON, with all hours that are kept."""
    rows = database.query(ONE, [now - fold.HOURS_KEPT, fingerprint])
    return next((msgspec.Raw(row[0].encode()) for row in rows), None)


def change(database: Database, fingerprint: str, status: Status, at: datetime, key_id: str) -> None:
    """Set the state of a group; what has it already stays as it is. An event with a later timestamp than `at` reopens it."""

    def work(connection: Connection) -> None:
        with connection.transaction():
            connection.execute(LOCK_ERROR_GROUPS)
            connection.execute(CHANGE, {"status": status, "at": at, "key_id": key_id, "fingerprint": fingerprint})

    database.run_aside(work)
