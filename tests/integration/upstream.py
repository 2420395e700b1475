"""A real HTTP server with a list to pull, which answers as a test tells it to: well, or in the ways in which servers fail."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

PATIENCE = 10


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Upstream

    def do_GET(self) -> None:
        upstream = self.server
        upstream.requests.append(Request(self.path, self.headers.items()))
        with upstream.lock:
            answer = upstream.answers.pop(0) if len(upstream.answers) > 1 else upstream.answers[0]
        with contextlib.suppress(OSError):
            answer(self)

    def send(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


Behaviour = Callable[[Handler], None]


class Request:
    """`lines`: its headers as they came; `headers`: one value for each name in lower case."""

    def __init__(self, path: str, lines: Iterable[tuple[str, str]]) -> None:
        self.path = path
        self.lines = list(lines)
        self.headers = {name.lower(): value for name, value in self.lines}

    @property
    def query(self) -> dict[str, str]:
        return dict(parse_qsl(urlsplit(self.path).query))


class Upstream(ThreadingHTTPServer):
    """`answers`: a behaviour for each request, in order; the last one goes on. `requests`: those that came."""

    daemon_threads = True

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        if tls is not None:
            self.socket = tls.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)
        self.answers: list[Behaviour] = [records(0)]
        self.requests: list[Request] = []
        self.lock = threading.Lock()
        # Ends whatever hangs.
        self.over = threading.Event()

    @property
    def port(self) -> int:
        return int(self.server_address[1])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/items"

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass


@contextlib.contextmanager
def running(tls: ssl.SSLContext | None = None) -> Iterator[Upstream]:
    with Upstream(tls) as upstream:
        thread = threading.Thread(target=upstream.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield upstream
        finally:
            upstream.over.set()
            upstream.shutdown()
            thread.join(PATIENCE)


def record(number: int, **more: Any) -> dict[str, Any]:
    """As seed 003's demo API has them."""
    return {"userId": 1, "id": number, "title": f"title {number}", "body": "text", **more}


def records(count: int, **headers: str) -> Behaviour:
    """The list of records 1 to `count`."""
    return listed([record(number) for number in range(1, count + 1)], **headers)


def listed(items: Any, **headers: str) -> Behaviour:
    return lambda handler: handler.send(200, json.dumps(items).encode(), **headers)


def raw(body: bytes, status: int = 200, **headers: str) -> Behaviour:
    return lambda handler: handler.send(status, body, **headers)


def status(code: int, **headers: str) -> Behaviour:
    return lambda handler: handler.send(code, b"{}", **headers)


def redirect(location: str) -> Behaviour:
    return lambda handler: handler.send(302, Location=location)


def paged(total: int, size: int) -> Behaviour:
    """Pages by `?page=` (from 1) or `?offset=`, `size` records each."""

    def answer(handler: Handler) -> None:
        query = Request(handler.path, ()).query
        start = int(query["offset"]) if "offset" in query else (int(query.get("page", "1")) - 1) * size
        items = [record(number) for number in range(start + 1, min(start + size, total) + 1)]
        handler.send(200, json.dumps(items).encode())

    return answer


def endless(handler: Handler) -> None:
    """A body that never ends: a byte now and then, so that no single read is late."""
    handler.send_response(200)
    handler.send_header("Connection", "close")
    handler.end_headers()
    handler.wfile.write(b"[")
    while not handler.server.over.wait(0.05):
        handler.wfile.write(b" ")


def huge(handler: Handler) -> None:
    """A body without end, as fast as it goes."""
    handler.send_response(200)
    handler.send_header("Connection", "close")
    handler.end_headers()
    handler.wfile.write(b"[")
    while not handler.server.over.is_set():
        handler.wfile.write(b'{"id": 1},' * 10_000)


def hang(handler: Handler) -> None:
    """Not a byte."""
    handler.server.over.wait(PATIENCE)


def slow_headers(handler: Handler) -> None:
    handler.wfile.write(b"HTTP/1.1 200 OK\r\n")
    while not handler.server.over.wait(0.05):
        handler.wfile.write(b"X-More: yes\r\n")


def half_closed(handler: Handler) -> None:
    """Half of what Content-Length promises, then the end of the connection."""
    body = json.dumps([record(1), record(2)]).encode()
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body[: len(body) // 2])
    handler.wfile.flush()
    handler.connection.shutdown(socket.SHUT_RDWR)
    handler.close_connection = True


def broken_chunks(handler: Handler) -> None:
    handler.send_response(200)
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()
    handler.wfile.write(b'5\r\n[{"id\r\n')
    handler.wfile.flush()
    handler.connection.shutdown(socket.SHUT_RDWR)
    handler.close_connection = True


def no_answer(handler: Handler) -> None:
    """The end of the connection, without a byte."""
    handler.connection.shutdown(socket.SHUT_RDWR)
    handler.close_connection = True
