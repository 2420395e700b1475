"""Clients that send numbered events and repeat every request until it is acknowledged."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import urllib3
from tests.integration.service import KEY

# Events in one request, by how they are sent.
SIZES = {"single": 1, "batch": 20, "stream": 50}
PATHS = {"single": "/api/v1/ingest", "batch": "/api/v1/batch-ingest", "stream": "/api/v1/batch-ingest"}
NDJSON = "application/x-ndjson"
# One request may take so long with all its repetitions, in seconds; a restart takes two or three of them.
DEADLINE = 60.0
PAUSE = 0.05
JITTER = 0.003


class Client(threading.Thread):
    """Sends the events `<name>-0`, `<name>-1`, ... and begins with number `begin`.

    All before `acknowledged` got a 2xx, none from `sent` on ever left. `answers` counts by HTTP status, "none" for a connection
    that was refused or broke off; `replayed` the events that were committed before, their answer lost. `failure` ended it.
    """

    def __init__(self, name: str, kind: str, url: str, stop: threading.Event, begin: int = 0) -> None:
        super().__init__(name=name, daemon=True)
        self.kind = kind
        self.sent = self.acknowledged = begin
        self.answers: Counter[str] = Counter()
        self.replayed = 0
        self.failure: str | None = None
        self._url = url + PATHS[kind]
        self._halt = stop
        self._http = urllib3.PoolManager(retries=False, timeout=10)

    def run(self) -> None:
        while self.failure is None and not self._halt.wait(JITTER):
            self.step()

    def step(self) -> None:
        """One request, again and again until every event in it is stored."""
        self.sent = self.acknowledged + SIZES[self.kind]
        give_up = time.monotonic() + DEADLINE
        while not self.stored(range(self.acknowledged, self.sent)):
            if time.monotonic() > give_up:
                self.failure = f"{self.name} was not answered for {DEADLINE:g} s"
            if self.failure is not None:
                return
            time.sleep(PAUSE)
        self.acknowledged = self.sent

    def stored(self, numbers: range) -> bool:
        """Whether the service says that it stored these events; False: send them again."""
        try:
            response = self._http.request("POST", self._url, body=self.body(numbers), headers=self.headers())
        except urllib3.exceptions.HTTPError:
            self.answers["none"] += 1
            return False
        self.answers[str(response.status)] += 1
        if response.status in (200, 201):
            return self.all_stored(response.json()["data"])
        if response.status < 500 and response.status != 429:
            self.failure = f"{self.name} was answered {response.status}: {response.data.decode()}"
        return False

    def all_stored(self, data: dict[str, Any]) -> bool:
        if self.kind == "single":
            self.replayed += data["status"] == "duplicate"
            return True
        bad = [result for result in data["results"] if result["status"] not in ("created", "duplicate", "queued")]
        if any(not result["retryable"] for result in bad):
            self.failure = f"{self.name} was refused: {bad}"
        self.replayed += data["duplicate"]
        return data["logs_processed"] == SIZES[self.kind] and not bad

    def body(self, numbers: range) -> bytes | Iterator[bytes]:
        events = [event(f"{self.name}-{number}", number) for number in numbers]
        if self.kind == "stream":
            return (json.dumps(each).encode() + b"\n" for each in events)
        return json.dumps(events[0] if self.kind == "single" else events).encode()

    def headers(self) -> dict[str, str]:
        kind = NDJSON if self.kind == "stream" else "application/json"
        return {"Authorization": f"Bearer {KEY}", "Content-Type": kind}


def event(event_id: str, number: int) -> dict[str, Any]:
    """Always the same for one id: content that changes would be a conflict."""
    return {"event_id": event_id, "event_type": "log", "event_name": "chaos", "properties": {"number": number}}


def clients(count: int, url: str, stop: threading.Event, begin: Callable[[str], int]) -> list[Client]:
    """`count` clients of all kinds in turn; `begin` gives the first number of each by its name."""
    kinds = [list(SIZES)[number % len(SIZES)] for number in range(count)]
    named = [(f"{kind}-{number:02}", kind) for number, kind in enumerate(kinds)]
    return [Client(name, kind, url, stop, begin(name)) for name, kind in named]


def failures(clients: Iterable[Client]) -> list[str]:
    return [client.failure for client in clients if client.failure]
