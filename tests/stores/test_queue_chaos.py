"""Whatever is killed under load: what was answered `queued` is stored exactly once, and nothing is a dead letter."""

from __future__ import annotations

import itertools
import threading
import time
from typing import Any

import httpx
import pytest
from tests.integration.postgres import Database
from tests.integration.service import Service, running
from tests.integration.waiting import until
from tests.stores import queues
from tests.stores.queues import worker
from tests.stores.rabbitmq import Broker

from sluice.queue import DEAD_LETTERS

pytestmark = pytest.mark.timeout(600)
ROUNDS = 3


class Load:
    """Two clients that post single events and batches until the end; `queued`: the ids of those that were answered so."""

    def __init__(self, service: Service) -> None:
        self.queued: set[str] = set()
        self.sent = 0
        self._service = service
        self._end = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(name, size)) for name, size in (("s", 1), ("b", 100))]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join()

    def goes_on(self) -> None:
        """Return when another thousand events are queued."""
        goal = len(self.queued) + 1_000
        until(lambda: len(self.queued) >= goal, 120, "events are queued again")

    def _run(self, name: str, size: int) -> None:
        numbers = itertools.count()
        with self._service.client() as client:
            while not self._end.is_set():
                ids = [f"{name}-{next(numbers)}" for _ in range(size)]
                batch: list[dict[str, Any]] = [
                    {"event_type": "log", "event_name": "chaos", "event_id": id, "properties": {"of": id}} for id in ids
                ]
                while not self._end.is_set() and not self._taken(client, batch):
                    time.sleep(0.05)

    def _taken(self, client: httpx.Client, batch: list[dict[str, Any]]) -> bool:
        """Sent again, with the same ids, until it is answered 201."""
        self.sent += len(batch)
        single = len(batch) == 1
        try:
            answer = client.post("/api/v1/ingest" if single else "/api/v1/batch-ingest", json=batch[0] if single else batch)
        except httpx.TransportError:
            return False
        assert answer.status_code in (200, 201, 503), answer.text
        if answer.status_code == 201:
            self.queued.update(str(event["event_id"]) for event in batch)
        return answer.status_code == 201


def test_what_was_answered_queued_is_stored_exactly_once_whatever_is_killed(
    broker: Broker, queue_url: str, database: Database
) -> None:
    url = queue_url
    with running(database.url, QUEUE_URL=url) as service, Load(service) as load:
        for _ in range(ROUNDS):
            with worker(url, database.url) as first:
                load.goes_on()
                first.process.kill()
                first.process.wait(10)
            service.workers()[0].kill()
            load.goes_on()
        with worker(url, database.url):
            load.goes_on()
            broker.kill()
            broker.start()
            load.goes_on()
    with worker(url, database.url) as last:
        until(lambda: last.ready() and queues.depth(url) == 0, 120, "the queue is empty")
        until(lambda: load.queued <= set(database.ids()), 30, "everything is stored")
    stored = database.ids()
    assert len(stored) == len(set(stored))
    assert queues.depth(url, DEAD_LETTERS) == 0
