"""Pull sources: how current they are, and how their runs end."""

from __future__ import annotations

from tools.dashboards.panels import Dashboard, lines, prometheus_variables, row, rows, source, stacked, value
from tools.dashboards.queries import POSTGRESQL, Prometheus, Sql, increase, of, rate, total

AGE = "min by (source) (" + of("sluice_pull_last_success_age_seconds") + ")"
# With the newest run of each, by whichever puller.
STATE = Sql("""
SELECT s.name AS source, last.status, last.reason, s.last_success, s.last_attempt, s.next_run_at, s.records,
    last.created, last.updated, last.unchanged, last.invalid, s.schedule
FROM sluice.sources AS s LEFT JOIN LATERAL (
    SELECT * FROM sluice.source_runs AS r WHERE r.source = s.name ORDER BY r.id DESC LIMIT 1
) AS last ON true ORDER BY s.name
""")
FAILURES = Sql("""
SELECT started_at AS time, source, reason, error_message, pages, created, updated, unchanged, invalid
FROM sluice.source_runs WHERE status = 'failure' AND $__timeFilter(started_at) ORDER BY id DESC LIMIT 100
""")
RUN_TIMES = Sql(
    """
SELECT started_at AS time, source AS metric, extract(epoch FROM ended_at - started_at)::float8 AS seconds
FROM sluice.source_runs WHERE ended_at IS NOT NULL AND $__timeFilter(started_at) ORDER BY started_at
""",
    series=True,
)

SOURCES = Dashboard(
    file="sources.json",
    uid="sluice-sources",
    title="Sluice pull sources",
    about="Lists that Sluice pulls from elsewhere: how current they are, and how their runs end.",
    variables=[*prometheus_variables("sluice_pull_interval_seconds"), source("database", "PostgreSQL", POSTGRESQL)],
    hours=24,
    rows=[
        row(
            "At a glance",
            [
                value("Sources", "That this puller has settings for.", "none", Prometheus("count(" + AGE + ")", "sources")),
                value(
                    "Late sources",
                    "Whose last success is more than two intervals ago.",
                    "none",
                    Prometheus(
                        f"count({AGE} > 2 * max by (source) ({of('sluice_pull_interval_seconds')})) or vector(0)", "sources"
                    ),
                    steps=(("green", None), ("red", 1)),
                ),
                value(
                    "Runs that failed",
                    "In the day before.",
                    "none",
                    Prometheus(total(increase("sluice_pull_runs_total", "1d", 'status="failure"')), "runs"),
                    steps=(("green", None), ("red", 1)),
                ),
            ],
        ),
        row(
            "Runs",
            [
                lines("Since the last success", "Of each source, by whichever puller.", "s", Prometheus(AGE, "{{source}}")),
                lines(
                    "Failures by reason",
                    "In the hour before.",
                    "none",
                    Prometheus(
                        total(increase("sluice_pull_failures_total", "1h"), "source", "reason") + " > 0", "{{source}} {{reason}}"
                    ),
                ),
                lines("Time of a run", "From its first request to its last commit.", "s", RUN_TIMES),
            ],
            [rows("State of each source", "With its newest run; records are those that its list has.", STATE)],
            [rows("Failed runs", "The last 100 of the time that is shown.", FAILURES)],
        ),
        row(
            "Records",
            [
                stacked(
                    "Records by what became of them",
                    "A second: new, changed, as they were, and those that cannot be stored.",
                    "ops",
                    Prometheus(total(rate("sluice_pull_records_total"), "result"), "{{result}}"),
                ),
                stacked(
                    "Events that records became",
                    "A second.",
                    "ops",
                    Prometheus(total(rate("sluice_pull_events_total"), "status"), "{{status}}"),
                ),
            ],
        ),
    ],
)
