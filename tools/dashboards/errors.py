"""Error groups, of PostgreSQL, and how far the service is with adding errors up."""

from __future__ import annotations

from tools.dashboards.panels import Dashboard, lines, prometheus_variables, row, rows, rows_of, source, stacked, value
from tools.dashboards.queries import POSTGRESQL, Prometheus, Sql, increase, of

# A group has up to 20 services by name; it may have none.
CHOSEN = "(g.services && ARRAY[$service]::text[] OR g.services = '{}')"
# Hours that have begun before the time that is shown, and reach into it.
HOURS = "h.hour > $__timeFrom()::timestamptz - interval '1 hour' AND h.hour <= $__timeTo()::timestamptz"


def groups(condition: str) -> Sql:
    return Sql(f"SELECT count(*) AS groups FROM sluice.error_groups AS g WHERE {CHOSEN} AND {condition}")


OCCURRED = f"FROM sluice.error_hours AS h JOIN sluice.error_groups AS g USING (fingerprint) WHERE {HOURS} AND {CHOSEN}"
BY_HOUR = Sql(f'SELECT h.hour AS time, sum(h.events)::bigint AS "errors" {OCCURRED} GROUP BY 1 ORDER BY 1', series=True)
BY_SERVICE = Sql(
    """
SELECT $__timeGroupAlias("timestamp", $__interval, 0), coalesce(source, properties ->> 'service', 'unknown') AS metric,
    count(*) AS errors
FROM sluice.events WHERE $__timeFilter("timestamp") AND fingerprint IS NOT NULL GROUP BY 1, 2 ORDER BY 1, 2
""",
    series=True,
)
# The newest event that is kept says what a group is; it is found by the index on fingerprints.
TOP = Sql(f"""
WITH top AS (
    SELECT g.*, sum(h.events)::bigint AS now_events {OCCURRED} GROUP BY g.fingerprint ORDER BY now_events DESC LIMIT 50
)
SELECT top.now_events AS "events", top.status, newest.event_name AS "where", newest.error,
    array_to_string(top.services, ', ') AS services, top.users, top.events AS "in all",
    top.first_seen, top.last_seen, top.fingerprint
FROM top LEFT JOIN LATERAL (
    SELECT e.event_name, left(coalesce(e.properties ->> 'error', e.properties ->> 'message'), 200) AS error
    FROM sluice.events AS e
    WHERE e.fingerprint = top.fingerprint COLLATE "default" ORDER BY e.created_at DESC, e.id DESC LIMIT 1
) AS newest ON true ORDER BY 1 DESC
""")

ERRORS = Dashboard(
    file="errors.json",
    uid="sluice-errors",
    title="Sluice errors",
    about="Errors in groups: which, how often, since when, of which service.",
    variables=[
        source("database", "PostgreSQL", POSTGRESQL),
        rows_of("service", "Service", "SELECT DISTINCT unnest(services) FROM sluice.error_groups ORDER BY 1"),
        *prometheus_variables("sluice_workers"),
    ],
    hours=24,
    rows=[
        row(
            "At a glance",
            [
                value(
                    "Unresolved",
                    "Groups that nobody resolved or ignored.",
                    "none",
                    groups("g.status = 'unresolved'"),
                ),
                value(
                    "New",
                    "Groups first seen in the time that is shown.",
                    "none",
                    groups("$__timeFilter(g.first_seen)"),
                ),
                value(
                    "Came back",
                    "Resolved groups that a later event opened again, in the time that is shown.",
                    "none",
                    groups("$__timeFilter(g.regressed_at)"),
                ),
                value(
                    "Errors",
                    "In the hours that are shown.",
                    "none",
                    Sql(f"SELECT coalesce(sum(h.events), 0)::bigint AS errors {OCCURRED}"),
                ),
            ],
        ),
        row(
            "Over time",
            [
                stacked("Errors an hour", "Of all groups; hours are kept for 30 days.", "none", BY_HOUR),
                stacked("Errors by service", "Events of type error, by the service that sent them.", "none", BY_SERVICE),
            ],
        ),
        row(
            "Groups", [rows("Most frequent groups", "The first 50 of the hours that are shown; GET /api/v1/errors has all.", TOP)]
        ),
        row(
            "Adding up",
            [
                lines(
                    "Resolved errors that came back",
                    "Regressions of error groups, each of the whole database.",
                    "none",
                    Prometheus("max(" + increase("sluice_error_regressions_total") + ")", "regressions"),
                ),
                lines(
                    "Errors not added up yet",
                    "Age of the oldest error that no group counts; seconds are normal.",
                    "s",
                    Prometheus("max(" + of("sluice_error_uncounted_age_seconds") + ")", "age"),
                ),
            ],
        ),
    ],
)
