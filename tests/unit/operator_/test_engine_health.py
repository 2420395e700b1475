"""What the probes of the operator itself tell."""

from __future__ import annotations

import asyncio

import pytest
from aiohttp.test_utils import TestClient, TestServer
from prometheus_client import CollectorRegistry

from sluice_operator.api_types import ESSENTIAL
from sluice_operator.cache import Cache
from sluice_operator.client import Api
from sluice_operator.health import Health, application
from sluice_operator.leader import Lease
from sluice_operator.queue import Queue
from sluice_operator.watch import Hearing, Sync


class Parts:
    """A Health, with all clocks moved by hand."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.wall = 5000.0
        self.api = Api(lambda: pytest.fail("nothing is called"), monotonic=self.monotonic)
        self.hearing = Hearing(self.monotonic)
        self.sync = Sync(self.api, Cache(), Queue(), None, self.hearing, ["space"])  # type: ignore[arg-type]
        self.lease = Lease(self.api, "space", "operator", "one", self.monotonic)
        self.made = False
        self.health = Health(self.api, self.hearing, self.sync, self.lease, lambda: self.made, self.monotonic, lambda: self.wall)

    def monotonic(self) -> float:
        return self.now

    def failed(self) -> list[str]:
        return [name for name, check in self.health.alive.items() if not check()]

    def pass_by(self, seconds: float) -> None:
        self.now += seconds
        self.wall += seconds


@pytest.fixture
def parts() -> Parts:
    async def made() -> Parts:
        return Parts()

    return asyncio.run(made())


def test_a_process_that_just_started_is_alive_and_not_ready(parts: Parts) -> None:
    assert parts.failed() == []
    assert unready(parts) == ["namespaces", "cache"]
    parts.health.namespaces = True
    assert unready(parts) == ["cache"]
    parts.sync.done = True
    assert unready(parts) == []


def test_who_leads_is_ready_when_what_the_chart_asks_for_is_made(parts: Parts) -> None:
    parts.health.namespaces = parts.sync.done = parts.health.leading = True
    assert unready(parts) == ["bootstrap"]
    parts.made = True
    assert unready(parts) == []


def unready(parts: Parts) -> list[str]:
    return [name for name, check in parts.health.ready.items() if not check()]


def test_what_may_not_be_watched_is_not_waited_for(parts: Parts) -> None:
    parts.sync.resources = ESSENTIAL
    for resource in ESSENTIAL:
        assert parts.sync.deaf() != []
        parts.hearing.heard(resource.path("space"))
    assert parts.sync.deaf() == []


def test_a_silent_watch_is_no_life(parts: Parts) -> None:
    for _, _, path in parts.sync.paths():
        parts.hearing.heard(path)
    parts.pass_by(149)
    parts.api.answered = parts.now
    assert parts.failed() == []
    for _, _, path in parts.sync.paths()[1:]:
        parts.hearing.heard(path)
    parts.pass_by(2)
    assert parts.failed() == ["watches"]


def test_an_api_server_that_is_away_is_no_reason_to_restart(parts: Parts) -> None:
    for _, _, path in parts.sync.paths():
        parts.hearing.heard(path)
    parts.pass_by(600)
    assert parts.failed() == []


def test_a_leader_without_its_lease_is_no_life(parts: Parts) -> None:
    assert parts.failed() == []
    parts.health.leading = True
    assert parts.failed() == ["lease"]


def test_a_loop_that_hangs_is_no_life(parts: Parts) -> None:
    parts.health.lag = 1.5
    assert parts.failed() == ["loop"]


@pytest.mark.parametrize("jump", [301, -301])
def test_a_clock_that_jumped_is_no_life(parts: Parts, jump: float) -> None:
    parts.pass_by(100_000)
    assert parts.failed() == []
    parts.wall += jump
    assert parts.failed() == ["clock"]


def test_the_checks_are_listed_for_who_asks_or_when_one_fails(parts: Parts) -> None:
    async def work() -> None:
        async with TestClient(TestServer(application(parts.health, CollectorRegistry()))) as client:
            alive = await client.get("/livez")
            assert (alive.status, await alive.text()) == (200, "ok\n")
            assert "[+]loop ok" in await (await client.get("/livez?verbose")).text()
            ready = await client.get("/readyz")
            assert ready.status == 503
            assert "[-]cache failed\n" in await ready.text()

    asyncio.run(work())
