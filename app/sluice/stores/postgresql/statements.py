"""Every SQL statement of the PostgreSQL store, by name. Values are parameters; only our own names are put into text."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from psycopg import sql

from sluice.events import MAX_AHEAD
from sluice.filters import Filter, Match
from sluice.stores.postgresql import arrays

# Whether what is written survives a crash. Aurora's storage keeps it whatever these two settings say, and so do Neon's
# safekeepers as long as commits wait for them. No other server passes for one of these: nobody adds to pg_catalog, and where
# nobody confirms as `walproposer` no commit ends.
KEPT = """('off' NOT IN (current_setting('fsync'), current_setting('full_page_writes'))
    OR to_regproc('pg_catalog.aurora_version') IS NOT NULL
    OR (current_setting('neon.timeline_id', true) <> '' AND current_setting('synchronous_standby_names') = 'walproposer'
        AND current_setting('synchronous_commit') IN ('on', 'remote_apply')))"""
DURABLE = f"SELECT current_setting('synchronous_commit') <> 'off' AND {KEPT}"
# Another number than the login gave: a pooler stands between.
BACKEND = "SELECT pg_backend_pid()"
# RDS Proxy keeps a session for who set something in it. Not for the service, for which it should not.
KEEP_SESSION = "SELECT set_config('sluice.session', 'kept', false)"
BY_INDEX = "SET LOCAL enable_seqscan = off"
# What our statements need, whatever the server, the database or the role has: of the session, or (`local`) of one transaction.
# What is set here stays when the server's configuration is loaded again. To compile (`jit`) takes longer than most of them, whose
# costs, which decide it, grow with the table although they end early.
SETTINGS = """
SELECT set_config('TimeZone', 'UTC', %(local)s), set_config('DateStyle', 'ISO, YMD', %(local)s),
    set_config('default_transaction_isolation', 'read committed', %(local)s), set_config('lock_timeout', '0', %(local)s),
    set_config('jit', 'off', %(local)s), set_config('search_path', 'pg_catalog', %(local)s),
    set_config('synchronous_commit', CASE current_setting('synchronous_commit') WHEN 'off' THEN 'on'
        ELSE current_setting('synchronous_commit') END, %(local)s),
    set_config('statement_timeout', %(timeout)s, %(local)s)"""
# Of the owner: what takes hours, what waits for others, and a session that only holds a lock, are not ended by what is there for
# others. Not every version has each of them: the names that this one has are returned. Nor does it run a function that somebody
# else made in `public`, where up to PostgreSQL 14 everybody may, because it fits a call better than the one of the system.
OF_OWNER = """
SELECT name, set_config(name, CASE name WHEN 'search_path' THEN 'pg_catalog' ELSE '0' END, false) FROM pg_settings
WHERE name IN ('statement_timeout', 'idle_session_timeout', 'idle_in_transaction_session_timeout', 'lock_timeout',
    'transaction_timeout', 'search_path')"""

# `ord` is the place in the request: ids follow it although the rows are sorted by event_id, and they are sorted so that two
# requests with the same events take their locks in the same order. The transaction has its number before its ids, for `follow`.
# There is no step, and nothing is stored, while the server may lose the commit: a running one can be configured so.
INSERT = """
WITH step AS MATERIALIZED (
    SELECT nextval('sluice.events_id_seq') AS base
    WHERE pg_current_xact_id() IS NOT NULL AND {kept}
),
stored AS (
    INSERT INTO sluice.events (id, {columns})
    SELECT step.base + r.ord, {columns} FROM step, (SELECT unnest(%(ord)s::int4[]) AS ord, {arrays}) AS r
    ON CONFLICT (event_id) DO NOTHING
    RETURNING id{returned}
){counted}
SELECT (SELECT base FROM step), count(*), CASE WHEN count(*) < %(count)s THEN array_agg(id) END FROM stored
"""
OF_EVENTS = {
    "kept": KEPT,
    "columns": ", ".join(f'"{name}"' for name in arrays.TYPES),
    "arrays": ", ".join(f'unnest(%({name})s::{kind}[]) AS "{name}"' for name, kind in arrays.TYPES.items()),
}
INSERT_EVENTS = INSERT.format(**OF_EVENTS, returned="", counted="")
# With errors among the records: what is stored of each fingerprint, and nothing that was a duplicate, goes into error_deltas.
INSERT_ERRORS = INSERT.format(
    **OF_EVENTS,
    # JSON is looked at only where there is no source.
    returned=""", fingerprint COLLATE "C" AS fingerprint, "timestamp", user_id COLLATE "C" AS user_id, coalesce(
        source, CASE jsonb_typeof(properties -> 'service') WHEN 'string' THEN left(properties ->> 'service', 255) END, ''
    ) AS service""",
    # An hour as a number, for date_trunc looks the name of the zone up for every row.
    counted=""",
counted AS (
    INSERT INTO sluice.error_deltas (fingerprint, service, hour, events, first_seen, last_seen, users)
    SELECT fingerprint, service, date_bin('1 hour', "timestamp", '0001-01-01 00:00Z'), count(*),
        min("timestamp"), max("timestamp"), (array_agg(DISTINCT user_id) FILTER (WHERE user_id IS NOT NULL))[1:1001]
    FROM stored WHERE fingerprint IS NOT NULL GROUP BY 1, 2, 3
)""",
)

# One row of arrays: a thousand rows cost Python four times as much.
STORED = """
SELECT coalesce(array_agg(event_id), '{}'), array_agg(id), array_agg(content), array_agg(digest)
FROM sluice.events WHERE event_id = ANY(%s::text[])"""

CLAIM_LOCK = "SELECT pg_try_advisory_xact_lock(hashtextextended(%s, 0))"
# Retention may be behind. A clock of this process that is ahead of the server's makes no claim old.
DROP_OLD_CLAIM = """
DELETE FROM sluice.idempotency_keys WHERE key_id = %s AND idempotency_key = %s AND created_at <= least(%s, now() - %s)"""
CLAIM = "SELECT request, outcomes::text, body FROM sluice.idempotency_keys WHERE key_id = %s AND idempotency_key = %s"
KEEP_CLAIM = """
INSERT INTO sluice.idempotency_keys (key_id, idempotency_key, request, outcomes, created_at) VALUES (%s, %s, %s, %s, %s)
"""

CURSOR_SECRET = "SELECT secret FROM sluice.cursor_secret"  # noqa: S105 - a statement, not a secret
APPLIED = "SELECT migration_id FROM sluice._yoyo_migration"
UNLOGGED = """
SELECT count(*) FROM pg_class
WHERE relnamespace = 'sluice'::regnamespace AND relkind IN ('r', 'p') AND relpersistence <> 'p'
"""

# What changes error groups holds this one, so they change one after the other; events are stored without it.
# It belongs to the transaction: a dead pod holds nothing, and a pooler may stand between.
LOCK_ERROR_GROUPS = "SELECT true FROM pg_advisory_xact_lock(126934213878631)"
TRY_LOCK_ERROR_GROUPS = "SELECT pg_try_advisory_xact_lock(126934213878631)"

LOG = """json_build_object(
    'id', id, 'event_id', event_id, 'timestamp', "timestamp", 'event_type', event_type, 'event_name', event_name,
    'properties', properties, 'user_id', user_id, 'session_id', session_id, 'app_version', app_version,
    'device_info', device_info, 'source', source, 'sequence_number', sequence_number, 'priority', priority,
    'key_id', key_id, 'fingerprint', fingerprint, 'created_at', created_at, 'processed_at', processed_at)::text"""

GET = sql.SQL("SELECT {} FROM sluice.events WHERE event_id = %s").format(sql.SQL(LOG))

ESTIMATE = "SELECT greatest(reltuples, 0)::bigint FROM pg_class WHERE oid = 'sluice.events'::regclass"
COUNT_UP_TO = "SELECT count(*) FROM (SELECT 1 FROM sluice.events LIMIT %s) AS counted"
# What a clock wrote that was ahead by days counts when its time has come.
FIGURES = """
WITH recent AS MATERIALIZED (
    SELECT event_type, session_id, created_at, processed_at FROM sluice.events
    WHERE created_at > %(now)s - interval '1 day' AND created_at <= %(now)s + interval '1 minute'
    ORDER BY created_at DESC, id DESC LIMIT %(cap)s
), hour AS MATERIALIZED (SELECT * FROM recent WHERE created_at > %(now)s - interval '1 hour')
SELECT (SELECT count(*) FROM hour), (SELECT count(*) FROM recent),
    (SELECT avg(extract(epoch FROM processed_at - created_at) * 1000)::float8 FROM hour),
    (SELECT (count(*) FILTER (WHERE event_type = 'error') * 100.0 / nullif(count(*), 0))::float8 FROM hour),
    (SELECT count(DISTINCT session_id) FROM hour WHERE created_at > %(now)s - interval '30 minutes'),
    (SELECT coalesce(json_agg(json_build_object('event_type', event_type, 'count', n) ORDER BY n DESC, event_type), '[]')::text
        FROM (SELECT event_type, count(*) AS n FROM recent GROUP BY event_type) AS types),
    (SELECT coalesce(json_agg(json_build_object('minute', minute, 'count', n) ORDER BY minute), '[]')::text
        FROM (SELECT date_trunc('minute', created_at) AS minute, count(*) AS n FROM hour GROUP BY 1) AS minutes)
"""

# Characters of a text that an index holds: at most 2,704 bytes of a row go into one, and longer ones would be refused for it.
INDEXED = 255
NULLABLE = ("user_id", "session_id", "app_version", "source")
TIMES = ("created_at", "timestamp")
# An event that is sorted costs as much as so many that are passed over.
SORTING = 8


# Of rows that a statement finds, the first that have so many bytes of text together, at least one; and how many it found.
BOUNDED = """
SELECT sort_value, row_id, log, there FROM (
    SELECT *, sum(octet_length(log)) OVER before AS size, row_number() OVER before AS place, count(*) OVER () AS there
    FROM ({found}) AS found WINDOW before AS (ROWS UNBOUNDED PRECEDING)
) AS sized WHERE size <= %s OR place = 1 ORDER BY place"""


def is_more(rows: Sequence[Any], kept: Sequence[Any]) -> bool:
    """Whether a BOUNDED statement, which returned `rows`, found more than are `kept`."""
    return bool(rows) and rows[0][3] > len(kept)


def page(query: Filter, after: tuple[str, int] | None, most: int) -> tuple[sql.Composed, list[Any]]:
    """One page: rows of (sort value as text, id, event as JSON text, how many rows there are), and one more when another page
    follows. Only the first rows that have `most` bytes of text together are returned, at least one.

    `after`: sort value and id of the last row of the page before.
    """
    conditions, values = where(query.matches)
    direction = sql.SQL("DESC" if query.descending else "ASC")
    key = sort_key(query.sort_by)
    if after is not None:
        compare = sql.SQL("<" if query.descending else ">")
        cast = sql.SQL({**dict.fromkeys(TIMES, "timestamptz"), "id": "bigint"}.get(query.sort_by, "text"))
        conditions.append(sql.SQL("({}, e.id) {} (%s::{}, %s)").format(key, compare, cast))
        values.extend(after)
    order = key
    if after is None and query.sort_by == "created_at" and query.descending and is_long_ago(query.matches):
        # Not by the index on it, which begins with all that came since.
        order = sql.SQL("({} + interval '0')").format(key)
    # The text is made of the rows of the page only, not of all that are sorted or skipped for it.
    found = sql.SQL(
        "SELECT {key}::text AS sort_value, id AS row_id, {log} AS log FROM ("
        "SELECT * FROM sluice.events AS e {where} ORDER BY {order} {direction}, e.id {direction} LIMIT %s OFFSET %s) AS e"
    ).format(key=key, order=order, log=sql.SQL(LOG), where=joined(conditions), direction=direction)
    text = sql.SQL(BOUNDED).format(found=found)
    return text, [*values, query.page_size + 1, 0 if after else query.offset, most]


def count(query: Filter, cap: int) -> tuple[sql.Composed, list[Any]]:
    """How many rows the filter has, counting no further than `cap` + 1."""
    conditions, values = where(query.matches)
    # Where a time is asked for, by its index: in a scan of the table `cap` rows seem near, and may lie behind all others.
    times = [match.column for match in query.matches if match.column in TIMES]
    order = sql.SQL("ORDER BY {}").format(sql.Identifier("e", times[0])) if times else sql.SQL("")
    text = sql.SQL("SELECT count(*) FROM (SELECT 1 FROM sluice.events AS e {} {} LIMIT %s) AS counted")
    return text.format(joined(conditions), order), [*values, cap + 1]


def where(matches: Sequence[Match]) -> tuple[list[sql.Composable], list[Any]]:
    conditions: list[sql.Composable] = []
    values: list[Any] = []
    for match in matches:
        column = sql.Identifier("e", match.column)
        operator = sql.SQL(match.operator)
        if match.path:
            # The beginning first: an index holds no more of a text (sluice index).
            conditions.append(sql.SQL("{} = %s").format(text_at(column, sql.SQL("%s::text[]"))))
            conditions.append(sql.SQL("{} #>> %s::text[] = %s").format(column))
            values.extend((list(match.path), str(match.value)[:INDEXED], list(match.path)))
        else:
            conditions.append(sql.SQL("{} {} %s").format(column, operator))
        values.append(match.value)
        if match.column == "timestamp" and match.operator == ">=":
            # No event is more than a day ahead of its receipt: so the index on the order that pages come in ends the search.
            conditions.append(sql.SQL("e.created_at >= %s"))
            values.append(match.value - MAX_AHEAD)  # type: ignore[operator]
    return conditions, values


def is_long_ago(matches: Sequence[Match]) -> bool:
    """Whether to sort what lies in a range of `timestamp` costs less than to pass over what came after it."""
    moments = {match.operator: match.value for match in matches if match.column == "timestamp"}
    start, end = moments.get(">="), moments.get("<=")
    return isinstance(start, datetime) and isinstance(end, datetime) and datetime.now(UTC) - end > SORTING * (end - start)


def text_at(column: sql.Composable, path: sql.Composable) -> sql.Composed:
    """The beginning of the text at a path of a JSON column."""
    return sql.SQL("left({} #>> {}, {})").format(column, path, sql.Literal(INDEXED))


def joined(conditions: Sequence[sql.Composable]) -> sql.Composable:
    return sql.SQL("WHERE ") + sql.SQL(" AND ").join(conditions) if conditions else sql.SQL("")


def sort_key(column: str) -> sql.Composable:
    """What rows are sorted by: text by its bytes, so that a cursor means the same under every locale; null as empty text.

    Qualified, for a bare name in ORDER BY would mean the output column: text, and past every index.
    """
    name = sql.Identifier("e", column)
    if column in (*TIMES, "id", "event_id"):
        return name
    if column in NULLABLE:
        return sql.SQL("coalesce({}, '') COLLATE \"C\"").format(name)
    return sql.SQL('{} COLLATE "C"').format(name)
