"""Idempotency-Key on both ingest endpoints: one request, one answer, however often it is sent."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from tests.integration import postgres
from tests.integration.checks import Mine, at_once, data_of, problem_of
from tests.integration.postgres import Database
from tests.integration.service import OTHER_KEY, Service, running
from tests.integration.waiting import until

pytest_plugins = ["tests.integration.services"]

INGEST, BATCH = "/api/v1/ingest", "/api/v1/batch-ingest"
PATHS = pytest.mark.parametrize("path", [INGEST, BATCH])


def send(client: httpx.Client, path: str, event: dict[str, Any], key: str) -> httpx.Response:
    """One event without an id of its own, so that nothing but Idempotency-Key makes it the same."""
    anonymous = {name: value for name, value in event.items() if name != "event_id"}
    return client.post(path, content=json.dumps(anonymous if path == INGEST else [anonymous]), headers={"Idempotency-Key": key})


def stored(mine: Mine, name: str = "a") -> int:
    """How many rows there are of this event, which has no id of its own."""
    text = "SELECT count(*) FROM sluice.events WHERE user_id = %s"
    return int(mine.database.execute(text, [mine.id(name)])[0][0])


def anonymous(mine: Mine, name: str = "a") -> dict[str, Any]:
    return mine.event(user_id=mine.id(name))


@PATHS
def test_the_same_request_again_gets_the_same_bytes(client: httpx.Client, mine: Mine, path: str) -> None:
    first, again = (send(client, path, anonymous(mine), mine.id()) for _ in range(2))
    assert (first.status_code, again.status_code, again.content) == (201, 201, first.content)
    assert "Idempotent-Replayed" not in first.headers
    assert again.headers["Idempotent-Replayed"] == "true"
    assert stored(mine) == 1


@PATHS
def test_another_body_under_the_same_key_is_refused(client: httpx.Client, mine: Mine, path: str) -> None:
    send(client, path, anonymous(mine), mine.id())
    problem_of(send(client, path, anonymous(mine, "b"), mine.id()), 422, "idempotency_key_reused")
    assert (stored(mine, "a"), stored(mine, "b")) == (1, 0)


def test_another_path_or_query_under_the_same_key_is_refused(client: httpx.Client, mine: Mine) -> None:
    send(client, BATCH, anonymous(mine), mine.id())
    for path in (INGEST, f"{BATCH}?results=all"):
        problem_of(send(client, path, anonymous(mine), mine.id()), 422, "idempotency_key_reused")
    assert stored(mine) == 1


@contextmanager
def held_up(database: Database) -> Iterator[None]:
    """No event can be stored for as long as the block lasts."""
    with postgres.connect(database.owner_url) as connection, connection.transaction():
        connection.execute("LOCK TABLE sluice.events IN EXCLUSIVE MODE")
        yield


@PATHS
def test_the_twin_of_a_request_in_flight_is_refused_with_the_reason(client: httpx.Client, mine: Mine, path: str) -> None:
    with ThreadPoolExecutor(1) as pool:
        with held_up(mine.database):
            first = pool.submit(send, client, path, anonymous(mine), mine.id())
            until(lambda: mine.database.waits(), 4, "the first one is in flight")
            twin = send(client, path, anonymous(mine), mine.id())
        assert first.result().status_code == 201
    problem_of(twin, 409, "idempotency_key_in_use")
    assert twin.headers["Retry-After"] == "1"
    assert stored(mine) == 1


@PATHS
def test_16_twins_get_one_answer_or_are_asked_to_wait(service: Service, mine: Mine, path: str) -> None:
    def work(_number: int) -> httpx.Response:
        with service.client() as client:
            return send(client, path, anonymous(mine), mine.id())

    answers = at_once(16, work)
    assert {answer.status_code for answer in answers} <= {201, 409}
    assert len({answer.content for answer in answers if answer.status_code == 201}) == 1
    assert stored(mine) == 1


@PATHS
def test_two_api_keys_do_not_share_an_idempotency_key(service: Service, client: httpx.Client, mine: Mine, path: str) -> None:
    send(client, path, anonymous(mine), mine.id())
    with service.client(OTHER_KEY) as other:
        answer = send(other, path, anonymous(mine, "b"), mine.id())
    assert (answer.status_code, "Idempotent-Replayed" in answer.headers) == (201, False)
    assert (stored(mine, "a"), stored(mine, "b")) == (1, 1)


@PATHS
def test_a_key_is_the_same_with_and_without_quotes(client: httpx.Client, mine: Mine, path: str) -> None:
    bare, quoted = (send(client, path, anonymous(mine), key) for key in (mine.id(), f'"{mine.id()}"'))
    assert (quoted.content, quoted.headers["Idempotent-Replayed"]) == (bare.content, "true")
    assert stored(mine) == 1


@PATHS
@pytest.mark.parametrize("key", ["", '""', "x" * 256, "a b", '"', '"a', 'a"b', b"\xe4"])
def test_a_key_of_another_form_is_refused(client: httpx.Client, mine: Mine, path: str, key: str) -> None:
    problem_of(send(client, path, anonymous(mine), key), 400, "invalid_idempotency_key")
    assert stored(mine) == 0


@pytest.mark.parametrize("bad", [{"priority": "low"}, {"user_id": "other"}])
def test_a_refused_answer_is_not_kept(client: httpx.Client, mine: Mine, bad: dict[str, str]) -> None:
    headers = {"Idempotency-Key": mine.id()}
    client.post(INGEST, json=mine.event("there"))
    assert client.post(INGEST, json=mine.event("there", **bad), headers=headers).status_code in (400, 409)
    data_of(client.post(INGEST, json=mine.event("fixed"), headers=headers), 201)
    assert mine.names() == ["fixed", "there"]


def test_a_refused_atomic_batch_is_not_kept(client: httpx.Client, mine: Mine) -> None:
    headers = {"Idempotency-Key": mine.id()}
    answer = client.post(f"{BATCH}?atomic=true", json=[mine.event("a"), mine.event("b", priority="low")], headers=headers)
    problem_of(answer, 422, "validation_error", "atomic")
    data_of(client.post(f"{BATCH}?atomic=true", json=[mine.event("a"), mine.event("b")], headers=headers), 201)
    assert mine.names() == ["a", "b"]


def test_a_batch_of_which_some_are_stored_is_kept(client: httpx.Client, mine: Mine) -> None:
    body = [mine.event("a"), mine.event("b", priority="low")]
    first, again = (client.post(BATCH, json=body, headers={"Idempotency-Key": mine.id()}) for _ in range(2))
    assert data_of(first)["created"] == 1
    assert (again.content, again.headers["Idempotent-Replayed"]) == (first.content, "true")
    assert mine.names() == ["a"]


def test_an_answer_survives_a_restart_of_the_service(database: Database) -> None:
    mine, answers = Mine(database), []
    for _ in range(2):
        with running(database.url) as service, service.client() as client:
            answers.append(send(client, INGEST, anonymous(mine), mine.id()))
    assert (answers[1].status_code, answers[1].content) == (201, answers[0].content)
    assert answers[1].headers["Idempotent-Replayed"] == "true"
    assert stored(mine) == 1


@pytest.mark.parametrize("path", [INGEST, BATCH])
def test_a_duplicate_sent_with_a_key_says_that_it_was_stored_before(client: httpx.Client, mine: Mine, path: str) -> None:
    event = mine.event()
    data_of(client.post(INGEST, json=event), 201)
    body = event if path == INGEST else [event]
    again = [client.post(path, json=body, headers={"Idempotency-Key": mine.id()}) for _ in range(2)]
    assert [answer.headers.get("Idempotent-Replayed") for answer in again] == ["true" if path == INGEST else None, "true"]
    assert again[0].content == again[1].content


@pytest.mark.parametrize(("path", "status"), [("/", 204), ("/log", 202)])
def test_a_key_works_for_clients_of_the_seeds_too(client: httpx.Client, mine: Mine, path: str, status: int) -> None:
    body = {"service": mine.id(), "endpoint": "/x"}
    first, again, other = (
        client.post(path, json=sent, headers={"Idempotency-Key": mine.id()}) for sent in (body, body, {**body, "endpoint": "/y"})
    )
    assert [first.status_code, again.status_code] == [status, status]
    assert [answer.headers.get("Idempotent-Replayed") for answer in (first, again)] == [None, "true"]
    assert again.content == first.content
    problem_of(other, 422, "idempotency_key_reused")
    text = "SELECT count(*) FROM sluice.events WHERE properties->>'service' = %s"
    assert mine.database.execute(text, [mine.id()]) == [(1,)]
