"""POST /api/v1/batch-ingest with JSON: valid events survive bad siblings, and the answer tells what became of each."""

from __future__ import annotations

import json
import random
from typing import Any

import httpx
import pytest
from tests.integration.checks import Mine, at_once, data_of, problem_of
from tests.integration.service import Service

pytest_plugins = ["tests.integration.services"]

BATCH = "/api/v1/batch-ingest"
COUNTS = ("total_received", "logs_processed", "created", "duplicate", "conflict", "invalid", "failed")


def counts(data: dict[str, Any]) -> tuple[int, ...]:
    return tuple(data[name] for name in COUNTS)


@pytest.mark.parametrize(
    "wrap", [lambda events: events, lambda events: {"logs": events}, lambda events: {"x": 1, "logs": events}]
)
def test_a_batch_of_new_events_is_stored(client: httpx.Client, mine: Mine, wrap: Any) -> None:
    data = data_of(client.post(BATCH, json=wrap(mine.events(3))), 201)
    zeros = {"duplicate": 0, "conflict": 0, "invalid": 0, "failed": 0}
    assert data == {"total_received": 3, "logs_processed": 3, "created": 3, **zeros, "results": []}
    assert mine.count() == 3


def mixed(client: httpx.Client, mine: Mine) -> list[dict[str, Any]]:
    """A created, a duplicate, a conflict, an invalid, a created event."""
    client.post(BATCH, json=[mine.event("b"), mine.event("c")])
    return [mine.event("a"), mine.event("b"), mine.event("c", user_id="other"), mine.event("d", priority="low"), mine.event("e")]


def test_what_is_not_created_is_reported_in_the_order_of_the_request(client: httpx.Client, mine: Mine) -> None:
    data = data_of(client.post(BATCH, json=mixed(client, mine)))
    assert counts(data) == (5, 3, 2, 1, 1, 1, 0)
    duplicate, conflict, invalid = data["results"]
    assert duplicate == {"index": 1, "event_id": mine.id("b"), "status": "duplicate", "id": mine.row("b")["id"]}
    assert conflict == {
        "index": 2,
        "event_id": mine.id("c"),
        "status": "conflict",
        "error": "duplicate_event",
        "reason": "other_content",
        "detail": "this event_id is stored with other content",
        "retryable": False,
    }
    assert (invalid["index"], invalid["event_id"], invalid["status"]) == (3, mine.id("d"), "invalid")
    assert (invalid["error"], invalid["pointer"], invalid["retryable"]) == ("validation_error", "/priority", False)
    assert mine.names() == ["a", "b", "c", "e"]


def test_all_results_are_listed_when_asked_for(client: httpx.Client, mine: Mine) -> None:
    data = data_of(client.post(f"{BATCH}?results=all", json=mixed(client, mine)))
    assert [result["index"] for result in data["results"]] == [0, 1, 2, 3, 4]
    assert [result["status"] for result in data["results"]] == ["created", "duplicate", "conflict", "invalid", "created"]
    assert [result.get("id") for result in data["results"]] == [
        *(mine.row(name)["id"] for name in "ab"),
        None,
        None,
        mine.row("e")["id"],
    ]


def test_a_batch_that_is_stored_already_is_201(client: httpx.Client, mine: Mine) -> None:
    client.post(BATCH, json=mine.events(20))
    assert counts(data_of(client.post(BATCH, json=mine.events(20)), 201)) == (20, 20, 0, 20, 0, 0, 0)
    assert mine.count() == 20


def test_an_id_twice_in_one_batch_is_stored_once(client: httpx.Client, mine: Mine) -> None:
    data = data_of(client.post(BATCH, json=[mine.event(), mine.event(), mine.event(user_id="other")]))
    assert counts(data) == (3, 2, 1, 1, 1, 0, 0)
    assert (mine.names(), mine.row()["user_id"]) == (["a"], None)


def test_an_atomic_batch_with_an_invalid_event_stores_nothing(client: httpx.Client, mine: Mine) -> None:
    answer = client.post(f"{BATCH}?atomic=true", json=[mine.event("a"), mine.event("b", priority="low"), mine.event("c")])
    problem = problem_of(answer, 422, "validation_error", "atomic")
    assert [error["pointer"] for error in problem["errors"]] == ["/1/priority"]
    assert counts(problem["data"]) == (3, 0, 0, 0, 0, 1, 2)
    assert mine.names() == []


def test_an_atomic_batch_with_a_conflict_stores_nothing(client: httpx.Client, mine: Mine) -> None:
    client.post(BATCH, json=[mine.event("b")])
    answer = client.post(f"{BATCH}?atomic=true", json=[mine.event("a"), mine.event("b", user_id="other")])
    problem = problem_of(answer, 422, "duplicate_event", "atomic")
    assert [error["pointer"] for error in problem["errors"]] == ["/1"]
    assert mine.names() == ["b"]


def test_an_atomic_batch_that_can_be_stored_is(client: httpx.Client, mine: Mine) -> None:
    client.post(BATCH, json=[mine.event("a")])
    data = data_of(client.post(f"{BATCH}?atomic=true", json=[mine.event("a"), mine.event("b")]), 201)
    assert counts(data) == (2, 2, 1, 1, 0, 0, 0)
    assert mine.names() == ["a", "b"]


@pytest.mark.parametrize("body", ["[]", '{"logs": []}'])
def test_an_empty_batch_is_refused(client: httpx.Client, body: str) -> None:
    problem_of(client.post(BATCH, content=body), 400, "empty_batch")


def test_a_thousand_events_are_taken_and_one_more_is_not(client: httpx.Client, mine: Mine) -> None:
    problem_of(client.post(BATCH, json=mine.events(1_001)), 400, "batch_too_large")
    assert mine.count() == 0
    assert counts(data_of(client.post(BATCH, json=mine.events(1_000)), 201))[:3] == (1_000, 1_000, 1_000)
    assert mine.count() == 1_000


NO_BATCH = ["7", '"x"', "null", "{}", '{"logs": {}}', '{"logs": null}', '{"event_type": "log"}']
NO_JSON = ["", "[", '[{"event_type": "log"}', "{]", "[1,]"]


@pytest.mark.parametrize("body", [*NO_BATCH, *NO_JSON])
def test_what_is_no_batch_is_refused(client: httpx.Client, body: str) -> None:
    answer = client.post(BATCH, content=body)
    problem_of(answer, 400, "invalid_json" if body in NO_JSON else "validation_error", answer.json()["reason"])


@pytest.mark.parametrize("item", ["7", "null", "[]", "{}", "NaN", '"\\ud800"', '{"event_type": "log", "event_name": NaN}'])
def test_an_item_that_is_no_event_spoils_itself_only(client: httpx.Client, mine: Mine, item: str) -> None:
    good = [json.dumps(mine.event(name)) for name in "ab"]
    data = data_of(client.post(BATCH, content=f"[{good[0]},{item},{good[1]}]"))
    assert counts(data) == (3, 2, 2, 0, 0, 1, 0)
    assert [(result["index"], result["event_id"]) for result in data["results"]] == [(1, None)]
    assert mine.names() == ["a", "b"]


@pytest.mark.parametrize(
    ("query", "error", "parameter"),
    [
        ("atomik=true", "unknown_parameter", "atomik"),
        ("atomic=yes", "validation_error", "atomic"),
        ("results=none", "validation_error", "results"),
    ],
)
def test_a_parameter_that_is_not_understood_is_refused(
    client: httpx.Client, mine: Mine, query: str, error: str, parameter: str
) -> None:
    problem = problem_of(client.post(f"{BATCH}?{query}", json=mine.events(1)), 400, error, "query")
    assert [found["parameter"] for found in problem["errors"]] == [parameter]
    assert mine.count() == 0


def test_32_clients_replaying_one_batch_store_each_event_once(service: Service, mine: Mine) -> None:
    batch = mine.events(200)

    def send(number: int) -> int:
        with service.client() as client:
            shuffled = random.Random(number).sample(batch, len(batch))
            return int(data_of(client.post(BATCH, json=shuffled), 201)["created"])

    assert sum(at_once(32, send)) == 200
    assert mine.names() == [f"{number:06}" for number in range(200)]
