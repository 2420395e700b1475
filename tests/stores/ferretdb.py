"""MongoDB's protocol by FerretDB, which keeps databases in SQLite."""

from __future__ import annotations

import socket
import uuid

from pymongo import MongoClient
from tests.servers import Server
from tools import binaries


class Ferretdb(Server):
    """Raises tools.Missing when the program is not built."""

    def __init__(self) -> None:
        program = binaries.path("ferretdb")
        super().__init__()
        self.command = [program, "-listen", f"127.0.0.1:{self.port}", "-folder", self.folder]

    def uri(self, name: str | None = None, options: str = "") -> str:
        """The address of a database, a new one when it is not named."""
        return f"mongodb://127.0.0.1:{self.port}/{name or f't{uuid.uuid4().hex}'}{options}"

    def client(self) -> MongoClient[dict[str, object]]:
        return MongoClient(self.uri("test"), serverSelectionTimeoutMS=5_000)

    def answers(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0
