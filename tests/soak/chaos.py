"""kill -9 of every part of a service under load, and the books afterwards: each acknowledged event stored exactly once."""

from __future__ import annotations

import contextlib
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import psutil
import psycopg
from tests.integration.service import Service, running
from tests.integration.waiting import until
from tests.soak import load
from tests.soak.load import Client
from tools.ports import free_port

from sluice.stores.postgresql import embedded

PARTS = ("worker", "backend", "postmaster", "master", "supervisor")
# After these the service is not there any more, and is started again as Kubernetes would.
ENDS = {"master": 1, "supervisor": -9}
CLIENTS = 12
# Requests acknowledged between two kills, over all clients: each kill meets a service at work.
WORK = 60
RECOVERY = 60.0


class Kill(msgspec.Struct):
    """One kill: of what, and how many seconds until every client had something new acknowledged."""

    part: str
    recovery: float


class Run(msgspec.Struct):
    """What is known of a run, also after it was interrupted. `positions`: events acknowledged by client."""

    seed: int
    total: int
    kills: list[Kill] = []
    positions: dict[str, int] = {}
    answers: dict[str, int] = {}
    replayed: int = 0
    seconds: float = 0.0

    def plan(self) -> list[str]:
        """The part that each kill hits: all equally often, in an order that `seed` decides."""
        parts = [PARTS[number % len(PARTS)] for number in range(self.total)]
        random.Random(self.seed).shuffle(parts)
        return parts


class Books(msgspec.Struct, frozen=True):
    """What should be empty: acknowledged and not there, there more than once, there and never sent."""

    missing: list[str]
    doubled: list[str]
    strangers: list[str]
    stored: int


class Arena:
    """A service on its embedded PostgreSQL under `folder`, with clients at work, and a hand that kills."""

    def __init__(self, folder: Path, run: Run) -> None:
        self.run = run
        self._before = Counter(run.answers), run.replayed
        self._random = random.Random(run.seed + len(run.kills))
        self._folder = folder
        self._stack = contextlib.ExitStack()
        self._port = str(free_port())
        self._stop = threading.Event()
        self.service = self._serve()
        self.clients = load.clients(CLIENTS, self.service.url, self._stop, lambda name: run.positions.get(name, 0))

    def _serve(self) -> Service:
        place: dict[str, Any] = {
            "DATA_DIR": str(self._folder / "data"),
            "SLUICE_RUN_DIR": str(self._folder / "run"),
            "PORT": self._port,
        }
        return self._stack.enter_context(running("", DATABASE_URL=None, LOG_LEVEL="warning", **place))

    def begin(self) -> None:
        for client in self.clients:
            client.start()

    def kill(self, part: str) -> Kill:
        """Kill `part` at work, start again what ends by it, and wait until every client is served again."""
        at_work = self._acknowledged() + WORK
        self._until(lambda: self._acknowledged() >= at_work, "the clients are served")
        before = [client.acknowledged for client in self.clients]
        began = time.monotonic()
        self._victim(part).kill()
        if part in ENDS:
            assert self.service.process.wait(30) == ENDS[part], "the service ends, and tells it by its exit code"
            self._stack.close()
            self.service = self._serve()
        self._until(
            lambda: all(map(int.__lt__, before, [client.acknowledged for client in self.clients])), "all are served again"
        )
        return Kill(part, round(time.monotonic() - began, 2))

    def end(self) -> None:
        """Let every client finish what it has begun, if there is a service to answer it."""
        self._stop.set()
        until(lambda: self.service.process.poll() is not None or not any(map(Client.is_alive, self.clients)), load.DEADLINE + 10)

    def close(self) -> None:
        self._stop.set()
        self._stack.close()

    def _victim(self, part: str) -> psutil.Process:
        if part == "supervisor":
            return psutil.Process(self.service.process.pid)
        if part == "master":
            return self.service.gunicorn
        return self._random.choice(self._crowd(part))

    def _crowd(self, part: str) -> list[psutil.Process]:
        if part == "worker":
            return until(self.service.workers)
        postmaster = until(lambda: embedded.postmaster(self._folder / "data" / "postgresql"), 20)
        process = psutil.Process(postmaster)
        return [process] if part == "postmaster" else until(lambda: backends(process), 20, "there is a session")

    def _acknowledged(self) -> int:
        return sum(client.acknowledged // load.SIZES[client.kind] for client in self.clients)

    def _until(self, happened: Callable[[], bool], what: str) -> None:
        until(lambda: load.failures(self.clients) or happened(), RECOVERY, what)
        assert load.failures(self.clients) == []

    def books(self) -> Books:
        """Call it after `end`."""
        server = embedded.found(self._folder / "data")
        assert server is not None, "the embedded PostgreSQL runs"
        with psycopg.connect(**server.owner()) as connection:
            rows = connection.execute("SELECT event_id, count(*) FROM sluice.events GROUP BY event_id").fetchall()
        return compared(dict(rows), self.clients)

    def note(self) -> None:
        """Put what the clients counted into the run."""
        self.run.positions = {client.name: client.acknowledged for client in self.clients}
        answers, replayed = self._before
        self.run.answers = dict(sum((client.answers for client in self.clients), answers))
        self.run.replayed = sum((client.replayed for client in self.clients), replayed)


def backends(postmaster: psutil.Process) -> list[psutil.Process]:
    """The server processes of the service's sessions."""
    found = []
    with contextlib.suppress(psutil.NoSuchProcess):
        for child in postmaster.children():
            with contextlib.suppress(psutil.NoSuchProcess):
                if f"postgres: {embedded.SERVICE} " in " ".join(child.cmdline()):
                    found.append(child)
    return found


def compared(stored: dict[str, int], clients: Iterable[Client]) -> Books:
    """`stored`: rows by event_id."""
    sent = {f"{client.name}-{number}" for client in clients for number in range(client.sent)}
    acknowledged = [f"{client.name}-{number}" for client in clients for number in range(client.acknowledged)]
    return Books(
        missing=[event_id for event_id in acknowledged if event_id not in stored],
        doubled=[event_id for event_id, rows in stored.items() if rows != 1],
        strangers=[event_id for event_id in stored if event_id not in sent],
        stored=len(stored),
    )


@contextlib.contextmanager
def arena(folder: Path, run: Run) -> Iterator[Arena]:
    """An arena at work; on the way out its clients have ended, however that comes about."""
    made = Arena(folder, run)
    try:
        made.begin()
        yield made
    finally:
        made.close()


def fight(arena: Arena, parts: Sequence[str], told: Callable[[Kill], object]) -> None:
    """Kill one part after the other; `told` hears of each kill. However it ends, by Ctrl-C too, the clients finish first."""
    try:
        for part in parts:
            began = time.monotonic()
            kill = arena.kill(part)
            arena.run.kills.append(kill)
            arena.run.seconds += time.monotonic() - began
            told(kill)
    finally:
        arena.end()
        arena.note()
