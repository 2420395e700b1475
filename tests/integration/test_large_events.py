"""Reads of events as large as they may be: what a worker holds of them is bounded, and none is passed over."""

from __future__ import annotations

import json
from collections.abc import Iterator

import httpx
import pytest
from tests.integration.checks import data_of, problem_of
from tests.integration.conftest import migrated
from tests.integration.postgres import Database
from tests.integration.service import Service, running

from sluice import stores

COUNT, SIZE = 200, 250_000
IDS = [f"e{number:03}" for number in range(COUNT)]
database = pytest.fixture(migrated, scope="module")


@pytest.fixture(scope="module")
def service(database: Database) -> Iterator[Service]:
    with running(database.url, WORKERS="1") as service, service.client() as client:
        event = {"event_type": "log", "event_name": "large", "properties": {"text": "x" * SIZE}}
        for start in range(0, COUNT, 20):
            data_of(client.post("/api/v1/batch-ingest", json=[{**event, "event_id": id} for id in IDS[start : start + 20]]), 201)
        yield service


@pytest.fixture
def client(service: Service) -> Iterator[httpx.Client]:
    """At its end: no read took more than five times what a page holds."""
    with service.client() as client, service.grows_by_less_than(5 * stores.PAGE_BYTES):
        yield client


def test_pages_end_early_and_their_cursors_lead_to_every_event(client: httpx.Client) -> None:
    found, cursor = list[str](), ""
    while cursor is not None:
        page = data_of(client.get(f"/api/v1/logs/filter?page_size=1000&sort_order=asc&cursor={cursor}"))
        found += [log["event_id"] for log in page["logs"]]
        assert sum(len(log["properties"]["text"]) for log in page["logs"]) <= stores.PAGE_BYTES
        cursor = page["next_cursor"]
    assert found == IDS


@pytest.mark.parametrize("query", ["filter?page_size=200&page=1", "recent?limit=200"])
def test_a_page_that_cannot_end_early_is_refused_with_the_number_that_can_be_had(client: httpx.Client, query: str) -> None:
    problem = problem_of(client.get(f"/api/v1/logs/{query}"), 400, "validation_error", "query")
    most = stores.PAGE_BYTES // (SIZE + 500)
    assert f"ask for at most {most}" in problem["errors"][0]["detail"]
    assert len(data_of(client.get("/api/v1/logs/recent?limit=100"))) == 100


def test_an_export_has_every_event(client: httpx.Client) -> None:
    with client.stream("GET", "/api/v1/export") as answer:
        assert [json.loads(line)["event_id"] for line in answer.iter_lines()] == IDS


def test_records_of_a_source_are_read_in_pages_that_end_early_and_numbered_ones_are_refused(
    client: httpx.Client, database: Database
) -> None:
    database.execute("INSERT INTO sluice.sources (name, url, schedule, definition, is_default) VALUES ('s', 'u', '1h', '', true)")
    text = """INSERT INTO sluice.source_records (source, id, digest, content)
        SELECT 's', 'e' || to_char(n, 'FM000'), '', jsonb_build_object('text', repeat('x', %s))
        FROM generate_series(0, %s) AS n"""
    database.execute(text, [SIZE, COUNT - 1])
    found, cursor = list[str](), ""
    while cursor is not None:
        page = data_of(client.get(f"/api/v1/sources/s/records?limit=1000&cursor={cursor}"))
        found += [record["id"] for record in page["records"]]
        cursor = page["next_cursor"]
    assert found == IDS
    problem = problem_of(client.get("/posts?limit=200"), 400, "validation_error", "query")
    assert "ask for at most" in problem["errors"][0]["detail"]
    assert client.get("/posts?limit=100").json()["count"] == 100
