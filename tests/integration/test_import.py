"""`sluice import` into a real service and database: each event once, whatever becomes of the files."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import zstandard
from click.testing import CliRunner, Result
from tests.integration.postgres import Database, Server
from tests.integration.service import KEY, Service, running
from tests.integration.waiting import until
from tests.unit.client.keeper import counts

from sluice.cli import main

CORPUS = Path(__file__).parents[1] / "unit" / "client" / "corpus"
Run = Callable[..., Result]


@pytest.fixture(scope="module")
def service(server: Server, template: str) -> Iterator[tuple[Service, Database]]:
    with server.database(template) as database, running(database.url) as service:
        yield service, database


@pytest.fixture
def database(service: tuple[Service, Database]) -> Database:
    """The service's database without an event."""
    service[1].execute("TRUNCATE sluice.events")
    return service[1]


@pytest.fixture
def environment(service: tuple[Service, Database], tmp_path: Path) -> dict[str, str]:
    return {"SLUICE_URL": service[0].url, "SLUICE_API_KEY": KEY, "XDG_STATE_HOME": str(tmp_path / "state")}


@pytest.fixture
def run(environment: dict[str, str]) -> Run:
    return lambda *arguments: CliRunner().invoke(main, ["import", *map(str, arguments)], env=environment)


def written(path: Path, text: str) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    return path


def test_the_corpus_is_stored_with_its_types_and_times_once(run: Run, database: Database) -> None:
    logs = sorted(path for path in CORPUS.iterdir() if path.is_file())
    expected = [
        json.loads(line) for log in logs for line in (CORPUS / "expected" / f"{log.name}.ndjson").read_text("utf-8").splitlines()
    ]
    # The files' ages give the years to times without one, and are not those of the corpus.
    for log in logs:
        os.utime(log, (0, 1795996800))
    first, second = run(*logs), run(*logs)
    assert (counts(first), counts(second)) == ([len(expected), 0, 0, 0, 0], [0, len(expected), 0, 0, 0])
    stored = "SELECT event_type, event_name, count(*) FROM sluice.events GROUP BY 1, 2"
    names = [(event["event_type"], event["event_name"]) for event in expected]
    assert sorted(database.execute(stored)) == sorted((*name, names.count(name)) for name in set(names))
    [(grouped,)] = database.execute("SELECT count(*) FROM sluice.events WHERE event_type = 'error' AND fingerprint IS NOT NULL")
    assert grouped == sum(event["event_type"] == "error" for event in expected)


def test_files_stay_what_they_are_and_no_more(run: Run, database: Database, tmp_path: Path) -> None:
    pods = [written(tmp_path / pod / "0.log", "one\ntwo\n") for pod in ("podA", "podB")]
    log = written(tmp_path / "app.log", "".join(f"line {number}\n" for number in range(500)))
    assert counts(run(*pods, log))[:2] == [504, 0]
    rotated = log.rename(tmp_path / "app.log.1")
    assert counts(run(*pods, rotated))[:2] == [0, 504]
    for compress in (gzip.compress, bz2.compress, lzma.compress, zstandard.compress):
        (tmp_path / "app.log.2").write_bytes(compress(rotated.read_bytes()))
        assert counts(run(tmp_path / "app.log.2"))[:2] == [0, 500]
    assert database.count() == 504


def test_a_followed_log_is_stored_line_by_line_through_rotations(
    run: Run, database: Database, environment: dict[str, str], tmp_path: Path
) -> None:
    log = written(tmp_path / "app.log", "line 0\n")
    command = [sys.executable, "-m", "sluice", "import", "--follow", str(log)]
    process = subprocess.Popen(command, env=os.environ | environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until(lambda: database.count() == 1, 30)
        for number in range(1, 400):
            if number % 100 == 0:
                until(lambda number=number: database.count() == number, 30)  # type: ignore[misc]
                log.rename(tmp_path / f"app.log.{number // 100}")
            with log.open("a") as file:
                file.write(f"line {number}\n")
        until(lambda: database.count() == 400, 30)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)
    assert counts(run(*sorted(tmp_path.glob("app.log*"))))[:2] == [0, 400]
    lines = database.execute("SELECT properties ->> 'line' FROM sluice.events")
    assert sorted(line for (line,) in lines) == sorted(f"line {number}" for number in range(400))
