"""What `sluice check` says of a service that is away, unwell or no Sluice: a real HTTP server that plays a script."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from sluice import check
from sluice.check import Caller, Check
from sluice.client import ClientError, Key
from sluice.doctor import Finding

SECRET = "slk_test_" + "s" * 49
KEY = Key(SECRET, "SLUICE_API_KEY")
# Status, headers, content; None: the connection is dropped.
Answer = tuple[int, dict[str, str], Any] | None


def success(code: int = 200, **data: Any) -> Answer:
    return code, {}, {"success": True, "message": "fine", "data": data}


def problem(status: int, reason: str, detail: str = "so it is") -> Answer:
    return status, {}, {"error": "an_error", "reason": reason, "detail": detail}


def whoami(*scopes: str) -> Answer:
    return success(key_id="web", version=2, scopes=scopes)


READY: Answer = (200, {}, {"ready": True, "message": "ready"})
CREATED, DUPLICATE = (success(201, id=7, event_id="e", status=status) for status in ("created", "duplicate"))
FOUND = success(event_id="e", event_name="sluice_check")
WELL = [READY, whoami("ingest", "read"), CREATED, DUPLICATE, FOUND]


class Service(ThreadingHTTPServer):
    """Answers by `script`, one entry a request; keeps method, path and whether a key came in `requests`."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.script: list[Answer] = []
        self.requests: list[tuple[str, str, bool]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Service

    def do_GET(self) -> None:
        self.play()

    def do_POST(self) -> None:
        self.play()

    def play(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", "0")))
        self.server.requests.append((self.command, self.path, "Authorization" in self.headers))
        answer = self.server.script.pop(0)
        if answer is None:
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        status, headers, content = answer
        text = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(text))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""


@pytest.fixture
def service() -> Iterator[Service]:
    with Service() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


class Time:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.now = 0.0
        self.waits: list[str] = []

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def time() -> Time:
    return Time()


Run = Callable[..., list[Finding]]


@pytest.fixture
def run(service: Service, time: Time) -> Run:
    """The findings of a check against a service that plays this script; all of it must be played."""

    def run(*script: Answer, key: Key | None = KEY, no_key: bool = False, url: str = "") -> list[Finding]:
        service.script = list(script)
        caller = Caller(url or service.url, None if no_key else key, 5, time.waits.append, time.sleep, lambda: time.now)
        steps = Check(caller, key, "e")
        found = list(check.findings(steps.without_key() if no_key else steps.with_key()))
        assert service.script == []
        return found

    return run


def verdicts(findings: list[Finding]) -> list[str]:
    return [finding.verdict for finding in findings]


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def test_a_service_that_works_is_asked_five_times_and_gets_the_key_each_time(run: Run, service: Service) -> None:
    assert verdicts(run(*WELL)) == ["ok"] * 5
    assert service.requests == [
        ("GET", "/readiness", True),
        ("GET", "/api/v1/whoami", True),
        ("POST", "/api/v1/ingest", True),
        ("POST", "/api/v1/ingest", True),
        ("GET", "/api/v1/events/e", True),
    ]


def test_a_key_that_may_not_read_is_fine_and_that_is_said(run: Run) -> None:
    found = run(READY, whoami("ingest"), CREATED, DUPLICATE)
    assert (verdicts(found), found[-1].what) == (["ok"] * 5, "not read back: the key has no scope read, which is fine")


def test_without_a_key_a_refusal_is_what_is_wanted(run: Run, service: Service) -> None:
    assert verdicts(run(READY, problem(401, "missing"), no_key=True)) == ["ok", "ok"]
    assert service.requests == [("GET", "/readiness", False), ("POST", "/api/v1/ingest", False)]


SICK: dict[str, tuple[list[Answer], str, str]] = {
    "schema behind": ([(503, {"Retry-After": "9"}, {"message": "schema_behind"})], "not ready: schema_behind", "sluice migrate"),
    "no key set": ([(503, {"Retry-After": "9"}, {"message": "keyset_missing"})], "keyset_missing", "KEYSET_FILE"),
    "readiness broken": ([(500, {}, b"")], "not ready (500)", check.NOT_SLUICE),
    "key unknown": ([READY, problem(401, "unknown")], "from SLUICE_API_KEY is not taken (401 unknown)", "sluice keys check"),
    "key may read only": ([READY, whoami("read")], "scopes read", "a key with the scope ingest"),
    "no Sluice": ([READY, (200, {}, b"<html>")], "not that of a Sluice service", "another as `sluice check URL`"),
    "no API": ([READY, (404, {}, b"")], "not taken (404)", "another as `sluice check URL`"),
    "limited": ([*WELL[:2], (429, {"Retry-After": "60"}, {})], "an event is not taken (429)", "raise the key's limit"),
    "store away": (
        [*WELL[:2], (503, {"Retry-After": "6"}, {"reason": "database_unreachable"})],
        "an event is not taken (503 database_unreachable)",
        "sluice doctor",
    ),
    "known already": ([*WELL[:2], DUPLICATE], "a new event is answered as duplicate", check.NOT_SLUICE),
    "stored twice": ([*WELL[:3], CREATED], "answered as created when it comes again", "one database"),
    "conflict": ([*WELL[:3], problem(409, "duplicate_event")], "is not taken again (409", "so it is"),
    "not to be found": ([*WELL[:4], (404, {}, b"")], "the event is not to be read (404)", check.NOT_SLUICE),
    "another event": ([*WELL[:4], success(event_id="f", event_name="x")], "another event is read", check.NOT_SLUICE),
}


@pytest.mark.parametrize(("script", "what", "mend"), SICK.values(), ids=SICK)
def test_the_step_that_fails_is_the_last_and_names_its_mend(run: Run, script: list[Answer], what: str, mend: str) -> None:
    found = run(*script)
    assert verdicts(found) == ["ok"] * (len(script) - 1) + ["failed"]
    assert what in found[-1].what
    assert mend in found[-1].mend


@pytest.mark.parametrize(
    ("answer", "what"), [(CREATED, "without a key is taken (201)"), ((404, {}, b""), "not refused with 401 (404)")]
)
def test_a_service_that_does_not_refuse_an_event_without_a_key_fails(run: Run, answer: Answer, what: str) -> None:
    found = run(READY, answer, no_key=True)
    assert verdicts(found) == ["ok", "failed"]
    assert what in found[-1].what


def test_a_check_without_any_key_says_how_to_give_one(run: Run) -> None:
    found = run(READY, key=None)
    assert (verdicts(found), "SLUICE_API_KEY" in found[-1].mend, "--no-key" in found[-1].mend) == (["ok", "failed"], True, True)


def test_a_readiness_that_an_ingress_does_not_carry_is_a_warning(run: Run) -> None:
    assert verdicts(run((404, {}, b""), *WELL[1:])) == ["warning", "ok", "ok", "ok", "ok"]


def test_a_service_that_is_not_ready_yet_is_waited_for(run: Run, time: Time) -> None:
    starting: Answer = (503, {}, {"ready": False, "message": "starting"})
    assert verdicts(run(starting, starting, *WELL)) == ["ok"] * 5
    assert [why.partition(" answers ")[2] for why in time.waits] == ["503 starting"] * 2


def test_waiting_ends_at_the_deadline(run: Run, time: Time) -> None:
    starting: Answer = (503, {}, {"ready": False, "message": "starting"})
    found = run(*[starting] * 11)
    assert (verdicts(found), time.now, "--retry-for" in found[0].mend) == (["failed"], 5.0, True)


def test_an_event_whose_first_answer_was_lost_may_come_back_as_a_duplicate(run: Run) -> None:
    assert verdicts(run(*WELL[:2], None, DUPLICATE, DUPLICATE, FOUND)) == ["ok"] * 5


def test_nobody_there_is_told_after_the_last_try(run: Run, time: Time) -> None:
    found = run(url=f"http://127.0.0.1:{closed_port()}")
    assert (verdicts(found), "Connection refused" in found[0].what, found[0].mend) == (["failed"], True, check.UNREACHABLE)
    assert len(time.waits) == 10


def test_a_certificate_that_is_not_trusted_is_not_tried_again(run: Run, service: Service, time: Time) -> None:
    found = run(url=service.url.replace("http", "https"))
    assert (verdicts(found), "no trusted TLS" in found[0].what, time.waits) == (["failed"], True, [])


def test_a_redirect_is_not_followed_but_told(run: Run) -> None:
    found = run((301, {"Location": "https://events.test/readiness"}, b""))
    assert found == [
        Finding("failed", "not ready: it redirects (301)", "give the address it names: https://events.test/readiness")
    ]


def test_what_a_service_says_reaches_the_terminal_without_the_key_and_without_escapes(run: Run) -> None:
    found = run(READY, problem(418, f"\x1b[31m{SECRET}", f"\x1b[0m{SECRET}" + "x" * 1000))
    shown = found[-1].what + found[-1].mend
    assert ("[key]" in shown, SECRET in shown, shown.isprintable(), len(shown) < 500) == (True, False, True, True)


@pytest.mark.parametrize("url", ["foo", "ftp://a", "http://user@a", "http://a?b"])
def test_an_address_that_can_not_be_used_is_refused(url: str) -> None:
    with pytest.raises(ClientError, match="must read http://HOST:PORT"):
        Caller(url, None)
