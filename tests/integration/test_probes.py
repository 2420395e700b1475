"""Probes and the key set's state of the real service, while it is busy, frozen, or waits for its keys."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from tests.integration.checks import Mine, problem_of
from tests.integration.keysets import KeysetFile
from tests.integration.postgres import Database
from tests.integration.raw import Raw
from tests.integration.service import Service, running
from tests.integration.waiting import until

pytest_plugins = ["tests.integration.services"]

PROBES = ("/liveness", "/readiness", "/health")


@pytest.fixture(scope="module")
def small(shared_database: Database) -> Iterator[Service]:
    """Two workers of two threads each, and a liveness that is quick to doubt."""
    with running(shared_database.url, THREADS="2", HEARTBEAT_TIMEOUT="3", REQUEST_TIMEOUT_SECONDS="60") as service:
        yield service


def admin(service: Service, path: str) -> tuple[int, Any]:
    answer = httpx.get(service.admin_url + path, timeout=5, trust_env=False)
    return answer.status_code, answer.json()


@pytest.mark.parametrize("path", PROBES)
def test_a_probe_needs_no_key_on_either_port(service: Service, path: str) -> None:
    for base in (service.url, service.admin_url):
        answer = httpx.get(base + path, trust_env=False)
        assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")


@pytest.mark.parametrize("path", ["/metrics", "/keyset"])
def test_what_the_admin_port_alone_has_is_not_on_the_service_port(service: Service, path: str) -> None:
    problem_of(httpx.get(service.url + path, trust_env=False), 404, "not_found")


def test_probes_are_answered_while_every_thread_of_every_worker_is_busy(small: Service, shared_database: Database) -> None:
    mine = Mine(shared_database)
    with contextlib.ExitStack() as stack:
        held: list[Raw] = []
        until(lambda: not answers_after(small, stack, held, mine), 30, "every thread is busy")
        began = time.monotonic()
        assert [admin(small, path)[0] for path in (*PROBES, "/keyset")] == [200] * 4
        assert httpx.get(f"{small.admin_url}/metrics", trust_env=False).status_code == 200
        assert time.monotonic() - began < 2
        for connection in held:
            connection.send(b"}")
        assert {connection.answer().status_code for connection in held} == {201}
    assert mine.count() == len(held)


def answers_after(service: Service, stack: contextlib.ExitStack, held: list[Raw], mine: Mine) -> bool:
    """Whether the service port still answers with another thread kept busy by a body that does not end."""
    body = mine_of(mine, len(held))
    connection = stack.enter_context(Raw(service))
    connection.head("POST", "/api/v1/ingest", Content_Type="application/json", Content_Length=str(len(body) + 1))
    connection.send(body)
    held.append(connection)
    with contextlib.suppress(httpx.TimeoutException):
        return httpx.get(f"{service.url}/liveness", timeout=0.5, trust_env=False).status_code == 200
    return False


def mine_of(mine: Mine, number: int) -> bytes:
    """An event without its last brace."""
    return f'{{"event_id": "{mine.id(str(number))}", "event_type": "log", "event_name": "slow"'.encode()


def test_liveness_fails_while_every_worker_is_stopped_and_comes_back(small: Service) -> None:
    until(lambda: len(small.workers()) == 2)
    workers = small.workers()
    began = time.monotonic()
    for worker in workers:
        worker.suspend()
    try:
        until(lambda: admin(small, "/liveness")[0] == 503, 6)
        assert time.monotonic() - began > 1.5
        until(lambda: admin(small, "/readiness") == (503, {"ready": False, "message": "workers_dead"}), 3)
    finally:
        for worker in workers:
            worker.resume()
    until(lambda: [admin(small, path)[0] for path in PROBES] == [200] * 3, 6)


def test_one_stopped_worker_is_no_reason_to_restart_the_pod(small: Service) -> None:
    frozen = until(small.workers)[0]
    frozen.suspend()
    try:
        until(lambda: admin(small, "/health")[1]["services"]["workers"] == "1 alive", 6)
        assert [admin(small, path)[0] for path in PROBES] == [200] * 3
    finally:
        frozen.resume()


def test_without_its_key_set_it_is_not_ready_and_becomes_so_by_itself(database: Database, keyset: KeysetFile) -> None:
    with running(database.url, ready_within=None, API_KEYS=None, KEYSET_FILE=str(keyset.path)) as service:
        until(lambda: admin(service, "/readiness") == (503, {"ready": False, "message": "keyset_missing"}), 20)
        assert admin(service, "/liveness")[0] == 200
        key = keyset.add("web")
        with service.client(key) as client:
            problem = problem_of(client.post("/api/v1/ingest", json=Mine(database).event()), 503, "keyset_not_loaded")
            assert key not in str(problem)
            keyset.publish_to(service)
            until(service.ready, 3)
            assert client.post("/api/v1/ingest", json=Mine(database).event()).status_code == 201
    assert database.count() == 1


def test_keyset_reports_the_revision_that_every_worker_has_loaded(database: Database, keyset: KeysetFile) -> None:
    key = keyset.add("web", version=3)
    first = keyset.publish()
    with running(database.url, API_KEYS=None, KEYSET_FILE=str(keyset.path)) as service:
        both = {"revision": first, "workers": 2, "loaded": 2, "entries": 1}
        until(lambda: admin(service, "/keyset")[1].items() >= both.items(), 10, "the second worker reports too")
        slow = until(service.workers)[0]
        slow.suspend()
        keyset.add("second")
        second = keyset.publish()
        until(lambda: admin(service, "/keyset")[1]["revision"] is None, 4, "one worker has the new set, one the old")
        assert admin(service, "/keyset")[1].items() >= {"workers": 2, "loaded": 2, "entries": 1, "loadedAt": None}.items()
        slow.resume()
        until(lambda: admin(service, "/keyset")[1]["revision"] == second, 4)
        with service.client(key) as client:
            assert client.get("/api/v1/whoami").status_code == 200
        until(lambda: list(admin(service, "/keyset")[1]["lastUsed"]) == ["web/3"], 4)
