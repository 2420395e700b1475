"""kill -9 of every part of the service, under load. The long form is `python -m tests.soak chaos`."""

from __future__ import annotations

import secrets
import tempfile
from collections.abc import Iterator
from pathlib import Path
from threading import Event

import pytest
from tests.integration.scrape import scrape, unaccounted
from tests.soak import chaos, kept, load
from tests.soak.__main__ import resumed
from tests.soak.chaos import Arena, Books, Kill, Run
from tests.soak.load import Client

pytestmark = pytest.mark.needs("embedded PostgreSQL")


@pytest.fixture(scope="module")
def aftermath() -> Iterator[tuple[Arena, Books, str]]:
    """What a kill of each part left: the arena, its books, and /metrics of the supervisor that survived."""
    run = Run(seed=secrets.randbelow(10_000), total=len(chaos.PARTS))
    with tempfile.TemporaryDirectory(prefix="sluice-test-") as name, chaos.arena(Path(name), run) as arena:
        chaos.fight(arena, run.plan(), print)
        yield arena, arena.books(), scrape(arena.service)


def test_every_acknowledged_event_is_stored_exactly_once_whatever_is_killed(aftermath: tuple[Arena, Books, str]) -> None:
    arena, books, _ = aftermath
    assert {kill.part for kill in arena.run.kills} == set(chaos.PARTS)
    assert (books.missing, books.doubled, books.strangers) == ([], [], [])


def test_a_client_that_repeats_what_was_not_answered_ends_with_each_event_once(aftermath: tuple[Arena, Books, str]) -> None:
    arena, books, _ = aftermath
    assert load.failures(arena.clients) == []
    assert books.stored == sum(client.sent for client in arena.clients) == sum(client.acknowledged for client in arena.clients)


def test_what_is_answered_meanwhile_is_a_success_or_come_again_later(aftermath: tuple[Arena, Books, str]) -> None:
    arena, _, _ = aftermath
    assert {"201", "none"} <= set(arena.run.answers) <= {"200", "201", "503", "none"}


def test_the_conservation_law_holds_afterwards(aftermath: tuple[Arena, Books, str]) -> None:
    """But for one call of each worker that was killed between the two counters of that call."""
    arena, _, metrics = aftermath
    assert all(0 <= missing <= len(arena.run.kills) * max(load.SIZES.values()) for missing in unaccounted(metrics).values())


def test_the_books_find_what_is_lost_doubled_or_of_nobody() -> None:
    client = Client("c", "single", "http://127.0.0.1", Event(), begin=2)
    client.sent = 3
    assert chaos.compared({"c-0": 1, "c-1": 1}, [client]) == Books([], [], [], stored=2)
    assert chaos.compared({"c-0": 1, "c-2": 2, "c-3": 1}, [client]) == Books(["c-1"], ["c-2"], ["c-3"], stored=3)


def test_a_run_that_was_interrupted_goes_on_where_it_was(tmp_path: Path) -> None:
    run = Run(seed=1, total=5, kills=[Kill("worker", 0.1)], positions={"c": 7})
    kept.keep(tmp_path, run)
    assert resumed(tmp_path, Run(seed=1, total=5)) == run
    assert resumed(tmp_path, Run(seed=2, total=5)) == Run(seed=2, total=5)
    assert list(tmp_path.iterdir()) == []
