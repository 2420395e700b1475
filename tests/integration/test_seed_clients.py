"""What the clients of seeds 000, 001 and 004 rely on, as shared/anchors/seeds.md lists it: they work without a change."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from tests.integration.checks import Mine
from tests.integration.service import KEY, OTHER_KEY, Service

pytest_plugins = ["tests.integration.services"]

REPORT = {"service": "shop", "endpoint": "/checkout", "error": "timeout", "traceback": 'File "a.py", line 3, in pay'}


@pytest.fixture
def seed(service: Service) -> Iterator[httpx.Client]:
    """Seed 001's clients send X-API-Key."""
    with service.client(None) as client:
        client.headers["X-API-Key"] = KEY
        yield client


def stored(mine: Mine) -> list[dict[str, Any]]:
    text = "SELECT to_jsonb(e) FROM sluice.events AS e WHERE source = %(id)s OR properties->>'id' = %(id)s ORDER BY id"
    return [dict(row) for (row,) in mine.database.execute(text, {"id": mine.id()})]


def test_000_an_error_report_is_204_and_empty(seed: httpx.Client, mine: Mine) -> None:
    answer = seed.post("/", json={**REPORT, "service": mine.id()})
    assert (answer.status_code, answer.content) == (204, b"")
    (row,) = stored(mine)
    assert (row["event_type"], row["event_name"], row["source"]) == ("error", "/checkout", mine.id())
    assert row["properties"] == {**REPORT, "service": mine.id()}
    assert len(row["fingerprint"]) > 0


def test_000_each_report_is_a_row_of_its_own(seed: httpx.Client, mine: Mine) -> None:
    for _ in range(2):
        assert seed.post("/", json={**REPORT, "service": mine.id()}).status_code == 204
    assert len({row["event_id"] for row in stored(mine)}) == 2


def test_000_error_and_traceback_may_be_absent_and_unknown_fields_pass(seed: httpx.Client, mine: Mine) -> None:
    assert seed.post("/", json={"service": mine.id(), "endpoint": "/x", "level": 3}).status_code == 204
    assert [row["properties"]["error"] for row in stored(mine)] == [""]


@pytest.mark.parametrize("kind", ["", "text/plain", "application/x-www-form-urlencoded", "nonsense"])
def test_000_and_004_do_not_look_at_the_content_type(seed: httpx.Client, mine: Mine, kind: str) -> None:
    report = httpx.Request("POST", "http://x", json={"service": mine.id(), "endpoint": "/x"}).content
    assert seed.post("/", content=report, headers={"Content-Type": kind}).status_code == 204
    assert seed.post("/log", content=b'{"id": "%b"}' % mine.id().encode(), headers={"Content-Type": kind}).status_code == 202
    assert [row["event_type"] for row in stored(mine)] == ["error", "log"]


@pytest.mark.parametrize("missing", ["service", "endpoint"])
def test_000_a_report_without_its_fields_is_400(seed: httpx.Client, mine: Mine, missing: str) -> None:
    report = {name: value for name, value in {**REPORT, "service": mine.id()}.items() if name != missing}
    assert seed.post("/", json=report).status_code == 400
    assert seed.post("/", json={**report, missing: ""}).status_code == 400
    assert stored(mine) == []


@pytest.mark.parametrize("path", ["/health", "/readiness", "/liveness"])
def test_probes_answer_without_a_key_or_an_envelope(service: Service, path: str) -> None:
    with service.client(None) as client:
        answer = client.get(path)
    assert answer.status_code == 200
    fields = {"/health": {"status", "timestamp", "version", "services", "uptime"}, "/readiness": {"ready", "message"}}
    assert set(answer.json()) == fields.get(path, {"alive", "uptime", "version"})


def test_001_an_event_is_201_with_its_ids(seed: httpx.Client, mine: Mine) -> None:
    answer = seed.post("/api/v1/ingest", json=mine.event())
    body = answer.json()
    assert (answer.status_code, body["success"]) == (201, True)
    assert (body["data"]["event_id"], body["data"]["id"]) == (mine.id(), mine.row()["id"])


def test_001_a_client_that_sends_until_201_comes_to_an_end(seed: httpx.Client, mine: Mine) -> None:
    assert [seed.post("/api/v1/ingest", json=mine.event()).status_code for _ in range(3)] == [201, 201, 201]
    assert mine.names() == ["a"]


def test_001_a_batch_reports_what_it_processed(seed: httpx.Client, mine: Mine) -> None:
    answer = seed.post("/api/v1/batch-ingest", json={"logs": mine.events(3)})
    data = answer.json()["data"]
    assert (answer.status_code, data["logs_processed"], data["total_received"]) == (201, 3, 3)
    assert mine.count() == 3


def test_001_codes_stand_in_error(seed: httpx.Client, service: Service, mine: Mine) -> None:
    seed.post("/api/v1/ingest", json=mine.event())
    tried = [
        ("/api/v1/ingest", b"{", 400, "invalid_json"),
        ("/api/v1/ingest", {"event_type": "x"}, 400, "validation_error"),
        ("/api/v1/ingest", mine.event(user_id="other"), 409, "duplicate_event"),
        ("/api/v1/batch-ingest", {"logs": []}, 400, "empty_batch"),
        ("/api/v1/batch-ingest", {"logs": [{}] * 1_001}, 400, "batch_too_large"),
    ]
    for path, body, status, error in tried:
        answer = seed.post(path, content=body) if isinstance(body, bytes) else seed.post(path, json=body)
        assert (answer.status_code, answer.json()["error"]) == (status, error)
    seed.headers["X-API-Key"] = "wrong"
    assert (seed.get("/api/v1/status").status_code, seed.get("/api/v1/status").json()["error"]) == (401, "unauthorized")
    assert (mine.names(), mine.row()["user_id"]) == (["a"], None)


def test_001_authorization_beats_x_api_key(seed: httpx.Client, mine: Mine) -> None:
    headers = {"Authorization": OTHER_KEY}
    assert seed.post("/api/v1/ingest", json=mine.event(), headers=headers).status_code == 201
    assert seed.post("/api/v1/ingest", json=mine.event("b"), headers={"Authorization": "wrong"}).status_code == 401
    assert mine.names() == ["a"]


def test_001_reads_have_their_fields(seed: httpx.Client, mine: Mine) -> None:
    event = mine.event(event_type="behavioral", properties={"tags": {"provider": mine.id()}})
    seed.post("/api/v1/ingest", json=event)
    page = seed.get("/api/v1/logs/filter", params={"provider_name": mine.id()}).json()["data"]
    assert (page["total_count"], page["page"], page["page_size"], page["total_pages"]) == (1, 1, 50, 1)
    assert page["logs"][0]["properties"] == event["properties"]
    assert seed.get("/api/v1/logs/recent?limit=1").json()["data"][0]["event_id"] == mine.id()
    figures = seed.get("/api/v1/metrics").json()["data"]
    names = {"total_logs", "logs_last_hour", "logs_last_day", "average_latency_ms", "error_rate_percent", "active_sessions"}
    assert names | {"top_event_types"} <= set(figures)
    state = seed.get("/api/v1/status").json()["data"]
    assert {"name", "version", "uptime", "started_at", "fast_path"} == set(state["service"])
    assert {"status", "total_logs"} <= set(state["database"])
    assert names <= set(state["metrics"])


def test_001_an_empty_page_is_a_list(seed: httpx.Client) -> None:
    assert seed.get("/api/v1/logs/filter?source=nobody").json()["data"]["logs"] == []


@pytest.mark.parametrize("document", [{}, {"a": 1, "b": [None, {"c": "\u00fc"}], "": 0.5, "message": "x" * 10_000}])
def test_004_any_object_is_202_and_stored_as_it_was_posted(seed: httpx.Client, mine: Mine, document: dict[str, Any]) -> None:
    posted = {**document, "id": mine.id()}
    assert seed.post("/log", json=posted).status_code == 202
    (row,) = stored(mine)
    assert (row["properties"], row["event_type"]) == (posted, "log")


@pytest.mark.parametrize("body", ["[]", "7", "null", '"x"', "{", ""])
def test_004_what_is_no_object_is_400_and_not_accepted_and_lost(seed: httpx.Client, body: str) -> None:
    assert seed.post("/log", content=body).status_code == 400
