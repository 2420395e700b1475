"""`sluice serve` with nothing but a folder: its own PostgreSQL, its own key, and all of it again the next time."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import httpx
import psutil
import pytest
from tests.conftest import ROOT
from tests.integration.checks import data_of
from tests.integration.service import Service, running
from tests.integration.waiting import until

from sluice import keys
from sluice.stores.postgresql import embedded

pytestmark = pytest.mark.needs("embedded PostgreSQL")

INGEST = "/api/v1/ingest"
EVENT = {"event_id": "first", "event_type": "log", "event_name": "hello"}
BY_ITSELF = {"DATABASE_URL": None, "API_KEYS": None}


@pytest.fixture(scope="module")
def data_dir() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="sluice-test-") as name:
        yield Path(name) / "data"


class First(NamedTuple):
    """What the first start left: its key, and the processes of its PostgreSQL, which are to end with it."""

    key: str
    postgres: list[psutil.Process]


@pytest.fixture(scope="module")
def first(data_dir: Path) -> First:
    """A first start, which stored EVENT and ended."""
    with running("", DATA_DIR=str(data_dir), **BY_ITSELF) as service, service.client(key_of(data_dir)) as client:
        assert data_of(client.post(INGEST, json=EVENT), 201)["status"] == "created"
        left = First(key_of(data_dir), postgres_of(data_dir))
    until(lambda: not any(map(is_there, left.postgres)), 5, "PostgreSQL is gone")
    return left


@pytest.fixture(scope="module")
def service(data_dir: Path, first: First) -> Iterator[Service]:
    """The second start."""
    assert key_of(data_dir) == first.key
    with running("", DATA_DIR=str(data_dir), **BY_ITSELF) as service:
        yield service


@pytest.fixture
def client(service: Service, data_dir: Path) -> Iterator[httpx.Client]:
    with service.client(key_of(data_dir)) as client:
        yield client


def key_of(data_dir: Path) -> str:
    return (data_dir / "first-run.key").read_text().strip()


def postgres_of(data_dir: Path) -> list[psutil.Process]:
    """Every process of a PostgreSQL on this folder."""
    pid = embedded.postmaster(data_dir / "postgresql")
    return [psutil.Process(pid), *psutil.Process(pid).children()] if pid is not None else []


def is_there(process: psutil.Process) -> bool:
    """A zombie is gone, and waits for somebody to hear of it."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    return False


def test_the_first_start_makes_data_and_a_private_key_and_leaves_nothing_running(data_dir: Path, first: First) -> None:
    assert len(first.postgres) > 3
    assert [process for process in first.postgres if is_there(process)] == []
    assert keys.checksum_ok(first.key)
    assert (data_dir / "first-run.key").stat().st_mode & 0o777 == 0o600


def test_the_second_start_finds_data_and_key_again(data_dir: Path, first: First, client: httpx.Client) -> None:
    assert key_of(data_dir) == first.key
    assert data_of(client.post(INGEST, json=EVENT), 201)["status"] == "duplicate"


@pytest.mark.needs("curl")
def test_the_greeting_has_a_curl_line_that_works_when_it_is_pasted(service: Service, data_dir: Path) -> None:
    greeting = until(service.greeting_path.read_text)
    assert f"{service.url} " in greeting
    assert key_of(data_dir) in greeting
    (line,) = re.findall(r"^ *(curl .*)$", greeting, re.MULTILINE)
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, timeout=20)
    assert (done.returncode, '"status":"created"' in done.stdout) == (0, True)
    assert key_of(data_dir) not in service.log


def test_a_second_service_on_one_folder_is_refused_with_the_way_to_go_on(data_dir: Path, client: httpx.Client) -> None:
    place = {"DATA_DIR": str(data_dir), "PORT": "0", "ADMIN_PORT": "0"}
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT / "app"), **place}
    command = [sys.executable, "-m", "sluice", "serve"]
    second = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=20)
    assert second.returncode == 2
    assert "in use by another process; end that, or set DATA_DIR to another folder" in second.stderr
    assert client.get("/api/v1/status").status_code == 200


def test_a_session_that_outlives_a_killed_postmaster_keeps_no_server_from_starting(
    service: Service, data_dir: Path, client: httpx.Client
) -> None:
    """Frozen here, as one is that waits for a lock of the dead: it holds the old server's shared memory."""
    assert client.post(INGEST, json={**EVENT, "event_id": "before"}).status_code == 201
    postmaster, *others = postgres_of(data_dir)
    session = next(each for each in others if "sluice_app" in " ".join(each.cmdline()))
    session.suspend()
    postmaster.kill()
    until(lambda: service.lines("embedded.died"), 60, "its end is logged")
    until(lambda: stored(client, "after"), 30, "an event is stored again")
    assert not is_there(session)
    assert data_of(client.get("/api/v1/events/before"))["event_id"] == "before"


def stored(client: httpx.Client, event_id: str) -> bool:
    """A request may wait for the frozen session until its deadline."""
    return client.post(INGEST, json={**EVENT, "event_id": event_id}, timeout=30).status_code == 201
