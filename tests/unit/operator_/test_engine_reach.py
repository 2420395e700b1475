"""Namespaces that can not be read are left out, told, and taken in again when they can."""

from __future__ import annotations

import asyncio

import pytest
import structlog
from tests.unit.operator_.apiserver import ApiServer, run

from sluice_operator import process
from sluice_operator.api_types import WATCHED
from sluice_operator.client import Api, Unavailable

SPACES = ("kept", "lost")
LOST = ("GET", "/namespaces/lost/")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "RETRY_SECONDS", 0.01)
    monkeypatch.setattr(process, "EVERY_SECONDS", 0.01)


def test_all_that_can_be_read_are_taken() -> None:
    async def work(_server: ApiServer, api: Api) -> None:
        assert await process.wait(api, SPACES) == SPACES

    run(work)


@pytest.mark.parametrize("resource", ["apikeys", "keysets", "secrets"])
def test_a_namespace_with_one_resource_that_is_refused_is_left_out_and_reported(resource: str) -> None:
    async def work(server: ApiServer, api: Api) -> None:
        server.faults[("GET", f"/namespaces/lost/{resource}")] = 403
        with structlog.testing.capture_logs() as logs:
            assert await process.wait(api, SPACES) == ("kept",)
        assert [line["namespace"] for line in logs if line["event"] == "namespace left out"] == ["lost"]

    run(work)


def test_without_any_it_waits_for_the_first() -> None:
    async def work(server: ApiServer, api: Api) -> None:
        server.faults[("GET", "/namespaces/")] = 403
        server.patience = 2  # one round: one call in each namespace
        assert await process.wait(api, SPACES) == SPACES

    run(work)


@pytest.mark.parametrize("kind", ["apikeys", "keysets"])
def test_a_kind_that_is_not_there_yet_is_waited_for_and_reported(kind: str) -> None:
    async def work(server: ApiServer, api: Api) -> None:
        server.faults[("GET", f"/{kind}")] = 404
        server.patience = 8
        with structlog.testing.capture_logs() as logs:
            assert await process.wait(api, SPACES) == SPACES
        assert {(line["event"], line["missing"]) for line in logs} == {("kinds not installed", kind)}

    run(work)


@pytest.mark.parametrize("fault", [0, 503])
def test_an_api_server_that_does_not_answer_makes_nobody_left_out(fault: int) -> None:
    async def work(server: ApiServer, api: Api) -> None:
        server.faults[LOST] = fault
        server.patience = 8
        assert await process.wait(api, SPACES) == SPACES

    run(work)


@pytest.mark.parametrize("fault", [403, 0, 503])
def test_one_that_comes_back_is_reported_once_it_can_be_read(fault: int) -> None:
    async def work(server: ApiServer, api: Api) -> None:
        server.faults[LOST] = fault
        server.patience = 30
        await process.changed(api, SPACES, ("kept",))
        assert len(server.calls) > server.patience

    run(work)


def test_one_that_is_lost_is_reported_once_it_was_refused_twice() -> None:
    async def work(server: ApiServer, api: Api) -> None:
        server.faults[LOST] = 403
        await process.changed(api, SPACES, SPACES)
        assert [path for _, path in server.calls if "/lost/" in path] == ["/apis/sluice.dev/v1alpha1/namespaces/lost/apikeys"] * 2

    run(work)


@pytest.mark.parametrize("part", ["/namespaces/", "/namespaces/lost/"])
def test_a_moment_in_which_it_is_refused_changes_nothing(part: str) -> None:
    async def work(server: ApiServer, api: Api) -> None:
        server.faults[("GET", part)] = 403
        server.patience = 6  # within the first round
        await nothing_changes(server, api)

    run(work)


def test_while_none_can_be_read_nothing_changes() -> None:
    async def work(server: ApiServer, api: Api) -> None:
        server.faults[("GET", "/namespaces/")] = 403
        await nothing_changes(server, api)

    run(work)


async def nothing_changes(server: ApiServer, api: Api) -> None:
    """In many rounds."""
    waiting = asyncio.create_task(process.changed(api, SPACES, SPACES))
    async with asyncio.timeout(60):
        while len(server.calls) <= 40:
            await asyncio.sleep(0.01)
    assert not waiting.done()
    waiting.cancel()


def test_a_glance_asks_for_one_object_of_those_that_are_watched() -> None:
    async def work(server: ApiServer, api: Api) -> None:
        server.faults[LOST] = 503
        with pytest.raises(Unavailable):
            await process.readable(api, SPACES)
        assert [path.rpartition("/")[2] for _, path in server.calls[:3]] == ["apikeys", "keysets", "secrets"]

    run(work)


@pytest.mark.parametrize("resource", ["pods", "deployments"])
def test_what_a_plan_can_do_without_is_not_watched_and_keeps_no_namespace_out(resource: str) -> None:
    async def work(server: ApiServer, api: Api) -> None:
        server.faults[("GET", f"/namespaces/lost/{resource}")] = 403
        assert await process.wait(api, SPACES) == SPACES
        watched = await process.watchable(api, SPACES)
        assert {each.plural for each in WATCHED} - {each.plural for each in watched} == {resource}
        server.patience = len(server.calls) + 30
        await asyncio.wait_for(process.changed(api, SPACES, SPACES, watched), 10)

    run(work)
