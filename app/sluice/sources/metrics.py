"""What the puller counts. Sources are those of its own settings, results and reasons closed lists."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime

from prometheus_client import CollectorRegistry, Counter
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from sluice.sources.definitions import Source
from sluice.sources.failures import REASONS, Reason
from sluice.sources.store import Totals

RESULTS = ("created", "updated", "unchanged", "invalid")
STATUSES = ("success", "failure")
EVENTS = ("created", "duplicate", "conflict")


class PullMetrics(Collector):
    """One per puller; every series is there from the start. `clock`: aware, UTC."""

    def __init__(self, registry: CollectorRegistry, sources: Sequence[Source], clock: Callable[[], datetime]) -> None:
        self._clock = clock
        self._sources = sources
        self._since: dict[str, datetime] = {}
        self._runs = Counter("sluice_pull_runs", "Runs of pull sources that ended", ("source", "status"), registry=registry)
        self._failures = Counter(
            "sluice_pull_failures", "Runs that failed, by the reason", ("source", "reason"), registry=registry
        )
        self._records = Counter(
            "sluice_pull_records", "Records that were read, by what became of them", ("source", "result"), registry=registry
        )
        self._events = Counter(
            "sluice_pull_events", "Events that records became, by what became of them", ("source", "status"), registry=registry
        )
        kept = (self._runs, STATUSES), (self._failures, REASONS), (self._records, RESULTS), (self._events, EVENTS)
        for source in sources:
            for counter, values in kept:
                for value in values:
                    counter.labels(source.name, value)
        registry.register(self)

    def ended(self, source: Source, reason: Reason | None) -> None:
        """Count a run; `reason`: why it failed."""
        self._runs.labels(source.name, "failure" if reason else "success").inc()
        if reason:
            self._failures.labels(source.name, reason).inc()

    def stored(self, source: Source, before: Totals, after: Totals) -> None:
        """Count what a commit added to a run's totals."""
        for result in RESULTS:
            self._records.labels(source.name, result).inc(getattr(after, result) - getattr(before, result))
        for status, number in after.emitted.items():
            self._events.labels(source.name, status).inc(number)

    def saw(self, source: str, since: datetime) -> None:
        """Remember when a source last succeeded, or was first seen."""
        self._since[source] = since

    def collect(self) -> Iterable[GaugeMetricFamily]:
        now = self._clock()
        age = GaugeMetricFamily(
            "sluice_pull_last_success_age_seconds",
            "Seconds since a source was last pulled with success, by whichever puller; before that, since it was first seen",
            labels=["source"],
        )
        interval = GaugeMetricFamily("sluice_pull_interval_seconds", "Seconds between two runs of a source", labels=["source"])
        for source in self._sources:
            begun = source.next_run(now)
            interval.add_metric([source.name], (source.next_run(begun) - begun).total_seconds())
            if source.name in self._since:
                age.add_metric([source.name], max(0.0, (now - self._since[source.name]).total_seconds()))
        yield age
        yield interval
