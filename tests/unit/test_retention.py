"""Retention: what goes, when, in which steps, and what stops it."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import ClassVar, cast

import pytest
from structlog.testing import capture_logs

from sluice import errors, retention
from sluice.settings import Settings
from sluice.stores import Store

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
DEADLINE = 10.0
STEP = retention.STEP


class Purged:
    """A store that only purges: what it answers, and what it was asked. A real one is purged in tests/integration."""

    def __init__(self, answers: Sequence[int | tuple[int, int] | Exception]) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[datetime, datetime, int]] = []
        self.empty = threading.Event()

    def purge(self, before: datetime, answers_before: datetime, limit: int) -> tuple[int, int]:
        self.asked.append((before, answers_before, limit))
        if not self.answers:
            self.empty.set()
            return 0, 0
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer if isinstance(answer, tuple) else (answer, 0)


def of(store: Purged, retention_days: int | None = 30) -> retention.Sweeper:
    return retention.Sweeper(cast(Store, store), retention_days, lambda: NOW)


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "ROUND", 0.001)


def test_events_go_an_hour_after_they_are_refused_and_answers_after_a_day() -> None:
    store = Purged([0])
    of(store).sweep(threading.Event())
    assert store.asked == [(NOW - timedelta(days=30, hours=1), NOW - timedelta(hours=24), STEP)]


@pytest.mark.parametrize("days", [None, 700_000])
def test_without_a_retention_or_with_centuries_of_it_only_answers_go(days: int | None) -> None:
    store = Purged([0])
    of(store, days).sweep(threading.Event())
    before, answers_before, _ = store.asked[0]
    assert before.year < 200
    assert answers_before == NOW - timedelta(hours=24)


SWEEPS = {
    "nothing to do": ([0], 0, 1),
    "less than a step": ([5], 5, 1),
    "a step and nothing": ([STEP, 0], STEP, 2),
    "steps and a rest": ([STEP, STEP, STEP, 7, STEP], 3 * STEP + 7, 4),
    "kept answers beside few events": ([(5, STEP), (0, STEP), (0, 3), STEP], 5, 3),
}


@pytest.mark.parametrize(("answers", "removed", "steps"), SWEEPS.values(), ids=SWEEPS)
def test_a_sweep_goes_on_until_a_step_is_not_full(answers: list[int | tuple[int, int]], removed: int, steps: int) -> None:
    store = Purged(answers)
    assert of(store).sweep(threading.Event()) == removed
    assert len(store.asked) == steps


def test_a_stop_ends_a_sweep_after_the_step_under_way() -> None:
    store, stop = Purged([STEP] * 100), threading.Event()
    stop.set()
    assert of(store).sweep(stop) == STEP


@pytest.mark.parametrize(("days", "group_days", "kept"), [("30", "90", 90), ("90", "30", 90), ("30", "", 90), ("365", "", 365)])
def test_an_error_group_is_kept_for_as_long_as_its_events_at_least(days: str, group_days: str, kept: int) -> None:
    settings = Settings.from_env({"RETENTION_DAYS": days, "ERROR_GROUP_RETENTION_DAYS": group_days})
    assert retention.of_error_groups(settings) == timedelta(days=kept, hours=1)


def test_where_events_are_kept_for_ever_error_groups_are_too() -> None:
    assert retention.of_error_groups(Settings.from_env({"ERROR_GROUP_RETENTION_DAYS": "1"})) is None


def test_a_sweeper_that_is_stopped_does_nothing_more() -> None:
    store, stop = Purged([STEP]), threading.Event()
    stop.set()
    of(store).run(stop)
    assert store.asked == []


def test_between_two_steps_it_waits_as_long_as_the_first_one_took(monkeypatch: pytest.MonkeyPatch) -> None:
    class Stop(threading.Event):
        waited: ClassVar[list[float | None]] = []

        def wait(self, timeout: float | None = None) -> bool:
            self.waited.append(timeout)
            return False

    times = iter((10.0, 10.5, 20.0, 23.0, 30.0))
    monkeypatch.setattr("time.monotonic", lambda: next(times))
    assert of(Purged([STEP, STEP, 1])).sweep(Stop()) == 2 * STEP + 1
    assert Stop.waited == [0.5, 3.0]


def test_a_store_that_is_away_is_waited_for() -> None:
    store, stop = Purged([errors.StoreUnavailable("login_refused"), STEP, 3]), threading.Event()
    with capture_logs() as logs:
        thread = threading.Thread(target=of(store).run, args=(stop,))
        thread.start()
        assert store.empty.wait(DEADLINE)
        stop.set()
        thread.join(DEADLINE)
    assert not thread.is_alive()
    assert [(entry["event"], entry.get("reason"), entry.get("events")) for entry in logs] == [
        ("retention.waits", "login_refused", None),
        ("retention.removed", None, STEP + 3),
    ]
