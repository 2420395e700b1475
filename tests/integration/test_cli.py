"""The command line as people meet it: what it refuses, what it explains, and what its commands store."""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from tests.conftest import ROOT
from tests.integration.checks import at_once
from tests.integration.conftest import migrated
from tests.integration.door import door
from tests.integration.postgres import Database
from tests.integration.service import KEY, Service, running

from sluice import cli
from sluice.cli import main

LOGS = ("/var/log/dpkg.log", "/var/log/apt/history.log", "/var/log/bootstrap.log")
REAL_LOG = next((Path(name) for name in LOGS if Path(name).is_file() and Path(name).stat().st_size), None)
needs_log = pytest.mark.needs(*(() if REAL_LOG else ("package manager log",)))
COMMANDS = (*cli.COMMANDS, "keys new", "keys digest", "keys check", "keys keyset", "keys show")


STATE = tempfile.TemporaryDirectory()


def sluice(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command with nothing in its environment but `environment`; what `import` remembers is in STATE."""
    given = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT / "app"), "COLUMNS": "200", "XDG_STATE_HOME": STATE.name}
    given |= environment
    return subprocess.run(
        [sys.executable, "-m", "sluice", *words], env=given, capture_output=True, text=True, timeout=60, cwd="/"
    )


database = pytest.fixture(migrated, scope="module")


@pytest.fixture(scope="module")
def service(database: Database) -> Iterator[Service]:
    with running(database.url) as service:
        yield service


@pytest.fixture
def empty(database: Database) -> Database:
    """The service's database without an event."""
    database.execute("TRUNCATE sluice.events")
    return database


def send(service: Service, *words: str) -> subprocess.CompletedProcess[str]:
    done = sluice(*words, SLUICE_URL=service.url, SLUICE_API_KEY=KEY)
    assert (done.returncode, done.stderr.count("Traceback")) == (0, 0), done.stderr
    assert KEY not in done.stdout + done.stderr
    return done


def counts(done: subprocess.CompletedProcess[str]) -> list[int]:
    """created, duplicate, conflict, invalid, failed, of the table on stdout."""
    (row,) = [line for line in done.stdout.splitlines() if re.search(r"\d", line)]
    return [int(cell.replace(",", "")) for cell in re.findall(r"[\d,]+", row)]


# settings


def test_every_mistake_of_an_environment_is_listed_and_nothing_is_started(tmp_path: Path) -> None:
    bad = {
        "PORT": "eighty",
        "WORKERS": "0",
        "DATABASE_URL": "mysql://db",
        "DRAIN_SECOND": "5",
        "LOG_LEVEL": "loud",
        "DATA_DIR": str(tmp_path / "d"),
    }
    done = sluice("serve", **bad)
    assert (done.returncode, done.stdout) == (2, "")
    for name in ("PORT must be", "WORKERS must be", "DATABASE_URL must be", "did you mean DRAIN_SECONDS", "LOG_LEVEL must be"):
        assert name in done.stderr
    assert not (tmp_path / "d").exists()


@pytest.mark.parametrize("place", [{"HOST": "0.0.0.0"}, {"DATABASE_URL": "postgresql://db.invalid/sluice"}])
def test_without_a_key_source_a_service_that_others_reach_does_not_start(place: dict[str, str], tmp_path: Path) -> None:
    done = sluice("serve", PORT="0", ADMIN_PORT="0", DATA_DIR=str(tmp_path / "d"), **place)
    assert done.returncode == 2
    assert "there is no API key: set API_KEYS or KEYSET_FILE" in done.stderr
    assert not (tmp_path / "d").exists()


def test_a_port_in_use_is_named_with_its_fix(service: Service, database: Database) -> None:
    done = sluice("serve", PORT=str(service.port), ADMIN_PORT="0", DATABASE_URL=database.url, API_KEYS=KEY)
    assert done.returncode == 2
    assert re.search(rf"PORT: cannot listen on 127\.0\.0\.1:{service.port} .*set HOST and PORT to a free one", done.stderr)


# Python reads this at its start: as if the system had so many threads left for each process.
FEW_THREADS = """import threading
left, start = [{}], threading._start_new_thread
def few(*arguments):
    if not left[0]:
        raise RuntimeError("can't start new thread")
    left[0] -= 1
    return start(*arguments)
threading._start_new_thread = few
"""


def few_threads(folder: Path, number: int) -> dict[str, Any]:
    (folder / "sitecustomize.py").write_text(FEW_THREADS.format(number))
    return {"PYTHONPATH": f"{folder}:{ROOT / 'app'}", "THREADS": "64"}


def test_a_service_without_threads_does_not_start_and_names_the_limits(database: Database, tmp_path: Path) -> None:
    place = {"DATABASE_URL": database.url, "PORT": "0", "ADMIN_PORT": "0", "API_KEYS": KEY}
    done = sluice("serve", **few_threads(tmp_path, 2), **place)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert re.search("no thread or process can be started: .*podPidsLimit", done.stderr)


def test_a_worker_goes_on_with_fewer_threads_than_it_may_have(database: Database, tmp_path: Path) -> None:
    with running(database.url, **few_threads(tmp_path, 20)) as service, service.client() as client:
        answers = at_once(60, lambda number: client.get("/api/v1/logs/recent?limit=1"))
        assert {answer.status_code for answer in answers} == {200}
        (line,) = service.lines("worker.out_of_threads")[:1]
        assert "podPidsLimit" in line["fix"]


@pytest.mark.parametrize("command", [("index", "list"), ("index", "add", "user_id"), ("index", "drop", "user_id")])
def test_a_command_on_a_database_that_is_not_there_makes_none(command: tuple[str, ...], tmp_path: Path) -> None:
    done = sluice(*command, DATA_DIR=str(tmp_path / "d"))
    assert (done.returncode, done.stdout) == (2, "")
    assert f"DATA_DIR {tmp_path / 'd'} has no database; set DATABASE_URL" in done.stderr
    assert not (tmp_path / "d").exists()


# help, keys, doctor


@pytest.mark.parametrize("command", ["--help", "--version", "query --help"])
def test_help_that_finds_no_room_ends_in_one_line(command: str) -> None:
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "sluice", *command.split()], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert (done.returncode, done.stderr.splitlines()[1:]) == (1, [])
    assert "cannot write: No space left on device" in done.stderr


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself_with_examples(command: str) -> None:
    done = CliRunner().invoke(main, [*command.split(), "--help"])
    assert done.exit_code == 0
    assert re.search(rf"Examples?:\n(?:.*\n)*? .*sluice {command}", done.stdout)


def test_sluice_help_lists_every_command() -> None:
    done = sluice("--help")
    assert (done.returncode, [name for name in cli.COMMANDS if not re.search(rf"^  {name} ", done.stdout, re.MULTILINE)]) == (
        0,
        [],
    )


def test_doctor_finds_nothing_wrong_with_a_good_place(database: Database) -> None:
    done = sluice("doctor", DATABASE_URL=database.url, API_KEYS=KEY, PORT="0", ADMIN_PORT="0")
    assert (done.returncode, "failed" in done.stdout) == (0, False), done.stdout
    assert "schema is up to date" in done.stdout


@pytest.mark.parametrize(
    ("environment", "told", "fix"),
    [
        ({"DATABASE_URL": "postgresql://x:canary@127.0.0.1:1/x"}, "database_unreachable", "DATABASE_URL"),
        ({"DATABASE_URL": "postgresql://127.0.0.1:1/x", "API_KEYS": ""}, "no key source", "sluice keys new"),
        ({"KEYSET_FILE": "/nowhere/keyset.json"}, "missing", "KEYSET_FILE"),
    ],
)
def test_doctor_reports_what_is_wrong_and_how_to_fix_it(environment: dict[str, str], told: str, fix: str, tmp_path: Path) -> None:
    done = sluice("doctor", **{"API_KEYS": KEY, "DATA_DIR": str(tmp_path), "PORT": "0", "ADMIN_PORT": "0", **environment})
    assert done.returncode == 1
    assert told in done.stdout
    assert fix in done.stdout
    assert "canary" not in done.stdout + done.stderr


def test_doctor_reports_a_schema_that_is_behind(empty_database: Database) -> None:
    done = sluice("doctor", DATABASE_URL=empty_database.owner_url, API_KEYS=KEY, PORT="0", ADMIN_PORT="0")
    assert (done.returncode, "run `sluice migrate`" in done.stdout) == (1, True), done.stdout


# import and generate


@needs_log
def test_a_real_log_is_imported_once_however_often_it_is_sent(service: Service, empty: Database) -> None:
    assert REAL_LOG is not None
    lines = [line for line in REAL_LOG.read_text(encoding="utf-8", errors="backslashreplace").splitlines() if line.strip()]
    first, second = (send(service, "import", str(REAL_LOG)) for _ in range(2))
    assert (counts(first), counts(second)) == ([len(lines), 0, 0, 0, 0], [0, len(lines), 0, 0, 0])
    assert sorted(stored_lines(empty)) == sorted(lines)


@needs_log
def test_a_log_that_was_compressed_since_is_the_same_log(service: Service, empty: Database, tmp_path: Path) -> None:
    assert REAL_LOG is not None
    rotated = tmp_path / f"{REAL_LOG.name}.gz"
    rotated.write_bytes(gzip.compress(REAL_LOG.read_bytes()))
    first = counts(send(service, "import", str(rotated)))
    assert first[0] > 10
    assert counts(send(service, "import", str(REAL_LOG))) == [0, first[0], 0, 0, 0]
    assert empty.count() == first[0]


def test_lines_that_are_the_same_are_rows_of_their_own(service: Service, empty: Database, tmp_path: Path) -> None:
    log = tmp_path / "app.log"
    log.write_text("one\ntwo\none\n\none\n")
    assert [counts(send(service, "import", str(log))) for _ in range(2)] == [[4, 0, 0, 0, 0], [0, 4, 0, 0, 0]]
    log.write_text("one\ntwo\none\n\none\none\n")
    assert counts(send(service, "import", str(log))) == [1, 4, 0, 0, 0]
    assert sorted(stored_lines(empty)) == ["one", "one", "one", "one", "two"]


def stored_lines(database: Database) -> list[str]:
    return [line for (line,) in database.execute("SELECT properties ->> 'line' FROM sluice.events")]


def test_generate_stores_as_many_events_as_it_says_and_its_errors_are_real(service: Service, empty: Database) -> None:
    assert counts(send(service, "generate", "--count", "300", "--errors-share", "0.2", "--seed", "7")) == [300, 0, 0, 0, 0]
    assert empty.count() == 300
    rows = empty.execute("SELECT properties ->> 'traceback', fingerprint FROM sluice.events WHERE event_type = 'error'")
    assert len(rows) > 20
    assert [
        trace for trace, _ in rows if not re.search(r'Traceback .*File "[^"]*generator\.py", line \d+, in ', trace, re.DOTALL)
    ] == []
    # Errors of one kind share a fingerprint.
    assert 3 < len({fingerprint for _, fingerprint in rows if fingerprint}) < len(rows) / 2


def test_generated_error_reports_are_stored_too(service: Service, empty: Database) -> None:
    assert counts(send(service, "generate", "--as-reports", "--count", "10"))[0] == 10
    kinds = empty.execute("SELECT event_type, count(*), count(fingerprint) FROM sluice.events GROUP BY 1")
    assert kinds == [("error", 10, 10)]


def test_reports_whose_connection_breaks_off_are_sent_again_and_stored_once(service: Service, empty: Database) -> None:
    with door(service.port, closed=3) as way:
        done = sluice("generate", "--as-reports", "--count", "10", SLUICE_URL=f"http://127.0.0.1:{way.port}", SLUICE_API_KEY=KEY)
    assert (done.returncode, counts(done)[0], empty.count()) == (0, 10, 10)


@contextlib.contextmanager
def waiting_for_keys(path: Path, **environment: str) -> Iterator[subprocess.Popen[str]]:
    """`sluice serve` that has told that it waits for the file of its keys."""
    given = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT / "app"), "SECRET_WAIT_SECONDS": "60", "API_KEYS_FILE": str(path)}
    command = [sys.executable, "-m", "sluice", "serve"]
    with subprocess.Popen(command, env=given | environment, stderr=subprocess.PIPE, text=True, cwd="/") as process:
        try:
            assert process.stderr is not None
            assert json.loads(process.stderr.readline())["missing"] == ["API_KEYS_FILE"]
            yield process
        finally:
            process.kill()


def test_serve_goes_on_when_its_late_secret_is_there(tmp_path: Path) -> None:
    with waiting_for_keys(tmp_path / "keys", WORKERS="0") as process:
        (tmp_path / "keys").write_text(KEY)
        _, told = process.communicate(timeout=30)
    assert process.returncode == 2
    assert "WORKERS must be" in told
    assert "API_KEYS" not in told


def test_sigterm_ends_the_wait_for_a_secret(tmp_path: Path) -> None:
    with waiting_for_keys(tmp_path / "keys") as process:
        process.terminate()
        assert process.wait(10) == 0


def test_serve_imports_no_other_command() -> None:
    code = "import sys; from sluice.cli import main; main(['serve', '--help'], standalone_mode=False); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    modules = {name.removeprefix("sluice.commands.") for name in done.stdout.split() if name.startswith("sluice.commands.")}
    assert modules == {"serve", "environment"}
