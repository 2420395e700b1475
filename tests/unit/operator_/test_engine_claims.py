"""A namespace has one operator, whatever releases watch it."""

from __future__ import annotations

import asyncio

import pytest
from tests.unit.operator_.apiserver import ApiServer, run

from sluice_operator import api_types
from sluice_operator import leader as module
from sluice_operator.api_types import LEASES
from sluice_operator.client import Api
from sluice_operator.leader import Claims

SPACE = "space"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, seconds in (("DURATION", 1), ("DEADLINE", 0.5), ("CLAIM_PERIOD", 0.02)):
        monkeypatch.setattr(module, f"{name}_SECONDS", seconds)


def test_of_two_releases_one_has_the_namespace_and_the_other_says_so() -> None:
    async def work(_server: ApiServer, api: Api) -> None:
        gained: list[str] = []
        first = Claims(api, [SPACE], "a/one", lambda _: gained.append("a/one"))
        second = Claims(api, [SPACE], "b/two", lambda _: gained.append("b/two"))
        one = asyncio.create_task(first.keep())
        await until(lambda: first.holds(SPACE))
        two = asyncio.create_task(second.keep())
        await until(lambda: api.refusals.told(SPACE) == ("claim namespaces",))
        assert (first.holds(SPACE), second.holds(SPACE), gained) == (True, False, ["a/one"])
        one.cancel()
        await until(lambda: second.holds(SPACE))
        assert not first.holds(SPACE)
        assert gained == ["a/one", "b/two"]
        two.cancel()

    run(work)


def test_the_next_process_of_a_release_takes_its_claim_over_at_once() -> None:
    async def work(server: ApiServer, api: Api) -> None:
        first, second = (Claims(api, [SPACE], "a/one", lambda _: None) for _ in range(2))
        one = asyncio.create_task(first.keep())
        await until(lambda: first.holds(SPACE))
        one.cancel()
        two = asyncio.create_task(second.keep())
        await until(lambda: second.holds(SPACE))
        assert server.objects[LEASES.path(SPACE, api_types.CLAIM_LEASE)]["spec"]["holderIdentity"] == "a/one"
        two.cancel()

    run(work)


def test_a_claim_that_is_older_than_it_was_is_taken_anew() -> None:
    async def work(server: ApiServer, api: Api) -> None:
        gained: list[str] = []
        claims = Claims(api, [SPACE], "a/one", gained.append)
        keeping = asyncio.create_task(claims.keep())
        await until(lambda: claims.holds(SPACE))
        server.objects[LEASES.path(SPACE, api_types.CLAIM_LEASE)]["metadata"]["resourceVersion"] = "0"
        await until(lambda: gained == [SPACE, SPACE])
        assert claims.holds(SPACE)
        keeping.cancel()

    run(work)


def test_a_release_that_ends_leaves_its_namespaces_to_who_waits() -> None:
    async def work(server: ApiServer, api: Api) -> None:
        first = Claims(api, [SPACE], "a/one", lambda _: None)
        task = asyncio.create_task(first.keep())
        await until(lambda: first.holds(SPACE))
        task.cancel()
        await first.release()
        assert server.objects[LEASES.path(SPACE, api_types.CLAIM_LEASE)]["spec"]["holderIdentity"] == ""
        assert not first.holds(SPACE)

    run(work)


@pytest.mark.parametrize("status", [403, 422])
def test_a_claim_whose_release_is_refused_keeps_no_process_from_its_end(status: int) -> None:
    async def work(server: ApiServer, api: Api) -> None:
        claims = Claims(api, [SPACE], "a/one", lambda _: None)
        task = asyncio.create_task(claims.keep())
        await until(lambda: claims.holds(SPACE))
        task.cancel()
        server.faults["PATCH", "leases"] = status
        await claims.release()
        assert not claims.holds(SPACE)

    run(work)


@pytest.mark.parametrize("status", [403, 422])
def test_a_claim_that_is_refused_keeps_nobody_from_working(status: int) -> None:
    async def work(server: ApiServer, api: Api) -> None:
        server.faults["GET", "leases"] = status
        claims = Claims(api, [SPACE], "a/one", lambda _: None)
        task = asyncio.create_task(claims.keep())
        await until(lambda: claims.holds(SPACE))
        assert api.refusals.told(SPACE) == ("get leases",)
        task.cancel()

    run(work)


async def until(happened: object) -> None:
    async with asyncio.timeout(20):
        while not happened():  # type: ignore[operator]
            await asyncio.sleep(0.01)
