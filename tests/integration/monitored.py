"""Everything that tells metrics, with something to tell, and a Prometheus that scrapes it.

The service is a process of its own. So is the puller, which has a real list; what the operator tells was recorded from its
engine at work; the queue's worker counts what it would of two batches. What kube-state-metrics tells is written by
hand, by the names and labels of its documentation.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import yaml
from prometheus_client import CollectorRegistry, Gauge, Metric, generate_latest, start_http_server
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector
from tests.conftest import ROOT
from tests.integration import prometheus, upstream
from tests.integration.keysets import KeysetFile
from tests.integration.postgres import Database
from tests.integration.prometheus import Prometheus
from tests.integration.scrape import samples, scrape
from tests.integration.service import KEY, Service
from tests.integration.service import running as serve
from tests.integration.test_pull import pulling as puller
from tests.integration.waiting import until
from tests.unit.operator_.test_engine_loop import SPACE, Bench, secret, with_bench
from tests.unit.operator_.test_engine_loop import Service as Pod

from sluice.queue import DEAD_LETTERS, EVENTS
from sluice.queue.worker import WorkerMetrics
from sluice_operator import api_types, telemetry
from sluice_operator.api_types import API_KEYS, KEY_SETS
from sluice_operator.health import Gauges
from sluice_operator.watch import Hearing

SCRAPE_SECONDS = 1.0
NAMESPACE = "compose"
INGEST, BATCH = "/api/v1/ingest", "/api/v1/batch-ingest"
BOOM = {"service": "shop", "endpoint": "/pay", "error": "ValueError: no", "traceback": "ValueError: no"}


class Recorded(Collector):
    """Tells what was recorded: one text after the other, the last one for ever."""

    def __init__(self, texts: list[str]) -> None:
        self.texts = texts

    def go_on(self) -> None:
        self.texts = self.texts[1:] or self.texts

    def collect(self) -> Iterable[Metric]:
        return text_string_to_metric_families(self.texts[0])


def operator_at_work() -> list[str]:
    """What the operator tells before and after a rotation, a repair and a revocation, with one of its calls refused."""
    told: list[str] = []
    telemetry.LEADER.set(1)

    async def work(bench: Bench, pod: Pod) -> None:
        hearing, path = Hearing(), KEY_SETS.path(SPACE)
        hearing.heard(path)
        gauges = CollectorRegistry()
        gauges.register(Gauges(bench.cache, hearing, [SPACE], [(SPACE, "keysets", path)], lambda: True))

        async def merge(**parts: Any) -> None:
            await bench.api.merge(API_KEYS, SPACE, "alpha", parts)
            await bench.look()

        async def record() -> None:
            await bench.look()
            told.append((generate_latest(telemetry.REGISTRY) + generate_latest(gauges)).decode())

        bench.server.faults["GET", "/poddisruptionbudgets"] = 403
        await merge(spec={"expiresAt": api_types.stamp(bench.api.clock().here + timedelta(days=10))})
        await bench.until(lambda: bench.condition(API_KEYS, "alpha", "Ready") == ("True", "Active"))
        await bench.until(lambda: bench.condition(KEY_SETS, "main", "Degraded") == ("True", "Forbidden"))
        await record()
        pod.late = True
        await merge(metadata={"annotations": {api_types.ROTATE: "now"}})
        await bench.until(lambda: acknowledged(bench) == 0)
        await record()
        pod.late = False
        await bench.until(lambda: version_of(bench) == "2")
        del bench.server.objects[secret("alpha")]
        await bench.look()
        await bench.until(lambda: bench.secret("alpha"))
        await merge(spec={"revoked": True})
        await bench.until(lambda: telemetry.REGISTRY.get_sample_value("sluice_operator_revocation_seconds_count"))
        await record()
        # As Bench.settle: what is under way ends.
        await asyncio.sleep(0.5)

    with_bench(work)
    return told


def version_of(bench: Bench) -> str | None:
    found = bench.secret("alpha")
    return found["metadata"]["annotations"][api_types.VERSION] if found else None


def acknowledged(bench: Bench) -> int:
    """Pods that have the newest key set, as the KeySet's status says."""
    return int(bench.server.objects[KEY_SETS.path(SPACE, "main")]["status"]["podsAcknowledged"])


class Queue:
    """A worker's counts of two batches, and what it hears of the broker."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._metrics = WorkerMetrics(self.registry)

    def go_on(self) -> None:
        self._metrics.events.labels("created").inc(1_500)
        self._metrics.events.labels("conflict").inc(1)
        self._metrics.dead.labels("conflict").inc()
        self._metrics.redelivered.inc()
        self._metrics.commit_seconds.observe(0.012)
        self._metrics.batch_events.observe(1_501)
        self._metrics.depth.labels(EVENTS).set(3)
        self._metrics.depth.labels(DEAD_LETTERS).inc()
        self._metrics.oldest.set(1.5)


def kube_state() -> CollectorRegistry:
    registry = CollectorRegistry()
    for name in ("replicas_ready", "spec_replicas"):
        full = f"kube_deployment_{'status_' if name == 'replicas_ready' else ''}{name}"
        Gauge(full, "x", ["namespace", "deployment"], registry=registry).labels(NAMESPACE, "sluice").set(2)
    restarts = Gauge("kube_pod_container_status_restarts_total", "x", ["namespace", "pod", "container", "uid"], registry=registry)
    restarts.labels(NAMESPACE, "sluice-5f7c9d-abcde", "sluice", "1").set(1)
    return registry


class Monitored:
    """`begin`: before anything happened (Unix time)."""

    def __init__(self, service: Service, prometheus: Prometheus, database: Database) -> None:
        self.service = service
        self.prometheus = prometheus
        self.database = database
        self.begin = time.time()

    def scraped(self) -> None:
        """Return when each target was scraped from now on."""
        now = time.time()
        until(lambda: min(self._scrapes(), default=0.0) > now, 20, "everything is scraped")

    def _scrapes(self) -> list[float]:
        return [points[-1][1] for _, points in self.prometheus.now("timestamp(up == 1)")]

    def generate(self, count: int) -> None:
        """`sluice generate` as people call it."""
        words = [sys.executable, "-m", "sluice", "generate", "--url", self.service.url, "--count", str(count), "--seed", "7"]
        given = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT / "app"), "SLUICE_API_KEY": KEY}
        subprocess.run(words, env=given, check=True, capture_output=True)


def regressions(service: Service) -> float:
    return sum(each.value for each in samples(scrape(service)) if each.name == "sluice_error_regressions_total")


def use(client: httpx.Client, number: int) -> None:
    """What `sluice generate` does not do: single events, mistakes, a task, an error that comes back, an erasure."""
    for each in range(20):
        client.post(INGEST, json={"event_type": "log", "event_name": "x", "user_id": f"u{number}", "session_id": f"s{each}"})
    client.post(BATCH, json=[{"event_type": "log"}, {"event_type": "log", "event_name": "x", "surprise": 1}])
    client.post(INGEST, json={"event_type": "log", "event_name": "x", "timestamp": "2999-01-01T00:00:00Z"})
    client.get("/api/v1/whoami", headers={"Authorization": "Bearer nobody-s"})
    client.post("/tasks", json={"title": "look", "priority": "high"})
    client.post("/", json=BOOM)
    for group in client.get("/api/v1/errors", params={"service": "shop"}).json()["data"]["errors"]:
        assert client.post(f"/api/v1/errors/{group['fingerprint']}/resolve").status_code == 200
    client.post("/", json=BOOM)
    client.get("/api/v1/errors")
    client.delete("/api/v1/events", params={"user_id": f"u{number}"})


@contextlib.contextmanager
def running(database: Database, folder: Path) -> Iterator[Monitored]:
    """All of it after two rounds of use, each of which Prometheus has seen from before to after."""
    keyset = KeysetFile(folder / "keyset.json")
    keyset.add("web")
    keyset.publish()
    operator, queue = Recorded(operator_at_work()), Queue()
    told = CollectorRegistry()
    told.register(operator)
    with contextlib.ExitStack() as stack:
        origin = stack.enter_context(upstream.running())
        # A list that grows, from a server that fails every other time.
        origin.answers = [each for count in range(1, 100) for each in (upstream.records(count), refused)]
        registries = {"sluice-operator": told, "sluice-worker": queue.registry}
        targets = {job: stack.enter_context(serving(registry)) for job, registry in registries.items()}
        service = stack.enter_context(serve(database.url, KEYSET_FILE=str(keyset.path)))
        targets["sluice"] = f"127.0.0.1:{service.admin_port}"
        targets["sluice-puller"] = stack.enter_context(pulling(database.url, folder, SOURCES_FILE=sources(folder, origin.url)))
        jobs = [job(name, target, namespace=NAMESPACE, pod=f"{name}-1") for name, target in targets.items()]
        kube = {**job("kube-state-metrics", stack.enter_context(serving(kube_state()))), "honor_labels": True}
        settings = {"scrape_interval": f"{SCRAPE_SECONDS:g}s"}
        scraper = stack.enter_context(prometheus.running(folder, {"global": settings, "scrape_configs": [*jobs, kube]}))
        made = Monitored(service, scraper, database)
        until(lambda: len(made._scrapes()) == len(targets) + 1, 20, "everything is scraped")
        client = stack.enter_context(service.client())
        for number in range(2):
            queue.go_on()
            operator.go_on()
            use(client, number)
            made.generate(1_200)
            until(lambda: regressions(service) == number + 1, 20, "the error is counted as come back")  # noqa: B023
            made.scraped()
        yield made


def refused(handler: upstream.Handler) -> None:
    handler.send(503)


def sources(folder: Path, url: str) -> str:
    """A file of one source, which is pulled every second."""
    one = {"name": "orders", "url": url, "interval": "1s", "retries": 0, "allow_private": True, "emit": True}
    file = folder / "sources.yaml"
    file.write_text(yaml.safe_dump({"sources": [one]}), encoding="utf-8")
    return str(file)


@contextlib.contextmanager
def pulling(url: str, folder: Path, **environment: str) -> Iterator[str]:
    """Host and port of the metrics of a puller."""
    with puller(url, folder, **environment) as made:
        yield made.admin_url.removeprefix("http://")


def job(name: str, target: str, **labels: str) -> dict[str, Any]:
    return {"job_name": name, "static_configs": [{"targets": [target], "labels": labels}]}


@contextlib.contextmanager
def serving(registry: CollectorRegistry) -> Iterator[str]:
    """Host and port of a server that tells what is in `registry`."""
    server, thread = start_http_server(0, "127.0.0.1", registry)
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)
