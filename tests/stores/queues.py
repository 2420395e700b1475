"""Queues and workers as tests use them."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import amqp
import httpx
from tests.conftest import ROOT
from tests.integration.scrape import values
from tests.integration.service import INHERITED, peak_memory
from tools.ports import free_port

from sluice.queue import DEAD_LETTERS, EVENTS
from sluice.queue.broker import Link, parameters
from sluice.queue.link import Message

# Nobody listens there.
NO_DATABASE = "postgresql://nobody@127.0.0.1:1/none"


@contextlib.contextmanager
def channel(url: str) -> Iterator[Any]:
    with amqp.Connection(**parameters(url)) as connection:
        yield connection.channel()


def delete(url: str) -> None:
    with channel(url) as opened:
        for queue in (EVENTS, DEAD_LETTERS):
            opened.queue_delete(queue)


def bounded(url: str, length: int, queue: str = EVENTS) -> None:
    """The queue with a bound, above which it refuses."""
    bound = {"x-max-length": length, "x-overflow": "reject-publish"}
    with channel(url) as opened:
        opened.queue_declare(queue, durable=True, auto_delete=False, arguments=bound)


def publish_as_seed_004(url: str, body: bytes) -> None:
    """As the old Go API does: default exchange, transient, no headers."""
    with channel(url) as opened:
        opened.queue_declare(EVENTS, durable=True, auto_delete=False)
        opened.basic_publish(amqp.Message(body), routing_key=EVENTS)


def waiting(url: str, queue: str = EVENTS) -> list[Message]:
    """What waits there; it stays there."""
    with contextlib.closing(Link(url, queue)) as link:
        return [message for _ in range(link.depth(queue)) if (message := link.get(queue)) is not None]


def depth(url: str, queue: str = EVENTS) -> int:
    with contextlib.closing(Link(url, queue)) as link:
        return link.depth(queue)


class Worker:
    """A running `sluice worker`."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path, admin_port: int) -> None:
        self.process = process
        self.log = log
        self.admin_url = f"http://127.0.0.1:{admin_port}"

    def metric(self, name: str, **labels: str) -> float:
        """The value of one series."""
        text = httpx.get(f"{self.admin_url}/metrics", timeout=10, trust_env=False).raise_for_status().text
        return values(text)[name, tuple(sorted(labels.items()))]

    def ready(self) -> bool:
        with contextlib.suppress(httpx.TransportError):
            return httpx.get(f"{self.admin_url}/readiness", timeout=5, trust_env=False).status_code == 200
        return False

    def peak_memory(self) -> int:
        return peak_memory(Path(f"/proc/{self.process.pid}"))

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30)


@contextlib.contextmanager
def worker(queue_url: str, database_url: str, **environment: str) -> Iterator[Worker]:
    """A worker; at the end SIGTERM must end it with 0, unless the test ended it before."""
    port = free_port()
    given = {
        **{name: os.environ[name] for name in INHERITED if name in os.environ},
        "QUEUE_URL": queue_url,
        "DATABASE_URL": database_url,
        "ADMIN_PORT": str(port),
        "PYTHONPATH": str(ROOT / "app"),
        **environment,
    }
    with tempfile.TemporaryDirectory(prefix="sluice-test-") as folder, Path(folder, "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "sluice", "worker"], env=given, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
        try:
            yield Worker(process, Path(folder, "log"), port)
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                assert process.wait(30) == 0
        except BaseException:
            print(Path(folder, "log").read_text(errors="replace")[-5_000:])
            raise
        finally:
            process.kill()
            process.wait(10)


def sluice(queue_url: str, database_url: str, *arguments: str) -> str:
    """What a command says."""
    environment = {**os.environ, "QUEUE_URL": queue_url, "DATABASE_URL": database_url, "PYTHONPATH": str(ROOT / "app")}
    done = subprocess.run(
        [sys.executable, "-m", "sluice", *arguments], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
