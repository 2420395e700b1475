"""HTTP by hand, for tests where it matters which bytes are sent when."""

from __future__ import annotations

import http.client
import io
import json
import select
import socket
import struct
from types import TracebackType
from typing import Any, Self

import httpx
from tests.integration.service import KEY, Service

BATCH = "/api/v1/batch-ingest"


class Answers(io.BufferedReader):
    """One buffer for all answers of a connection: HTTPResponse would close its own with the next answer in it."""

    def close(self) -> None:
        pass


class Raw:
    """One connection to a service."""

    def __init__(self, service: Service) -> None:
        self.sock = socket.create_connection(("127.0.0.1", service.port), timeout=20)
        self._answers = Answers(socket.SocketIO(self.sock, "r"))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.sock.close()

    @property
    def port(self) -> int:
        """Our end of the connection."""
        return int(self.sock.getsockname()[1])

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def head(self, method: str, path: str, protocol: str = "HTTP/1.1", /, **headers: str) -> None:
        """Request line and headers; in a header's name `_` stands for `-`."""
        given = {"Host": "x", "Authorization": f"Bearer {KEY}", **headers}
        lines = [f"{method} {path} {protocol}", *(f"{name.replace('_', '-')}: {value}" for name, value in given.items())]
        self.send("\r\n".join([*lines, "", ""]).encode("latin-1"))

    def answered(self) -> bool:
        """Whether there is something to read, or the end."""
        return bool(select.select([self.sock], [], [], 0)[0])

    def answer(self) -> httpx.Response:
        """The next answer, read to its end."""
        response = http.client.HTTPResponse(self.sock)
        response.fp.close()
        response.fp = self._answers
        response.begin()
        return httpx.Response(response.status, headers=response.getheaders(), content=response.read())

    def break_off(self) -> None:
        """Reset the connection, as the kernel does for a client that was killed."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()


class Upload(Raw):
    """A chunked NDJSON upload that is under way."""

    def __init__(self, service: Service, path: str = BATCH, **headers: str) -> None:
        super().__init__(service)
        self.head("POST", path, Content_Type="application/x-ndjson", Transfer_Encoding="chunked", **headers)

    def chunk(self, data: bytes) -> None:
        self.send(b"%x\r\n%b\r\n" % (len(data), data))

    def lines(self, *events: dict[str, Any]) -> None:
        self.chunk(ndjson(*events))

    def end(self) -> httpx.Response:
        """The last chunk, and the answer."""
        self.send(b"0\r\n\r\n")
        return self.answer()


def ndjson(*events: dict[str, Any]) -> bytes:
    return b"".join(json.dumps(event).encode() + b"\n" for event in events)
