"""Tasks: seed 002's contract, kept in PostgreSQL; changes that do not undo each other."""

from __future__ import annotations

import json
import uuid
from typing import Any

import httpx
import pytest
from tests.integration.checks import Mine, at_once, problem_of
from tests.integration.scrape import scrape, values
from tests.integration.service import KEY, OTHER_KEY, Service

from sluice import keys

pytest_plugins = ["tests.integration.services"]

NEW = {"title": "Fix deploy", "priority": "high"}


def made(client: httpx.Client, **fields: Any) -> dict[str, Any]:
    answer = client.post("/tasks", json={**NEW, **fields})
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


def row(mine: Mine, task: dict[str, Any]) -> dict[str, Any] | None:
    rows = mine.database.execute("SELECT to_jsonb(t) FROM sluice.tasks AS t WHERE task_id = %s", [task["id"]])
    return dict(rows[0][0]) if rows else None


def completions(service: Service) -> float:
    return values(scrape(service))["sluice_tasks_total", (("action", "completed"),)]


def titles(mine: Mine, title: str) -> int:
    ((count,),) = mine.database.execute("SELECT count(*) FROM sluice.tasks WHERE title = %s", [title])
    return int(count)


def test_seed_002_s_script_passes(client: httpx.Client) -> None:
    task = client.post("/tasks", json={"title": "Fix deploy", "priority": "high"}).json()
    assert (task["title"], task["priority"], task["status"]) == ("Fix deploy", "high", "pending")
    assert client.get(f"/tasks/{task['id']}").json()["id"] == task["id"]
    assert client.post(f"/tasks/{task['id']}/complete").status_code == 200
    done = client.get(f"/tasks/{task['id']}").json()
    assert (done["status"], "completed_at" in done, "completed_at" in task) == ("completed", True, False)
    assert task["id"] not in [each["id"] for each in client.get("/tasks?status=pending&limit=1000").json()]
    assert all(each["status"] == "completed" for each in client.get("/tasks?status=completed").json())
    assert client.post("/tasks", json={"title": ""}).status_code == 400
    assert client.get(f"/tasks/{uuid.uuid4()}").status_code == 404


def test_a_new_task_is_a_row_and_its_location_leads_to_it(client: httpx.Client, mine: Mine) -> None:
    asked = {**NEW, "due_at": "2030-01-31T12:00:00+02:00", "event_id": mine.id(), "fingerprint": "f1"}
    answer = client.post("/tasks", json=asked)
    task = answer.json()
    assert (answer.status_code, answer.headers["etag"]) == (201, '"1"')
    assert client.get(answer.headers["location"]).json() == task
    assert task["due_at"] == "2030-01-31T10:00:00Z"
    stored = row(mine, task)
    assert stored is not None
    assert {name: stored[name] for name in ("title", "priority", "event_id", "fingerprint")} == {
        **NEW,
        "event_id": mine.id(),
        "fingerprint": "f1",
    }
    assert stored["key_id"] == task["key_id"] == f"env-{keys.digest(KEY)[7:15]}"


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        (b"{", ""),
        (b"", ""),
        (b"[]", ""),
        (b"null", ""),
        (b"\xff", ""),
        (b'{"title": "\\ud800", "priority": "p"}', ""),
        (b"[" * 100_000, ""),
        ({"priority": "high"}, "/title"),
        ({"title": "t"}, "/priority"),
        ({**NEW, "title": ""}, "/title"),
        ({**NEW, "title": "x" * 256}, "/title"),
        ({**NEW, "title": 5}, "/title"),
        ({**NEW, "title": "a\0b"}, "/title"),
        ({**NEW, "priority": "p" * 33}, "/priority"),
        ({**NEW, "priority": None}, "/priority"),
        ({**NEW, "due_at": "tomorrow"}, "/due_at"),
        ({**NEW, "due_at": "2026-01-01T00:00:00"}, "/due_at"),
        ({**NEW, "due_at": "0001-01-01T00:00:00+14:00"}, "/due_at"),
        ({**NEW, "due_at": "9999-12-31T23:59:59-14:00"}, "/due_at"),
        ({**NEW, "event_id": ""}, "/event_id"),
        ({**NEW, "fingerprint": "x\0"}, "/fingerprint"),
        ({**NEW, "due": "2026-01-01T00:00:00Z"}, "/due"),
        ({**NEW, "status": "completed"}, "/status"),
    ],
)
def test_a_task_that_breaks_a_rule_is_400_and_says_where(client: httpx.Client, body: Any, pointer: str) -> None:
    before = len(client.get("/tasks?limit=1000").json())
    answer = client.post("/tasks", content=body if isinstance(body, bytes) else json.dumps(body).encode())
    assert answer.status_code == 400, answer.text
    assert [each["pointer"] for each in answer.json().get("errors", [{"pointer": ""}])] == [pointer]
    assert len(client.get("/tasks?limit=1000").json()) == before


def test_a_due_time_at_the_end_of_the_calendar_is_not_blamed_for_its_form(client: httpx.Client) -> None:
    answer = client.post("/tasks", json={**NEW, "due_at": "9999-12-31T23:59:59Z"})
    assert (answer.status_code, "from 0001-01-02 to 9999-12-30" in answer.json()["detail"]) == (400, True)


@pytest.mark.parametrize("title", ["x" * 255, "\U0001f9ef" * 255, "'; DROP TABLE sluice.tasks; --", "\u202e\n\t{}%s", " "])
def test_a_title_is_kept_as_it_was_sent(client: httpx.Client, title: str) -> None:
    task = made(client, title=title)
    assert client.get(f"/tasks/{task['id']}").json()["title"] == title


def test_what_is_sent_as_something_else_than_json_is_415(client: httpx.Client) -> None:
    problem_of(client.post("/tasks", data=NEW), 415, "unsupported_media_type")


def test_the_same_idempotency_key_makes_one_task(client: httpx.Client, mine: Mine) -> None:
    def send(_number: int) -> httpx.Response:
        return client.post("/tasks", json={**NEW, "title": mine.id()}, headers={"Idempotency-Key": mine.id()})

    answers = at_once(8, send)
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.json()["id"] for answer in answers}) == titles(mine, mine.id()) == 1
    assert sorted(answer.headers.get("idempotent-replayed", "") for answer in answers) == ["", *["true"] * 7]
    other = client.post("/tasks", json={**NEW, "title": "other"}, headers={"Idempotency-Key": mine.id()})
    problem_of(other, 422, "idempotency_key_reused")


def test_another_key_s_idempotency_key_is_another(client: httpx.Client, service: Service, mine: Mine) -> None:
    headers = {"Idempotency-Key": mine.id()}
    with service.client(OTHER_KEY) as other:
        ids = {each.post("/tasks", json=NEW, headers=headers).json()["id"] for each in (client, other)}
    assert len(ids) == 2


@pytest.mark.parametrize("sent", ["application/json-patch+json", "application/xml"])
def test_a_patch_of_another_form_is_answered_with_the_forms_that_are_taken(client: httpx.Client, mine: Mine, sent: str) -> None:
    url = f"/tasks/{made(client, priority=mine.prefix)['id']}"
    patch = '[{"op": "replace", "path": "/title", "value": "new"}]'
    answer = client.patch(url, content=patch, headers={"Content-Type": sent, "If-Match": "*"})
    problem_of(answer, 415, "unsupported_media_type")
    assert answer.headers["Accept-Patch"] == "application/json, application/merge-patch+json"
    merged = client.patch(
        url, content='{"title": "new"}', headers={"Content-Type": "application/merge-patch+json", "If-Match": "*"}
    )
    assert merged.json()["title"] == "new"


def test_two_workers_that_complete_at_once_make_one_transition(client: httpx.Client, service: Service, mine: Mine) -> None:
    task = made(client)
    before = completions(service)
    answers = at_once(8, lambda _number: client.post(f"/tasks/{task['id']}/complete"))
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.content for answer in answers}) == 1
    stored = row(mine, task)
    assert stored is not None
    assert (stored["version"], answers[0].headers["etag"]) == (2, '"2"')
    assert client.post(f"/tasks/{task['id']}/complete").content == answers[0].content, "completed_at does not move"
    assert completions(service) == before + 1


def test_a_page_of_pending_tasks_leads_to_the_next_by_link(client: httpx.Client, mine: Mine) -> None:
    made_ids = [made(client, priority=mine.prefix, event_id=f"{mine.prefix}{number % 2}")["id"] for number in range(5)]
    client.post(f"/tasks/{made_ids[1]}/complete")
    found: list[str] = []
    url = f"/tasks?status=pending&priority={mine.prefix}&limit=3"
    while url:
        answer = client.get(url)
        found += [task["id"] for task in answer.json()]
        url = answer.links["next"]["url"] if answer.links else ""
    assert found == [each for each in made_ids if each != made_ids[1]], "in the order in which they were made"
    assert [task["id"] for task in client.get(f"/tasks?event_id={mine.prefix}0").json()] == made_ids[::2]
    assert [task["id"] for task in client.get(f"/tasks?status=completed&priority={mine.prefix}").json()] == [made_ids[1]]
    assert client.get("/tasks?priority=no-such").json() == []


def test_a_cursor_of_other_filters_or_of_nobody_is_400(client: httpx.Client, mine: Mine) -> None:
    for _ in range(2):
        made(client, priority=mine.prefix)
    link = client.get(f"/tasks?priority={mine.prefix}&limit=1").links["next"]["url"]
    cursor = httpx.URL(link).params["cursor"]
    assert len(client.get("/tasks", params={"priority": mine.prefix, "cursor": None}).json()) == 2, "an empty one is none"
    for query in ({"cursor": cursor}, {"priority": mine.prefix, "cursor": cursor[:-1]}, {"cursor": "\0"}):
        problem_of(client.get("/tasks", params=query), 400, "invalid_cursor")


@pytest.mark.parametrize(
    "query",
    ["status=open", "status=", "limit=0", "limit=1001", "limit=x", "limit=1&limit=1", "page=1", "priority=%00"],
)
def test_a_parameter_that_cannot_be_used_is_400_and_named(client: httpx.Client, query: str) -> None:
    answer = client.get(f"/tasks?{query}")
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["parameter"] == query.partition("=")[0]


def test_a_change_needs_the_etag_of_the_task_as_it_is(client: httpx.Client, mine: Mine) -> None:
    task = made(client, due_at="2030-01-01T00:00:00Z")
    url = f"/tasks/{task['id']}"
    problem_of(client.patch(url, json={"priority": "low"}), 428, "precondition_required")
    changed = client.patch(url, json={"priority": "low", "due_at": None}, headers={"If-Match": '"1"'})
    assert (changed.status_code, changed.headers["etag"]) == (200, '"2"')
    assert (changed.json()["priority"], changed.json()["title"], "due_at" in changed.json()) == ("low", "Fix deploy", False)
    problem_of(client.patch(url, json={"title": "mine"}, headers={"If-Match": '"1"'}), 412, "precondition_failed")
    stored = row(mine, task)
    assert stored is not None
    assert (stored["title"], stored["version"], stored["due_at"]) == ("Fix deploy", 2, None)
    assert client.patch(url, json={"title": "any"}, headers={"If-Match": "*"}).json()["version"] == 3


def test_a_change_that_is_sent_again_gets_the_first_answer(client: httpx.Client) -> None:
    task = made(client)
    first, second = (client.patch(f"/tasks/{task['id']}", json={"title": "new"}, headers={"If-Match": '"1"'}) for _ in range(2))
    assert (first.status_code, first.content, first.headers["etag"]) == (
        second.status_code,
        second.content,
        second.headers["etag"],
    )


def test_of_two_changes_at_once_one_wins_and_the_other_is_reported(client: httpx.Client) -> None:
    url = f"/tasks/{made(client)['id']}"
    answers = at_once(8, lambda number: client.patch(url, json={"title": f"t{number}"}, headers={"If-Match": '"1"'}))
    assert sorted(answer.status_code for answer in answers) == [200, *[412] * 7]
    (won,) = [answer.json() for answer in answers if answer.status_code == 200]
    assert client.get(url).json() == won


@pytest.mark.parametrize(
    ("if_match", "status"),
    [
        ('"1"', 200),
        ('"7", "1"', 200),
        (', "7" ,, "1",', 200),
        ('W/"1"', 412),
        ('"x,y", "2"', 412),
        ('""', 412),
        ("1", 400),
        ("", 400),
        ('"1" "2"', 400),
        ('"1', 400),
        ('*, "1"', 400),
        ('"1",' * 500, 200),
        ("," * 3_000, 400),
    ],
)
def test_if_match_is_read_as_rfc_9110_says(client: httpx.Client, if_match: str, status: int) -> None:
    url = f"/tasks/{made(client)['id']}"
    answer = client.patch(url, json={"title": "new"}, headers={"If-Match": if_match})
    assert answer.status_code == status, answer.text
    assert client.get(url).json()["title"] == ("new" if answer.status_code == 200 else "Fix deploy")


def test_a_weak_etag_as_a_proxy_makes_it_is_refused_with_what_to_send(client: httpx.Client) -> None:
    url = f"/tasks/{made(client)['id']}"
    refused = client.patch(url, json={"title": "new"}, headers={"If-Match": 'W/"1"'})
    assert problem_of(refused, 412, "precondition_failed")["detail"].endswith('makes ours weak: send If-Match: "1"')
    assert (client.get(url).json()["title"], client.get(url).json()["version"]) == ("Fix deploy", 1)


@pytest.mark.parametrize("change", [{"title": None}, {"status": "pending"}, {"id": "x"}, {"due_at": 5}, [], "x", {"title": "\0"}])
def test_a_change_that_breaks_a_rule_is_400(client: httpx.Client, change: Any) -> None:
    task = made(client)
    answer = client.patch(f"/tasks/{task['id']}", json=change, headers={"If-Match": "*"})
    problem_of(answer, 400, "validation_error", answer.json()["reason"])
    assert client.get(f"/tasks/{task['id']}").json() == task


def test_completing_honours_if_match_until_the_task_is_completed(client: httpx.Client) -> None:
    url = f"/tasks/{made(client)['id']}/complete"
    problem_of(client.post(url, headers={"If-Match": '"9"'}), 412, "precondition_failed")
    assert client.post(url, headers={"If-Match": '"1"'}).status_code == 200
    assert client.post(url, headers={"If-Match": '"1"'}).status_code == 200


def test_a_deleted_task_is_gone(client: httpx.Client, mine: Mine) -> None:
    task = made(client)
    url = f"/tasks/{task['id']}"
    problem_of(client.delete(url, headers={"If-Match": '"2"'}), 412, "precondition_failed")
    assert row(mine, task) is not None
    answer = client.delete(url)
    assert (answer.status_code, answer.content, "content-type" in answer.headers) == (204, b"", False)
    assert row(mine, task) is None
    for gone in (client.delete(url), client.get(url), client.post(f"{url}/complete")):
        problem_of(gone, 404, "not_found")


@pytest.mark.parametrize("id", ["x", "1", "..%2F..", "%00", "a/b", "%F0%9F%A7%AF", "{id}", f"{uuid.UUID(int=1)}%0A", "x" * 2_000])
def test_an_id_that_no_task_can_have_is_404(client: httpx.Client, id: str) -> None:
    for method, path in (("GET", ""), ("POST", "/complete"), ("DELETE", "")):
        problem_of(client.request(method, f"/tasks/{id}{path}"), 404, "not_found")
    problem_of(client.patch(f"/tasks/{id}", json={}, headers={"If-Match": "*"}), 404, "not_found")


def test_an_id_is_one_task_in_capitals_too(client: httpx.Client) -> None:
    task = made(client)
    assert client.get(f"/tasks/{task['id'].upper()}").json() == task


def test_another_method_is_405_with_those_that_there_are(client: httpx.Client) -> None:
    url = f"/tasks/{made(client)['id']}"
    for path, allowed in (("/tasks", "GET, HEAD, OPTIONS, POST"), (url, "DELETE, GET, HEAD, OPTIONS, PATCH")):
        answer = client.put(path, json=NEW)
        problem_of(answer, 405, "method_not_allowed")
        assert answer.headers["allow"] == allowed
    assert client.head(url).headers["etag"] == '"1"'


def test_a_client_that_may_not_see_tasks_changes_none(service: Service, mine: Mine) -> None:
    with service.client(None) as stranger:
        problem_of(stranger.post("/tasks", json={**NEW, "title": mine.id()}), 401, "unauthorized", "missing")
    assert titles(mine, mine.id()) == 0
