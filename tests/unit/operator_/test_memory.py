"""What a process remembers of a KeySet between two looks."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from sluice import keys
from sluice_operator import api_types
from sluice_operator.api_types import Metadata
from sluice_operator.memory import AGAIN_SECONDS, LONGEST_SECONDS, REVISIONS, STOOD_SECONDS, Memory
from sluice_operator.pods import Heard
from sluice_operator.world import DeleteSecret, Published, Report

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


def published(revision: str, minute: int = 0, by: str | None = None) -> Published:
    """`by`: the revision that the operator noted, if it was another."""
    document = keys.KeySetDocument(revision=revision, generated_at=NOW + timedelta(minutes=minute), entries=())
    metadata = Metadata(name="main-published", creation_timestamp=NOW)
    return Published(metadata=metadata, type=api_types.KEYSET_TYPE, document=document, sealed=by in (None, revision))


def possible(memory: Memory) -> set[str | None] | None:
    report = memory.report("a")
    return set(report.possible) if report is not None else None


def test_what_a_pod_said_before_something_was_published_may_be_true_no_more() -> None:
    memory = Memory()
    memory.turn(published("r"), 1.0)
    memory.hear("a", heard({}, {}), 1.0)
    assert possible(memory) == {"r"}
    memory.turn(published("s", 1), 2.0)
    memory.turn(published("r", 2), 3.0)
    assert possible(memory) == {"r", "s"}
    memory.hear("a", heard({}, {}), 4.0)
    memory.turn(published("r", 2), 5.0)
    assert possible(memory) == {"r"}


@pytest.mark.parametrize("other", [None, published("forged", 1, by="r")], ids=["deleted", "forged"])
def test_what_somebody_else_did_to_the_key_set_may_have_reached_a_pod(other: Published | None) -> None:
    memory = Memory()
    memory.turn(published("r"), 1.0)
    memory.hear("a", heard({}, {}), 1.0)
    memory.turn(other, 2.0)
    assert possible(memory) == {"r", None}


def test_an_answer_that_is_too_many_publications_old_is_none() -> None:
    memory = Memory()
    memory.hear("a", heard({}, {}), 0.5)
    for number in range(REVISIONS):
        assert possible(memory) is not None
        memory.turn(published(f"r{number}", number), float(number + 1))
    assert possible(memory) is None


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


def test_what_is_undone_at_once_rests_ever_longer_and_what_stood_for_a_while_does_not() -> None:
    memory, now, rests = Memory(), 0.0, []
    for version in range(12):
        action = DeleteSecret(secret="alpha", precondition=str(version), event="ClientRemoved")
        memory.did(action, now)
        rests.append(memory.rest(action, now))
        now += rests[-1]
        memory.forget(now)
    assert rests == sorted(rests)
    assert (rests[0], rests[-1]) == (AGAIN_SECONDS, LONGEST_SECONDS)
    memory.forget(now + STOOD_SECONDS)
    assert memory.rest(action, now) == 0.0
    assert memory.repeated == {}
