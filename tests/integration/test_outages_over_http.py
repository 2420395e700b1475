"""The database away, not migrated or not durable, as a client and Kubernetes see it."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from typing import Any

import httpx
import pytest
from tests.conftest import ROOT
from tests.integration import postgres
from tests.integration.checks import Mine, data_of, problem_of
from tests.integration.postgres import Database, LocalServer
from tests.integration.service import Service, running
from tests.integration.waiting import until

INGEST, BATCH = "/api/v1/ingest", "/api/v1/batch-ingest"
READS = ("/api/v1/logs/recent", "/api/v1/logs/filter", "/api/v1/events/x", "/api/v1/export", "/api/v1/metrics", "/tasks")


def readiness(service: Service) -> tuple[int, Any]:
    answer = httpx.get(f"{service.admin_url}/readiness", trust_env=False)
    return answer.status_code, answer.json()["message"]


def liveness(service: Service) -> int:
    return httpx.get(f"{service.admin_url}/liveness", trust_env=False).status_code


def refused(answer: httpx.Response, reason: str) -> dict[str, Any]:
    assert int(answer.headers["retry-after"]) >= 1
    return problem_of(answer, 503, "database_error", reason)


def timed(work: Any) -> float:
    began = time.monotonic()
    work()
    return time.monotonic() - began


def test_an_outage_is_answered_at_once_and_recovers_by_itself(private_server: LocalServer, private_database: Database) -> None:
    mine = Mine(private_database)
    with running(private_database.url) as service, service.client() as client:
        data_of(client.post(INGEST, json=mine.event("before")), 201)
        private_server.stop()
        until(lambda: client.post(INGEST, json=mine.event()).status_code == 503)
        took = [timed(lambda: refused(client.post(INGEST, json=mine.event()), "database_unreachable")) for _ in range(20)]
        assert statistics.median(took) < 0.25
        refused(client.post(BATCH, json=mine.events(3)), "database_unreachable")
        refused(client.post("/tasks", json={"title": "t", "priority": "p"}), "database_unreachable")
        for path in READS:
            assert timed(lambda path=path: refused(client.get(path), "database_unreachable")) < 2
        assert (readiness(service), liveness(service)) == ((200, "ready"), 200)
        private_server.start()
        until(lambda: client.post(INGEST, json=mine.event()).status_code == 201, 10, "it works again by itself")
    assert mine.names() == ["a", "before"]


@pytest.fixture
def away(private_server: LocalServer, private_database: Database) -> Database:
    """A database whose server is stopped."""
    private_server.stop()
    return private_database


def test_it_boots_while_the_database_is_away_and_becomes_ready_by_itself(away: Database) -> None:
    mine = Mine(away)
    with running(away.url, ready_within=None) as service, service.client() as client:
        until(lambda: readiness(service) == (503, "database_unreachable"), 20)
        assert liveness(service) == 200
        for path in READS:
            refused(client.get(path), "database_unreachable")
        refused(client.post(INGEST, json=mine.event()), "database_unreachable")
        assert "database_unreachable" in client.get("/api/v1/status").text
        assert isinstance(away.server, LocalServer)
        away.server.start()
        until(lambda: readiness(service) == (200, "ready"), 10)
        until(lambda: client.post(INGEST, json=mine.event()).status_code == 201)
    assert mine.names() == ["a"]


def test_a_database_that_is_not_migrated_is_reported_until_sluice_migrate_ran(empty_database: Database) -> None:
    mine = Mine(empty_database)
    with running(empty_database.url, ready_within=None) as service, service.client() as client:
        until(lambda: readiness(service) == (503, "schema_behind"), 20)
        refused(client.post(INGEST, json=mine.event()), "schema_behind")
        migrate(empty_database)
        until(lambda: readiness(service) == (200, "ready"), 10)
        assert client.post(INGEST, json=mine.event()).status_code == 201
    assert mine.names() == ["a"]


def migrate(database: Database) -> None:
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT / "app"), "DATABASE_URL": database.owner_url}
    subprocess.run([sys.executable, "-m", "sluice", "migrate"], env=environment, check=True, capture_output=True)


def test_a_server_that_may_lose_a_commit_is_never_served_from(private_server: LocalServer, private_database: Database) -> None:
    mine = Mine(private_database)
    private_server.stop()
    private_server.start(fsync="off")
    with running(private_database.url, ready_within=None) as service, service.client() as client:
        until(lambda: readiness(service) == (503, "not_durable"), 20)
        refused(client.post(INGEST, json=mine.event()), "not_durable")
        refused(client.post(BATCH, json=mine.events(3)), "not_durable")
        assert (readiness(service), liveness(service)) == ((503, "not_durable"), 200)
    assert mine.count() == 0


def test_a_query_over_its_time_is_504_and_says_what_to_do(database: Database) -> None:
    with running(database.url) as service, service.client() as client:
        with postgres.connect(database.owner_url) as other, other.transaction():
            other.execute("LOCK TABLE sluice.events")
            problem = problem_of(client.get(READS[1], timeout=30), 504, "query_timeout", None)
        assert "narrow its time range" in problem["detail"]
        data_of(client.get(READS[1]), 200)
