"""Events as PostgreSQL has them: seed 001's thirteen panels of its analytics overview.

Its panels "last 24 h" were not filtered at all; these show the time that is chosen, 24 hours at first, by the events' own times.
Figures of the last minutes are by the time of receipt, as in GET /api/v1/metrics.
"""

from __future__ import annotations

from typing import get_args

from sluice.events import EventType
from tools.dashboards.panels import Dashboard, bars, choice, lines, row, rows, shares, source, stacked, value
from tools.dashboards.queries import POSTGRESQL, Sql

SHOWN = 'FROM sluice.events WHERE $__timeFilter("timestamp") AND event_type IN ($event_type)'
BUCKET = '$__timeGroupAlias("timestamp", $__interval, 0)'


def received(what: str, within: str, name: str) -> Sql:
    return Sql(f"SELECT {what} AS {name} FROM sluice.events WHERE created_at > now() - interval '{within}'")


def counted(column: str, name: str, condition: str = "true") -> Sql:
    """How many events each value of a column has."""
    return Sql(f"SELECT {column} AS {name}, count(*) AS events {SHOWN} AND {condition} GROUP BY 1 ORDER BY 2 DESC LIMIT 25")


# Counted up to 10,000, beyond that as the last vacuum or analyze saw it, for to count all would read all.
TOTAL = Sql("""
SELECT CASE WHEN found.events > 10000 THEN greatest(found.events, known.events) ELSE found.events END AS events
FROM (SELECT count(*) AS events FROM (SELECT 1 FROM sluice.events LIMIT 10001) AS first) AS found,
    (SELECT reltuples::bigint AS events FROM pg_class WHERE oid = 'sluice.events'::regclass) AS known
""")
BY_TYPE = Sql(f"SELECT {BUCKET}, event_type AS metric, count(*) AS events {SHOWN} GROUP BY 1, 2 ORDER BY 1, 2", series=True)
ACTIVITY = Sql(
    f"""
SELECT {BUCKET}, count(*) AS "events", count(*) FILTER (WHERE event_type = 'error') AS "errors",
    count(DISTINCT user_id) AS "users", count(DISTINCT session_id) AS "sessions"
{SHOWN} GROUP BY 1 ORDER BY 1
""",
    series=True,
)
READINGS = Sql(f"""
SELECT "timestamp" AS time, properties #>> '{{tags,provider}}' AS provider, properties ->> 'metric_name' AS metric,
    CASE jsonb_typeof(properties -> 'value') WHEN 'number' THEN (properties ->> 'value')::float8 END AS value,
    properties ->> 'unit' AS unit
{SHOWN} AND properties ->> 'metric_name' IS NOT NULL ORDER BY "timestamp" DESC, id DESC LIMIT 100
""")
REAL_TIME = Sql("""
SELECT count(*) AS "events", count(*) FILTER (WHERE event_type = 'error') AS "errors",
    count(*) FILTER (WHERE priority = 'high') AS "high priority", count(DISTINCT user_id) AS "users",
    count(DISTINCT session_id) AS "sessions", count(DISTINCT event_name) AS "event names"
FROM sluice.events WHERE created_at > now() - interval '5 minutes'
""")

AT_A_GLANCE = [
    value("Total events", "All that are kept: exact up to 10,000, beyond that as of the last vacuum or analyze.", "none", TOTAL),
    value("Events in the last hour", "By the time of receipt.", "none", received("count(*)", "1 hour", "events")),
    value(
        "Active users (last hour)",
        "Users with an event in that time.",
        "none",
        received("count(DISTINCT user_id)", "1 hour", "users"),
    ),
    value(
        "Active sessions (30 min)",
        "Sessions with an event in that time.",
        "none",
        received("count(DISTINCT session_id)", "30 minutes", "sessions"),
    ),
]

ANALYTICS = Dashboard(
    file="analytics.json",
    uid="sluice-analytics",
    title="Sluice analytics overview",
    about="What the events say: how many, of what kind, of whom.",
    variables=[source("database", "PostgreSQL", POSTGRESQL), choice("event_type", "Event type", get_args(EventType))],
    hours=24,
    rows=[
        row(
            "Now",
            AT_A_GLANCE,
            [value("Real-time system metrics", "Six counts of what came in within the last five minutes.", "none", REAL_TIME)],
        ),
        row(
            "Kinds",
            [
                shares("Event types distribution", "Events of the time that is shown.", counted("event_type", "event_type")),
                shares("Priority distribution", "Events of the time that is shown.", counted("priority", "priority")),
                shares(
                    "App versions",
                    "Of the events that name one.",
                    counted("app_version", "app_version", "app_version IS NOT NULL"),
                ),
                shares(
                    "Provider distribution",
                    "Of the events with properties.tags.provider.",
                    counted("properties #>> '{tags,provider}'", "provider", "properties #>> '{tags,provider}' IS NOT NULL"),
                ),
            ],
        ),
        row(
            "Over time",
            [stacked("Log volume by event type", "Events for each bar of the picture.", "none", BY_TYPE)],
            [lines("System activity overview", "Events, errors, users and sessions for each point.", "none", ACTIVITY)],
        ),
        row(
            "Names",
            [
                bars("Top event names", "The 25 most frequent.", counted("event_name", "event_name")),
                rows("Provider metrics (recent)", "The last 100 events with properties.metric_name.", READINGS),
            ],
        ),
    ],
)
