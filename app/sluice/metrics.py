"""Our metrics, by worker. (The sum over workers is the parent's: sluice.server.metrics_archive.)"""

from __future__ import annotations

import bisect
from collections import Counter as Counted
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, get_args

from prometheus_client import CollectorRegistry, Counter, Histogram

from sluice import outcomes
from sluice.errors import InvalidReason
from sluice.events import EventType

Format = Literal["event", "batch", "ndjson", "error_report", "log"]
FORMATS: tuple[Format, ...] = get_args(Format)
STATUSES = ("received", *outcomes.STATUSES)
EVENT_TYPES: tuple[EventType, ...] = get_args(EventType)
INVALID_REASONS = (*get_args(InvalidReason), "empty_body")
AUTH_RESULTS = ("ok", "missing", "malformed", "unknown", "expired", "revoked", "suspended", "not_yet_valid", "forbidden")
LIMITS = ("requests", "events")
# Of requests that are not HTTP as the server takes it (sluice.server.refusals).
REFUSALS = (
    "request_line_too_long",
    "headers_too_large",
    "expectation",
    "transfer_coding",
    "http_version",
    "malformed",
    "framing",
)
# Why the fast path leaves a request to Flask.
SlowReason = Literal[
    "other_request",
    "long_head",
    "malformed",
    "unknown_header",
    "repeated_header",
    "host",
    "connection",
    "content_length",
    "content_type",
    "content_encoding",
    "transfer_encoding",
    "expect",
    "idempotency_key",
    "origin",
    "incomplete",
    "closing",
]
TASK_ACTIONS = ("created", "completed", "changed", "deleted")
# What goes on without Redis when it is away.
RedisUse = Literal["limits", "cache"]
REDIS_USES: tuple[RedisUse, ...] = get_args(RedisUse)
OTHER = "other"

COMMIT_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
BATCH_EVENTS = (1, 2, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000)


class Metrics:
    """One per application. Every label value is known here, so every series is there from the start, at 0."""

    def __init__(self, registry: CollectorRegistry) -> None:
        events = Counter(
            "sluice_events",
            "Events by what became of them: received = created + duplicate + conflict + invalid + failed + queued",
            ("status", "format"),
            registry=registry,
        )
        self._events = {(status, kind): events.labels(status, kind) for status in STATUSES for kind in FORMATS}
        accepted = Counter("sluice_accepted_events", "New events, stored or queued, by type", ("event_type",), registry=registry)
        self._accepted = {kind: accepted.labels(kind) for kind in EVENT_TYPES}
        self._invalid = children(
            Counter("sluice_invalid_events", "Events that break a rule, by the rule", ("reason",), registry=registry),
            INVALID_REASONS,
        )
        self.commit_seconds = Histogram(
            "sluice_commit_seconds", "Seconds that one commit took", registry=registry, buckets=COMMIT_SECONDS
        )
        self.batch_events = Histogram("sluice_batch_events", "Events in one commit", registry=registry, buckets=BATCH_EVENTS)
        self._auth = children(
            Counter("sluice_auth", "Requests by what became of their key", ("result",), registry=registry), AUTH_RESULTS
        )
        self._limited = children(
            Counter("sluice_rate_limited", "Requests refused by a rate limit", ("limit",), registry=registry), LIMITS
        )
        self._refused = children(
            Counter("sluice_refused_requests", "Requests that were not read, by reason", ("reason",), registry=registry), REFUSALS
        )

        self._fast_path = children(
            Counter(
                "sluice_fast_path",
                "Requests that the fast path served, and those it left to Flask by the reason",
                ("result",),
                registry=registry,
            ),
            ("served", *get_args(SlowReason)),
        )
        self.erased = Counter("sluice_erased_events", "Events that went by an erasure", registry=registry)

        self._tasks = children(
            Counter("sluice_tasks", "Tasks by what was done to them", ("action",), registry=registry), TASK_ACTIONS
        )

        away = Counter("sluice_redis_away", "Calls that went on without Redis, by their use", ("use",), registry=registry)
        self._redis_away = {use: away.labels(use) for use in REDIS_USES}

    def count(self, format: Format, *, received: int, **became: int) -> None:
        """Count `received` events together with what became of each (by STATUSES): both sides must agree."""
        if received != sum(became.values()):
            raise ValueError(f"{received} events received, but {sum(became.values())} accounted for")
        self._events["received", format].inc(received)
        for status, number in became.items():
            if number:
                self._events[status, format].inc(number)

    def accepted(self, types: Iterable[EventType]) -> None:
        """Count new events, each by its type: together as many as `count` gets as created and queued."""
        for kind, number in Counted(types).items():
            self._accepted[kind].inc(number)

    def invalid(self, reasons: Iterable[str | None]) -> None:
        """Count invalid events, each by its reason: together as many as `count` gets as invalid."""
        for reason, number in Counted(reasons).items():
            self._invalid.get(reason or OTHER, self._invalid[OTHER]).inc(number)

    def auth(self, result: str, number: int = 1) -> None:
        self._auth.get(result, self._auth[OTHER]).inc(number)

    def fast_path(self, result: str, number: int = 1) -> None:
        self._fast_path.get(result, self._fast_path[OTHER]).inc(number)

    def refused(self, reason: str) -> None:
        self._refused.get(reason, self._refused[OTHER]).inc()

    def task(self, action: str) -> None:
        self._tasks.get(action, self._tasks[OTHER]).inc()

    def redis_away(self, use: RedisUse) -> None:
        self._redis_away[use].inc()

    def rate_limited(self, limit: str) -> None:
        self._limited.get(limit, self._limited[OTHER]).inc()


def children(counter: Counter, values: Iterable[str]) -> dict[str, Counter]:
    """A child for each known value; any other value a caller might come up with counts as `other`."""
    return {value: counter.labels(value) for value in (*values, OTHER)}


class RequestMetrics:
    """The exporter's two metrics of requests to one route, for those that Flask does not see; counted many at a time."""

    def __init__(self, registry: CollectorRegistry, method: str, route: str) -> None:
        # The exporter keeps them to itself.
        metrics = registry._names_to_collectors
        self._total: Any = metrics["flask_http_request_total"]
        self._seconds: Any = metrics["flask_http_request_duration_seconds"]
        self._method = method
        self._route = route

    def observe(self, seconds: Mapping[int, Sequence[float]]) -> None:
        """Count responses; `seconds` of each by status."""
        for status, each in seconds.items():
            self._total.labels(self._method, status).inc(len(each))
            histogram = self._seconds.labels(self._method, self._route, status)
            # As its observe(), which takes a lock for two files at each call.
            histogram._sum.inc(sum(each))
            bounds = histogram._upper_bounds
            for bucket, number in Counted(bisect.bisect_left(bounds, value) for value in each).items():
                histogram._buckets[bucket].inc(number)
