"""The one module that calls the API server."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from tests.unit.operator_.apiserver import ApiServer, run

from sluice_operator.api_types import KEY_SETS, LEASES, SECRETS
from sluice_operator.client import AT_ONCE, AlreadyExists, Api, ApiError, Conflict, Forbidden, NotFound, Refused, Unavailable
from sluice_operator.telemetry import SECONDS, Refusals

SPACE = "space"


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (0, Unavailable),
        (400, Refused),
        (401, Unavailable),
        (403, Forbidden),
        (404, NotFound),
        (409, Conflict),
        (410, Unavailable),
        (422, Refused),
        (429, Unavailable),
        (500, Unavailable),
        (503, Unavailable),
    ],
)
def test_every_answer_that_is_none_has_an_error_of_ours(status: int, error: type[ApiError]) -> None:
    async def work(server: ApiServer, api: Api) -> None:
        server.faults["GET", "secrets"] = status
        with pytest.raises(error) as caught:
            await api.get(SECRETS, SPACE, "one")
        assert (type(caught.value), caught.value.verb, caught.value.resource) == (error, "get", "secrets")

    run(work)


def test_a_list_has_all_its_pages() -> None:
    async def work(server: ApiServer, api: Api) -> None:
        for number in range(1201):
            await api.create(SECRETS, SPACE, {"metadata": {"name": f"s{number:04}"}})
        server.calls.clear()
        assert len((await api.list(SECRETS, SPACE)).items) == 1201
        assert len(server.calls) == 3

    run(work)


def test_what_is_there_already_is_told_apart_from_a_conflict() -> None:
    async def work(_server: ApiServer, api: Api) -> None:
        await api.create(SECRETS, SPACE, {"metadata": {"name": "one"}})
        with pytest.raises(AlreadyExists):
            await api.create(SECRETS, SPACE, {"metadata": {"name": "one"}})
        with pytest.raises(Conflict):
            await api.merge(SECRETS, SPACE, "one", {"metadata": {"resourceVersion": "0"}})
        with pytest.raises(Conflict):
            await api.delete(SECRETS, SPACE, "one", "0")

    run(work)


def test_what_is_gone_already_is_deleted() -> None:
    async def work(_server: ApiServer, api: Api) -> None:
        await api.delete(SECRETS, SPACE, "none", "1")

    run(work)


def test_a_status_is_replaced_whole() -> None:
    async def work(_server: ApiServer, api: Api) -> None:
        await api.create(KEY_SETS, SPACE, {"metadata": {"name": "main"}, "status": {"keys": 1, "revision": "a"}})
        assert (await api.set_status(KEY_SETS, SPACE, "main", {"keys": 2}))["status"] == {"keys": 2}

    run(work)


def test_the_clock_of_the_api_server_is_the_one_of_its_answers() -> None:
    async def work(server: ApiServer, api: Api) -> None:
        assert api.clock().skew == timedelta()
        server.ahead = timedelta(hours=1)
        await api.list(SECRETS, SPACE)
        assert timedelta(minutes=59, seconds=55) < api.clock().skew < timedelta(hours=1, seconds=5)

    run(work)


def test_a_refusal_is_remembered_until_the_same_call_works() -> None:
    async def work(server: ApiServer, api: Api) -> None:
        server.faults["POST", "secrets"] = 403
        with pytest.raises(Forbidden):
            await api.create(SECRETS, SPACE, {"metadata": {"name": "one"}})
        assert api.refusals.told(SPACE) == ("create secrets",)
        assert api.refusals.told("elsewhere") == ()
        await api.list(SECRETS, SPACE)
        assert api.refusals.told(SPACE) == ("create secrets",)
        server.faults.clear()
        await api.create(SECRETS, SPACE, {"metadata": {"name": "one"}})
        assert api.refusals.told(SPACE) == ()

    run(work)


def test_a_refusal_of_what_is_not_tried_any_more_is_forgotten() -> None:
    now = [0.0]
    refusals = Refusals(lambda: now[0])
    refusals.note(SPACE, "patch", "pods", "no")
    now[0] = SECONDS
    assert refusals.told(SPACE) == ("patch pods",)
    now[0] += 1
    assert refusals.told(SPACE) == ()


def test_a_token_that_was_replaced_fails_none_of_many_calls_at_once() -> None:
    async def work(server: ApiServer, api: Api) -> None:
        await api.create(SECRETS, SPACE, {"metadata": {"name": "one"}})
        for number in range(9):
            server.token = f"token {number}"
            found = await asyncio.gather(*(api.get(SECRETS, SPACE, "one") for _ in range(100)), return_exceptions=True)
            assert [each for each in found if isinstance(each, BaseException)] == []

    run(work)


def test_a_thousand_calls_are_made_some_at_a_time_and_hold_no_lease_up() -> None:
    async def work(server: ApiServer, api: Api) -> None:
        await api.create(SECRETS, SPACE, {"metadata": {"name": "one"}})
        await api.create(LEASES, SPACE, {"metadata": {"name": "leader"}})
        server.calls.clear()
        server.open.clear()
        reading = [asyncio.create_task(api.get(SECRETS, SPACE, "one")) for _ in range(1_000)]
        await until_all_are_made(server, AT_ONCE)
        assert (await api.get(LEASES, SPACE, "leader"))["metadata"]["name"] == "leader"
        assert len(server.calls) == AT_ONCE + 1
        server.open.set()
        assert {found["metadata"]["name"] for found in await asyncio.gather(*reading)} == {"one"}

    run(work)


async def until_all_are_made(server: ApiServer, calls: int) -> None:
    async with asyncio.timeout(10):
        while len(server.calls) < calls:
            await asyncio.sleep(0.01)


def test_no_error_reports_what_was_sent() -> None:
    async def work(server: ApiServer, api: Api) -> str:
        server.faults["POST", "secrets"] = 422
        with pytest.raises(Refused) as caught:
            await api.create(SECRETS, SPACE, {"metadata": {"name": "one"}, "data": {"key": "canary"}})
        return str(caught.value)

    assert run(work) == "create secrets: as was wished"
