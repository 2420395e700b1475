"""Faults that nobody saw: a disk that is full, a key set that is not read again without `sluice serve`, too few files."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest
from tests.conftest import ROOT
from tests.integration.checks import data_of, problem_of
from tests.integration.keysets import KeysetFile
from tests.integration.postgres import Database
from tests.integration.service import NO_TLS, running
from tests.integration.waiting import until
from tools.ports import free_port

pytestmark = pytest.mark.needs("embedded PostgreSQL")


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """A file system that holds an empty database and little more."""
    with tempfile.TemporaryDirectory(prefix="sluice-test-") as name:
        if os.geteuid() != 0 or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=120m", "tmpfs", name]).returncode:
            pytest.skip("only root can mount, and not on every machine")
        yield Path(name)
        subprocess.run(["umount", "--lazy", name], check=True)


def test_the_status_says_down_while_the_disk_is_full_and_up_when_there_is_room_again(small_disk: Path) -> None:
    place = {"DATA_DIR": str(small_disk / "data"), "DATABASE_URL": None}
    with running("", **place, ready_within=60) as service, service.client() as client:
        assert post(client, 0).status_code == 201
        filler = small_disk / "filler"
        with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(65_536))
        refused = next(answer for number in range(1, 500) if (answer := post(client, number)).status_code != 201)
        problem_of(refused, 503, "database_error", reason="database_full")
        # Each asks on a connection of its own, so that both workers answer.
        for _ in range(8):
            with service.client() as another:
                state = data_of(another.get("/api/v1/status"))["database"]
                assert (state["status"], state["reason"]) == ("down", "database_full")
                assert state["total_logs"] > 0
        filler.unlink()
        until(lambda: post(client, 1_000).status_code == 201, 20, "an event is stored again")
        assert data_of(client.get("/api/v1/status"))["database"]["status"] == "up"


def post(client: httpx.Client, number: int) -> httpx.Response:
    event = {"event_id": f"e{number}", "event_type": "log", "event_name": "large", "properties": {"x": os.urandom(60_000).hex()}}
    return client.post("/api/v1/ingest", json=event)


def test_a_gunicorn_that_no_serve_started_reads_the_key_set_again(database: Database, keyset: KeysetFile, tmp_path: Path) -> None:
    port = free_port()
    keyset.add("first")
    keyset.publish()
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT / "app"),
        "DATABASE_URL": database.url,
        "KEYSET_FILE": str(keyset.path),
        "PORT": str(port),
        "WORKERS": "1",
    }
    command = [sys.executable, "-m", "gunicorn", "--config", "python:sluice.server.gunicorn_conf", "sluice.server.wsgi:app"]
    with (tmp_path / "log").open("wb") as log, subprocess.Popen(command, env=environment, stderr=log, cwd=tmp_path) as gunicorn:
        try:
            late = keyset.add("late")

            def knows_it() -> bool:
                with contextlib.suppress(httpx.TransportError):
                    headers = {"Authorization": f"Bearer {late}"}
                    url = f"http://127.0.0.1:{port}/api/v1/whoami"
                    return httpx.get(url, headers=headers, trust_env=False, verify=NO_TLS).status_code == 200
                return False

            until(lambda: is_open(port), 20, "gunicorn answers")
            assert not knows_it()
            keyset.publish()
            until(knows_it, 10, "the new key is known")
        finally:
            gunicorn.terminate()


def is_open(port: int) -> bool:
    with contextlib.suppress(httpx.TransportError):
        return httpx.get(f"http://127.0.0.1:{port}/liveness", trust_env=False, verify=NO_TLS).status_code == 200
    return False


def test_more_connections_than_files_end_no_worker(database: Database) -> None:
    with running(database.url) as service:
        workers = service.workers()
        for worker in workers:
            soft, hard = worker.rlimit(psutil.RLIMIT_NOFILE)
            # One for each of its 1,000 connections, unless the machine gives less.
            assert soft >= min(hard, 1_000)
            worker.rlimit(psutil.RLIMIT_NOFILE, (worker.num_fds() + 24, hard))
        with contextlib.ExitStack() as stack:
            for _ in range(100):
                stack.enter_context(socket.create_connection(("127.0.0.1", service.port)))
            until(lambda: service.lines("worker.out_of_files"))
        with service.client() as client:
            for number in range(20):
                event = {"event_id": f"e{number}", "event_type": "log", "event_name": "test"}
                assert client.post("/api/v1/ingest", json=event).status_code == 201
        assert service.workers() == workers
    assert database.count() == 20
