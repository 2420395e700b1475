"""What a process remembers of a KeySet between two looks."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from sluice_operator.asking import Heard
from sluice_operator.memory import Memory
from sluice_operator.world import Report

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def heard(used: dict[str, datetime], refused: dict[str, datetime]) -> Heard:
    return Heard(Report("r"), used, refused)


def test_of_all_pods_the_latest_date_counts_and_no_answer_forgets_one() -> None:
    memory = Memory()
    memory.hear("a", heard({"x/1": NOW}, {"y/1": NOW}), 1.0)
    memory.hear("b", heard({"x/1": NOW - timedelta(1), "x/2": NOW}, {"y/1": NOW + timedelta(1)}), 2.0)
    memory.hear("b", None, 3.0)
    assert memory.last_used == {"x/1": NOW, "x/2": NOW}
    assert memory.last_refused == {"y/1": NOW + timedelta(1)}


def test_versions_that_left_the_key_set_are_forgotten() -> None:
    memory = Memory()
    memory.hear("a", heard({"x/1": NOW, "x/2": NOW}, {"x/1": NOW, "x/2": NOW}), 1.0)
    memory.keep(["a"], {"x/2"})
    assert (memory.last_used, memory.last_refused) == ({"x/2": NOW}, {"x/2": NOW})


def looks(memory: Memory, foreign: frozenset[str], start: float, count: int) -> list[float]:
    """The seconds between looks, each at the time that the one before named."""
    found, now = [], start
    for _ in range(count):
        delay = memory.wait_for(foreign, now)
        assert delay is not None
        found.append(delay)
        now += delay
    return found


def test_a_secret_that_is_in_the_way_is_looked_at_soon_and_then_ever_later() -> None:
    assert looks(Memory(), frozenset({"alpha"}), 100.0, 6) == [2.0, 2.0, 4.0, 8.0, 16.0, 32.0]


def test_another_one_is_looked_at_soon_again() -> None:
    memory = Memory()
    looks(memory, frozenset({"alpha"}), 0.0, 6)
    assert memory.wait_for(frozenset({"alpha", "beta"}), 500.0) == 2.0
    assert memory.wait_for(frozenset(), 501.0) is None
    assert memory.wait_for(frozenset({"alpha", "beta"}), 600.0) == 2.0
