"""What tests of the service ask of its answers and of the rows behind them."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from typing import Any, TypeVar

import httpx
from tests.integration.postgres import Database
from tests.integration.service import Service

T = TypeVar("T")
# RFC 9110's names; Python had others until 3.13.
TITLES = {413: "Content Too Large", 422: "Unprocessable Content"}
MEMBERS = {"type", "title", "status", "detail", "error", "request_id", "reason", "errors", "data"}


class Mine:
    """The events of one test in a database that others use too: their ids begin with `prefix`, and names here go without it."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.prefix = f"t{uuid.uuid4().hex[:12]}-"

    def id(self, name: str = "a") -> str:
        return self.prefix + name

    def event(self, name: str = "a", **fields: Any) -> dict[str, Any]:
        """A valid event as a client sends it."""
        return {"event_id": self.id(name), "event_type": "log", "event_name": "test", **fields}

    def events(self, count: int) -> list[dict[str, Any]]:
        return [self.event(f"{number:06}") for number in range(count)]

    def names(self) -> list[str]:
        """Of the stored events, sorted; a row stored twice stands here twice."""
        text = "SELECT substr(event_id, %s) FROM sluice.events WHERE starts_with(event_id, %s) ORDER BY event_id"
        return [name for (name,) in self.database.execute(text, [len(self.prefix) + 1, self.prefix])]

    def count(self) -> int:
        return len(self.names())

    def row(self, name: str = "a") -> dict[str, Any]:
        """The stored row, dates as ISO text."""
        text = "SELECT to_jsonb(e) FROM sluice.events AS e WHERE event_id = %s"
        ((row,),) = self.database.execute(text, [self.id(name)])
        return dict(row)


def data_of(answer: httpx.Response, status: int = 200) -> Any:
    """`data` of a success in seed 001's envelope."""
    body = answer.json()
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    assert set(body) == {"success", "message", "data"}
    assert (body["success"], type(body["message"])) == (True, str)
    return body["data"]


def send(service: Service, *events: dict[str, Any]) -> None:
    """Events that are all new."""
    with service.client() as client:
        data_of(client.post("/api/v1/batch-ingest", json=list(events)), 201)


def problem_of(answer: httpx.Response, status: int, error: str, reason: str | None = None) -> dict[str, Any]:
    """The problem (RFC 9457) that `answer` must be."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = answer.json()
    assert (body["error"], body.get("reason")) == (error, reason)
    title = TITLES.get(status, HTTPStatus(status).phrase)
    assert (body["type"], body["title"], body["status"]) == (f"urn:sluice:problem:{error}", title, status)
    assert body["request_id"] == answer.headers["x-request-id"]
    assert body["detail"]
    assert set(body) <= MEMBERS
    return body


def at_once(count: int, work: Callable[[int], T]) -> list[T]:
    """`work(0)` to `work(count - 1)`, each in a thread of its own; they begin together."""
    barrier = threading.Barrier(count)

    def run(number: int) -> T:
        barrier.wait(10)
        return work(number)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(run, range(count)))
