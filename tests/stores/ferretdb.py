"""MongoDB's protocol by FerretDB, which keeps databases in SQLite: a server that can be killed and started again."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import tempfile
import uuid

from pymongo import MongoClient
from tests.integration.waiting import until
from tools import binaries
from tools.ports import free_port


class Ferretdb:
    """A context manager; raises tools.Missing when the program is not built."""

    def __init__(self) -> None:
        self._program = binaries.path("ferretdb")
        self._port = free_port()

    def __enter__(self) -> Ferretdb:
        self._folder = tempfile.mkdtemp(prefix="sluice-ferretdb-")
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill(signal.SIGTERM)
        shutil.rmtree(self._folder)

    def start(self) -> None:
        command = [str(self._program), "-listen", f"127.0.0.1:{self._port}", "-folder", self._folder]
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until(self._answers, 20, "FerretDB listens")

    def kill(self, how: signal.Signals = signal.SIGKILL) -> None:
        self._process.send_signal(how)
        self._process.wait(20)

    def pause(self) -> None:
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def uri(self, name: str | None = None, options: str = "") -> str:
        """The address of a database, a new one when it is not named."""
        return f"mongodb://127.0.0.1:{self._port}/{name or f't{uuid.uuid4().hex}'}{options}"

    def client(self) -> MongoClient[dict[str, object]]:
        return MongoClient(self.uri("test"), serverSelectionTimeoutMS=5_000)

    def _answers(self) -> bool:
        assert self._process.poll() is None, "FerretDB ended by itself"
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self._port)) == 0
