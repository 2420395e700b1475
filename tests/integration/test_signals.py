"""How the real service ends, seen from the socket."""

from __future__ import annotations

import json
import signal
import time
from typing import Any

import httpx
from tests.integration.checks import Mine, data_of
from tests.integration.postgres import Database
from tests.integration.raw import Raw
from tests.integration.service import Service, running
from tests.integration.waiting import until

INGEST = "/api/v1/ingest"


def readiness(service: Service) -> tuple[int, Any]:
    answer = httpx.get(f"{service.admin_url}/readiness", trust_env=False)
    return answer.status_code, answer.json()


def post(connection: Raw, event: dict[str, Any]) -> httpx.Response:
    body = json.dumps(event)
    connection.head("POST", INGEST, Content_Type="application/json", Content_Length=str(len(body)))
    connection.send(body.encode())
    return connection.answer()


def get(service: Service, path: str) -> httpx.Response:
    """The answer on a connection of its own, which the service closes after it."""
    with Raw(service) as connection:
        connection.head("GET", path)
        answer = connection.answer()
        assert connection.sock.recv(1) == b""
        return answer


class Slow(Raw):
    """A post whose body is half sent."""

    def __init__(self, service: Service, event: dict[str, Any]) -> None:
        super().__init__(service)
        body = json.dumps(event).encode()
        self._rest = body[5:]
        self.head("POST", INGEST, Content_Type="application/json", Content_Length=str(len(body)))
        self.send(body[:5])
        until(lambda: self.port in served(service), what="a worker has the connection")

    def finish(self) -> httpx.Response:
        self.send(self._rest)
        return self.answer()


def served(service: Service) -> set[int]:
    """The clients' ports of the connections that workers have accepted."""
    found = [each for worker in service.workers() for each in worker.net_connections("tcp")]
    return {each.raddr.port for each in found if each.raddr}


def test_sigterm_serves_on_not_ready_with_connection_close_and_exits_0(database: Database) -> None:
    mine = Mine(database)
    with running(database.url, DRAIN_SECONDS="2") as service, Raw(service) as kept:
        assert post(kept, mine.event("before")).headers["connection"] == "keep-alive"
        service.process.send_signal(signal.SIGTERM)
        began = time.monotonic()
        until(lambda: readiness(service) == (503, {"ready": False, "message": "draining"}), 1)
        with Raw(service) as new:
            answers = [post(kept, mine.event("kept")), post(new, mine.event("new"))]
        answers += [get(service, path) for path in ("/readiness", "/none")]
        told = [(answer.status_code, answer.headers.get_list("connection")) for answer in answers]
        assert told == [(status, ["close"]) for status in (201, 201, 503, 404)]
        assert service.process.wait(10) == 0
        assert time.monotonic() - began > 1.9
        assert service.left() == []
        assert [line["reason"] for line in service.lines("readiness")][:2] in (["ready"], ["ready", "workers_dead"])
    assert mine.names() == ["before", "kept", "new"]


def test_what_is_in_flight_is_finished_before_the_end(database: Database) -> None:
    mine = Mine(database)
    with running(database.url) as service, Slow(service, mine.event()) as slow:
        service.process.send_signal(signal.SIGTERM)
        until(lambda: any("term" in str(line["event"]) for line in gunicorn_lines(service)), what="gunicorn was told to end")
        answer = slow.finish()
        assert data_of(answer, 201)["status"] == "created"
        assert service.process.wait(10) == 0
    assert mine.names() == ["a"]


def gunicorn_lines(service: Service) -> list[dict[str, Any]]:
    whole = [json.loads(line) for line in service.log.splitlines(keepends=True) if line.endswith("\n")]
    return [line for line in whole if line.get("logger") == "gunicorn.error"]


def test_ctrl_c_ends_without_a_drain(database: Database) -> None:
    with running(database.url, DRAIN_SECONDS="300") as service:
        assert service.stop(signal.SIGINT, 5) == 0
        assert service.left() == []
        assert [line["reason"] for line in service.lines("readiness")] == ["ready"]


def test_a_second_ctrl_c_waits_for_nobody(database: Database) -> None:
    mine = Mine(database)
    patient: dict[str, Any] = {"GRACEFUL_TIMEOUT": "300", "REQUEST_TIMEOUT_SECONDS": "300"}
    with running(database.url, **patient) as service, Slow(service, mine.event()):
        service.process.send_signal(signal.SIGINT)
        until(lambda: service.lines("drain.started"))
        assert service.stop(signal.SIGINT, 5) == 0
        assert service.left() == []
    assert mine.names() == []


def test_a_supervisor_that_is_killed_leaves_no_gunicorn_behind(database: Database) -> None:
    with running(database.url) as service:
        service.process.kill()
        assert service.process.wait(5) == -signal.SIGKILL
        until(lambda: not service.left(), 10, "gunicorn is gone")
