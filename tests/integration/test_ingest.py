"""POST /api/v1/ingest: what the answer means, and what is stored then."""

from __future__ import annotations

import json
import uuid
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from tests.integration.checks import Mine, at_once, data_of, problem_of
from tests.integration.postgres import Database
from tests.integration.service import Service, running

pytest_plugins = ["tests.integration.services"]

INGEST = "/api/v1/ingest"
FULL: dict[str, Any] = {
    "event_type": "performance",
    "event_name": "page \u00fc \U0001f600",
    "timestamp": "2024-01-15T10:30:00.123456+02:00",
    "properties": {"a": [1, 2.5, None, True, {"b": "\u2028"}], "tags": {"provider": "x"}},
    "device_info": {"os": "Linux"},
    "user_id": "u",
    "session_id": "s",
    "app_version": "2.0.0+6",
    "source": "shop",
    "sequence_number": -(2**63),
    "priority": "high",
}


def test_a_new_event_is_created_and_its_row_is_there(client: httpx.Client, mine: Mine) -> None:
    data = data_of(client.post(INGEST, json=mine.event()), 201)
    assert data == {"event_id": mine.id(), "id": mine.row()["id"], "status": "created"}


def test_every_field_is_stored_as_it_was_sent(client: httpx.Client, mine: Mine) -> None:
    data_of(client.post(INGEST, json=mine.event(**FULL)), 201)
    row = mine.row()
    assert {name: row[name] for name in FULL if name != "timestamp"} == {n: v for n, v in FULL.items() if n != "timestamp"}
    assert datetime.fromisoformat(row["timestamp"]) == datetime(2024, 1, 15, 8, 30, 0, 123456, tzinfo=UTC)


@pytest.mark.parametrize("path", [INGEST, "/api/v1/batch-ingest"])
def test_a_sequence_number_in_a_form_of_floats_is_taken_alone_as_in_a_batch(client: httpx.Client, mine: Mine, path: str) -> None:
    event = mine.event(sequence_number=100.0)
    data_of(client.post(path, json=event if path == INGEST else [event]), 201)
    assert mine.row()["sequence_number"] == 100


def test_what_is_absent_gets_its_default(client: httpx.Client, mine: Mine) -> None:
    client.post(INGEST, json=mine.event())
    row = mine.row()
    assert row["timestamp"] == row["created_at"] <= row["processed_at"]
    assert (row["priority"], row["properties"], row["device_info"], row["user_id"]) == ("normal", {}, {}, None)
    assert abs(datetime.now(UTC) - datetime.fromisoformat(row["created_at"])) < timedelta(minutes=1)


def test_a_row_names_the_key_and_never_holds_it(client: httpx.Client, mine: Mine) -> None:
    client.post(INGEST, json=mine.event())
    assert mine.row()["key_id"] == data_of(client.get("/api/v1/whoami"))["key_id"]


def test_an_event_without_an_id_gets_a_uuid_of_version_7(client: httpx.Client, shared_database: Database) -> None:
    data = data_of(client.post(INGEST, json={"event_type": "log", "event_name": "x"}), 201)
    assert uuid.UUID(data["event_id"]).version == 7
    text = "SELECT id FROM sluice.events WHERE event_id = %s"
    assert shared_database.execute(text, [data["event_id"]]) == [(data["id"],)]


def test_the_same_event_again_is_answered_201_and_stored_no_second_time(client: httpx.Client, mine: Mine) -> None:
    first, again = client.post(INGEST, json=mine.event()), client.post(INGEST, json=mine.event())
    assert "Idempotent-Replayed" not in first.headers
    assert again.headers["Idempotent-Replayed"] == "true"
    assert data_of(again, 201) == {**data_of(first, 201), "status": "duplicate"}
    assert mine.names() == ["a"]


@pytest.mark.parametrize(
    "text",
    [
        '{"event_name": "test",   "event_type":"log", "event_id": ID}',
        '{"event_id": ID, "event_type": "log", "event_name": "t\\u0065st", "user_id": null}',
        '{"event_type": "log", "event_name": "other", "event_id": ID, "event_name": "test"}',
    ],
)
def test_the_same_content_written_otherwise_is_a_duplicate(client: httpx.Client, mine: Mine, text: str) -> None:
    data_of(client.post(INGEST, json=mine.event()), 201)
    again = client.post(INGEST, content=text.replace("ID", json.dumps(mine.id())))
    assert data_of(again, 201)["status"] == "duplicate"
    assert mine.names() == ["a"]


def test_the_same_id_with_other_content_is_a_conflict_and_changes_nothing(client: httpx.Client, mine: Mine) -> None:
    client.post(INGEST, json=mine.event(user_id="first"))
    problem_of(client.post(INGEST, json=mine.event(user_id="second")), 409, "duplicate_event", "other_content")
    assert (mine.names(), mine.row()["user_id"]) == (["a"], "first")


def test_32_clients_with_one_event_store_one_row(service: Service, mine: Mine) -> None:
    def send(_number: int) -> str:
        with service.client() as client:
            return str(data_of(client.post(INGEST, json=mine.event()), 201)["status"])

    assert Counter(at_once(32, send)) == {"created": 1, "duplicate": 31}
    assert mine.names() == ["a"]


def test_32_clients_that_disagree_about_an_event_store_one_of_them(service: Service, mine: Mine) -> None:
    def send(number: int) -> int:
        with service.client() as client:
            return client.post(INGEST, json=mine.event(sequence_number=number)).status_code

    statuses = at_once(32, send)
    assert Counter(statuses) == {201: 1, 409: 31}
    assert mine.row()["sequence_number"] == statuses.index(201)


LATER = (datetime.now(UTC) + timedelta(hours=25)).isoformat()


@pytest.mark.parametrize(
    ("fields", "reason", "pointer"),
    [
        ({"event_name": ""}, "invalid_value", "/event_name"),
        ({"event_typ": "log"}, "unknown_field", "/event_typ"),
        ({"timestamp": LATER}, "too_far_ahead", "/timestamp"),
        ({"properties": {"a": {"b": "\0"}}}, "nul_character", "/properties/a/b"),
        ({"properties": {"text": "x" * (256 << 10)}}, "too_large", ""),
    ],
)
def test_an_event_against_the_rules_is_refused_at_the_place(
    client: httpx.Client, mine: Mine, fields: dict[str, Any], reason: str, pointer: str
) -> None:
    problem = problem_of(client.post(INGEST, json=mine.event(**fields)), 400, "validation_error", reason)
    assert [error["pointer"] for error in problem["errors"]] == [pointer]
    assert mine.names() == []


def test_a_missing_field_is_named(client: httpx.Client, mine: Mine) -> None:
    event = mine.event()
    del event["event_name"]
    problem = problem_of(client.post(INGEST, json=event), 400, "validation_error", "missing_field")
    assert problem["errors"] == [{"pointer": "/event_name", "detail": "this field is required"}]
    assert mine.names() == []


@pytest.mark.parametrize(
    ("body", "reason"), [(b"", "empty_body"), (b" \n", "empty_body"), (b"{", "invalid_json"), (b"\xff", "invalid_json")]
)
def test_what_is_not_json_is_refused_as_such(client: httpx.Client, mine: Mine, body: bytes, reason: str) -> None:
    problem_of(client.post(INGEST, content=body), 400, "invalid_json", reason)
    assert mine.names() == []


@pytest.mark.parametrize("kind", ["application/json", "application/json; charset=utf-8", "text/plain", "application/ld+json", ""])
def test_json_is_taken_under_its_names_and_without_one(client: httpx.Client, mine: Mine, kind: str) -> None:
    data_of(client.post(INGEST, content=json.dumps(mine.event()), headers={"Content-Type": kind}), 201)
    assert mine.names() == ["a"]


@pytest.mark.parametrize(
    ("path", "accepted"), [(INGEST, "application/json"), ("/api/v1/batch-ingest", "application/json, application/x-ndjson")]
)
@pytest.mark.parametrize("kind", ["text/csv", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "nonsense"])
def test_another_type_is_refused_with_those_that_are_taken(
    client: httpx.Client, mine: Mine, path: str, accepted: str, kind: str
) -> None:
    answer = client.post(path, content=json.dumps(mine.event()), headers={"Content-Type": kind})
    problem = problem_of(answer, 415, "unsupported_media_type")
    assert answer.headers["Accept-Post"] == accepted
    assert problem["detail"].startswith(f"the body is sent as {kind.partition(';')[0]}, and {accepted} can be taken")
    assert ("add the header 'Content-Type: application/json'" in problem["detail"]) == ("form-urlencoded" in kind)
    assert mine.names() == []


def test_ndjson_is_not_for_one_event(client: httpx.Client, mine: Mine) -> None:
    answer = client.post(INGEST, content=json.dumps(mine.event()), headers={"Content-Type": "application/x-ndjson"})
    problem_of(answer, 415, "unsupported_media_type")
    assert mine.names() == []


def test_an_unknown_parameter_is_refused(client: httpx.Client, mine: Mine) -> None:
    problem = problem_of(client.post(f"{INGEST}?atomic=true", json=mine.event()), 400, "unknown_parameter", "query")
    assert [error["parameter"] for error in problem["errors"]] == ["atomic"]
    assert mine.names() == []


def test_what_is_older_than_the_retention_is_refused(database: Database) -> None:
    mine = Mine(database)
    with running(database.url, RETENTION_DAYS="30") as service, service.client() as client:
        old, young = (mine.event(str(days), timestamp=f"{datetime.now(UTC) - timedelta(days=days)}") for days in (31, 29))
        problem_of(client.post(INGEST, json=old), 400, "validation_error", "too_old")
        data_of(client.post(INGEST, json=young), 201)
    assert mine.names() == ["29"]
