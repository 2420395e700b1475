"""The README's examples, run as they are written."""

from __future__ import annotations

import re
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from tests import docs
from tests.conftest import ROOT
from tests.integration import upstream as up
from tests.integration.service import KEY, running
from tests.integration.waiting import until

from sluice.stores.postgresql import embedded

pytestmark = pytest.mark.needs("embedded PostgreSQL", "curl")

PORTS = {"PORT": "8080", "ADMIN_PORT": "8081"}


def is_free(port: str) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        return probe.connect_ex(("127.0.0.1", int(port))) != 0


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="sluice-test-") as name:
        yield Path(name)


@pytest.fixture(scope="module")
def outputs(folder: Path) -> Iterator[list[str]]:
    """What the examples printed, in two runs. The service is what `make run` starts; other ports are taken only if it must be."""
    free = all(map(is_free, PORTS.values()))
    chosen: dict[str, Any] = PORTS if free else dict.fromkeys(PORTS, "0")
    with running("", DATABASE_URL=None, API_KEYS=None, DATA_DIR=str(folder / ".sluice"), **chosen) as service:
        script = examples().replace("http://127.0.0.1:8080", service.url).replace("http://127.0.0.1:8081", service.admin_url)
        yield [run(script, folder) for _ in range(2)]


def examples() -> str:
    found = re.fullmatch(r"```sh\n(.*)\n```", docs.section(docs.README, "examples"), re.DOTALL)
    assert found is not None
    return found[1]


def run(script: str, folder: Path) -> str:
    # -x says which command failed; errexit and pipefail, that none may.
    done = subprocess.run(["bash", "-euxo", "pipefail", "-c", script], cwd=folder, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_example_works_and_what_it_sends_is_stored(outputs: list[str], folder: Path) -> None:
    # Without those of the examples in /openapi.json.
    assert [len(re.findall(r'(?<!"example":){"success":true', output)) for output in outputs] == [11, 11]
    server = embedded.found(folder / ".sluice")
    assert server is not None
    with psycopg.connect(**server.owner()) as connection:
        rows = connection.execute("SELECT event_name, count(*) FROM sluice.events GROUP BY 1 ORDER BY 1").fetchall()
        tasks = connection.execute("SELECT priority, due_at IS NULL, completed_at IS NULL, version FROM sluice.tasks").fetchall()
    assert tasks == [("high", False, False, 3)] * 2
    # What has no id of its own is stored again by the second run.
    assert rows == [("/checkout", 2), ("cpu", 2), ("line", 4), ("order_placed", 1)]


def test_an_event_that_is_sent_again_is_answered_as_the_readme_says(outputs: list[str]) -> None:
    first, second = (re.findall(r'"event_id":"order-1001","id":\d+,"status":"(\w+)"', output) for output in outputs)
    assert (first, second) == (["created"], ["duplicate"])


def test_the_examples_show_what_they_promise(outputs: list[str]) -> None:
    for shown in (
        '"text":"two"',
        '"endpoint":"/checkout"',
        '"invalid":1',
        '"users_exact":true',
        '"status":"resolved"',
        '"done":true',
        '"openapi":"3.1.0"',
        '"ready":true',
        "sluice_events_total{",
    ):
        assert shown in re.sub('" ?: ?', '":', outputs[0]), shown


def test_the_log_that_the_readme_imports_is_there_on_every_machine(outputs: list[str], folder: Path) -> None:
    assert outputs
    named = re.findall(r"^\.venv/bin/sluice import (\S+) ", docs.README.read_text(encoding="utf-8"), re.MULTILINE)
    assert [(folder / name).is_file() and not name.startswith("/") for name in named] == [True]


def test_the_examples_of_pull_sources_work_on_a_source_of_two_variables(folder: Path) -> None:
    found = re.fullmatch(r"```sh\n(.*)\n```", docs.section(docs.README, "sources"), re.DOTALL)
    assert found is not None
    place: dict[str, Any] = {"DATABASE_URL": None, "DATA_DIR": str(folder / "sources"), "WORKERS": "1"}
    with up.running() as upstream:
        upstream.answers = [up.records(3)]
        source: dict[str, Any] = {"API_ENDPOINT": upstream.url, "INGESTION_INTERVAL": "5m", "API_ALLOW_PRIVATE": "true"}
        with running("", **place, **source) as service, service.client() as client:
            until(lambda: client.get("/status").json()["status"] == "success", 20, "the source is pulled")
            output = run(f"export URL={service.url} KEY={KEY}\n{found[1]}", folder)
    for shown in ('"title":"title 2"', '"records_ingested":3', '"version" : 1', '"created":3', '"requested_at":"2'):
        assert shown in output.replace('": ', '":'), shown


def test_every_link_of_the_readme_leads_to_a_file() -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)", docs.README.read_text(encoding="utf-8"))
    assert len(links) > 5
    assert [link for link in links if not (ROOT / link).is_file()] == []
