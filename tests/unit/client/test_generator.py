"""What the generator promises: events that the service takes, tracebacks that are real, and a rate that does not drift."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, get_args

import pytest
from click.testing import CliRunner, Result
from tests.unit.client.script import Service

from sluice import events
from sluice.client import generator
from sluice.client.generator import FAILURES, Failure, Shop
from sluice.commands.generate import generate

NOW = datetime(2025, 6, 1, 12, tzinfo=UTC)


def ticking() -> Callable[[], datetime]:
    """A clock that goes on by a second with every look."""
    seconds = itertools.count()
    return lambda: NOW + timedelta(seconds=next(seconds))


def made(count: int, *, seed: int = 1, errors_share: float = 0.1) -> list[dict[str, Any]]:
    shop = Shop(Random(seed), ticking(), errors_share)
    return [json.loads(item.json) for item in shop.items(range(count))]


def test_every_event_is_one_that_the_service_takes() -> None:
    for item in Shop(Random(1), ticking(), 0.2).items(range(500)):
        events.prepare(events.parse(item.json), now=NOW, key_id="k", rules=events.Rules())


def test_events_of_every_type_come_in_their_share() -> None:
    found = Counter(event["event_type"] for event in made(2000, errors_share=0.25))
    assert set(found) == set(get_args(events.EventType))
    assert found["error"] == pytest.approx(500, rel=0.2)


@pytest.mark.parametrize(("share", "types"), [(0.0, {False}), (1.0, {True})])
def test_there_may_be_no_errors_or_nothing_else(share: float, types: set[bool]) -> None:
    assert {event["event_type"] == "error" for event in made(200, errors_share=share)} == types


def test_the_same_seed_and_clock_make_the_same_events() -> None:
    assert made(200) == made(200)
    assert made(200) != made(200, seed=2)


def test_every_id_is_another_also_for_the_same_seed_at_another_time() -> None:
    later = Shop(Random(1), lambda: NOW + timedelta(days=1))
    ids = [event["event_id"] for event in made(500)] + [json.loads(item.json)["event_id"] for item in later.items(range(500))]
    assert len(set(ids)) == 1000


def test_the_steps_of_a_session_are_numbered_from_one() -> None:
    steps: dict[str, list[int]] = {}
    for event in made(1000):
        if event["event_type"] == "behavioral":
            steps.setdefault(event["session_id"], []).append(event["sequence_number"])
    assert len(steps) > 20
    assert all(numbers == list(range(1, len(numbers) + 1)) for numbers in steps.values())


FAILS_WITH = {
    "checkout": ("KeyError: '", "in price_of"),
    "reporting": ("ZeroDivisionError: division by zero", "return sum(samples) / len(samples)"),
    "payments": ("JSONDecodeError: ", "in raw_decode"),
    "inventory": ("ConnectionRefusedError: ", "in create_connection"),
    "orders": ("OrderRejected: no price for ", "The above exception was the direct cause of the following exception"),
    "catalogue": ("RecursionError: categories nest deeper than 50", "[Previous line repeated "),
    "customers": ("UnicodeDecodeError: 'utf-8' codec", "in import_customers"),
    "recommendations": ("TimeoutError: timed out", "return connection.recv(1)"),
}


@pytest.mark.parametrize("failure", FAILURES, ids=lambda failure: failure.service)
def test_a_traceback_comes_from_code_that_failed(failure: Failure) -> None:
    error, line = FAILS_WITH[failure.service]
    report = generator.report_of(failure, Random(1))
    assert report["error"].startswith(error)
    assert report["traceback"].startswith("Traceback (most recent call last):\n")
    assert line in report["traceback"]
    assert report["traceback"].rstrip().splitlines()[-1].endswith(report["error"])


class Time:
    """A clock that only sleeping moves, each time by `late` too much."""

    def __init__(self, late: float = 0) -> None:
        self.now = 100.0
        self.late = late

    def sleep(self, seconds: float) -> None:
        self.now += seconds + self.late


@pytest.mark.parametrize("late", [0, 0.003])
def test_a_rate_is_kept_without_drift_when_sleeps_take_too_long(late: float) -> None:
    time = Time(late)
    times = [time.now for _ in generator.pace(range(1001), 100, lambda: time.now, time.sleep)]
    assert times[0] == 100
    assert times[-1] - times[0] == pytest.approx(10, abs=0.004)


def test_a_stall_is_made_up_for() -> None:
    time = Time()
    for number in generator.pace(range(101), 10, lambda: time.now, time.sleep):
        time.now += 3 if number == 50 else 0
    assert time.now == pytest.approx(110)


def test_rate_zero_never_sleeps() -> None:
    time = Time()
    assert list(generator.pace(range(5), 0, lambda: time.now, time.sleep)) == [0, 1, 2, 3, 4]
    assert time.now == 100


def run(*arguments: str, url: str = "http://127.0.0.1:1") -> Result:
    return CliRunner().invoke(generate, ["--url", url, "--retry-for", "0", *arguments], env={"SLUICE_API_KEY": "k"})


def test_events_are_sent_in_batches(service: Service) -> None:
    counts = {"created": 100, "duplicate": 0, "conflict": 0, "invalid": 0, "failed": 0, "results": []}
    service.script = [(201, {}, {"data": counts})] * 2
    result = run("--count", "200", "--batch-size", "100", url=service.url)
    assert [len(json.loads(request.body)) for request in service.requests] == [100, 100]
    assert (result.exit_code, {request.path for request in service.requests}) == (0, {"/api/v1/batch-ingest"})


def test_stdout_gets_ndjson_and_no_service_is_asked() -> None:
    result = run("--count", "30", "--stdout")
    assert [events.parse(line.encode()).event_id for line in result.stdout.splitlines()].count(None) == 0
    assert (result.exit_code, len(result.stdout.splitlines())) == (0, 30)


def test_reports_on_stdout_are_reports() -> None:
    result = run("--count", "3", "--stdout", "--as-reports")
    assert ["traceback" in json.loads(line) for line in result.stdout.splitlines()] == [True] * 3


def test_the_same_seed_prints_the_same_but_for_times_and_ids() -> None:
    first, second = (
        [json.loads(line) for line in run("--count", "50", "--stdout", "--seed", "7").stdout.splitlines()] for _ in "ab"
    )
    for event in first + second:
        del event["timestamp"], event["event_id"]
    assert first == second


def test_a_service_that_is_away_is_reported_with_the_fix() -> None:
    result = run("--count", "1")
    assert result.exit_code == 1
    assert "start it with `make run`" in result.stderr
