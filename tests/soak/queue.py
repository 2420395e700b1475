"""kill -9 of every part of queue mode under load: what was answered `queued` is stored exactly once, nothing is a dead letter."""

from __future__ import annotations

import contextlib
import itertools
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import httpx
from tests.integration import postgres
from tests.integration.service import Service, running
from tests.integration.waiting import until
from tests.stores import queues
from tests.stores.queues import Worker
from tests.stores.rabbitmq import Broker

from sluice.queue import DEAD_LETTERS

PARTS = ("worker", "service", "broker", "PostgreSQL")


@dataclass(frozen=True)
class Kill:
    """Of what, and seconds until another thousand events were queued."""

    part: str
    recovery: float


@dataclass(frozen=True)
class Books:
    """`missing`: answered `queued` and not stored. `doubled`: rows more than one for an id. `dead`: dead letters."""

    kills: list[Kill]
    queued: int
    stored: int
    missing: list[str]
    doubled: int
    dead: int


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


class Arena:
    """A service in queue mode with one worker, which is started again when it was killed."""

    def __init__(self, broker: Broker, server: postgres.LocalServer, database: postgres.Database, service: Service) -> None:
        self._broker, self._server, self._database, self._service = broker, server, database, service
        self._workers = contextlib.ExitStack()
        self._worker = self._started()

    def _started(self) -> Worker:
        self._workers = contextlib.ExitStack()
        return self._workers.enter_context(queues.worker(self._broker.url, self._database.url))

    def kill(self, part: str, load: Load) -> None:
        """Kill `part`, and start again what nothing else starts."""
        if part == "worker":
            self._worker.process.kill()
            self._worker.process.wait(10)
            self._workers.close()
            self._worker = self._started()
        elif part == "service":
            self._service.workers()[0].kill()
        elif part == "broker":
            self._broker.kill()
            self._broker.start()
        else:
            self._server.kill()
            load.goes_on()
            self._server.start()

    def drain(self, queued: set[str]) -> None:
        """Return when the worker has stored what waited, or has nothing more to store, and has ended."""
        # What the broker has sent ahead waits no longer, and is not stored yet.
        until(lambda: queues.depth(self._broker.url) == 0, 300, "the queue is empty")
        with contextlib.suppress(AssertionError):
            until(lambda: queued <= set(self._database.ids()), 60)
        self._workers.close()

    def close(self) -> None:
        self._worker.process.kill()
        self._workers.close()


@contextlib.contextmanager
def arena(broker: Broker, server: postgres.LocalServer, database: postgres.Database, service: Service) -> Iterator[Arena]:
    made = Arena(broker, server, database, service)
    try:
        yield made
    finally:
        made.close()


def fight(
    broker: Broker,
    server: postgres.LocalServer,
    database: postgres.Database,
    kills: int,
    told: Callable[[Kill], object] = lambda _: None,
) -> Books:
    """One part after the other, `kills` in all; `told` hears of each."""
    found: list[Kill] = []
    with running(database.url, QUEUE_URL=broker.url) as service, arena(broker, server, database, service) as stage:
        with Load(service) as load:
            for part in itertools.islice(itertools.cycle(PARTS), kills):
                load.goes_on()
                began = time.monotonic()
                stage.kill(part, load)
                load.goes_on()
                found.append(Kill(part, round(time.monotonic() - began, 1)))
                told(found[-1])
        stage.drain(load.queued)
    ids = database.ids()
    stored = set(ids)
    missing = sorted(load.queued - stored)
    return Books(found, len(load.queued), len(ids), missing, len(ids) - len(stored), queues.depth(broker.url, DEAD_LETTERS))


@contextlib.contextmanager
def bed() -> Iterator[tuple[Broker, postgres.LocalServer, postgres.Database]]:
    """RabbitMQ and PostgreSQL of the soak's own."""
    with contextlib.ExitStack() as stack:
        broker = Broker()
        stack.callback(broker.remove)
        broker.start()
        folder = postgres.temporary_folder()
        stack.callback(shutil.rmtree, folder)
        server = postgres.LocalServer(postgres.make_pristine(folder))
        stack.callback(server.remove)
        server.start()
        yield broker, server, stack.enter_context(server.database())
