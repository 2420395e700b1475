"""Clients that cost little: bodies are made before, connections are kept, and of an answer only the status is looked at."""

from __future__ import annotations

import contextlib
import http.client
import json
import multiprocessing
import os
import re
import selectors
import shutil
import socket
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.synchronize import Event
from pathlib import Path

from tests.bench import rows
from tests.bench.servers import Service

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Rate:
    """`rate` a second; `p99` in milliseconds (0 when it was not looked at)."""

    rate: float
    p99: float = 0.0


def post_all(service: Service, bodies: Sequence[bytes], kind: str, expected: Sequence[int] = (201,)) -> list[float]:
    """Post each body on one connection; milliseconds of each."""
    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=120)
    took: list[float] = []
    headers = {"Authorization": f"Bearer {service.key}", "Content-Type": kind}
    for body in bodies:
        start = time.perf_counter()
        connection.request("POST", "/api/v1/batch-ingest", body, headers)
        answer = connection.getresponse()
        answer.read()
        took.append((time.perf_counter() - start) * 1000)
        if answer.status not in expected:
            raise RuntimeError(f"HTTP {answer.status}")
    connection.close()
    return took


def side_by_side(service: Service, shares: Sequence[Sequence[bytes]], kind: str, events: int) -> Rate:
    """One process per share, all at once; events a second over all of them, p99 of one post."""
    context = multiprocessing.get_context("fork")
    with context.Pool(len(shares)) as pool:
        pool.map(abs, range(len(shares)))  # every process is there before the clock starts
        start = time.perf_counter()
        took = pool.starmap(post_all, [(service, share, kind) for share in shares])
        seconds = time.perf_counter() - start
    return Rate(events / seconds, percentile([each for share in took for each in share], 99))


def batches(service: Service, clients: int, seconds: int) -> Rate:
    """Batches of 1,000 from as many processes, closed loop, for so long; events a second."""
    with multiprocessing.get_context("fork").Pool(clients) as pool:
        counts = pool.starmap(post_for, [(service, seconds)] * clients)
    return Rate(sum(counts) * 1_000 / seconds)


def post_for(service: Service, seconds: int) -> int:
    """How many batches were stored in that time. Few are made; each is sent again under new ids."""
    arrays = rows.arrays(8, 1_000)
    until = time.perf_counter() + seconds
    count = 0
    while time.perf_counter() < until:
        batch = arrays[count % len(arrays)].replace(b'"event_id":"', b'"event_id":"%d-' % count)
        post_all(service, [batch], "application/json")
        count += 1
    return count


@contextlib.contextmanager
def tailing(service: Service, count: int) -> Iterator[None]:
    """`count` open tails, read by one process of their own as fast as they come: half without a filter, half for errors."""
    begun = multiprocessing.get_context("fork").Event()
    reader = multiprocessing.get_context("fork").Process(target=read_tails, args=(service, count, begun), daemon=True)
    reader.start()
    try:
        if not begun.wait(30):
            raise RuntimeError("the tails were not opened")
        yield
    finally:
        reader.kill()
        reader.join()


def read_tails(service: Service, count: int, begun: Event) -> None:
    waiting = selectors.DefaultSelector()
    for number in range(count):
        query = "event_type=error" if number % 2 else ""
        client = socket.create_connection(("127.0.0.1", service.port))
        client.sendall(f"GET /api/v1/logs/tail?{query} HTTP/1.1\r\nHost: x\r\nX-API-Key: {service.key}\r\n\r\n".encode())
        if not client.recv(4096).startswith(b"HTTP/1.1 200"):
            raise RuntimeError("a tail was refused")
        waiting.register(client, selectors.EVENT_READ, client)
    begun.set()
    while True:
        for key, _ in waiting.select():
            key.data.recv(1 << 20)


def wrk(service: Service, connections: int, seconds: int, script: str = "single.lua") -> Rate:
    """Single posts by wrk, closed loop, each with an id of its own."""
    with tempfile.TemporaryDirectory() as folder:
        command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", "-s", str(HERE / script), service.url]
        told = subprocess.run(
            command, env={**os.environ, "KEY": service.key}, cwd=folder, capture_output=True, text=True, check=True
        )
    if "Non-2xx" in told.stdout:
        raise RuntimeError(told.stdout)
    rate = re.search(r"Requests/sec:\s+([\d.]+)", told.stdout)
    tail = re.search(r"99%\s+([\d.]+)(us|ms|s)", told.stdout)
    if rate is None or tail is None:
        raise RuntimeError(told.stdout)
    return Rate(float(rate[1]), float(tail[1]) * {"us": 0.001, "ms": 1, "s": 1000}[tail[2]])


def has_wrk() -> bool:
    return shutil.which("wrk") is not None


def get(service: Service, path: str) -> tuple[float, dict[str, object]]:
    """Milliseconds and the answer's data."""
    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=60)
    start = time.perf_counter()
    connection.request("GET", path, headers={"Authorization": f"Bearer {service.key}"})
    answer = connection.getresponse()
    text = answer.read()
    took = (time.perf_counter() - start) * 1000
    connection.close()
    if answer.status != 200:
        raise RuntimeError(f"HTTP {answer.status}")
    data: dict[str, object] = json.loads(text)["data"]
    return took, data


def p99_of(call: Callable[[], float], times: int) -> float:
    return percentile([call() for _ in range(times)], 99)


def percentile(values: Sequence[float], share: int) -> float:
    return statistics.quantiles(values, n=100)[share - 1] if len(values) > 1 else values[0]
