"""kill -9 of every part of queue mode under load: what was answered `queued` is stored exactly once, nothing is a dead letter."""

from __future__ import annotations

import contextlib
import itertools
import shutil
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tests.integration import postgres
from tests.integration.service import Service, running
from tests.integration.waiting import until
from tests.soak import load
from tests.soak.chaos import Books, Kill, compared
from tests.stores import queues
from tests.stores.queues import Worker
from tests.stores.rabbitmq import Broker

from sluice.queue import DEAD_LETTERS

PARTS = ("worker", "service", "broker", "PostgreSQL")
CLIENTS = 6


@dataclass(frozen=True)
class Fought:
    """`queued`: how many events were answered so. `dead`: dead letters."""

    kills: list[Kill]
    queued: int
    books: Books
    dead: int


class Load:
    """Clients that send until the end, each event until it is answered `queued`."""

    def __init__(self, service: Service) -> None:
        self._end = threading.Event()
        self._clients = load.clients(CLIENTS, service.url, self._end, lambda _: 0)

    def __enter__(self) -> Load:
        for client in self._clients:
            client.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        for client in self._clients:
            client.join()

    def queued(self) -> int:
        return sum(client.acknowledged for client in self._clients)

    def goes_on(self) -> None:
        """Return when another thousand events are queued."""
        goal = self.queued() + 1_000
        until(lambda: load.failures(self._clients) or self.queued() >= goal, 120, "events are queued again")
        assert load.failures(self._clients) == []

    def books(self, database: postgres.Database) -> Books:
        return compared(Counter(database.ids()), self._clients)


class Arena:
    """A service in queue mode with one worker, which is started again when it was killed."""

    def __init__(self, broker: Broker, server: postgres.LocalServer, database: postgres.Database, service: Service) -> None:
        self._broker, self._server, self._database, self._service = broker, server, database, service
        self._workers = contextlib.ExitStack()
        self._worker = self._started()

    def _started(self) -> Worker:
        self._workers = contextlib.ExitStack()
        return self._workers.enter_context(queues.worker(self._broker.url, self._database.url))

    def kill(self, part: str, goes_on: Callable[[], None]) -> None:
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
            goes_on()
            self._server.start()

    def drain(self, load: Load) -> None:
        """Return when the worker has stored what waited, or has nothing more to store, and has ended."""
        # What the broker has sent ahead waits no longer, and is not stored yet.
        until(lambda: queues.depth(self._broker.url) == 0, 300, "the queue is empty")
        with contextlib.suppress(AssertionError):
            until(lambda: not load.books(self._database).missing, 60)
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
) -> Fought:
    """One part after the other, `kills` in all; `told` hears of each."""
    found: list[Kill] = []
    with running(database.url, QUEUE_URL=broker.url) as service, arena(broker, server, database, service) as stage:
        with Load(service) as at_work:
            for part in itertools.islice(itertools.cycle(PARTS), kills):
                at_work.goes_on()
                began = time.monotonic()
                stage.kill(part, at_work.goes_on)
                at_work.goes_on()
                found.append(Kill(part, round(time.monotonic() - began, 1)))
                told(found[-1])
        stage.drain(at_work)
    return Fought(found, at_work.queued(), at_work.books(database), queues.depth(broker.url, DEAD_LETTERS))


@contextlib.contextmanager
def bed() -> Iterator[tuple[Broker, postgres.LocalServer, postgres.Database]]:
    """RabbitMQ and PostgreSQL of the soak's own."""
    with contextlib.ExitStack() as stack:
        broker = stack.enter_context(Broker())
        folder = postgres.temporary_folder()
        stack.callback(shutil.rmtree, folder)
        server = postgres.LocalServer(postgres.make_pristine(folder))
        stack.callback(server.remove)
        server.start()
        yield broker, server, stack.enter_context(server.database())
