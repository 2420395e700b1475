"""A service that keeps events by their id, and `sluice import` against it."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from click.testing import Result

Run = Callable[..., Result]


class Keeper(ThreadingHTTPServer):
    """Keeps `events` by id; `refuse` names lines that it calls invalid, `broken` makes it answer 400.

    `new`: what it calls an event that it has not seen. `reading`: the status of its answers to reads, if not the true one."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), KeeperHandler)
        self.events: dict[str, dict[str, Any]] = {}
        self.refuse: set[str] = set()
        self.broken = False
        self.new = "created"
        self.reading = 0
        self.lock = threading.Lock()
        self.asked = threading.Event()
        self.go_on = threading.Event()
        self.go_on.set()

    def keep(self, index: int, event: dict[str, Any]) -> dict[str, Any]:
        told = {"index": index, "event_id": event["event_id"]}
        if event["properties"].get("line") in self.refuse:
            return told | {"status": "invalid", "reason": "too_old", "detail": "older than what is kept"}
        known = self.events.setdefault(event["event_id"], event)
        return told | {"status": self.new if known is event else "duplicate" if known == event else "conflict"}


class KeeperHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Keeper

    def do_GET(self) -> None:
        known = self.path.removeprefix("/api/v1/events/") in self.server.events
        status = self.server.reading or (200 if known else 404)
        text = b'{"success": true, "data": {}}' if status == 200 else b'{"error": "not_for_you"}'
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def do_POST(self) -> None:
        batch = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked.set()
        self.server.go_on.wait(30)
        with self.server.lock:
            results = [self.server.keep(index, event) for index, event in enumerate(batch)]
        counts = {
            status: sum(each["status"] == status for each in results)
            for status in ("created", "queued", "duplicate", "conflict", "invalid")
        }
        shown = [each for each in results if each["status"] != "created"]
        text = json.dumps({"success": True, "data": {**counts, "failed": 0, "results": shown}}).encode()
        self.send_response(400 if self.server.broken else 201)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""


def counts(result: Result) -> list[int]:
    """created, duplicate, conflict, invalid, failed, as the last row of the table shows them."""
    (row,) = [line for line in result.stdout.splitlines() if any(letter.isdigit() for letter in line)]
    return [int(part.replace(",", "")) for part in row.replace("│", " ").replace("|", " ").split()]
