"""The fast path without a server: what is taken is given back, and whatever a commit does, each request has its response."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from types import SimpleNamespace
from typing import Any

import pytest
from flask import Flask
from prometheus_client import CollectorRegistry
from prometheus_flask_exporter import PrometheusMetrics

from sluice import errors, outcomes
from sluice.events import Record
from sluice.http import fast_path
from sluice.http.app import create_app
from sluice.http.fast_path import MAX_LINES, ROUTE, Exchange, FastPath
from sluice.http.plain_request import Plain
from sluice.ingest.batch_thread import BatchThread
from sluice.ingest.memory_budget import MemoryBudget
from sluice.keyring import LastKey
from sluice.metrics import RequestMetrics
from sluice.outcomes import Outcome
from sluice.settings import Settings

KEY = "a-key-of-the-test-suite"
BODY = b'{"event_id":"a","event_type":"log","event_name":"test"}'


class Store:
    """Stores nothing, and raises what it was told to."""

    def __init__(self) -> None:
        self.error: Exception | None = None

    def insert(self, records: Sequence[Record], _at: datetime) -> list[Outcome]:
        if self.error is not None:
            raise self.error
        return [outcomes.created(record.event_id, 1) for record in records]


class Bench:
    """A fast path on a store that stores nothing."""

    def __init__(self, limit: int = 1 << 20) -> None:
        self.store = Store()
        app = create_app(Settings(api_keys=(KEY,)), store=self.store)  # type: ignore[arg-type]
        self.registry = app.registry
        self.memory = MemoryBudget(limit)
        self.fast_path = FastPath(replace(app.parts, memory=self.memory), RequestMetrics(app.registry, "POST", ROUTE))
        self._delivered = threading.Semaphore(0)
        self.fast_path.deliver = lambda group: self._delivered.release(len(group))

    def begin(self, body: bytes = BODY, key: str = KEY) -> Exchange:
        return self.fast_path.begin(SimpleNamespace(last_key=LastKey()), Plain({"HTTP_AUTHORIZATION": key}, body, True, 0))

    def committed(self, *exchanges: Exchange) -> list[tuple[int, Any]]:
        """Status and body of each after its commit."""
        for exchange in exchanges:
            self.fast_path.commit(exchange)
        for _ in exchanges:
            assert self._delivered.acquire(timeout=5)
        return [self.response(exchange) for exchange in exchanges]

    def response(self, exchange: Exchange) -> tuple[int, Any]:
        head, _, body = self.fast_path.finish(exchange, close=False).partition(b"\r\n\r\n")
        return int(head.split()[1]), json.loads(body)

    def count(self, name: str, **labels: str) -> float:
        return self.registry.get_sample_value(name, labels) or 0.0


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_the_bytes_of_a_body_are_taken_before_it_is_parsed_and_given_back_after_its_response(bench: Bench) -> None:
    good, bad = bench.begin(), bench.begin(b"{")
    assert bench.memory.used == len(BODY) + 1
    assert bench.response(bad)[0] == 400
    assert bench.memory.used == len(BODY)
    assert bench.committed(good)[0][0] == 201
    assert bench.memory.used == 0


def test_a_body_beyond_the_budget_is_refused_and_gives_nothing_back() -> None:
    bench = Bench(limit=len(BODY))
    first, second = bench.begin(), bench.begin()
    status, problem = bench.response(second)
    assert (status, problem["error"], bench.memory.used) == (503, "overloaded", len(BODY))
    assert bench.committed(first)[0][0] == 201


def test_a_wrong_key_takes_nothing(bench: Bench) -> None:
    exchange = bench.begin(key="wrong")
    assert bench.memory.used == 0
    assert bench.response(exchange)[0] == 401


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [(errors.StoreUnavailable("database_unreachable"), 503, "database_error"), (RuntimeError("a bug"), 500, "internal_error")],
)
def test_a_commit_that_fails_answers_everybody_and_the_next_one_is_tried(
    bench: Bench, error: Exception, status: int, code: str
) -> None:
    bench.store.error = error
    found = bench.committed(*[bench.begin() for _ in range(3)])
    assert [(status, problem["error"]) for status, problem in found] == [(status, code)] * 3
    bench.store.error = None
    assert bench.committed(bench.begin())[0][0] == 201
    assert bench.count("sluice_events_total", status="failed", format="event") == 3
    assert bench.count("sluice_events_total", status="received", format="event") == 4
    assert bench.count("sluice_auth_total", result="ok") == 4
    assert bench.memory.used == 0


def test_lines_for_a_log_that_is_not_read_are_dropped_and_counted(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    read, written = threading.Event(), threading.Semaphore(0)
    dropped: list[int] = []
    monkeypatch.setattr(fast_path, "log", SimpleNamespace(warning=lambda _event, lines: dropped.append(lines)))
    bench.fast_path.log(lambda: read.wait(5))
    for _ in range(3 * MAX_LINES):
        bench.fast_path.log(written.release)
    read.set()
    bench.fast_path.log(written.release)
    kept = 0
    while written.acquire(timeout=0.5):
        kept += 1
    assert MAX_LINES - 1 <= kept < 2 * MAX_LINES
    assert kept + sum(dropped) == 3 * MAX_LINES + 1


def test_what_comes_while_a_batch_is_worked_on_makes_the_next_one() -> None:
    batches: list[list[int]] = []
    free, done = threading.Event(), threading.Event()

    def work(batch: Sequence[int]) -> None:
        batches.append(list(batch))
        free.wait(5)
        if 9 in batch:
            done.set()
        raise RuntimeError("the thread goes on nevertheless")

    thread = BatchThread("test", work, size=5)
    thread.put(0)
    while not batches:
        pass
    for item in range(1, 10):
        thread.put(item)
    free.set()
    assert done.wait(5)
    assert batches == [[0], [1, 2, 3, 4, 5], [6, 7, 8, 9]]


def exporter() -> tuple[CollectorRegistry, RequestMetrics]:
    registry = CollectorRegistry()
    PrometheusMetrics(Flask("test"), registry=registry, path=None, group_by="rule")
    return registry, RequestMetrics(registry, "POST", "/a")


def test_requests_are_counted_as_the_exporter_counts_them() -> None:
    (theirs, direct), (ours, bulk) = exporter(), exporter()
    seconds = [0.0, 0.004, 0.005, 0.0051, 0.3, 11.0]
    for value in seconds:
        direct._total.labels("POST", 201).inc()
        direct._seconds.labels("POST", "/a", 201).observe(value)
    bulk.observe({201: seconds})

    def samples(registry: CollectorRegistry) -> list[Any]:
        found = [sample for family in registry.collect() for sample in family.samples if not sample.name.endswith("_created")]
        return [(sample.name, sample.labels, pytest.approx(sample.value)) for sample in found]

    assert samples(ours) == samples(theirs)


def test_a_key_that_is_sent_again_is_not_hashed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    last = LastKey()
    first = last.digest_of("one")
    monkeypatch.setattr("sluice.keys.digest", lambda _: "sha256:other")
    assert last.digest_of("one") is first
    assert last.digest_of("two") == "sha256:other"


@pytest.mark.parametrize("wrong", ["slk_test_wrong", "\xe9", "a\tb"])
def test_a_key_that_is_malformed_leaves_no_trace_on_its_connection(wrong: str) -> None:
    last = LastKey()
    first = last.digest_of("one")
    with pytest.raises(errors.Unauthorized):
        last.digest_of(wrong)
    assert last.digest_of("one") == first
