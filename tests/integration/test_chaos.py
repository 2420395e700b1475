"""kill -9 of every part of the service, under load. The long form is `python -m tests.soak chaos`."""

from __future__ import annotations

import secrets
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.integration.scrape import law_broken, scrape
from tests.soak import chaos, load
from tests.soak.chaos import Arena, Books, Run

pytestmark = pytest.mark.needs("embedded PostgreSQL")


@pytest.fixture(scope="module")
def aftermath() -> Iterator[tuple[Arena, Books, str]]:
    """What six kills left: the arena, its books, and /metrics of the supervisor that survived."""
    run = Run(seed=secrets.randbelow(10_000), total=6)
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
    _, _, metrics = aftermath
    assert law_broken(metrics) == {}
