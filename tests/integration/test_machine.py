"""docs/machine.md: the unit of systemd fits what `serve` does, and through nginx as it stands there everything works."""

from __future__ import annotations

import configparser
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

    def __init__(self, port: int) -> None:
        self.port = port
        self.url = f"http://127.0.0.1:{port}"


@pytest.fixture
def service(database: Database) -> Iterator[Service]:
    with running(database.url) as service:
        yield service


@pytest.fixture
def nginx(service: Service, tmp_path: Path) -> Iterator[Behind]:
    program = apt.program("nginx", "nginx")
    port = free_port()
    site = block("nginx").replace("127.0.0.1:8080", f"127.0.0.1:{service.port}").replace("listen 80", f"listen 127.0.0.1:{port}")
    folders = "".join(f"{name}_temp_path {tmp_path}/{name};\n" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    log = f"error_log {tmp_path}/error.log; access_log off;"
    (tmp_path / "conf").write_text(f"daemon off; pid {tmp_path}/pid; user root; events {{}}\nhttp {{ {log}\n{folders}{site} }}\n")
    with subprocess.Popen([program, "-e", f"{tmp_path}/error.log", "-c", f"{tmp_path}/conf"]) as process:
        try:
            proxy = Behind(port)
            look = partial(httpx.get, f"{proxy.url}/readiness", trust_env=False)
            until(lambda: without_error(look, httpx.ConnectError, seconds=20).status_code == 200, 20)
            yield proxy
        finally:
            process.terminate()


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
        assert browser.get("/console").status_code == 200


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
