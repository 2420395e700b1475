"""An open-loop load client in one file: `python3 load.py --url http://host:port --key-file FILE`.

It runs as a Pod beside the service (mounted from a ConfigMap, run by our image's Python), so it has the standard library only.

Sends have due times, RATE a second over CONNECTIONS keep-alive connections, and no slow answer moves them: latency counts from
the due time, and a send that no connection was free for within PATIENCE is not sent, but counted as late. With `--idle-between`
every connection instead pauses so long between an answer and its next request.

Every failure is told under one of these names:

    refused, unreachable, connect timeout     there was no connection
    reset before                              it ended on a new connection before any byte of an answer
    stale                                     the same on a connection that had answered before: the keep-alive race
    reset after                               it ended within an answer
    timeout, garbled                          no whole answer in time; no HTTP
    status N [without Retry-After]            an answer other than 2xx; 503 and 429 have to say when to come again
    partial                                   a 2xx for a batch of which not everything is stored

Without `--retry` each is final. With it the request is sent again, with the same event ids, and a failure that this fixes is
counted in `fixed` instead of `failed`. Before it uses a connection again the client looks whether the server has closed it,
as most clients do; `--blind` leaves that out. With `--fresh` it makes a new one for every request.

The last line of stdout is the report, one JSON document; stderr tells the progress.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import io
import json
import random
import secrets
import select
import signal
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

# Events in one request, and the path that takes them, by --body.
KINDS = {"single": (1, "/api/v1/ingest"), "batch": (10, "/api/v1/batch-ingest")}
# A send that waited longer than this for a free connection is late; seconds.
PATIENCE = 5.0
# What one exchange may take, and how long a request is tried again with --retry; seconds.
TIMEOUT = 15.0
RETRY_FOR = 60.0
PAUSE = 0.2
TOLD_EVERY = 1.0
# Answers that another try may fix.
REPEATED = (429, 500, 502, 503, 504)
# Failures of one kind that are told in full, and all that are told by time and kind.
SAMPLES = 5
MOMENTS = 5_000
PERCENTILES = (50.0, 90.0, 99.0, 99.9, 100.0)


class Failure(Exception):
    """An exchange without a good answer. `kind`: its name in the report; `again`: seconds to the next try, None: never."""

    def __init__(self, kind: str, detail: str = "", again: float | None = PAUSE) -> None:
        super().__init__(f"{kind}: {detail}")
        self.kind = kind
        self.detail = detail
        self.again = again
        self.when = time.time()


class Tap(io.RawIOBase):
    """A socket for http.client, which counts what came: a reset before the first byte is another failure than one after it."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self.taken = 0

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(self)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        taken = self._sock.recv_into(buffer)
        self.taken += taken
        return taken


@dataclass(frozen=True)
class Answer:
    """`close`: this was the connection's last one."""

    status: int
    body: bytes
    retry_after: str | None
    close: bool


@dataclass
class Connection:
    """One place of the clients' crowd: a connection that is made when it is needed and kept while the server keeps it."""

    address: tuple[str, int]
    blind: bool
    fresh: bool
    opened: int = 0
    asked_to_close: int = 0
    closed_idle: int = 0
    _sock: socket.socket | None = None
    _used: int = 0

    def exchange(self, request: bytes) -> Answer:
        """Send and read the answer to its end; raises Failure."""
        if self._sock is not None and not self.blind and gone(self._sock):
            self.closed_idle += 1
            self.drop()
        sock = self._sock or self._dial()
        try:
            answer = self._ask(sock, request)
        except Failure:
            self.drop()
            raise
        self._used += 1
        self.asked_to_close += answer.close
        if answer.close or self.fresh:
            self.drop()
        return answer

    def drop(self) -> None:
        if self._sock is not None:
            self._sock.close()
        self._sock = None

    def _dial(self) -> socket.socket:
        try:
            self._sock = socket.create_connection(self.address, timeout=TIMEOUT)
        except ConnectionRefusedError as error:
            raise Failure("refused") from error
        except TimeoutError as error:
            raise Failure("connect timeout") from error
        except OSError as error:
            raise Failure("unreachable", str(error)) from error
        self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.opened += 1
        self._used = 0
        return self._sock

    def _ask(self, sock: socket.socket, request: bytes) -> Answer:
        tap = Tap(sock)
        where = f"port {sock.getsockname()[1]}, after {self._used} answers"
        try:
            sock.sendall(request)
            return read(tap)
        except TimeoutError as error:
            raise Failure("timeout", where) from error
        except (OSError, http.client.IncompleteRead, http.client.RemoteDisconnected) as error:
            raise Failure(self._broken(tap), f"{where}: {type(error).__name__}") from error
        except (http.client.HTTPException, ValueError) as error:
            raise Failure("garbled", f"{where}: {error!r:.100}") from error

    def _broken(self, tap: Tap) -> str:
        if tap.taken:
            return "reset after"
        return "stale" if self._used else "reset before"


def gone(sock: socket.socket) -> bool:
    """Whether the server has closed an idle connection (or sent what nobody asked for)."""
    return bool(select.select([sock], [], [], 0)[0])


def read(tap: Tap) -> Answer:
    response = http.client.HTTPResponse(tap)  # type: ignore[arg-type] # it only wants makefile
    try:
        response.begin()
        body = response.read()
        return Answer(response.status, body, response.getheader("Retry-After"), response.will_close)
    finally:
        response.close()


@dataclass(frozen=True)
class Target:
    """Where the events go: `host` stands in the Host header."""

    host: str
    key: str
    kind: str
    prefix: str

    @property
    def size(self) -> int:
        """Events in one request."""
        return KINDS[self.kind][0]

    def request(self, number: int) -> bytes:
        """The bytes of request `number`, always the same: another content for one event_id would be a conflict."""
        events = [self.event(each) for each in range(number * self.size, (number + 1) * self.size)]
        body = json.dumps(events if self.kind == "batch" else events[0]).encode()
        lines = (
            f"POST {KINDS[self.kind][1]} HTTP/1.1",
            f"Host: {self.host}",
            f"Authorization: Bearer {self.key}",
            "Content-Type: application/json",
            f"Content-Length: {len(body)}",
        )
        return "\r\n".join([*lines, "", ""]).encode() + body

    def event(self, number: int) -> dict[str, Any]:
        return {
            "event_id": f"{self.prefix}-{number}",
            "event_type": "log",
            "event_name": "load",
            "properties": {"number": number},
        }


def replayed(answer: Answer, size: int) -> bool:
    """Whether (some of) it was stored before; raises Failure for what is no acknowledgement of all `size` events."""
    if not 200 <= answer.status < 300:
        raise refused(answer)
    try:
        data = json.loads(answer.body)["data"]
        if size == 1:
            return bool(data["status"] == "duplicate")
        stored, duplicates = int(data["logs_processed"]), int(data["duplicate"])
    except (ValueError, LookupError, TypeError) as error:
        raise Failure("garbled", f"{answer.status} {answer.body[:100]!r}") from error
    if stored != size:
        raise Failure("partial", f"{stored} of {size}")
    return duplicates > 0


def refused(answer: Answer) -> Failure:
    kind = f"status {answer.status}"
    if answer.status in (429, 503) and answer.retry_after is None:
        kind += " without Retry-After"
    asked = answer.retry_after or ""
    again = float(asked) if asked.isdigit() else PAUSE
    return Failure(kind, answer.body[:200].decode(errors="replace"), again if answer.status in REPEATED else None)


@dataclass
class Books:
    """What happened, counted in requests. All of it under one lock."""

    began: float
    sent: int = 0
    late: int = 0
    replayed: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    fixed: Counter[str] = field(default_factory=Counter)
    moments: list[tuple[float, str]] = field(default_factory=list)
    samples: list[dict[str, Any]] = field(default_factory=list)
    latencies: list[float] = field(default_factory=list)
    acknowledged: set[int] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def send(self) -> None:
        with self._lock:
            self.sent += 1

    def miss(self) -> None:
        with self._lock:
            self.late += 1

    def acknowledge(self, number: int, seconds: float, replayed: bool, failures: list[Failure]) -> None:
        with self._lock:
            self.acknowledged.add(number)
            self.latencies.append(seconds)
            self.replayed += replayed
            self.fixed.update(failure.kind for failure in failures)
            self._note(number, failures)

    def fail(self, number: int, failures: list[Failure]) -> None:
        with self._lock:
            self.failed[failures[-1].kind] += 1
            self._note(number, failures)

    def _note(self, number: int, failures: list[Failure]) -> None:
        for failure in failures:
            self.moments.append((round(failure.when, 2), failure.kind))
            if sum(sample["what"] == failure.kind for sample in self.samples) < SAMPLES:
                at = time.strftime("%H:%M:%S", time.gmtime(failure.when))
                self.samples.append({"at": at, "request": number, "what": failure.kind, "detail": failure.detail})

    def line(self) -> str:
        with self._lock:
            seconds = time.monotonic() - self.began
            counts = f"sent {self.sent}, acknowledged {len(self.acknowledged)}, late {self.late}"
            return f"{seconds:.0f} s: {counts}, failed {dict(self.failed)}, fixed {dict(self.fixed)}"

    def report(self) -> dict[str, Any]:
        with self._lock:
            return {
                "seconds": round(time.monotonic() - self.began, 1),
                "sent": self.sent,
                "acknowledged": len(self.acknowledged),
                "late": self.late,
                "failed": dict(self.failed),
                "fixed": dict(self.fixed),
                "replayed": self.replayed,
                "latency_ms": percentiles(self.latencies),
                "moments": self.moments[:MOMENTS],
                "samples": self.samples,
                "ledger": ranges(self.acknowledged),
            }


def percentiles(seconds: list[float]) -> dict[str, float]:
    """Milliseconds by percentile, nearest rank."""
    ordered = sorted(seconds)
    if not ordered:
        return {}
    ranks = {each: max(0, -int(-len(ordered) * each // 100) - 1) for each in PERCENTILES}
    return {f"{each:g}": round(ordered[rank] * 1000, 1) for each, rank in ranks.items()}


def ranges(numbers: set[int]) -> list[list[int]]:
    """The numbers as [first, last] of each run without a gap."""
    found: list[list[int]] = []
    for number in sorted(numbers):
        if found and number == found[-1][1] + 1:
            found[-1][1] = number
        else:
            found.append([number, number])
    return found


class Schedule:
    """Hands out sends as (number, due time) until `stop` or until `seconds` have gone by."""

    def __init__(self, rate: float, seconds: float | None, stop: threading.Event) -> None:
        self.began = time.monotonic()
        self.stop = stop
        self._rate = rate
        self._end = self.began + seconds if seconds is not None else float("inf")
        self._next = 0
        self._lock = threading.Lock()

    def open_loop(self) -> Iterator[tuple[int, float]]:
        """The sends that come to one connection: whichever connection is free takes the next."""
        while True:
            with self._lock:
                due = self.began + self._next / self._rate
                if due >= self._end:
                    return
                number, self._next = self._next, self._next + 1
            if self._stopped_before(due):
                return
            yield number, due

    def paced(self, pauses: tuple[float, float], randomness: random.Random) -> Iterator[tuple[int, float]]:
        """The sends of a connection that pauses between `pauses` after each answer; it begins somewhere in the first pause."""
        due = self.began + randomness.uniform(0, pauses[1])
        while due < self._end and not self._stopped_before(due):
            with self._lock:
                number, self._next = self._next, self._next + 1
            yield number, due
            due = time.monotonic() + randomness.uniform(*pauses)

    def _stopped_before(self, due: float) -> bool:
        return self.stop.wait(max(0.0, due - time.monotonic()))


class Client(threading.Thread):
    """One connection and the sends that come to it. `retry_for`: seconds, 0 for none."""

    def __init__(
        self, connection: Connection, target: Target, books: Books, sends: Iterator[tuple[int, float]], retry_for: float
    ) -> None:
        super().__init__(daemon=True)
        self._connection = connection
        self._target = target
        self._books = books
        self._sends = sends
        self._retry_for = retry_for

    def run(self) -> None:
        for number, due in self._sends:
            if time.monotonic() > due + PATIENCE:
                self._books.miss()
                continue
            self._books.send()
            self._deliver(number, due)
        self._connection.drop()

    def _deliver(self, number: int, due: float) -> None:
        request, failures = self._target.request(number), list[Failure]()
        give_up = time.monotonic() + self._retry_for
        while True:
            try:
                again = replayed(self._connection.exchange(request), self._target.size)
            except Failure as failure:
                failures.append(failure)
                if failure.again is None or time.monotonic() + failure.again > give_up:
                    self._books.fail(number, failures)
                    return
                time.sleep(failure.again)
            else:
                self._books.acknowledge(number, time.monotonic() - due, again, failures)
                return


def arguments(given: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--url", required=True, help="http://host[:port]")
    parser.add_argument("--host", help="Host header, where it is not the URL's")
    parser.add_argument("--key-file", required=True, type=Path)
    parser.add_argument("--rate", type=float, default=200.0, help="requests a second")
    parser.add_argument("--connections", type=int, default=30)
    parser.add_argument("--idle-between", type=float, nargs=2, metavar=("MIN", "MAX"), help="seconds; instead of --rate")
    parser.add_argument("--together", action="store_true", help="with --idle-between: all connections pause alike")
    parser.add_argument("--seconds", type=float, help="default: until SIGTERM or the stop file")
    parser.add_argument("--stop-file", type=Path, help="ends it when it is there")
    parser.add_argument("--body", choices=tuple(KINDS), default="single")
    parser.add_argument("--prefix", default=f"load-{secrets.token_hex(4)}", help="of every event_id")
    parser.add_argument("--retry", action="store_true")
    parser.add_argument("--blind", action="store_true")
    parser.add_argument("--fresh", action="store_true")
    parser.add_argument("--seed", type=int, default=1, help="of the pauses")
    return parser.parse_args(given)


def address(url: str) -> tuple[str, int]:
    """Resolved once: it is the service that is under test, not the DNS."""
    parts = urlsplit(url)
    if parts.scheme != "http" or parts.hostname is None:
        raise SystemExit(f"--url {url}: must be http://host[:port]")
    found = socket.getaddrinfo(parts.hostname, parts.port or 80, type=socket.SOCK_STREAM)[0][4]
    return str(found[0]), int(found[1])


def crowd(options: argparse.Namespace, schedule: Schedule, books: Books) -> tuple[list[Connection], list[Client]]:
    key = options.key_file.read_text().strip()
    target = Target(options.host or urlsplit(options.url).netloc, key, options.body, options.prefix)
    place = address(options.url)
    connections = [Connection(place, options.blind, options.fresh) for _ in range(options.connections)]
    clients = []
    for number, connection in enumerate(connections):
        randomness = random.Random(options.seed if options.together else f"{options.seed}-{number}")
        sends = schedule.paced(tuple(options.idle_between), randomness) if options.idle_between else schedule.open_loop()
        clients.append(Client(connection, target, books, sends, RETRY_FOR if options.retry else 0.0))
    return connections, clients


def watch(clients: list[Client], books: Books, stop: threading.Event, stop_file: Path | None) -> None:
    """Tell the progress until every client has ended."""
    told = time.monotonic()
    while any(client.is_alive() for client in clients):
        if stop_file is not None and stop_file.exists():
            stop.set()
        if time.monotonic() > told + TOLD_EVERY:
            told = time.monotonic()
            print(books.line(), file=sys.stderr, flush=True)
        time.sleep(0.1)


def run(options: argparse.Namespace, stop: threading.Event) -> dict[str, Any]:
    """The report."""
    schedule = Schedule(options.rate, options.seconds, stop)
    books = Books(schedule.began)
    connections, clients = crowd(options, schedule, books)
    for client in clients:
        client.start()
    watch(clients, books, stop, options.stop_file)
    lines = {name: sum(getattr(each, name) for each in connections) for name in ("opened", "asked_to_close", "closed_idle")}
    return {
        "prefix": options.prefix,
        "body": options.body,
        "size": KINDS[options.body][0],
        "connections": lines,
        **books.report(),
    }


def main(given: list[str]) -> None:
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: stop.set())
    report = run(arguments(given), stop)
    with contextlib.suppress(BrokenPipeError):
        print(json.dumps(report), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
