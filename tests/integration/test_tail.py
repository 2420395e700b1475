"""GET /api/v1/logs/tail: what is committed comes, in bounds, for as long as the key is good."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import httpx
import psutil
import pytest
from tests.integration.checks import Mine, data_of, problem_of
from tests.integration.keysets import KeysetFile
from tests.integration.postgres import Database, connect
from tests.integration.sample import row
from tests.integration.service import KEY, Service, running
from tests.integration.waiting import until

from sluice.stores.postgresql.store import Insertion
from sluice.tail.hub import MAX_FILTERS

pytest_plugins = ["tests.integration.services"]

TAIL, INGEST, BATCH = "/api/v1/logs/tail", "/api/v1/ingest", "/api/v1/batch-ingest"


class Stream:
    """An open tail, read event by event: {"event", "id", "data"}; what has no data is left out. `last`: the last id."""

    def __init__(self, response: httpx.Response) -> None:
        self.response = response
        self.last = ""
        self._lines = response.iter_lines()

    def __iter__(self) -> Iterator[dict[str, Any]]:
        found: dict[str, Any] = {}
        for line in self._lines:
            name, _, value = line.partition(": ")
            if not line:
                self.last = found.get("id", self.last)
                if "data" in found:
                    yield found
                found = {}
            elif name in ("event", "id"):
                found[name] = value
            elif name == "data":
                found["data"] = json.loads(value)

    def take(self, count: int) -> list[dict[str, Any]]:
        events = iter(self)
        return [next(events) for _ in range(count)]

    def names(self, mine: Mine, count: int) -> list[str]:
        return [event["data"]["event_id"].removeprefix(mine.prefix) for event in self.take(count)]


@contextlib.contextmanager
def tailing(service: Service, key: str = KEY, last: str | None = None, **query: str) -> Iterator[Stream]:
    headers = {"Last-Event-ID": last} if last else {}
    with service.client(key) as client, client.stream("GET", TAIL, params=query, headers=headers) as response:
        assert response.status_code == 200, response.read()
        yield Stream(response)


def send(service: Service, mine: Mine, *names: str, **fields: Any) -> None:
    with service.client() as client:
        for name in names:
            data_of(client.post(INGEST, json=mine.event(name, source=mine.id("source"), **fields)), 201)


def test_an_event_comes_when_it_is_committed(service: Service, mine: Mine) -> None:
    with tailing(service, source=mine.id("source")) as tail:
        assert tail.response.headers["content-type"] == "text/event-stream"
        assert (tail.response.headers["cache-control"], "x-request-id" in tail.response.headers) == ("no-store", True)
        send(service, mine, "a", "b")
        events = tail.take(2)
        with service.client() as client:
            assert events[1]["data"] == data_of(client.get(f"/api/v1/events/{mine.id('b')}"))


def test_one_that_commits_after_others_with_higher_ids_comes_too(service: Service, mine: Mine) -> None:
    at = datetime.now(UTC)
    with tailing(service, source=mine.id("source")) as tail, connect(mine.database.url) as connection:
        with connection.transaction():
            Insertion([row(mine.id("late"), now=at, source=mine.id("source"))], at).run(connection)
            send(service, mine, "a", "b")
            assert tail.names(mine, 2) == ["a", "b"]
        assert tail.names(mine, 1) == ["late"]


def test_tails_are_bounded_and_those_that_are_open_go_on(service: Service, mine: Mine) -> None:
    with contextlib.ExitStack() as stack:
        answers = []
        # Two workers, each with as many different filters as it takes; the last is open in one of them at least.
        for number in range(2 * MAX_FILTERS + 1):
            client = stack.enter_context(service.client())
            query = {"source": mine.id("source"), "properties.n": str(number)}
            answers.append(stack.enter_context(client.stream("GET", TAIL, params=query)))
        refused = [answer for answer in answers if answer.status_code != 200]
        assert refused != []
        for answer in refused:
            answer.read()
            problem_of(answer, 503, "overloaded", "tails")
            assert answer.headers["retry-after"] == "5"
        number = next(n for n, answer in enumerate(answers) if answer.status_code == 200)
        send(service, mine, "a", properties={"n": number})
        assert Stream(answers[number]).names(mine, 1) == ["a"]


def test_a_tail_has_the_filters_of_a_page(service: Service, mine: Mine) -> None:
    wanted = {"source": mine.id("source"), "event_type": "error", "properties.code": "502"}
    with tailing(service, **wanted) as tail:
        send(service, mine, "a")
        send(service, mine, "b", event_type="error", properties={"code": 500})
        send(service, mine, "c", event_type="error", properties={"code": 502})
        assert tail.names(mine, 1) == ["c"]


def test_it_goes_on_behind_the_last_event_id_by_any_worker(service: Service, mine: Mine) -> None:
    with tailing(service, source=mine.id("source")) as tail:
        send(service, mine, "a", "b")
        first, _ = tail.take(2)
    send(service, mine, "c")
    with contextlib.ExitStack() as stack:
        tails = [stack.enter_context(tailing(service, last=first["id"], source=mine.id("source"))) for _ in range(4)]
        assert [tail.names(mine, 2) for tail in tails] == [["b", "c"]] * 4
        send(service, mine, "d")
        assert [tail.names(mine, 1) for tail in tails] == [["d"]] * 4


def test_one_that_no_event_came_of_goes_on_where_it_was_opened(service: Service, mine: Mine) -> None:
    with running(mine.database.url, DRAIN_SECONDS="3") as ending, tailing(ending, source=mine.id("source")) as tail:
        ending.process.send_signal(signal.SIGTERM)
        assert list(tail) == [{"event": "end", "data": {"reason": "draining"}}]
    send(service, mine, "a")
    with tailing(service, last=tail.last, source=mine.id("source")) as again:
        assert again.names(mine, 1) == ["a"]


@pytest.mark.parametrize(
    ("query", "headers", "error"),
    [
        ("?nonsense=1", {}, "unknown_parameter"),
        ("?page=2", {}, "unknown_parameter"),
        ("?event_type=x", {}, "invalid_event_type"),
        ("", {"Last-Event-ID": "made-up"}, "invalid_cursor"),
        (f"?{'&'.join(['id=1'] * 33)}", {}, "validation_error"),
    ],
)
def test_what_cannot_be_a_tail_is_refused(client: httpx.Client, query: str, headers: dict[str, str], error: str) -> None:
    problem_of(client.get(TAIL + query, headers=headers), 400, error, *(["query"] if query else []))


def test_it_needs_a_key_and_head_opens_none(service: Service, client: httpx.Client) -> None:
    with service.client(None) as stranger:
        problem_of(stranger.get(TAIL), 401, "unauthorized", "missing")
    answer = client.head(TAIL)
    assert (answer.status_code, answer.headers["content-type"], answer.content) == (200, "text/event-stream", b"")


def test_many_tails_hold_no_thread_of_a_request(service: Service, mine: Mine) -> None:
    with contextlib.ExitStack() as stack:
        tails = [stack.enter_context(tailing(service, source=mine.id("source"))) for _ in range(60)]
        # Two workers with sixteen threads each.
        begun = time.monotonic()
        send(service, mine, "a")
        with service.client() as client:
            data_of(client.get("/api/v1/logs/recent"))
        assert time.monotonic() - begun < 5
        assert {tuple(tail.names(mine, 1)) for tail in tails} == {("a",)}


def test_a_reader_that_is_slow_is_sent_the_number_that_it_lost_and_memory_stays(service: Service, mine: Mine) -> None:
    with socket.create_connection(("127.0.0.1", service.port)) as slow, service.client() as client:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        head = f"GET {TAIL}?source={mine.id('source')} HTTP/1.0\r\nAuthorization: Bearer {KEY}\r\n\r\n"
        slow.sendall(head.encode())
        assert slow.recv(12) == b"HTTP/1.0 200"

        def post(number: int, source: str) -> None:
            events = [mine.event(f"{number}-{n}", source=source, properties={"x": "y" * 30_000}) for n in range(300)]
            data_of(client.post(BATCH, json=events), 201)

        # Batches as large cost each worker memory by themselves.
        for number in range(100, 106):
            post(number, "another")
        before = sum(each.memory_info().rss for each in service.workers())
        for number in range(5):
            post(number, mine.id("source"))
        assert sum(each.memory_info().rss for each in service.workers()) - before < 100 << 20
        slow.settimeout(10)
        got = b""
        while b'{"lost":' not in got:
            piece = slow.recv(1 << 20)
            assert piece, "it ended"
            got += piece
        number = int(got.partition(b'{"lost":')[2].partition(b"}")[0])
        assert 0 < number < 1500


def test_it_ends_with_its_key(database: Database, keyset: KeysetFile) -> None:
    leaver = keyset.add("leaver")
    keyset.publish()
    with (
        running(database.url, API_KEYS=None, KEYSET_FILE=str(keyset.path)) as service,
        tailing(service, leaver) as tail,
    ):
        keyset.change(leaver, state="revoked")
        keyset.publish()
        assert list(tail) == [{"event": "end", "data": {"reason": "revoked"}}]


def test_a_drain_ends_it_with_a_word_and_nothing_waits_for_it(database: Database) -> None:
    with running(database.url, DRAIN_SECONDS="3") as service, tailing(service) as tail:
        service.process.send_signal(signal.SIGTERM)
        assert list(tail) == [{"event": "end", "data": {"reason": "draining"}}]
        assert service.process.wait(20) == 0


def test_a_client_that_sends_on_and_on_is_hung_up_on(service: Service) -> None:
    with socket.create_connection(("127.0.0.1", service.port), timeout=20) as client:
        client.sendall(f"GET {TAIL} HTTP/1.1\r\nHost: x\r\nX-API-Key: {KEY}\r\n\r\n".encode())
        assert client.recv(4_096).startswith(b"HTTP/1.1 200")
        with pytest.raises(ConnectionError):
            client.sendall(b"x" * (64 << 20))


def test_a_client_that_leaves_frees_its_place(service: Service, mine: Mine) -> None:
    def sockets() -> int:
        return sum(len(each.net_connections("tcp")) for each in map(psutil.Process, [w.pid for w in service.workers()]))

    before = sockets()
    with contextlib.ExitStack() as stack:
        for _ in range(10):
            stack.enter_context(tailing(service, source=mine.id("source")))
        assert sockets() >= before + 10
    until(lambda: sockets() <= before + 2, 5, "the sockets are closed")
