"""Error groups over HTTP: lists, one error with its events, and changes of its state."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from tests.integration.checks import Mine, at_once, data_of, problem_of
from tests.integration.postgres import Database
from tests.integration.service import Service, running
from tests.integration.waiting import until

pytest_plugins = ["tests.integration.services"]


def error_of(mine: Mine, name: str, **fields: Any) -> dict[str, Any]:
    """An error event of a service of this test's own."""
    properties = {"error": "timeout", **fields.pop("properties", {})}
    return mine.event(name, event_type="error", event_name="/pay", source=mine.prefix, properties=properties, **fields)


@pytest.fixture
def path(client: httpx.Client, mine: Mine) -> str:
    """The path of a group of two events that this test stored."""
    client.post("/api/v1/batch-ingest", json=[error_of(mine, "a", user_id="u"), error_of(mine, "b")]).raise_for_status()
    (group,) = data_of(client.get("/api/v1/errors", params={"service": mine.prefix}))["errors"]
    return f"/api/v1/errors/{group['fingerprint']}"


def test_a_stored_error_is_in_the_list_at_once(client: httpx.Client, mine: Mine) -> None:
    for number in range(3):
        client.post("/api/v1/ingest", json=error_of(mine, f"{number}")).raise_for_status()
        client.post("/api/v1/ingest", json=error_of(mine, f"{number}")).raise_for_status()
        data = data_of(client.get("/api/v1/errors", params={"service": mine.prefix}))
        assert [group["count"] for group in data["errors"]] == [number + 1]
        assert (data["counts_exact"], data["total_count"], data["next_cursor"]) == (True, 1, None)
        assert data["errors"][0]["example"]["event_id"] == mine.id(f"{number}")


def test_one_error_shows_its_events_page_by_page(client: httpx.Client, path: str, mine: Mine) -> None:
    first = data_of(client.get(path, params={"page_size": 1}))
    second = data_of(client.get(path, params={"page_size": 1, "cursor": first["next_cursor"]}))
    assert [event["event_id"] for event in first["events"] + second["events"]] == [mine.id("b"), mine.id("a")]
    assert second["next_cursor"] is None
    assert first["error"]["count"] == second["error"]["count"] == 2


def test_the_state_of_an_error_is_changed_and_filtered_by(client: httpx.Client, path: str, mine: Mine) -> None:
    for action, status in (("resolve", "resolved"), ("ignore", "ignored"), ("reopen", "unresolved")):
        assert data_of(client.post(f"{path}/{action}"))["status"] == status
        for asked in ("unresolved", "resolved", "ignored"):
            found = data_of(client.get("/api/v1/errors", params={"service": mine.prefix, "status": asked}))["errors"]
            assert len(found) == (asked == status)


def test_a_regression_shows_in_the_list_the_log_and_the_metrics(
    client: httpx.Client, service: Service, path: str, mine: Mine
) -> None:
    first = data_of(client.post(f"{path}/resolve"))
    assert data_of(client.post(f"{path}/resolve")) == first
    client.post("/api/v1/ingest", json=error_of(mine, "c")).raise_for_status()
    group = data_of(client.get(path))["error"]
    assert (group["status"], group["regressed"], group["count"]) == ("unresolved", True, 3)
    lines = service.lines("error_group.regressed")
    assert path.endswith(lines[-1]["fingerprint"])

    def metrics() -> str:
        return httpx.get(f"{service.admin_url}/metrics").text

    until(lambda: "sluice_error_regressions_total 0.0" not in metrics() and "sluice_error_regressions_total" in metrics(), 20)
    assert "sluice_error_uncounted_age_seconds" in metrics()


@pytest.mark.parametrize("name", ["x", "1:" + "f" * 32, "1:" + "F" * 32, "1:" + "0" * 33])
@pytest.mark.parametrize("action", ["", "/resolve", "/reopen", "/ignore"])
def test_an_error_that_is_not_there_is_404(client: httpx.Client, name: str, action: str) -> None:
    answer = client.request("POST" if action else "GET", f"/api/v1/errors/{name}{action}")
    problem_of(answer, 404, "not_found")


def test_a_method_that_a_path_does_not_take_is_405_with_those_it_takes(client: httpx.Client) -> None:
    path = f"/api/v1/errors/1:{'0' * 32}"
    assert client.delete(path).headers["allow"] == "GET, HEAD, OPTIONS"
    assert client.get(f"{path}/resolve").headers["allow"] == "OPTIONS, POST"


BAD = [
    ("status=gone", "status"), ("sort_by=id", "sort_by"), ("sort_order=up", "sort_order"), ("page_size=101", "page_size"),
    ("page_size=0", "page_size"), ("last_seen_from=yesterday", "last_seen_from"), ("first_seen_to=2024-01-01", "first_seen_to"),
    ("user_id=u", "user_id"), ("status=resolved&status=ignored", "status"), ("service=%00", "service"), ("page=2", "page"),
]  # fmt: skip


@pytest.mark.parametrize(("asked", "name"), BAD)
def test_a_bad_parameter_is_named(client: httpx.Client, asked: str, name: str) -> None:
    answer = client.get(f"/api/v1/errors?{asked}")
    assert answer.status_code == 400
    assert [each["parameter"] for each in answer.json()["errors"]] == [name]


def test_a_cursor_of_other_filters_is_refused(client: httpx.Client, path: str, mine: Mine) -> None:
    client.post("/api/v1/ingest", json=error_of(mine, "c", properties={"error": "no route"})).raise_for_status()
    asked = {"service": mine.prefix, "page_size": "1"}
    cursor = data_of(client.get("/api/v1/errors", params=asked))["next_cursor"]
    assert client.get("/api/v1/errors", params={**asked, "cursor": cursor}).status_code == 200
    for changed in ({"status": "resolved"}, {"sort_by": "count"}, {"sort_order": "asc"}, {"cursor": cursor[:-1] + "!"}):
        problem_of(client.get("/api/v1/errors", params={**asked, "cursor": cursor, **changed}), 400, "invalid_cursor")


def test_two_pods_as_processes_count_each_error_once(database: Database) -> None:
    with running(database.url) as one, running(database.url) as other, one.client() as a, other.client() as b:

        def post(number: int) -> None:
            batch = [
                {"event_id": f"{number // 2}-{n}", "event_type": "error", "event_name": "x", "properties": {"error": "e"}}
                for n in range(50)
            ]
            (a, b)[number % 2].post("/api/v1/batch-ingest", json=batch).raise_for_status()

        at_once(8, post)
        for client in (a, b):
            (group,) = data_of(client.get("/api/v1/errors"))["errors"]
            assert group["count"] == 200
