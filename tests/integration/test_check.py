"""`sluice check` against real services: well, unwell, and with keys that may more or less."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from tests.integration.conftest import migrated
from tests.integration.keysets import KeysetFile, keyset_file
from tests.integration.postgres import Database, LocalServer
from tests.integration.service import KEY, Service, running
from tests.integration.waiting import until

from sluice.cli import main

database = pytest.fixture(migrated, scope="module")
keyset = pytest.fixture(keyset_file, scope="module")


@pytest.fixture(scope="module")
def writer(keyset: KeysetFile) -> str:
    return keyset.add("writer", scopes=("ingest",))


@pytest.fixture(scope="module")
def reader(keyset: KeysetFile) -> str:
    return keyset.add("reader", scopes=("read",))


@pytest.fixture(scope="module")
def service(database: Database, keyset: KeysetFile, writer: str, reader: str) -> Iterator[Service]:
    """A service that takes KEY for everything and two keys for one thing each."""
    keyset.publish()
    with running(database.url, KEYSET_FILE=str(keyset.path)) as service:
        yield service


@pytest.fixture
def empty(database: Database) -> Database:
    database.execute("TRUNCATE sluice.events")
    return database


def checked(service: Service, *words: str, key: str | None = KEY, **environment: str) -> Result:
    given = {"DATA_DIR": "/nowhere", **environment, **({"SLUICE_API_KEY": key} if key else {})}
    done = CliRunner().invoke(main, ["check", service.url, "--retry-for", "0", *words], env=given)
    assert key is None or key not in done.output
    return done


def told(done: Result) -> list[str]:
    """The first word of each line of stdout."""
    return [line.split()[0] for line in done.stdout.splitlines()]


def test_a_service_that_works_passes_and_keeps_one_event(service: Service, empty: Database) -> None:
    done = checked(service)
    assert (done.exit_code, told(done), done.stderr) == (0, ["ok"] * 5, "")
    ((event_id, name),) = empty.execute("SELECT event_id, event_name FROM sluice.events")
    assert (name, f"an event is stored: {event_id}" in done.stdout) == ("sluice_check", True)


def test_each_check_sends_an_event_of_its_own(service: Service, empty: Database) -> None:
    assert [checked(service).exit_code for _ in range(2)] == [0, 0]
    assert empty.count() == 2


def test_a_key_that_may_only_write_passes_and_that_is_said(service: Service, writer: str) -> None:
    done = checked(service, key=writer)
    assert (done.exit_code, told(done)) == (0, ["ok"] * 5)
    assert "the key is writer, version 1, scopes ingest" in done.stdout
    assert "no scope read, which is fine" in done.stdout


def test_a_key_that_may_only_read_fails_before_anything_is_stored(service: Service, reader: str, empty: Database) -> None:
    done = checked(service, key=reader)
    assert (done.exit_code, told(done), empty.count()) == (1, ["ok", "failed"], 0)
    assert "use a key with the scope ingest" in done.stdout


def test_an_unknown_key_fails_with_its_source_and_reason(service: Service, tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("not-a-key-of-this-service\n")
    done = checked(service, key=None, SLUICE_API_KEY_FILE=str(file))
    assert (done.exit_code, told(done)) == (1, ["ok", "failed"])
    assert "the key from SLUICE_API_KEY_FILE is not taken (401 unknown)" in done.stdout


def test_no_key_proves_readiness_and_refusal_and_stores_nothing(service: Service, empty: Database) -> None:
    done = checked(service, "--no-key", key=None)
    assert (done.exit_code, told(done), empty.count()) == (0, ["ok", "ok"], 0)
    assert "refused (401 missing)" in done.stdout


def test_no_key_sends_no_key_although_there_is_one(service: Service) -> None:
    assert "refused (401 missing)" in checked(service, "--no-key").stdout


def test_without_any_key_it_says_how_to_give_one(service: Service) -> None:
    done = checked(service, key=None)
    assert (done.exit_code, told(done)) == (1, ["ok", "failed"])
    assert "set SLUICE_API_KEY, or SLUICE_API_KEY_FILE" in done.stdout


def test_a_key_file_that_is_not_there_is_reported(service: Service) -> None:
    done = checked(service, key=None, SLUICE_API_KEY_FILE="/nowhere/key")
    assert (done.exit_code, "cannot be read from /nowhere/key" in done.stderr) == (1, True)


def test_a_key_is_not_taken_as_an_argument(service: Service) -> None:
    done = checked(service, "--api-key", "secret", key=None)
    assert (done.exit_code, "secret" in done.output) == (2, False)


def test_a_service_whose_schema_is_behind_fails_with_its_fix(empty_database: Database) -> None:
    with running(empty_database.owner_url, ready_within=None) as service:
        until(lambda: service.admin("/readiness")[1]["message"] == "schema_behind")
        done = checked(service, "--retry-for", "1.3")
    assert (done.exit_code, told(done)) == (1, ["failed"])
    assert "not ready: schema_behind; run `sluice migrate`" in done.stdout
    (waited,) = done.stderr.splitlines()
    assert waited.endswith(f"s and trying again: {service.url} answers 503 schema_behind")


def test_a_database_that_is_away_fails_the_event_and_not_the_readiness(
    private_server: LocalServer, private_database: Database
) -> None:
    with running(private_database.url) as service:
        private_server.stop()
        done = checked(service)
    assert (done.exit_code, told(done)) == (1, ["ok", "ok", "failed"])
    assert "an event is not taken (503 " in done.stdout
