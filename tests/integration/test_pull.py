"""`sluice pull` as a process of its own, and inside `sluice serve` with the embedded database."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.conftest import ROOT
from tests.integration import upstream as up
from tests.integration.postgres import Database
from tests.integration.scrape import samples, scrape
from tests.integration.service import INHERITED, running
from tests.integration.upstream import Upstream
from tests.integration.waiting import until

pytestmark = pytest.mark.needs("embedded PostgreSQL")
LEASE_OVER = "UPDATE sluice.sources SET lease_until = now() - interval '1 second'"


class Puller:
    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    @property
    def admin_url(self) -> str:
        assert self.process.stdout is not None
        greeting = self.process.stdout.readline()
        found = re.search(r"http://127\.0\.0\.1:\d+", greeting)
        assert found, greeting
        return found[0]


def environment(url: str, tmp_path: Path, **more: str) -> dict[str, str]:
    inherited = {name: os.environ[name] for name in INHERITED if name in os.environ}
    own = {"DATABASE_URL": url, "DATA_DIR": str(tmp_path / "data"), "PYTHONPATH": str(ROOT / "app"), "ADMIN_PORT": "0"}
    return {**inherited, **own, "API_ALLOW_PRIVATE": "true", "TABLE_NAME": "items", **more}


@contextlib.contextmanager
def pulling(url: str, tmp_path: Path, **more: str) -> Iterator[Puller]:
    """`sluice pull`, killed at the end if it still runs."""
    with (tmp_path / "log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "sluice", "pull"],
            env=environment(url, tmp_path, **more),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
    with process:
        try:
            yield Puller(process)
        finally:
            process.kill()


def pull(url: str, tmp_path: Path, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "sluice", "pull", *arguments]
    return subprocess.run(command, env=environment(url, tmp_path, **more), capture_output=True, text=True, timeout=60)


def records(database: Database) -> list[tuple[str, int]]:
    return [(id, version) for id, version in database.execute("SELECT id, version FROM sluice.source_records ORDER BY place")]


def runs(database: Database) -> list[tuple[str, str | None]]:
    return [(status, reason) for status, reason in database.execute("SELECT status, reason FROM sluice.source_runs ORDER BY id")]


def test_once_pulls_each_source_and_its_exit_code_says_whether_all_went_well(
    database: Database, upstream: Upstream, tmp_path: Path
) -> None:
    file = tmp_path / "sources.yaml"
    second = f"- {{name: second, url: '{upstream.url}?b', interval: 1h, allow_private: true, retries: 0}}"
    file.write_text(f"sources:\n{second}\n")
    given = {"API_ENDPOINT": upstream.url, "SOURCES_FILE": str(file), "RETRY_COUNT": "0"}
    upstream.answers = [up.records(2), up.status(500)]
    done = pull(database.url, tmp_path, "--once", **given)
    assert (done.returncode, done.stdout) == (1, "items: pulled\nsecond: failed (server_error): the server answers 500\n")
    upstream.answers = [up.records(3)]
    done = pull(database.url, tmp_path, "--once", "--source", "second", **given)
    assert (done.returncode, done.stdout) == (0, "second: pulled\n")
    assert database.execute("SELECT source, count(*) FROM sluice.source_records GROUP BY 1 ORDER BY 1") == [
        ("items", 2),
        ("second", 3),
    ]


def test_without_a_source_or_with_a_wrong_one_nothing_starts(database: Database, tmp_path: Path) -> None:
    done = pull(database.url, tmp_path)
    assert (done.returncode, "set API_ENDPOINT to a URL, or SOURCES_FILE" in done.stderr) == (2, True)
    done = pull(database.url, tmp_path, "--source", "x", API_ENDPOINT="http://x.example/")
    assert (done.returncode, "--source x: there are items" in done.stderr) == (2, True)
    assert "Traceback" not in done.stderr


def test_a_puller_pulls_when_it_is_due_and_ends_in_order(database: Database, upstream: Upstream, tmp_path: Path) -> None:
    upstream.answers = [up.records(2), up.records(3)]
    with pulling(database.url, tmp_path, API_ENDPOINT=upstream.url, INGESTION_INTERVAL="1s") as puller:
        admin = puller.admin_url
        until(lambda: len(records(database)) == 3, 20, "it is pulled again")
        assert httpx.get(f"{admin}/liveness").json()["alive"] is True
        assert httpx.get(f"{admin}/readiness").json() == {"ready": True, "message": "ready"}
        assert httpx.get(f"{admin}/health").status_code == 200
        told = {
            (s.name, s.labels.get("status") or s.labels.get("result")): s.value
            for s in samples(httpx.get(f"{admin}/metrics").text)
        }
        assert told["sluice_pull_records_total", "created"] == 3
        assert told["sluice_pull_interval_seconds", None] == 1
        assert 0 <= told["sluice_pull_last_success_age_seconds", None] < 20
        puller.process.send_signal(signal.SIGTERM)
        assert puller.process.wait(10) == 0
    assert set(runs(database)) <= {("success", None), ("failure", "stopped")}


def test_sigterm_in_a_run_ends_at_once_and_gives_the_lease_back(database: Database, upstream: Upstream, tmp_path: Path) -> None:
    upstream.answers = [up.hang]
    with pulling(database.url, tmp_path, API_ENDPOINT=upstream.url) as puller:
        until(lambda: upstream.requests, 20, "the run has begun")
        puller.process.send_signal(signal.SIGTERM)
        assert puller.process.wait(10) == 0
    assert runs(database) == [("failure", "stopped")]
    assert database.execute("SELECT lease_until, next_run_at FROM sluice.sources") == [(None, None)]


def test_kill_9_in_the_middle_of_a_run_loses_no_record_and_doubles_none(
    database: Database, upstream: Upstream, tmp_path: Path
) -> None:
    """The pages that are committed stay; the next run stores the rest, and every event is there once."""
    sources = tmp_path / "sources.yaml"
    pagination = "{type: page, parameter: page, size: 10}"
    options = f"interval: 1h, timeout: 30s, allow_private: true, emit: true, pagination: {pagination}"
    sources.write_text(f"sources:\n- {{name: items, url: '{upstream.url}', {options}}}\n")
    whole = up.paged(45, 10)
    upstream.answers = [whole, whole, whole, up.hang]
    with pulling(database.url, tmp_path, SOURCES_FILE=str(sources)) as puller:
        until(lambda: len(upstream.requests) == 4, 20, "the fourth page is asked for")
        puller.process.kill()
        puller.process.wait(10)
    assert records(database) == [(str(number), 1) for number in range(1, 31)]
    assert runs(database) == [("running", None)]
    upstream.answers = [whole]
    done = pull(database.url, tmp_path, "--once", SOURCES_FILE=str(sources))
    assert (done.returncode, done.stdout) == (0, "items: is being pulled by another puller\n")
    # As if the lease's time had passed.
    database.execute(LEASE_OVER)
    with pulling(database.url, tmp_path, SOURCES_FILE=str(sources)):
        until(lambda: runs(database) == [("failure", "interrupted"), ("success", None)], 20, "the next puller takes over")
    assert records(database) == [(str(number), 1) for number in range(1, 46)]
    assert sorted(database.ids()) == sorted(f"items:{number}:1" for number in range(1, 46))


def test_a_puller_waits_for_its_database_and_its_schema(empty_database: Database, upstream: Upstream, tmp_path: Path) -> None:
    with pulling(empty_database.owner_url, tmp_path, API_ENDPOINT=upstream.url) as puller:
        admin = puller.admin_url
        until(lambda: httpx.get(f"{admin}/readiness").json()["message"] == "schema_behind", 20)
        assert httpx.get(f"{admin}/readiness").status_code == 503
        assert httpx.get(f"{admin}/liveness").status_code == 200
    assert upstream.requests == []


def test_serve_with_the_embedded_database_pulls_by_itself_and_ctrl_c_leaves_nothing(upstream: Upstream) -> None:
    upstream.answers = [up.records(4)]
    pulled: dict[str, Any] = {"API_ENDPOINT": upstream.url, "API_ALLOW_PRIVATE": "true", "INGESTION_INTERVAL": "1h"}
    with running("", DATABASE_URL=None, WORKERS="1", **pulled) as service, service.client() as client:
        until(lambda: client.get("/status").json()["status"] == "success", 20, "it is pulled")
        assert client.get("/posts", params={"limit": 2}).json()["count"] == 2
        assert 'sluice_pull_records_total{result="created",source="placeholder_api"} 4.0' in scrape(service)
        upstream.answers = [up.hang]
        seen = len(upstream.requests)
        assert client.post("/api/v1/sources/placeholder_api/run").status_code == 202
        until(lambda: len(upstream.requests) > seen, 20, "the run that was asked for has begun")
        assert service.stop(signal.SIGINT, 15) == 0


def test_serve_on_another_database_leaves_pulling_to_pull(database: Database, upstream: Upstream) -> None:
    with running(database.url, WORKERS="1", API_ENDPOINT=upstream.url, API_ALLOW_PRIVATE="true") as service:
        assert service.lines("sources.not_pulled") != []
    assert upstream.requests == []
