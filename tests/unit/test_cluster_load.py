"""The load client of the cluster tests, against servers that misbehave in each way it has to tell apart."""

from __future__ import annotations

import contextlib
import json
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.cluster import load

# Gets a connection on which one request was read; True: it stays open for the next.
Behaviour = Callable[[socket.socket], bool]
Serve = Callable[..., str]


def answer(status: str = "201 Created", body: bytes | None = None, *headers: str) -> Behaviour:
    content = json.dumps({"data": {"status": "created"}}).encode() if body is None else body
    head = "\r\n".join([f"HTTP/1.1 {status}", f"Content-Length: {len(content)}", *headers, "", ""]).encode()

    def behave(sock: socket.socket) -> bool:
        sock.sendall(head + content)
        return "Connection: close" not in headers

    return behave


def hang_up(sock: socket.socket) -> bool:
    return False


def reset(sock: socket.socket) -> bool:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    return False


def say(text: bytes, then: Behaviour = hang_up) -> Behaviour:
    def behave(sock: socket.socket) -> bool:
        sock.sendall(text)
        return then(sock)

    return behave


GOOD = answer()


class Server:
    """Behaves to the requests that come as `script` says, one after the other, and well when it has come to its end."""

    def __init__(self, *script: Behaviour) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        self.bodies: list[Any] = []
        self._script = list(script)
        self._lock = threading.Lock()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                sock, _ = self.listener.accept()
                threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock: socket.socket) -> None:
        with sock, contextlib.suppress(OSError):
            while request := read_request(sock):
                with self._lock:
                    self.bodies.append(json.loads(request))
                    behave = self._script.pop(0) if self._script else GOOD
                if not behave(sock):
                    return


def read_request(sock: socket.socket) -> bytes:
    """Its body, or b"" at the end of the connection."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += sock.recv(1)
        if not data:
            return b""
    length = int(data.lower().partition(b"content-length:")[2].split()[0])
    return sock.recv(length, socket.MSG_WAITALL)


@pytest.fixture
def server() -> Iterator[Serve]:
    """Starts a server with a script; its URL."""
    with contextlib.ExitStack() as stack:

        def start(*script: Behaviour) -> str:
            started = Server(*script)
            stack.callback(started.listener.close)
            return started.url

        yield start


@pytest.fixture
def attack(tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Runs the client with some options more; its report. 10 requests on one connection unless they say otherwise."""
    (tmp_path / "key").write_text("secret\n")

    def run(url: str, *more: str, stop: threading.Event | None = None) -> dict[str, Any]:
        usual = ["--rate", "100", "--connections", "1", "--seconds", "0.1", "--prefix", "e"]
        options = load.arguments(["--url", url, "--key-file", str(tmp_path / "key"), *usual, *more])
        return load.run(options, stop or threading.Event())

    return run


Attack = Callable[..., dict[str, Any]]


def test_what_is_acknowledged_stands_in_the_ledger(server: Serve, attack: Attack) -> None:
    report = attack(server())
    assert (report["sent"], report["acknowledged"], report["ledger"]) == (10, 10, [[0, 9]])
    assert (report["failed"], report["late"], report["replayed"]) == ({}, 0, 0)
    assert report["connections"] == {"opened": 1, "asked_to_close": 0, "closed_idle": 0}
    assert list(report["latency_ms"]) == ["50", "90", "99", "99.9", "100"]


FAILURES: dict[str, Behaviour] = {
    "stale": hang_up,
    "reset after": say(b"HTTP/1.1 201 Created\r\nContent-Length: 100\r\n\r\nhalf"),
    "garbled": say(b"SSH-2.0-OpenSSH_9.2\r\n"),
    "status 500": answer("500 Internal Server Error", b"", "Connection: close"),
    "status 503": answer("503 Service Unavailable", b"", "Retry-After: 5"),
    "status 503 without Retry-After": answer("503 Service Unavailable", b""),
    "status 401": answer("401 Unauthorized", b""),
}


@pytest.mark.parametrize("kind", FAILURES)
def test_each_failure_has_its_name(server: Serve, attack: Attack, kind: str) -> None:
    report = attack(server(GOOD, GOOD, FAILURES[kind]))
    assert report["failed"] == {kind: 1}
    assert report["ledger"] == [[0, 1], [3, 9]]
    assert [(sample["what"], sample["request"]) for sample in report["samples"]] == [(kind, 2)]
    assert report["sent"] == report["acknowledged"] + 1


@pytest.mark.parametrize("how", [hang_up, reset])
def test_an_end_before_any_answer_is_a_reset_on_a_new_connection_and_stale_on_a_used_one(
    server: Serve, attack: Attack, how: Behaviour
) -> None:
    report = attack(server(how, GOOD, how))
    assert report["failed"] == {"reset before": 1, "stale": 1}


def test_a_closed_port_refuses(attack: Attack) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    assert attack(url)["failed"] == {"refused": 10}


def test_an_answer_that_does_not_come_is_a_timeout(server: Serve, attack: Attack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load, "TIMEOUT", 0.2)

    def sleep(sock: socket.socket) -> bool:
        return bool(sock.recv(1))

    assert attack(server(sleep))["failed"] == {"timeout": 1}


def test_a_retry_sends_the_same_events_and_reports_what_it_repaired(attack: Attack) -> None:
    refusal = answer("503 Service Unavailable", b"", "Retry-After: 0")
    duplicate = answer("201 Created", b'{"data": {"status": "duplicate"}}')
    server = Server(hang_up, refusal, duplicate)
    with server.listener:
        report = attack(server.url, "--retry")
    assert (report["failed"], report["fixed"]) == ({}, {"reset before": 1, "status 503": 1})
    assert (report["acknowledged"], report["replayed"]) == (10, 1)
    assert server.bodies[0] == server.bodies[1] == server.bodies[2] != server.bodies[3]


def test_a_retry_gives_up_at_its_deadline(attack: Attack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load, "RETRY_FOR", 0.1)
    server = Server(*[hang_up] * 100)
    with server.listener:
        assert attack(server.url, "--retry")["failed"] == {"reset before": 10}


def test_connection_close_is_honoured(server: Serve, attack: Attack) -> None:
    closing = answer("201 Created", None, "Connection: close")
    report = attack(server(*[closing] * 10))
    assert report["failed"] == {}
    assert report["connections"] == {"opened": 10, "asked_to_close": 10, "closed_idle": 0}


def closed_while_idle(sock: socket.socket) -> bool:
    # Linux sends the end in one segment with the answer.
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)
    GOOD(sock)
    return False


@pytest.mark.parametrize(("more", "failed"), [([], {}), (["--blind"], {"stale": 5})])
def test_a_client_that_looks_sees_that_an_idle_connection_was_closed(
    server: Serve, attack: Attack, more: list[str], failed: dict[str, int]
) -> None:
    report = attack(server(*[closed_while_idle] * 10), "--rate", "50", "--seconds", "0.2", *more)
    assert report["failed"] == failed
    assert report["connections"]["closed_idle"] == (0 if more else 9)


def test_what_cannot_be_sent_in_time_is_counted(server: Serve, attack: Attack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load, "PATIENCE", 0.1)

    def slow(sock: socket.socket) -> bool:
        time.sleep(0.3)
        return GOOD(sock)

    report = attack(server(slow), "--seconds", "0.3")
    assert report["late"] > 5
    assert report["sent"] + report["late"] == 30


def test_a_batch_is_acknowledged_as_a_whole_or_not_at_all(server: Serve, attack: Attack) -> None:
    whole = answer("201 Created", b'{"data": {"logs_processed": 10, "duplicate": 0}}')
    replayed = answer("201 Created", b'{"data": {"logs_processed": 10, "duplicate": 10}}')
    part = answer("200 OK", b'{"data": {"logs_processed": 9, "duplicate": 0}}')
    report = attack(server(whole, part, replayed), "--body", "batch", "--seconds", "0.03")
    assert (report["size"], report["ledger"], report["failed"]) == (10, [[0, 0], [2, 2]], {"partial": 1})
    assert report["replayed"] == 1


def test_the_file_runs_alone_and_its_report_is_the_last_line_of_stdout(server: Serve, tmp_path: Path) -> None:
    (tmp_path / "key").write_text("secret")
    program = [sys.executable, "-I", str(load.__file__), "--url", server(), "--key-file", str(tmp_path / "key")]
    done = subprocess.run([*program, "--connections", "2", "--seconds", "0.1"], check=True, capture_output=True, text=True)
    assert json.loads(done.stdout.splitlines()[-1])["acknowledged"] == 20
