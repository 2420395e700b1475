"""The fast path of single posts: the same answers as Flask's, whatever the client does with its connection."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.conftest import ROOT
from tests.integration.checks import Mine, at_once, data_of, problem_of
from tests.integration.postgres import Database, connect
from tests.integration.raw import Raw
from tests.integration.scrape import scrape, values
from tests.integration.service import KEY, Service, running, started
from tests.integration.waiting import until

pytest_plugins = "tests.integration.services"
pytest.importorskip("gunicorn_h1c", reason="gunicorn's HTTP parser in C is not installed (pip install 'sluice[fast]')")
pytestmark = pytest.mark.skipif(
    os.environ.get("FAST_PATH") == "off", reason="FAST_PATH=off: the suite runs without the fast path"
)

INGEST = "/api/v1/ingest"
# Of each answer, and of the time it was given at.
OWN = ("x-request-id", "traceparent", "date", "ratelimit")


def request(event: object, *lines: str, key: str | None = KEY) -> bytes:
    """A plain post; `lines` are put to its headers."""
    body = event if isinstance(event, bytes) else json.dumps(event).encode()
    head = [f"POST {INGEST} HTTP/1.1", "Host: sluice", "Content-Type: application/json", f"Content-Length: {len(body)}"]
    head += [f"Authorization: Bearer {key}"] if key is not None else []
    return "\r\n".join([*head, *lines, "", ""]).encode() + body


def counts(service: Service) -> dict[str, float]:
    """Requests by what the fast path did with them."""
    found = values(scrape(service)).items()
    return {dict(labels)["result"]: value for (name, labels), value in found if name == "sluice_fast_path_total"}


@contextmanager
def counted(service: Service, **expected: float) -> Iterator[None]:
    """The counts grow by as much as is expected, and by nothing else."""
    before = counts(service)
    yield
    after = counts(service)
    assert {name: after[name] - before[name] for name in after if after[name] != before[name]} == expected


def told(answer: httpx.Response) -> Any:
    headers = sorted((name, value) for name, value in answer.headers.multi_items() if name not in OWN)
    body = answer.json()
    body.pop("request_id", None)
    return answer.status_code, headers, sorted(name for name in OWN if name in answer.headers), body


def both(service: Service, sent: bytes, again: bytes) -> tuple[httpx.Response, httpx.Response]:
    """The answers of the fast path to `sent`, and of Flask to `again`."""
    with Raw(service) as connection:
        with counted(service, served=1):
            connection.send(sent)
            fast = connection.answer()
        with counted(service, unknown_header=1):
            connection.send(again.replace(b"\r\n\r\n", b"\r\nX-Unheard-Of: 1\r\n\r\n", 1))
            return fast, connection.answer()


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"[]",
        b'"\xff"',
        b'{"event_type":"none","event_name":"a"}',
        b'{"event_type":"log","event_name":"a","timestamp":"2999-01-01T00:00:00Z"}',
        b'{"event_type":"log","event_name":"a","properties":{"a":"\\u0000"}}',
    ],
)
def test_what_is_no_event_is_refused_as_by_flask(service: Service, body: bytes) -> None:
    fast, slow = both(service, request(body), request(body))
    assert told(fast) == told(slow)
    assert fast.status_code == 400


@pytest.mark.parametrize("key", [None, "", "wrong", "a b", "slk_test_" + "0" * 49])
def test_a_key_that_is_not_valid_is_refused_as_by_flask(service: Service, mine: Mine, key: str | None) -> None:
    fast, slow = both(service, request(mine.event(), key=key), request(mine.event(), key=key))
    assert told(fast) == told(slow)
    assert fast.status_code == 401
    assert mine.count() == 0


@pytest.mark.parametrize("key", [None, "wrong"])
@pytest.mark.parametrize(("size", "way"), [(16 << 10, "served"), ((16 << 10) + 1, "content_length")])
def test_a_body_above_16_kib_is_left_to_a_thread_with_its_first_bytes(
    service: Service, mine: Mine, size: int, way: str, key: str | None
) -> None:
    """The poller would collect it for everybody, before any key was looked at."""
    whole = request(json.dumps(mine.event()).encode().ljust(size), key=key)
    with Raw(service) as connection, counted(service, **{way: 1}):
        connection.send(whole if way == "served" else whole[: -(size - 100)])
        assert connection.answer().status_code == 401


def test_a_new_event_a_duplicate_and_a_conflict_are_answered_as_by_flask(service: Service, mine: Mine) -> None:
    new = both(service, request(mine.event("a")), request(mine.event("b")))
    assert [told(answer)[:3] for answer in new[:1]] == [told(answer)[:3] for answer in new[1:]]
    assert [data_of(answer, 201)["status"] for answer in new] == ["created", "created"]
    fast, slow = both(service, request(mine.event("a")), request(mine.event("a")))
    assert told(fast) == told(slow)
    assert fast.headers["idempotent-replayed"] == "true"
    other = mine.event("a", event_name="other")
    fast, slow = both(service, request(other), request(other))
    assert told(fast) == told(slow)
    problem_of(fast, 409, "duplicate_event", "other_content")
    assert mine.names() == ["a", "b"]


def test_ids_that_came_are_repeated_and_logged(service: Service) -> None:
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    with Raw(service) as connection, counted(service, served=1):
        connection.send(request(b"{", "X-Request-ID: of-the-fast-path", f"traceparent: {trace}"))
        answer = connection.answer()
    assert (answer.headers["x-request-id"], answer.headers["traceparent"]) == ("of-the-fast-path", trace)
    line = until(lambda: [line for line in service.lines("request") if line["request_id"] == "of-the-fast-path"])[0]
    assert (line["status"], line["traceparent"], line["route"], line["error"]) == (400, trace, INGEST, "invalid_json")


def test_flasks_metrics_count_what_flask_does_not_see(service: Service, mine: Mine) -> None:
    def seen() -> tuple[float, float]:
        found = values(scrape(service))
        total = sum(
            value for (name, labels), value in found.items() if name == "flask_http_request_total" and ("status", "201") in labels
        )
        timed = sum(
            value
            for (name, labels), value in found.items()
            if name == "flask_http_request_duration_seconds_count"
            and INGEST in dict(labels).values()
            and ("status", "201") in labels
        )
        return total, timed

    before = seen()
    with Raw(service) as connection, counted(service, served=3):
        for name in "abc":
            connection.send(request(mine.event(name)))
            data_of(connection.answer(), 201)
    assert seen() == (before[0] + 3, before[1] + 3)


def test_a_request_that_comes_in_pieces_is_served(service: Service, mine: Mine) -> None:
    sent = request(mine.event())
    with Raw(service) as connection, counted(service, served=1):
        for piece in (sent[:10], sent[10:60], sent[60:-5], sent[-5:]):
            connection.send(piece)
        data_of(connection.answer(), 201)


@pytest.mark.parametrize("cut", [10, 60, -5])
def test_a_request_that_stays_incomplete_goes_to_a_thread(service: Service, mine: Mine, cut: int) -> None:
    sent = request(mine.event())
    with Raw(service) as connection, counted(service, incomplete=1):
        connection.send(sent[:cut])
        until(lambda: counts(service)["incomplete"] and not connection.answered(), what="nothing is answered")
        time.sleep(0.4)
        connection.send(sent[cut:])
        data_of(connection.answer(), 201)


def test_a_client_that_leaves_in_the_middle_of_a_request_stores_nothing(service: Service, mine: Mine) -> None:
    with Raw(service) as connection:
        connection.send(request(mine.event())[:-1])
        connection.sock.shutdown(socket.SHUT_WR)
        assert connection.answer().status_code == 400
    assert mine.count() == 0


def test_a_client_that_says_nothing_more_still_reads_its_answer(service: Service, mine: Mine) -> None:
    with Raw(service) as connection, counted(service, served=1):
        connection.send(request(mine.event()))
        connection.sock.shutdown(socket.SHUT_WR)
        data_of(connection.answer(), 201)
        assert connection.sock.recv(1) == b""


def test_clients_that_break_off_cost_nobody_but_themselves(service: Service, mine: Mine) -> None:
    before = [worker.pid for worker in service.workers()]
    with service.client() as other:
        for n in range(120):
            broken = Raw(service)
            broken.send(request(mine.event(f"{n}")) + request(b"{")[: n % 50])
            if n % 3:
                time.sleep(0.001 * (n % 5))
            broken.break_off()
            if n % 20 == 0:
                data_of(other.post(INGEST, json=mine.event(f"other-{n}")), 201)
    assert [worker.pid for worker in service.workers()] == before
    assert len([name for name in mine.names() if name.startswith("other")]) == 6


def test_requests_that_wait_for_no_answer_are_answered_in_order(service: Service, mine: Mine) -> None:
    sent = [request(mine.event(f"{n:03}")) for n in range(30)]
    sent[5] = request(b"{")
    sent[10] = request(mine.event("010"), "X-Unheard-Of: 1")
    sent[15] = request(mine.event("015"), key="wrong")
    sent[20] = b"GET /health HTTP/1.1\r\nHost: sluice\r\n\r\n"
    with Raw(service) as connection:
        connection.send(b"".join(sent))
        answers = [connection.answer() for _ in sent]
    assert [answer.status_code for answer in answers] == [{5: 400, 15: 401, 20: 200}.get(n, 201) for n in range(30)]
    told = [answer.json()["data"]["event_id"].removeprefix(mine.prefix) for answer in answers if answer.status_code == 201]
    assert told == mine.names() == [f"{n:03}" for n in range(30) if n not in (5, 15, 20)]


def test_a_client_that_reads_nothing_keeps_its_order_and_holds_up_nobody(database: Database) -> None:
    mine = Mine(database)
    with running(database.url, WORKERS="1", LOG_LEVEL="error") as service, Raw(service) as lazy, service.client() as other:
        sent = 0
        # The less the kernel holds for it, the sooner its answers wait in the service.
        lazy.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
        lazy.sock.settimeout(1)
        with contextlib.suppress(TimeoutError):
            for sent in range(100_000):
                lazy.send(request(b"{", f"X-Request-ID: lazy-{sent}"))
        data_of(other.post(INGEST, json=mine.event()), 201)
        lazy.sock.settimeout(20)
        lazy.sock.shutdown(socket.SHUT_WR)
        answers = b"".join(iter(lambda: lazy.sock.recv(1 << 16), b""))
    # The last request was cut off by the time limit.
    ids = re.findall(rb"(?i)\r\nx-request-id: (\S+)", answers)[:sent]
    assert ids == [b"lazy-%d" % number for number in range(sent)]


def test_a_client_that_asks_for_it_finds_the_connection_closed(service: Service, mine: Mine) -> None:
    with Raw(service) as connection, counted(service, served=1):
        connection.send(request(mine.event(), "Connection: close") + request(mine.event("never")))
        answer = connection.answer()
        assert (answer.status_code, answer.headers["connection"]) == (201, "close")
        assert connection.sock.recv(1) == b""
    assert mine.names() == ["a"]


@contextmanager
def held(database: Database) -> Iterator[None]:
    """Commits wait meanwhile."""
    with connect(database.owner_url) as connection, connection.transaction():
        connection.execute("LOCK TABLE sluice.events IN SHARE MODE")
        yield


def test_what_is_in_flight_at_sigterm_is_answered_and_asked_to_close(database: Database) -> None:
    mine = Mine(database)
    with running(database.url, WORKERS="1") as service, Raw(service) as kept, Raw(service) as idle:
        idle.send(request(mine.event("before")))
        assert idle.answer().headers["connection"] == "keep-alive"
        with held(database):
            kept.send(request(mine.event("in flight")))
            until(database.waits, what="the commit waits")
            service.process.send_signal(signal.SIGTERM)
            until(lambda: "Handling signal: term" in service.log, what="gunicorn was told to end")
            idle.send(request(mine.event("late")))
        for connection in (kept, idle):
            answer = connection.answer()
            assert (answer.status_code, answer.headers["connection"]) == (201, "close")
            assert connection.sock.recv(1) == b""
        assert service.process.wait(10) == 0
    assert mine.names() == ["before", "in flight", "late"]


def test_a_commit_that_does_not_end_is_answered_with_503_and_the_retry_is_stored(database: Database) -> None:
    mine = Mine(database)
    with running(database.url, WORKERS="1") as service, Raw(service) as one, Raw(service) as other:
        with held(database):
            one.send(request(mine.event("a")))
            other.send(request(mine.event("b")))
            for connection in (one, other):
                answer = connection.answer()
                assert int(answer.headers["retry-after"]) >= 1
                problem_of(answer, 503, "database_error", "query_timeout")
        for connection, name in ((one, "a"), (other, "b")):
            connection.send(request(mine.event(name)))
            assert connection.answer().status_code == 201
    assert mine.names() == ["a", "b"]


def test_workers_that_are_replaced_lose_nothing(database: Database) -> None:
    mine = Mine(database)
    with running(database.url, MAX_REQUESTS="100", KEEP_ALIVE="1") as service:
        first = {worker.pid for worker in service.workers()}

        def post(share: int) -> list[int]:
            with service.client() as client:
                return [client.post(INGEST, json=mine.event(f"{share}-{n}")).status_code for n in range(200)]

        assert at_once(4, post) == [[201] * 200] * 4
        assert not first & {worker.pid for worker in service.workers()}
    assert mine.count() == 800


@pytest.fixture
def unread(database: Database) -> Iterator[Service]:
    """A service of one worker whose log is a pipe that nobody reads."""
    read, write = os.pipe()
    with tempfile.TemporaryDirectory(prefix="sluice-test-") as name, open(write, "wb") as log:
        process = started(database.url, Path(name), {"WORKERS": "1"}, log)
        service = Service(process, Path(name))
        try:
            until(service.ready, 20, "the service is ready")
            yield service
        finally:
            service.kill()
            os.close(read)


def test_a_log_that_nobody_reads_holds_up_no_post(unread: Service, database: Database) -> None:
    mine = Mine(database)
    with Raw(unread) as connection:
        for _ in range(2_000):
            connection.send(request(b"{"))
            assert connection.answer().status_code == 400
        connection.send(request(mine.event()))
        data_of(connection.answer(), 201)
    assert mine.names() == ["a"]


def test_the_status_says_that_there_is_a_fast_path(service: Service, client: httpx.Client) -> None:
    assert data_of(client.get("/api/v1/status"))["service"]["fast_path"] == "on"
    assert "slow path" not in service.greeting_path.read_text()


@pytest.mark.parametrize(("state", "said"), [("off", "FAST_PATH is off"), ("no_parser", "pip install 'sluice[fast]'")])
def test_without_it_everything_is_served_and_the_status_says_so(
    database: Database, tmp_path: Path, state: str, said: str
) -> None:
    mine = Mine(database)
    (tmp_path / "gunicorn_h1c.py").write_text("raise ImportError")
    path = os.pathsep.join((str(tmp_path), str(ROOT / "app")))
    without: dict[str, Any] = {"FAST_PATH": "off"} if state == "off" else {"PYTHONPATH": path}
    with running(database.url, **without) as service, service.client() as client:
        data_of(client.post(INGEST, json=mine.event()), 201)
        assert data_of(client.get("/api/v1/status"))["service"]["fast_path"] == state
        assert said in until(service.greeting_path.read_text)
        assert set(counts(service).values()) == {0.0}
    assert mine.names() == ["a"]
