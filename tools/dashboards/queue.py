"""The queue as its workers see it."""

from __future__ import annotations

from sluice.queue import DEAD_LETTERS, EVENTS
from tools.dashboards.panels import Dashboard, commits, lines, prometheus_variables, row, stacked, value
from tools.dashboards.queries import Prometheus, increase, of, rate, total

# Every worker asks the broker, so that all tell the same.
DEPTH = "max by (queue) (" + of("sluice_queue_depth") + ")"
DEAD = "max(" + of("sluice_queue_depth", f'queue="{DEAD_LETTERS}"') + ")"
WAITING = "max(" + of("sluice_queue_depth", f'queue="{EVENTS}"') + ")"
OLDEST = "max(" + of("sluice_queue_oldest_seconds") + ")"

AT_A_GLANCE = [
    value("Messages that wait", "In the broker; a message holds up to 10,000 events.", "none", Prometheus(WAITING, "messages")),
    value("Oldest message", "How long the oldest one in hand has waited; 0 when none waits.", "s", Prometheus(OLDEST, "age")),
    value(
        "Dead letters",
        "What no worker could store, and waits for `sluice dead-letters`.",
        "none",
        Prometheus(DEAD, "messages"),
        steps=(("green", None), ("red", 1)),
    ),
    value(
        "Events stored a second",
        "New events; what was sent again is a duplicate.",
        "ops",
        Prometheus(total(rate("sluice_worker_events_total", 'status="created"')), "created"),
    ),
    value(
        "Workers that answer a scrape",
        "None at all is the alert SluiceWorkerDown.",
        "none",
        Prometheus(f"count({of('up')} == 1) or vector(0)", "pods"),
        steps=(("red", None), ("green", 1)),
    ),
]

QUEUE_LINES = [
    lines("Depth of the queue", "Messages that wait, and dead letters.", "none", Prometheus(DEPTH, "{{queue}}")),
    lines("Age of the oldest message", "0 when none waits.", "s", Prometheus(OLDEST, "age")),
]

EVENT_LINES = [
    stacked(
        "Events by what became of them",
        "conflict and invalid become dead letters.",
        "ops",
        Prometheus(total(rate("sluice_worker_events_total"), "status"), "{{status}}"),
    ),
    stacked(
        "New dead letters",
        "In an hour, by the reason.",
        "none",
        Prometheus(total(increase("sluice_worker_dead_letters_total", "1h"), "reason") + " > 0", "{{reason}}"),
    ),
    lines(
        "Delivered again",
        "Messages whose worker ended before it acknowledged them, in an hour.",
        "none",
        Prometheus(total(increase("sluice_worker_redelivered_total", "1h")), "messages"),
    ),
]

COMMITS = commits("sluice_worker", "As the workers measure it, network included.", "Messages that are ready share a commit.")

QUEUE = Dashboard(
    file="queue.json",
    uid="sluice-queue",
    title="Sluice queue",
    about="What waits between the API and the database, and how workers get on with it.",
    variables=prometheus_variables("sluice_queue_depth"),
    rows=[row("At a glance", AT_A_GLANCE), row("Queue", QUEUE_LINES), row("Events", EVENT_LINES), row("Database", COMMITS)],
)
