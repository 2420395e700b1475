"""Leader election, by a clock that only goes on."""

from __future__ import annotations

import asyncio

import pytest
from tests.unit.operator_.apiserver import ApiServer, run

from sluice_operator import leader as module
from sluice_operator.client import Api
from sluice_operator.leader import Lease, Lost

SPACE, NAME = "space", "operator"
PATH = f"/apis/coordination.k8s.io/v1/namespaces/{SPACE}/leases/{NAME}"


class Clock:
    """Monotonic, and moved by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PERIOD_SECONDS", 0.01)


def test_the_first_one_makes_it_and_the_second_waits_until_it_is_released() -> None:
    async def work(server: ApiServer, api: Api) -> None:
        first, second = Lease(api, SPACE, NAME, "one"), Lease(api, SPACE, NAME, "two")
        await first.acquire()
        waiting = asyncio.create_task(second.acquire())
        await asyncio.sleep(0.1)
        assert (first.held, second.held, waiting.done()) == (True, False, False)
        await first.release()
        await waiting
        assert (first.held, second.held) == (False, True)
        assert server.objects[PATH]["spec"]["holderIdentity"] == "two"
        assert server.objects[PATH]["spec"]["leaseTransitions"] == 1

    run(work)


def test_a_dead_holder_is_waited_out_by_our_own_clock() -> None:
    async def work(server: ApiServer, api: Api) -> None:
        clock = Clock()
        await Lease(api, SPACE, NAME, "one").acquire()
        server.objects[PATH]["spec"]["renewTime"] = "1970-01-01T00:00:00.000000Z"
        second = Lease(api, SPACE, NAME, "two", clock)
        for seconds, taken in ((0.0, False), (14.9, False), (0.2, True)):
            clock.now += seconds
            assert await second._try(second._take) is taken

    run(work)


def test_a_holder_that_renews_is_never_waited_out() -> None:
    async def work(_server: ApiServer, api: Api) -> None:
        clock = Clock()
        first, second = Lease(api, SPACE, NAME, "one", clock), Lease(api, SPACE, NAME, "two", clock)
        await first.acquire()
        for _ in range(10):
            clock.now += 9
            assert await first._try(first._renew)
            assert not await second._try(second._take)
        assert first.held

    run(work)


def test_who_cannot_renew_in_time_has_lost_it() -> None:
    async def work(server: ApiServer, api: Api) -> None:
        clock = Clock()
        lease = Lease(api, SPACE, NAME, "one", clock)
        await lease.acquire()
        server.faults["PATCH", "leases"] = 503
        keeping = asyncio.create_task(lease.keep())
        clock.now += 9.9
        await tried(server)
        assert not keeping.done()
        clock.now += 0.2
        with pytest.raises(Lost):
            await asyncio.wait_for(keeping, 30)

    run(work)


async def tried(server: ApiServer) -> None:
    """Until it was tried to write the Lease again, twice."""
    before = server.calls.count(("PATCH", PATH))
    async with asyncio.timeout(30):
        while server.calls.count(("PATCH", PATH)) < before + 2:
            await asyncio.sleep(0.01)


def test_who_finds_another_holder_has_lost_it_at_once() -> None:
    async def work(server: ApiServer, api: Api) -> None:
        lease = Lease(api, SPACE, NAME, "one")
        await lease.acquire()
        server.put(PATH, {**server.objects[PATH], "spec": {"holderIdentity": "two"}})
        with pytest.raises(Lost):
            await asyncio.wait_for(lease.keep(), 30)

    run(work)


def test_a_renewal_whose_answer_was_lost_is_no_loss() -> None:
    async def work(server: ApiServer, api: Api) -> None:
        lease = Lease(api, SPACE, NAME, "one")
        await lease.acquire()
        server.put(PATH, server.objects[PATH])
        keeping = asyncio.create_task(lease.keep())
        await tried(server)
        assert (lease.held, keeping.done()) == (True, False)
        keeping.cancel()

    run(work)


@pytest.mark.parametrize("holder", ["one", "two"])
def test_who_finds_an_older_lease_than_there_was_begins_anew(holder: str) -> None:
    """The store of the API server was restored: a watch goes on and tells nothing until it has written as much again."""

    async def work(server: ApiServer, api: Api) -> None:
        for _ in range(9):
            await Lease(api, SPACE, NAME, "one").acquire()
        lease = Lease(api, SPACE, NAME, holder, period=0.01)
        await lease._try(lease._take)
        server.objects[PATH]["metadata"]["resourceVersion"] = "5"
        with pytest.raises(Lost, match="restored"):
            await asyncio.wait_for(lease.keep() if holder == "one" else lease.acquire(), 30)
        assert not lease.held

    run(work)


def test_the_same_holder_has_it_back_at_once() -> None:
    async def work(_server: ApiServer, api: Api) -> None:
        await Lease(api, SPACE, NAME, "one").acquire()
        await asyncio.wait_for(Lease(api, SPACE, NAME, "one").acquire(), 30)

    run(work)
