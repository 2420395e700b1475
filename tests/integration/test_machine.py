"""docs/machine.md: the unit of systemd fits what `serve` does, and through nginx as it stands there everything works."""

from __future__ import annotations

import configparser
import contextlib
import json
import shlex
import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, cast

import click
import httpx
import pytest
from click.testing import CliRunner
from tests import docs
from tests.conftest import ROOT
from tests.integration.postgres import Database
from tests.integration.raw import BATCH, Raw
from tests.integration.service import KEY, Service, running
from tests.integration.waiting import until, without_error
from tools import apt
from tools.ports import free_port

from sluice.cli import main
from sluice.commands.environment import BadSettings
from sluice.server import supervisor
from sluice.settings import Settings

PAGE = ROOT / "docs" / "machine.md"


def block(name: str) -> str:
    return "\n".join(docs.section(PAGE, name).strip().splitlines()[1:-1])


def test_the_unit_lets_serve_drain_and_does_not_begin_again_what_cannot_start() -> None:
    unit = configparser.ConfigParser(interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read_string(block("unit"))
    service, usual = unit["Service"], Settings()
    assert service["KillMode"] == "mixed"
    assert int(service["TimeoutStopSec"]) > usual.drain_seconds + usual.graceful_timeout + supervisor.PATIENCE
    assert int(service["RestartPreventExitStatus"]) == BadSettings.exit_code
    assert f"/var/lib/{service['StateDirectory']}" == service["Environment"].removeprefix("DATA_DIR=")
    python, *words = shlex.split(service["ExecStart"])
    assert (python, words[:2]) == (f"{service['WorkingDirectory']}/.venv/bin/python", ["-m", "sluice"])
    command = main.get_command(click.Context(main), words[2])
    assert command is not None
    command.make_context(words[2], words[3:]).close()


class Behind:
    """What Raw needs of a service: the port of the proxy before it."""

    def __init__(self, port: int, path: str) -> None:
        self.port = port
        self.url = f"http://127.0.0.1:{port}{path}"


@pytest.fixture
def service(database: Database) -> Iterator[Service]:
    with running(database.url) as service:
        yield service


@contextlib.contextmanager
def behind_nginx(service: Service, folder: Path, path: str = "") -> Iterator[Behind]:
    """nginx as the page has it, below `path` if given."""
    program = apt.program("nginx", "nginx")
    port = free_port()
    site = block("nginx").replace("127.0.0.1:8080", f"127.0.0.1:{service.port}").replace("listen 80", f"listen 127.0.0.1:{port}")
    if path:
        site = site.replace("location / {", f"location {path}/ {{").replace("http://sluice;", "http://sluice/;")
    folders = "".join(f"{name}_temp_path {folder}/{name};\n" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    log = f"error_log {folder}/error.log; access_log off;"
    (folder / "conf").write_text(f"daemon off; pid {folder}/pid; user root; events {{}}\nhttp {{ {log}\n{folders}{site} }}\n")
    with subprocess.Popen([program, "-e", f"{folder}/error.log", "-c", f"{folder}/conf"]) as process:
        try:
            proxy = Behind(port, path)
            look = partial(httpx.get, f"{proxy.url}/readiness", trust_env=False)
            until(lambda: without_error(look, httpx.ConnectError, seconds=20).status_code == 200, 20)
            yield proxy
        finally:
            process.terminate()


@pytest.fixture
def nginx(service: Service, tmp_path: Path) -> Iterator[Behind]:
    with behind_nginx(service, tmp_path) as proxy:
        yield proxy


@pytest.fixture
def below(service: Service, tmp_path: Path) -> Iterator[Behind]:
    with behind_nginx(service, tmp_path, "/tools/sluice") as proxy:
        yield proxy


def line(number: int, size: int = 1) -> bytes:
    event = {"event_id": f"e{number}", "event_type": "log", "event_name": "test", "properties": {"text": "x" * size}}
    return json.dumps(event).encode() + b"\n"


def test_through_nginx_a_stream_is_committed_while_it_comes(nginx: Behind, database: Database) -> None:
    chunk = b"".join(line(number, 2_000) for number in range(1_000))
    with Raw(cast(Any, nginx)) as client:
        client.head("POST", BATCH, Content_Type="application/x-ndjson", Transfer_Encoding="chunked")
        client.send(b"%x\r\n%b\r\n" % (len(chunk), chunk))
        until(lambda: database.count() == 1_000, 20)
        last = line(1_000)
        client.send(b"%x\r\n%b\r\n0\r\n\r\n" % (len(last), last))
        assert client.answer().status_code == 201
    assert database.count() == 1_001


def test_through_nginx_a_browser_signs_in(nginx: Behind) -> None:
    with httpx.Client(base_url=nginx.url, headers={"Origin": nginx.url}, trust_env=False) as browser:
        assert browser.post("/console/sign-in", data={"key": KEY}).status_code == 303
        assert browser.get("/console/").status_code == 200


def test_through_nginx_a_tail_is_live(nginx: Behind) -> None:
    headers = {"Authorization": f"Bearer {KEY}"}
    with (
        httpx.Client(base_url=nginx.url, headers=headers, trust_env=False, timeout=20) as client,
        client.stream("GET", "/api/v1/logs/tail") as tail,
    ):
        lines = tail.iter_lines()
        next(lines)
        stored = httpx.post(f"{nginx.url}{BATCH}", headers=headers, json=[json.loads(line(1))], trust_env=False)
        assert stored.status_code == 201
        assert any('"e1"' in each for each in lines if each.startswith("data:"))


def test_below_a_path_the_api_works_through_nginx(below: Behind, database: Database) -> None:
    with httpx.Client(headers={"Authorization": f"Bearer {KEY}"}, trust_env=False) as client:
        made = [client.post(f"{below.url}/tasks", json={"title": title, "priority": "high"}) for title in ("a", "b")]
        places = [below.url + answer.headers["location"] for answer in made]
        assert [client.get(place).json() for place in places] == [answer.json() for answer in made]
        page = client.get(f"{below.url}/tasks?limit=1")
        rest = client.get(below.url + page.links["next"]["url"])
        assert [*page.json(), *rest.json()] == [answer.json() for answer in made]
        first = client.get(f"{below.url}/")
        document = client.get(first.url.join(first.json()["openapi"]))
        assert str(document.url.join(document.json()["servers"][0]["url"])) == f"{below.url}/"
    assert database.execute("SELECT title FROM sluice.tasks ORDER BY title") == [("a",), ("b",)]


@pytest.mark.parametrize("command", ["check", "import"])
def test_below_a_path_the_client_finds_the_service(below: Behind, database: Database, tmp_path: Path, command: str) -> None:
    log = tmp_path / "app.log"
    log.write_text("one line\n")
    words = ["import", str(log), "--url", f"{below.url}/"] if command == "import" else ["check", f"{below.url}/"]
    done = CliRunner().invoke(main, words, env={"SLUICE_API_KEY": KEY, "XDG_STATE_HOME": str(tmp_path), "DATA_DIR": "/nowhere"})
    assert (done.exit_code, database.count()) == (0, 1), done.output
