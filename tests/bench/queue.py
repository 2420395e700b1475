"""Queue mode beside direct mode, with a RabbitMQ of the bench's own."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator

from tests.bench import load, rows, servers
from tests.bench.lines import Line, ratio_line
from tests.bench.load import Rate
from tests.bench.servers import ROOT
from tests.stores.rabbitmq import Broker
from tools.ports import free_port

from sluice.queue import DEAD_LETTERS, EVENTS
from sluice.queue.link import connect
from sluice.stores.postgresql.embedded import Owned

CLIENTS = 4


def queue(server: Owned, rounds: int, scale: float) -> Iterator[Line]:
    """Batches and single posts into the broker, and the worker that stores them, each beside direct mode."""
    count, seconds = max(2, int(60 * scale)), max(3, int(10 * scale))
    total = CLIENTS * count * 1_000
    batches, singles, one_worker, two_workers = list[Rate](), list[Rate](), list[Rate](), list[Rate]()
    direct_batches, direct_singles = list[Rate](), list[Rate]()
    with Broker() as broker:
        for _ in range(rounds):
            shares = [rows.arrays(count, 1_000) for _ in range(CLIENTS)]
            for url, many, one in (("", direct_batches, direct_singles), (broker.url, batches, singles)):
                servers.empty(server)
                purge(broker)
                with servers.service(server, "complete", QUEUE_URL=url) as service:
                    one.append(load.wrk(service, 64, seconds))
                    purge(broker)
                    many.append(load.side_by_side(service, shares, "application/json", total))
            for workers, found in ((1, one_worker), (2, two_workers)):
                purge(broker)
                with servers.service(server, "complete", QUEUE_URL=broker.url) as service:
                    load.side_by_side(service, shares, "application/json", total)
                servers.empty(server)
                found.append(drained(server, broker, total, workers))
    yield ratio_line("batches of 1,000 into RabbitMQ, 4 clients", batches, "direct", direct_batches, 0.8, "events/s")
    yield ratio_line("single posts into RabbitMQ, 64 clients", singles, "direct", direct_singles, 0.3, "requests/s")
    yield ratio_line("one worker, which stores those batches", one_worker, "direct", direct_batches, 0.8, "events/s")
    yield ratio_line("two workers on the same two cores", two_workers, "one", one_worker, 0, "events/s")


def purge(broker: Broker) -> None:
    for name in broker.control("list_queues", "name", "--no-table-headers").split():
        if name in (EVENTS, DEAD_LETTERS):
            broker.control("purge_queue", name)


def drained(server: Owned, broker: Broker, events: int, workers: int) -> Rate:
    """How fast `workers` of `sluice worker` store what waits; raises RuntimeError when something is left or dead."""
    with contextlib.ExitStack() as stack:
        ports = [stack.enter_context(worker(server, broker)) for _ in range(workers)]
        while not (first := sum(map(created, ports))):
            time.sleep(0.01)
        # From the first commit on: that they start is no part of their rate.
        began = time.perf_counter()
        while sum(map(created, ports)) < events:
            time.sleep(0.05)
        rate = Rate((events - first) / (time.perf_counter() - began))
    with contextlib.closing(connect(broker.url, EVENTS, DEAD_LETTERS)) as link:
        if left := link.depth(EVENTS) + link.depth(DEAD_LETTERS):
            raise RuntimeError(f"{left} messages were left in the queues")
    return rate


@contextlib.contextmanager
def worker(server: Owned, broker: Broker) -> Iterator[int]:
    """A `sluice worker`, and the port of its metrics."""
    admin = free_port()
    ours = {
        "DATABASE_URL": server.url,
        "QUEUE_URL": broker.url,
        "ADMIN_PORT": str(admin),
        "LOG_LEVEL": "warning",
        "PYTHONPATH": str(ROOT / "app"),
    }
    process = subprocess.Popen([sys.executable, "-m", "sluice", "worker"], env={**os.environ, **ours}, cwd=ROOT)
    try:
        servers.await_answer(process, f"http://127.0.0.1:{admin}/liveness")
        yield admin
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def created(admin: int) -> int:
    """Events that the worker at this port has stored."""
    with urllib.request.urlopen(f"http://127.0.0.1:{admin}/metrics") as answer:
        found = re.search(r'^sluice_worker_events_total{status="created"} (\S+)$', answer.read().decode(), re.MULTILINE)
    return int(float(found[1])) if found else 0
