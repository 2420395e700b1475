from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import TypeVar

import pytest
from click.testing import CliRunner, Result
from tests.unit.client.keeper import Keeper, Run
from tests.unit.client.script import SECRET, Service, Time

from sluice.commands.import_ import import_file

Server = TypeVar("Server", bound=ThreadingHTTPServer)


@contextmanager
def serving(server: Server) -> Iterator[Server]:
    with server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def service() -> Iterator[Service]:
    with serving(Service()) as server:
        yield server


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def keeper() -> Iterator[Keeper]:
    with serving(Keeper()) as server:
        yield server


@pytest.fixture
def run(keeper: Keeper, tmp_path: Path) -> Run:
    """`sluice import` of these arguments; what it remembers is in tmp_path/state."""

    def sluice_import(*arguments: str | Path, stdin: bytes | None = None, **env: str) -> Result:
        ours = {
            "SLUICE_URL": f"http://127.0.0.1:{keeper.server_port}",
            "SLUICE_API_KEY": SECRET,
            "DATA_DIR": str(tmp_path),
            "XDG_STATE_HOME": str(tmp_path / "state"),
        }
        return CliRunner().invoke(import_file, [str(each) for each in arguments], input=stdin, env=ours | env)

    return sluice_import
