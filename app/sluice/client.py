"""The HTTP client behind `sluice import` and `sluice generate`: sends, waits, sends again, or names the mend.

Sending a batch again is safe because each event brings its `event_id`: what is stored already is answered as duplicate.
"""

from __future__ import annotations

import contextlib
import gzip
import random
import re
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import msgspec
import urllib3
from urllib3.exceptions import ConnectTimeoutError, HTTPError, InvalidHeader, NewConnectionError, SSLError

from sluice import errors, outcomes, settings

T = TypeVar("T")
R = TypeVar("R")
Event = Mapping[str, Any] | msgspec.Raw

# What a load balancer or a draining service answers: the same request may work in a moment.
RETRIED = frozenset({429, 502, 503, 504})
# Of these, what says that nothing was stored; a gateway's 502 or 504 may hide a success.
TURNED_AWAY = frozenset({429, 503})
# The request never left this machine, so that even one without an id may be sent again.
NEVER_SENT = (NewConnectionError, ConnectTimeoutError)
NOT_STORED: tuple[outcomes.Status, ...] = ("conflict", "invalid", "failed")
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 10.0
DEADLINE = 120.0
SENDERS = 3
TIMEOUT = urllib3.Timeout(connect=5, read=60)
FIRST_RUN_KEY = "first-run.key"
VISIBLE_ASCII = re.compile(r"[\x21-\x7e]+")
SET_A_KEY = "set SLUICE_API_KEY, or SLUICE_API_KEY_FILE to a file that holds it"
MENDS = {
    403: "use a key with the scope ingest",
    404: "set SLUICE_URL to the address of a Sluice service",
    413: "send less at a time: a smaller --batch-size",
}

encode = msgspec.json.Encoder().encode


class ClientError(errors.SluiceError):
    """The events were not taken. `status` is the HTTP status of the last answer, None when there was none."""

    def __init__(self, detail: str, status: int | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.status = status


@dataclass(frozen=True)
class Key:
    """A key and where it came from, which may be told when the service refuses it."""

    text: str = field(repr=False)
    source: str

    def __post_init__(self) -> None:
        # http.client repeats a header that it refuses, and this one is secret.
        if not VISIBLE_ASCII.fullmatch(self.text):
            raise ClientError(f"the key from {self.source} is empty or not visible ASCII; {SET_A_KEY}")


class Refusal(msgspec.Struct, frozen=True):
    """One event that was not stored. `index` counts from 0 in the order of `send_batch`'s events."""

    index: int
    status: outcomes.Status
    event_id: str | None = None
    error: str | None = None
    reason: str | None = None
    pointer: str | None = None
    detail: str | None = None
    retryable: bool | None = None


class Counts(msgspec.Struct):
    """`data` of the service's answer to a batch."""

    created: int
    duplicate: int
    conflict: int
    invalid: int
    failed: int
    results: list[Refusal]
    queued: int = 0


class Envelope(msgspec.Struct):
    data: Counts


class Problem(msgspec.Struct):
    """What is read of an error answer (RFC 9457)."""

    error: str | None = None
    reason: str | None = None
    detail: str | None = None


@dataclass
class BatchResult:
    """What became of a batch: `counts` by status, and each event that was not stored.

    An event whose first answer was lost on the way and that was sent again counts as duplicate.
    """

    counts: Counter[str] = field(default_factory=Counter)
    refused: list[Refusal] = field(default_factory=list)

    def add(self, counts: Counts, places: Sequence[int]) -> list[Refusal]:
        """Book an answer about the events at `places`; hands back, unbooked, what may work when it is sent again."""
        self.counts.update({status: getattr(counts, status) for status in outcomes.STATUSES})
        open_ends = []
        for result in counts.results:
            if result.status not in NOT_STORED:
                continue
            refusal = msgspec.structs.replace(result, index=places[result.index])
            if refusal.retryable:
                self.counts[refusal.status] -= 1
                open_ends.append(refusal)
            else:
                self.refused.append(refusal)
        return open_ends

    def give_up(self, open_ends: Sequence[Refusal]) -> None:
        self.counts.update(refusal.status for refusal in open_ends)
        self.refused.extend(open_ends)


def find_key(text: str | None, file: Path | None, data_dir: Path, url: str) -> Key | None:
    """The key to send: given, out of a file, or the first-run key under `data_dir`; None when there is none.

    The first-run key goes to a service on this machine only: another one has no business knowing it.
    Raises ClientError for a file that can not be read or holds no key.
    """
    if text:
        return Key(text, "SLUICE_API_KEY")
    if file is not None:
        return Key(read_key(file), "SLUICE_API_KEY_FILE")
    first_run = data_dir / FIRST_RUN_KEY
    if settings.is_loopback(urlsplit(url).hostname or "") and first_run.is_file():
        return Key(read_key(first_run), str(first_run))
    return None


def read_key(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ClientError(f"the key can not be read from {path}: {type(error).__name__}; {SET_A_KEY}") from error


class Client:
    """One service and one key. Thread-safe; connections are kept alive and shared by up to `senders` threads.

    `deadline`: seconds that one batch may take with all its pauses. `on_wait(why, seconds)` is told of each pause.
    """

    def __init__(
        self,
        url: str,
        key: Key | None = None,
        *,
        compress: bool = False,
        senders: int = SENDERS,
        deadline: float = DEADLINE,
        on_wait: Callable[[str, float], None] = lambda _why, _seconds: None,
        sleep: Callable[[float], object] | None = None,
        clock: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self.url = checked(url)
        self.senders = senders
        self._key = key
        self._compress = compress
        self._deadline = deadline
        self._on_wait = on_wait
        self._stopping = threading.Event()
        self._sleep = sleep or self._stopping.wait
        self._clock = clock
        self._jitter = jitter
        # No redirects and no retries by the pool: it knows neither our deadline nor which requests may be sent twice.
        self._pool = urllib3.PoolManager(maxsize=senders, block=True, timeout=TIMEOUT, retries=False)

    def send_batch(self, events: Sequence[Event]) -> BatchResult:
        """Store up to 1,000 events, each with its `event_id`; raises ClientError when the service takes none of them.

        Events that the service calls retryable are sent again until the deadline; then they count as what they were last.
        """
        deadline = self._clock() + self._deadline
        result = BatchResult()
        places: Sequence[int] = range(len(events))
        attempt = 0
        while True:
            answer = self._post("/api/v1/batch-ingest", encode([events[place] for place in places]), deadline)
            open_ends = result.add(counts_of(answer, len(places)), places)
            if not open_ends:
                return result
            try:
                self._pause(attempt, 0, deadline, ClientError(f"{len(open_ends)} events could not be stored yet"))
            except ClientError:
                result.give_up(open_ends)
                return result
            places = [refusal.index for refusal in open_ends]
            attempt += 1

    def send_report(self, report: Mapping[str, str]) -> None:
        """Post seed 000's error report; raises ClientError.

        It has no id, so it is not sent again when only its answer was lost.
        """
        self._post("/", encode(report), self._clock() + self._deadline, repeatable=False)

    def deliver(self, send: Callable[[T], R], things: Iterable[T]) -> Generator[tuple[T, R]]:
        """`(thing, send(thing))` for each, in order, with `senders` at work at a time.

        At most twice as many things are held, so input of any length takes bounded memory. The first error to happen ends
        it and is raised. Leaves no thread behind.
        """
        failures: list[Exception] = []

        def guarded(thing: T) -> R:
            try:
                return send(thing)
            except Exception as error:
                # At once, not when its turn comes: the one whose turn it is may be in a long pause.
                failures.append(error)
                self.stop()
                raise

        with ThreadPoolExecutor(self.senders, thread_name_prefix="sender") as pool:
            under_way: deque[tuple[T, Future[R]]] = deque()
            try:
                for thing in things:
                    under_way.append((thing, pool.submit(guarded, thing)))
                    while len(under_way) >= 2 * self.senders or (under_way and under_way[0][1].done()):
                        yield finished(under_way)
                while under_way:
                    yield finished(under_way)
            except BaseException as error:
                self.stop()
                pool.shutdown(wait=False, cancel_futures=True)
                if error in failures:
                    raise failures[0] from None
                raise

    def stop(self) -> None:
        """End every pause now and begin no other; what is on the wire is waited for."""
        self._stopping.set()

    def _post(self, path: str, body: bytes, deadline: float, *, repeatable: bool = True) -> bytes:
        """The body of a 2xx answer; raises ClientError when none comes before `deadline` or waiting would not help."""
        headers = self._headers()
        if self._compress:
            body = gzip.compress(body, compresslevel=1, mtime=0)
        attempt = 0
        while True:
            asked = 0.0
            try:
                response = self._pool.request("POST", self.url + path, body=body, headers=headers, redirect=False)
            except SSLError as error:
                detail = f"no trusted TLS with {self.url} ({cause_of(error)}); check the address and its certificate"
                raise ClientError(detail) from error
            except HTTPError as error:
                problem = self._unreachable(error)
                if not repeatable and not isinstance(error, NEVER_SENT):
                    raise problem from error
            else:
                if 200 <= response.status < 300:
                    return response.data
                problem, asked = self._refusal(response), retry_after(response)
                if response.status not in (RETRIED if repeatable else TURNED_AWAY):
                    raise problem
            self._pause(attempt, asked, deadline, problem)
            attempt += 1

    def _pause(self, attempt: int, asked: float, deadline: float, problem: ClientError) -> None:
        """Wait before the next try; raises `problem` instead when that would be too late."""
        # Full jitter on top of what the service asks for: clients that were refused together do not come back together.
        seconds = asked + self._jitter() * min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(attempt, 10))
        if self._stopping.is_set() or self._clock() + seconds > deadline:
            raise problem
        self._on_wait(problem.detail, seconds)
        self._sleep(seconds)
        if self._stopping.is_set():
            raise problem

    def _headers(self) -> dict[str, str]:
        headers = {"Content-Type": "application/json", "User-Agent": "sluice-cli"}
        if self._compress:
            headers["Content-Encoding"] = "gzip"
        if self._key is not None:
            headers["Authorization"] = f"Bearer {self._key.text}"
        return headers

    def _unreachable(self, error: HTTPError) -> ClientError:
        return ClientError(
            f"no answer from {self.url} ({cause_of(error)}); start it with `make run`, or set SLUICE_URL to where it is"
        )

    def _refusal(self, response: urllib3.BaseHTTPResponse) -> ClientError:
        """An answer that is no success, in words; the key is taken out of text that we did not write."""
        told = self._told_by(response)
        if response.status == 401:
            sent = f"refuses the key from {self._key.source}" if self._key else "wants a key and none was found"
            return ClientError(f"{self.url} {sent} (401{told}); {SET_A_KEY}", 401)
        mend = MENDS.get(response.status)
        return ClientError(f"{self.url} answers {response.status}{told}" + (f"; {mend}" if mend else ""), response.status)

    def _told_by(self, response: urllib3.BaseHTTPResponse) -> str:
        with contextlib.suppress(msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            problem = msgspec.json.decode(response.data, type=Problem)
            text = ": ".join(part for part in (problem.reason or problem.error, problem.detail) if part)
            if text:
                return f" {self._without_key(text)[:300]}"
        return ""

    def _without_key(self, text: str) -> str:
        return text.replace(self._key.text, "[key]") if self._key else text


def checked(url: str) -> str:
    """`url` without its last slash; raises ClientError for what is no http(s) address."""
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        usable = False
    if not usable or "@" in parts.netloc or parts.query or parts.fragment:
        raise ClientError("the address must read http://HOST:PORT or https://HOST, without user and query; mend SLUICE_URL")
    return url.rstrip("/")


def counts_of(body: bytes, sent: int) -> Counts:
    """The answer to a batch of `sent` events; raises ClientError when it does not account for each of them."""
    try:
        counts = msgspec.json.decode(body, type=Envelope).data
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ClientError(f"the answer is not that of a Sluice service; {MENDS[404]}") from error
    told = Counter({status: getattr(counts, status) for status in outcomes.STATUSES})
    listed = Counter(result.status for result in counts.results if 0 <= result.index < sent)
    if told.total() != sent or any(told[status] != listed[status] for status in NOT_STORED):
        raise ClientError(f"the answer does not account for all {sent} events; run it again, which stores nothing twice")
    return counts


def retry_after(response: urllib3.BaseHTTPResponse) -> float:
    """Seconds that the answer asks us to wait (RFC 9110 section 10.2.3: a number or a date); 0 when it does not say."""
    try:
        return urllib3.Retry().parse_retry_after(response.headers.get("Retry-After", "0"))
    except InvalidHeader:
        return 0


def cause_of(error: BaseException) -> str:
    """The system's own words for why there is no answer, without urllib3's wrapping."""
    while (inner := error.__cause__ or error.__context__) is not None:
        error = inner
    return getattr(error, "strerror", None) or type(error).__name__


def finished(under_way: deque[tuple[T, Future[R]]]) -> tuple[T, R]:
    """The oldest of `under_way` with its result, waited for; it is no longer under way then."""
    thing, future = under_way.popleft()
    return thing, future.result()
