"""One embedded PostgreSQL for the whole run, and services on it that come and go."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import psycopg
from tools.ports import free_port

from sluice.stores.postgresql import embedded, migrate
from sluice.stores.postgresql.embedded import Owned

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Service:
    """A service under test: its port, the key that opens it, and the pids of its workers."""

    port: int
    key: str
    workers: list[int]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def rss(self) -> list[int]:
        """Resident bytes of each worker."""
        return [psutil.Process(pid).memory_info().rss for pid in self.workers]


@contextlib.contextmanager
def database(folder: Path) -> Iterator[Owned]:
    with embedded.owned(folder) as server:
        migrate.migrate(server.owner)
        yield server


def execute(server: Owned, statement: str) -> list[tuple[Any, ...]]:
    """Run a statement as the owner."""
    with psycopg.connect(**server.owner(), autocommit=True) as connection:
        cursor = connection.execute(statement)
        return cursor.fetchall() if cursor.description else []


def empty(server: Owned) -> None:
    execute(server, "TRUNCATE sluice.events, sluice.error_deltas, sluice.error_groups, sluice.error_hours, sluice.error_users")
    execute(server, "CHECKPOINT")


@contextlib.contextmanager
def service(server: Owned, app: str, **environment: str) -> Iterator[Service]:
    """`app` of tests.bench.apps, served as `sluice serve` serves, all limits so high that none is met."""
    port, admin, key = free_port(), free_port(), secrets.token_hex(16)
    ours = {
        "PORT": str(port),
        "ADMIN_PORT": str(admin),
        "DATABASE_URL": server.url,
        "API_KEYS": key,
        "RATE_LIMIT_REQUESTS_PER_MINUTE": "1000000000",
        "RATE_LIMIT_EVENTS_PER_MINUTE": "1000000000",
        "DRAIN_SECONDS": "0",
        "LOG_LEVEL": "warning",
        "PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "app"))),
        **environment,
    }
    command = [sys.executable, "-m", "tests.bench.serve", f"tests.bench.apps:{app}()"]
    process = subprocess.Popen(command, env={**os.environ, **ours}, cwd=ROOT, stdout=subprocess.DEVNULL)
    try:
        await_answer(process, f"http://127.0.0.1:{admin}/readiness")
        yield Service(port, key, workers_of(process.pid))
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(60)


@contextlib.contextmanager
def victoria_logs(program: str) -> Iterator[Service]:
    """VictoriaLogs as it comes: it answers before anything is on disk."""
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        command = [program, f"-storageDataPath={folder}", f"-httpListenAddr=127.0.0.1:{port}", "-loggerLevel=ERROR"]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            await_answer(process, f"http://127.0.0.1:{port}/health")
            yield Service(port, "", [])
        finally:
            process.terminate()
            process.wait(60)


def workers_of(pid: int) -> list[int]:
    """The grandchildren: the child is gunicorn's master."""
    master = psutil.Process(pid).children()[0]
    return [child.pid for child in master.children()]


def await_answer(process: subprocess.Popen[bytes], url: str) -> None:
    for _ in range(300):
        if process.poll() is not None:
            raise RuntimeError(f"the service ended with {process.returncode}")
        with contextlib.suppress(OSError, urllib.error.URLError), urllib.request.urlopen(url):
            return
        time.sleep(0.1)
    raise RuntimeError("the service was not ready within 30 s")
