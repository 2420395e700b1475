"""The supervisor, the worker and the admin port as processes, around a small application (standin.py)."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import psutil
import pytest
import urllib3
from gunicorn.workers import gthread
from tests.conftest import ROOT
from tests.integration.waiting import until

PARSERS = ("python", "fast")
CHUNKED = b"POST /%s HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"


class Service:
    """A `serve` of the stand-in in its own process; `variables` are added to its environment."""

    def __init__(self, folder: Path, parser: str = "auto", **variables: str) -> None:
        self.run_dirs = folder / "run"
        self._log = folder / "log"
        environ = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": f"{ROOT / 'app'}:{ROOT}",
            "PORT": "0",
            "ADMIN_PORT": "0",
            "SLUICE_RUN_DIR": str(self.run_dirs),
            "DATABASE_URL": "postgresql://nobody.invalid/none",
            "API_KEYS": "a-plain-key-of-the-stand-in",
            "GUNICORN_CMD_ARGS": f"--http-parser {parser}",
            "WORKERS": "2",
            **variables,
        }
        command = [sys.executable, "-m", "tests.integration.standin"]
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, stderr=log, text=True)
        self._http = urllib3.PoolManager(retries=False, timeout=10)
        self.url, self.admin = self._addresses()
        self.port = int(self.url.rpartition(":")[2])
        self.all_processes = psutil.Process(self.process.pid).children(recursive=True)

    def _addresses(self) -> tuple[str, str]:
        """From what it tells people once it is ready."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if found := re.findall(r"http://[\d.:]+\d", line):
                return found[0], found[1]
        raise AssertionError(f"it ended before it was ready:\n{self.log}")

    @property
    def log(self) -> str:
        return self._log.read_text()

    @property
    def master(self) -> psutil.Process:
        return psutil.Process(self.process.pid).children()[0]

    def workers(self) -> list[psutil.Process]:
        return list(self.master.children())

    def get(self, url: str) -> tuple[int, Any]:
        answer = self._http.request("GET", url)
        return answer.status, answer.json()

    def probe(self, path: str) -> int:
        return self.get(self.admin + path)[0]

    def connect(self) -> Wire:
        return Wire(self.port)

    def end(self, number: signal.Signals = signal.SIGINT) -> int:
        self.process.send_signal(number)
        return self.process.wait(20)

    def close(self) -> None:
        """Whatever a test did to it, nothing of it stays."""
        for process in [*self.all_processes, psutil.Process()][:-1]:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self.process.kill()
        self.process.communicate()

    def nothing_left(self) -> bool:
        return not any(process.is_running() and process.status() != "zombie" for process in self.all_processes)


class Wire:
    """A client's connection, byte by byte."""

    opened: ClassVar[list[Wire]] = []

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=15)
        self._file = self.socket.makefile("rb")
        self.opened.append(self)

    def close(self) -> None:
        self._file.close()
        self.socket.close()

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def get(self, path: str = "/", version: str = "1.1") -> tuple[int, dict[str, str], bytes]:
        self.send(f"GET {path} HTTP/{version}\r\nHost: x\r\n\r\n".encode())
        return self.answer()

    def answer(self) -> tuple[int, dict[str, str], bytes]:
        status = int(self.line().split()[1])
        headers = dict(line.lower().split(": ", 1) for line in iter(self.line, ""))
        return status, headers, self._file.read(int(headers.get("content-length", "0")))

    def line(self) -> str:
        return self._file.readline().decode().rstrip("\r\n")

    def rest(self) -> bytes:
        return self._file.read()


@pytest.fixture(autouse=True)
def hang_up() -> Iterator[None]:
    yield
    while Wire.opened:
        Wire.opened.pop().close()


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="sluice-test-") as name:
        yield Path(name)


@contextlib.contextmanager
def serving(folder: Path, **variables: str) -> Iterator[Service]:
    service = Service(folder, **variables)
    try:
        yield service
    finally:
        service.close()


@pytest.fixture(scope="module", params=PARSERS)
def service(request: pytest.FixtureRequest) -> Iterator[Service]:
    """One for all tests that leave it as it is; REQUEST_TIMEOUT_SECONDS is 1."""
    if request.param == "fast":
        pytest.importorskip("gunicorn_h1c")
    with (
        tempfile.TemporaryDirectory(prefix="sluice-test-") as name,
        serving(Path(name), parser=request.param, REQUEST_TIMEOUT_SECONDS="1", SEND_TIMEOUT="1") as service,
    ):
        yield service


def chunked(*pieces: bytes, trailer: bytes = b"") -> bytes:
    framed = (f"{len(piece):x};a=b\r\n".encode() + piece + b"\r\n" for piece in pieces)
    return b"".join(framed) + b"0\r\n" + trailer + b"\r\n"


def told(body: bytes) -> dict[str, object]:
    return {"size": len(body), "digest": hashlib.sha256(body).hexdigest()}


# bodies


@pytest.mark.parametrize("size", [0, 1, 8_192, 65_536, 3_000_000])
def test_a_body_of_known_length_comes_whole(service: Service, size: int) -> None:
    body, wire = os.urandom(size), service.connect()
    wire.send(b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % size + body)
    status, headers, answer = wire.answer()
    assert (status, headers["connection"], json.loads(answer)) == (200, "keep-alive", told(body))


@pytest.mark.parametrize("size", [1, 100, 5_000, 20_000])
def test_a_chunked_body_comes_whole_whatever_its_chunks(service: Service, size: int) -> None:
    body, wire = os.urandom(40_000), service.connect()
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    wire.send(CHUNKED % b"echo" + chunked(*pieces, trailer=b"X-Sum: 1\r\n"))
    status, headers, answer = wire.answer()
    assert (status, headers["connection"], json.loads(answer)) == (200, "keep-alive", told(body))


@pytest.mark.parametrize("trailer", [b"", b"X-Sum: 1\r\n"])
def test_a_request_that_came_with_a_chunked_body_is_served_after_it(service: Service, trailer: bytes) -> None:
    wire = service.connect()
    wire.send(CHUNKED % b"echo" + chunked(b"one", trailer=trailer) + CHUNKED % b"echo" + chunked(b"two"))
    assert [json.loads(wire.answer()[2]) for _ in range(2)] == [told(b"one"), told(b"two")]


def test_a_request_that_came_with_a_body_of_known_length_is_served_after_it(service: Service) -> None:
    wire = service.connect()
    wire.send(b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\noneGET / HTTP/1.1\r\nHost: x\r\n\r\n")
    assert json.loads(wire.answer()[2]) == told(b"one")
    assert wire.answer()[0] == 200


@pytest.mark.parametrize(
    "sent",
    [
        b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nfour",
        CHUNKED % b"echo",
        CHUNKED % b"echo" + b"5\r\nfour",
        CHUNKED % b"echo" + b"4\r\nfour\r\n",
        CHUNKED % b"echo" + b"4\r\nfour\r\n0\r\n",
        CHUNKED % b"echo" + b"4\r\nfour\r\n0\r\nX-Sum: 1\r\n",
    ],
)
def test_a_client_that_leaves_in_its_body_is_told_apart_from_its_end(service: Service, sent: bytes) -> None:
    wire = service.connect()
    wire.send(sent)
    wire.socket.shutdown(socket.SHUT_WR)
    status, headers, _ = wire.answer()
    assert (status, headers["connection"]) == (400, "close")


@pytest.mark.parametrize("framing", [b"zz\r\n", b"4\r\nfourXX", b"-1\r\n", b"0\r\nbad trailer\r\n\r\n", b"1" * 9_000])
def test_broken_framing_is_a_broken_body(service: Service, framing: bytes) -> None:
    wire = service.connect()
    wire.send(CHUNKED % b"echo" + framing)
    status, headers, _ = wire.answer()
    assert (status, headers["connection"]) == (400, "close")


@pytest.mark.parametrize("head", [b"Transfer-Encoding: chunked\r\n\r\n5\r\nsta", b"Content-Length: 9\r\n\r\nsta"])
def test_a_body_that_stalls_ends_at_the_deadline(service: Service, head: bytes) -> None:
    wire, begin = service.connect(), time.monotonic()
    wire.send(b"POST /echo HTTP/1.1\r\nHost: x\r\n" + head)
    status, headers, _ = wire.answer()
    assert (status, headers["connection"]) == (408, "close")
    assert 0.9 < time.monotonic() - begin < 4


@pytest.mark.parametrize(
    ("begun", "trickle"),
    [(b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n", b"x"), (b"GET / HTTP/1.1\r\n", b"X-Slow: 1\r\n")],
    ids=["body", "headers"],
)
def test_what_trickles_ends_at_the_deadline_too(service: Service, begun: bytes, trickle: bytes) -> None:
    wire, begin = service.connect(), time.monotonic()
    wire.send(begun)
    until(lambda: gave_up(wire, trickle))
    assert 0.9 < time.monotonic() - begin < 5


def gave_up(wire: Wire, trickle: bytes) -> bool:
    """Send a little more; whether the server answered, or left, within a tenth of a second."""
    try:
        wire.send(trickle)
        return bool(select.select([wire.socket], [], [], 0.1)[0])
    except ConnectionError:
        return True


def test_pieces_of_a_stream_come_while_it_is_open(service: Service) -> None:
    wire = service.connect()
    wire.send(CHUNKED % b"stream" + b"3\r\none\r\n3\r\ntwo\r\n")
    # Chunks that are there together come together.
    assert lines_of(wire, 3) == ["begin", "onetwo", "silence"]
    wire.send(b"5\r\nthree\r\n0\r\n\r\n")
    rest = [line for line in iter(lambda: lines_of(wire, 1)[0], "end") if line != "silence"]
    assert rest == ["three"]


def test_the_line_end_of_a_chunk_alone_is_silence(service: Service) -> None:
    wire = service.connect()
    wire.send(CHUNKED % b"stream" + b"3\r\none")
    assert lines_of(wire, 3) == ["begin", "one", "silence"]
    wire.send(b"\r\n")
    assert lines_of(wire, 2) == ["silence", "silence"]


def test_pieces_of_a_body_of_known_length_come_as_they_are_sent(service: Service) -> None:
    wire = service.connect()
    wire.send(b"POST /stream HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\n\r\none")
    assert lines_of(wire, 3) == ["begin", "one", "silence"]
    wire.send(b"two")
    rest = [line for line in iter(lambda: lines_of(wire, 1)[0], "end") if line != "silence"]
    assert rest == ["two"]


def lines_of(wire: Wire, count: int) -> list[str]:
    """The next lines of a chunked answer to /stream, one a chunk."""
    found: list[str] = []
    while len(found) < count:
        line = wire.line()
        if line in ("begin", "silence", "stopping", "end", "one", "two", "onetwo", "three"):
            found.append(line)
    return found


# connections


def test_a_refused_body_closes_the_connection_after_the_answer(service: Service) -> None:
    wire = service.connect()
    wire.send(b"POST /refuse HTTP/1.1\r\nHost: x\r\nContent-Length: 5000000\r\n\r\n" + b"x" * 100_000)
    status, headers, _ = wire.answer()
    assert (status, headers["connection"]) == (413, "close")


def test_a_client_that_does_not_read_its_answer_is_let_go(service: Service) -> None:
    wires = [service.connect() for _ in range(4)]
    for wire in wires:
        wire.send(b"GET /endless HTTP/1.1\r\nHost: x\r\n\r\n")
    until(lambda: sum(dict(unread_by_pid(service) for _ in range(8)).values()) >= 4, 15)
    assert "Traceback" not in service.log


def unread_by_pid(service: Service) -> tuple[int, int]:
    told = json.loads(service.connect().get()[2])
    return told["pid"], told["unread"]


IDLE = {
    "do not close": (12, b"GET / HTTP/1.0\r\nGarbage\r\n\r\n"),
    "say nothing": (80, b""),
    "send half a header": (80, b"GET / HTTP/1.1\r\nHost: x\r\nX-Half: "),
}


@pytest.mark.parametrize(("count", "said"), IDLE.values(), ids=IDLE)
def test_clients_that_stay_hold_up_nobody(service: Service, count: int, said: bytes) -> None:
    for _ in range(count):
        service.connect().send(said)
    begin = time.monotonic()
    assert [service.connect().get()[0] for _ in range(8)] == [200] * 8
    assert time.monotonic() - begin < 1.5


def test_the_server_header_does_not_say_what_serves(service: Service) -> None:
    assert service.connect().get()[1]["server"] == "sluice"


# the admin port


def test_probes_and_key_set_answer_on_the_admin_port(service: Service) -> None:
    assert service.get(f"{service.admin}/readiness") == (200, {"ready": True, "message": "ready"})
    assert [service.probe(path) for path in ("/liveness", "/health")] == [200, 200]
    keyset = until(lambda: (found := service.get(f"{service.admin}/keyset")[1])["workers"] == 2 and found)
    nothing: dict[str, object] = {"revision": None, "loadedAt": None, "lastUsed": {}, "lastRefused": {}}
    assert keyset == {"workers": 2, "loaded": 2, "entries": 1, **nothing}


def test_the_admin_port_refuses_in_problem_json(service: Service) -> None:
    http = urllib3.PoolManager(retries=False)
    missing, posted = http.request("GET", f"{service.admin}/"), http.request("POST", f"{service.admin}/keyset")
    assert (missing.status, missing.json()["error"]) == (404, "not_found")
    assert (posted.status, posted.headers["Allow"], posted.json()["error"]) == (405, "GET, HEAD", "method_not_allowed")
    assert missing.headers["Content-Type"] == posted.headers["Content-Type"] == "application/problem+json"


# ends


def test_a_stream_learns_that_its_worker_is_about_to_end(folder: Path) -> None:
    with serving(folder, DRAIN_SECONDS="0") as service:
        wire = service.connect()
        wire.send(CHUNKED % b"stream")
        assert lines_of(wire, 2) == ["begin", "silence"]
        service.process.send_signal(signal.SIGTERM)
        until(lambda: lines_of(wire, 1) == ["stopping"])
        wire.send(b"0\r\n\r\n")
        assert service.process.wait(10) == 0


@pytest.fixture
def nohup() -> Iterator[None]:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    yield
    signal.signal(signal.SIGHUP, before)


def test_neither_the_end_of_a_terminal_under_nohup_nor_a_log_that_is_rotated_ends_the_service(folder: Path, nohup: None) -> None:
    with serving(folder, DRAIN_SECONDS="0") as service:
        for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
            service.process.send_signal(number)
        assert service.end(signal.SIGTERM) == 0
        assert re.findall('"signal": "(SIG[A-Z]+)"', service.log) == ["SIGTERM"]


def test_a_second_signal_ends_at_once(folder: Path) -> None:
    with serving(folder, DRAIN_SECONDS="300") as service:
        service.process.send_signal(signal.SIGTERM)
        until(lambda: service.probe("/readiness") == 503)
        assert service.end(signal.SIGINT) == 0
        assert service.nothing_left()


def test_the_death_of_gunicorn_ends_the_service_with_an_error(folder: Path) -> None:
    with serving(folder) as service:
        service.master.kill()
        assert service.process.wait(10) == 1
        assert service.nothing_left()
        assert "gunicorn.ended" in service.log


def test_workers_that_are_killed_are_replaced_and_the_service_is_ready_again(folder: Path) -> None:
    with serving(folder) as service:
        before = {worker.pid for worker in service.workers()}
        for worker in service.workers():
            worker.kill()
        until(lambda: len({worker.pid for worker in service.workers()} - before) == 2)
        until(lambda: service.get(f"{service.admin}/keyset")[1]["workers"] == 2)
        until(lambda: service.probe("/readiness") == 200, what="it is ready")


def test_a_worker_that_is_to_be_replaced_waits_for_connections_that_clients_keep(folder: Path) -> None:
    with serving(folder, WORKERS="1", MAX_REQUESTS="20") as service:
        kept = service.connect()
        pid = json.loads(kept.get()[2])["pid"]
        assert {visit(service) for _ in range(40)} == {pid}
        # gunicorn by itself closes what is idle for so long when a worker ends.
        time.sleep(gthread.STOP_KEEPALIVE_LINGER + 1)
        status, headers, body = kept.get()
        assert (status, headers["connection"], json.loads(body)["pid"]) == (200, "close", pid)
        until(lambda: visit(service) != pid, 10, "another worker serves")


def visit(service: Service) -> int:
    """One request on a connection of its own; the worker's pid."""
    wire = service.connect()
    pid = json.loads(wire.get(version="1.0")[2])["pid"]
    wire.close()
    return int(pid)
