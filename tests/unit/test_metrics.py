"""Metrics over real processes: what workers count stays exact while they come and go."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from sluice.metrics import Metrics
from sluice.server.metrics_archive import Archive, write

# Forks `sys.argv[1]` workers one after the other; each counts, and dies without a word.
WORKERS = """
import os, sys
from prometheus_client import CollectorRegistry, Gauge
from sluice.metrics import Metrics
for _ in range(int(sys.argv[1])):
    if pid := os.fork():
        os.waitpid(pid, 0)
        continue
    registry = CollectorRegistry()
    metrics = Metrics(registry)
    metrics.count("batch", received=5, created=3, duplicate=1, invalid=1)
    metrics.batch_events.observe(3)
    Gauge("sluice_in_test", "x", registry=registry).set(1)
    os.kill(os.getpid(), 9)
"""


def worked(directory: Path, count: int) -> None:
    environ = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(directory), "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", WORKERS, str(count)], env=environ, check=True)


def value(text: bytes, series: str) -> float:
    (found,) = (line for line in text.decode().splitlines() if line.startswith(series + " "))
    return float(found.rpartition(" ")[2])


def scrape(registry: CollectorRegistry) -> bytes:
    return generate_latest(registry)


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


def test_every_series_is_there_from_the_start(registry: CollectorRegistry) -> None:
    Metrics(registry)
    text = scrape(registry)
    assert text.count(b"sluice_events_total{") == 7 * 5
    assert value(text, 'sluice_events_total{format="error_report",status="queued"}') == 0
    assert (text.count(b"sluice_accepted_events_total{"), text.count(b"sluice_invalid_events_total{")) == (7, 13)


def test_a_reason_that_nobody_knows_is_no_series_of_its_own(registry: CollectorRegistry) -> None:
    Metrics(registry).invalid(["too_old", "too_old", "invented", None])
    text = scrape(registry)
    assert value(text, 'sluice_invalid_events_total{reason="too_old"}') == 2
    assert value(text, 'sluice_invalid_events_total{reason="other"}') == 2
    assert b"invented" not in text


def test_received_is_counted_with_what_became_of_it(registry: CollectorRegistry) -> None:
    Metrics(registry).count("ndjson", received=6, created=1, duplicate=2, conflict=0, invalid=0, failed=3)
    text = scrape(registry)
    told = {status: value(text, f'sluice_events_total{{format="ndjson",status="{status}"}}') for status in ("received", "failed")}
    assert told == {"received": 6, "failed": 3}


def test_books_that_do_not_balance_are_refused_and_count_nothing(registry: CollectorRegistry) -> None:
    with pytest.raises(ValueError, match="2 events received, but 1 accounted for"):
        Metrics(registry).count("event", received=2, created=1)
    assert value(scrape(registry), 'sluice_events_total{format="event",status="received"}') == 0


def test_a_label_value_nobody_knows_adds_no_series(registry: CollectorRegistry) -> None:
    metrics = Metrics(registry)
    before = len(scrape(registry).splitlines())
    for number in range(100):
        metrics.auth(f"made-up-{number}")
        metrics.rate_limited(f"made-up-{number}")
    assert len(scrape(registry).splitlines()) == before
    assert value(scrape(registry), 'sluice_auth_total{result="other"}') == 100


def test_200_workers_that_came_and_went_are_counted_in_a_handful_of_files(tmp_path: Path) -> None:
    archive = Archive(tmp_path)
    for count in (1, 49, 150):
        worked(tmp_path, count)
        archive.sweep()
        assert sorted(path.name for path in tmp_path.iterdir()) == ["counter_archive.db", "histogram_archive.db"]
    text = archive.exposition()
    assert value(text, 'sluice_events_total{format="batch",status="received"}') == 1_000
    assert value(text, 'sluice_events_total{format="batch",status="created"}') == 600
    assert value(text, 'sluice_batch_events_bucket{le="2.0"}') == 0
    assert value(text, 'sluice_batch_events_bucket{le="5.0"}') == value(text, "sluice_batch_events_count") == 200
    assert b"sluice_in_test" not in text


def test_a_sweep_changes_no_number(tmp_path: Path) -> None:
    worked(tmp_path, 3)
    archive = Archive(tmp_path)
    before = [line for line in sorted(archive.exposition().splitlines()) if b"in_test" not in line]
    archive.sweep()
    assert sorted(archive.exposition().splitlines()) == before


def test_the_files_of_a_living_worker_are_left_alone(tmp_path: Path) -> None:
    write(tmp_path / f"counter_{os.getpid()}.db", {})
    Archive(tmp_path).sweep()
    assert [path.name for path in tmp_path.iterdir()] == [f"counter_{os.getpid()}.db"]


def test_a_file_that_its_worker_died_making_stops_neither_scrape_nor_sweep(tmp_path: Path) -> None:
    worked(tmp_path, 1)
    for name in ("counter_4194305.db", "histogram_4194305.db"):
        (tmp_path / name).touch()
    archive = Archive(tmp_path)
    assert value(archive.exposition(), 'sluice_events_total{format="batch",status="received"}') == 5
    archive.sweep()
    assert value(archive.exposition(), 'sluice_events_total{format="batch",status="received"}') == 5


def test_extra_collectors_stand_beside_the_workers_metrics(tmp_path: Path) -> None:
    class Extra(Collector):
        def collect(self) -> list[GaugeMetricFamily]:
            return [GaugeMetricFamily("sluice_workers", "x", value=2)]

    assert value(Archive(tmp_path).exposition([Extra()]), "sluice_workers") == 2
