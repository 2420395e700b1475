"""The requests of one run: bounded in time and size, to public addresses only, and sent again while that may help.

urllib3 does the HTTP, with sockets that were connected here, to an address that was judged here. tenacity does the retries.
"""

from __future__ import annotations

import codecs
import contextlib
import os
import socket
import string
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar, cast
from urllib.parse import quote, urljoin, urlsplit

import msgspec
import tenacity
import urllib3
from urllib3 import exceptions
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.util import parse_url

from sluice import __version__, errors, values
from sluice.parsing import decompression
from sluice.parsing.weight import weight
from sluice.sources import addresses, pages
from sluice.sources.definitions import HEADER_VALUE, Source
from sluice.sources.failures import PASSING, Failed

T = TypeVar("T")
CHUNK = 64 << 10
REDIRECTS = frozenset((301, 302, 303, 307, 308))
MAX_REDIRECTS = 5
# To so many a run keeps a connection: redirects may lead to another one with each page.
MAX_ORIGINS = 4
# How servers refuse a page behind the last one: WordPress by 400, Django REST framework by 404.
BEYOND = frozenset((400, 404, 416, 422))
# A list, changed by a proxy on its way, or a part of one; and none at all.
LISTS, EMPTY, PART = frozenset((200, 203, 206)), 204, 206
RETRIED_STATUSES = frozenset((408, 425, 500, 502, 503, 504))
Backoff = tenacity.wait.wait_base
# Full jitter: sources that failed together do not come back together.
BACKOFF = tenacity.wait_random_exponential(multiplier=0.5, max=30)
# A longer Retry-After ends the run, and the next one waits for it.
MAX_PAUSE = 60.0
# What is more than these is no time from now, and no number of seconds: 2001, and the year 5138.
SECONDS, MILLISECONDS = 1e9, 1e11
OWN_HEADERS = {"Accept": "application/json", "Accept-Encoding": "gzip", "User-Agent": f"sluice/{__version__}"}
Dial = Callable[[str, int, float], socket.socket]


class Answer(msgspec.Struct):
    """`url`: where it came from, after redirects. `body` is inflated; empty for a 304."""

    status: int
    url: str
    headers: Mapping[str, str]
    body: bytes


class PlainConnection(HTTPConnection):
    """Asks `dial` for its socket."""

    def __init__(self, *args: Any, dial: Dial, **more: Any) -> None:
        super().__init__(*args, **more)
        self._dial = dial

    def _new_conn(self) -> socket.socket:
        return self._dial(self._dns_host, self.port, float(cast(float, self.timeout)))


class TlsConnection(PlainConnection, HTTPSConnection):
    """The same; the certificate is checked against the name, whatever address was chosen."""


class PlainPool(urllib3.HTTPConnectionPool):
    ConnectionCls = PlainConnection


class TlsPool(urllib3.HTTPSConnectionPool):
    ConnectionCls = TlsConnection


class Session:
    """The connections of one run, kept alive between its requests. `abort` may be called by another thread, the rest by one.

    `headers`: all that the source asks for, secrets included. They go to the origin of its URL only.
    """

    def __init__(self, source: Source, headers: Mapping[str, str], resolve: addresses.Resolve = addresses.resolve) -> None:
        self._source = source
        self._headers = headers
        self._resolve = resolve
        self._pools: dict[tuple[str, str, int], urllib3.HTTPConnectionPool] = {}
        # A duplicate of each connection's socket: there is one connection for each host and port, a later one in its place.
        self._sockets: dict[tuple[str, int], socket.socket] = {}
        self._lock = threading.Lock()
        # Of the request that is under way: set when its time is up.
        self._late = threading.Event()
        self.aborted = False

    def get(self, url: str, conditions: Mapping[str, str], *, beyond: bool = False) -> Answer:
        """One try at one page, redirects followed; raises Failed. All of it takes no longer than the source's timeout.

        `beyond`: it may lie behind the last page, so that one of BEYOND is an answer.

        (Except for a resolver that hangs: it has time limits of its own.)
        """
        self._late = late = threading.Event()
        timer = threading.Timer(self._source.timeout, self._cut, (late,))
        timer.daemon = True
        timer.start()
        try:
            for _ in range(MAX_REDIRECTS + 1):
                answer = self._ask(url, conditions)
                # The end of a connection may also be that of a body.
                self._explain_cut()
                if answer.status not in REDIRECTS or "Location" not in answer.headers:
                    return checked(answer, conditional=bool(conditions), beyond=beyond, elsewhere=not self._is_own(answer.url))
                url = followed(answer.url, pages.header_text(answer.headers["Location"]))
            raise Failed("redirects", f"the server redirects more than {MAX_REDIRECTS} times")
        except Failed:
            self._explain_cut()
            raise
        except exceptions.HTTPError as error:
            self._explain_cut()
            raise failure(error) from None  # its text holds the URL
        finally:
            timer.cancel()

    def abort(self) -> None:
        """End the request that is under way, and every later one."""
        self.aborted = True
        self._shut()

    def close(self) -> None:
        for pool in self._pools.values():
            pool.close()
        with self._lock:
            for duplicate in self._sockets.values():
                duplicate.close()
            self._sockets.clear()

    def _ask(self, url: str, conditions: Mapping[str, str]) -> Answer:
        target = parse_url(url)
        tls, host = target.scheme == "https", target.host or ""
        origin = (str(target.scheme), host, target.port or (443 if tls else 80))
        headers = urllib3.HTTPHeaderDict({**OWN_HEADERS, **conditions})
        if self._is_own(url):
            # In the place of ours, in whatever case they are written.
            headers.update(self._headers)
        response = self._pool(origin).urlopen(
            "GET",
            target.request_uri,
            headers=headers,
            redirect=False,
            retries=False,
            preload_content=False,
            decode_content=False,
        )
        try:
            plain = response.status == 304 or response.status in REDIRECTS
            body = b"" if plain else read(response, self._source.max_body_bytes)
            if plain or response.status >= 400:
                # What is left of it is not worth reading.
                response.close()
            return Answer(response.status, url, response.headers, body)
        except BaseException:
            response.close()
            raise
        finally:
            response.release_conn()

    def _is_own(self, url: str) -> bool:
        return origin_of(self._source.url) == origin_of(url)

    def _pool(self, origin: tuple[str, str, int]) -> urllib3.HTTPConnectionPool:
        if origin not in self._pools:
            scheme, host, port = origin
            if len(self._pools) == MAX_ORIGINS:
                self._leave(next(iter(self._pools)))
            common: dict[str, Any] = {"timeout": urllib3.Timeout(self._source.timeout), "maxsize": 1, "dial": self._dial}
            if scheme == "https":
                ca_file = self._source.ca_file
                common |= {"ca_certs": ca_file and str(ca_file), "ssl_context": values.client_tls(ca_file)}
                self._pools[origin] = TlsPool(host, port, **common)
            else:
                self._pools[origin] = PlainPool(host, port, **common)
        return self._pools[origin]

    def _leave(self, origin: tuple[str, str, int]) -> None:
        self._pools.pop(origin).close()
        with self._lock:
            if duplicate := self._sockets.pop(origin[1:], None):
                duplicate.close()

    def _dial(self, host: str, port: int, timeout: float) -> socket.socket:
        """A socket that is connected to one of the addresses of `host`, all of which were judged."""
        try:
            found = self._resolve(host, port)
            addresses.checked(found, allow_private=self._source.allow_private)
        except (OSError, UnicodeError):
            raise Failed("unreachable", "the name of the host cannot be resolved") from None
        except addresses.Refused:
            detail = "the host has an address that is not public; `allow_private` (API_ALLOW_PRIVATE) lets it be pulled"
            raise Failed("address_refused", detail) from None
        give_up = time.monotonic() + timeout
        for place, address in enumerate(found):
            # Each has its share of the time, for one may drop packets (IPv6 that leads nowhere).
            share = (give_up - time.monotonic()) / (len(found) - place)
            with contextlib.suppress(OSError):
                made = socket.create_connection((address, port), max(share, 0.001))
                made.settimeout(timeout)
                return self._watched((host, port), made)
        raise Failed("unreachable", "no connection to the host can be made")

    def _watched(self, place: tuple[str, int], made: socket.socket) -> socket.socket:
        """`made`, with a duplicate by which another thread can shut it down: below TLS, which is not made for that."""
        with self._lock:
            if before := self._sockets.pop(place, None):
                before.close()
            self._sockets[place] = socket.socket(fileno=os.dup(made.fileno()))
        if self.aborted or self._late.is_set():
            self._shut()
        return made

    def _cut(self, late: threading.Event) -> None:
        late.set()
        if late is self._late:
            self._shut()

    def _shut(self) -> None:
        with self._lock:
            for duplicate in self._sockets.values():
                with contextlib.suppress(OSError):
                    duplicate.shutdown(socket.SHUT_RDWR)

    def _explain_cut(self) -> None:
        """Whatever went wrong after we cut the connection went wrong because of that."""
        if self.aborted:
            raise Failed("stopped", "the puller was stopped")
        if self._late.is_set():
            raise timed_out(self._source.timeout)


def read(response: urllib3.BaseHTTPResponse, limit: int) -> bytes:
    """The inflated body; raises Failed when it has more than `limit` bytes, on the wire or inflated."""
    body = bytearray()
    try:
        pieces = counted(response.stream(CHUNK, decode_content=False), limit)
        for piece in decompression.inflated(pieces, response.headers.get("Content-Encoding", "")):
            body += piece
            if len(body) > limit:
                raise too_large(limit)
    except errors.UnsupportedMediaType:
        raise Failed("not_json", "the answer has a content coding that nobody asked for") from None
    except errors.BadRequest:
        raise Failed("incomplete", "the answer is not complete") from None
    # RFC 8259 section 8.1: nobody may write it, and who reads may ignore it.
    text = bytes(body.removeprefix(codecs.BOM_UTF8))
    if weight(text) > 2 * limit:
        # Parsed they would take all memory of the puller, and stop every other source.
        raise Failed("too_large", "the answer has too many small values; ask for smaller pages, or raise `max_body_bytes`")
    return text


def counted(pieces: Iterator[bytes], limit: int) -> Iterator[bytes]:
    total = 0
    for piece in pieces:
        total += len(piece)
        if total > limit:
            raise too_large(limit)
        yield piece


def too_large(limit: int) -> Failed:
    return Failed("too_large", f"the answer has more than {limit} bytes; raise `max_body_bytes`, or ask for smaller pages")


def timed_out(seconds: float) -> Failed:
    return Failed("timeout", f"no complete answer came within {seconds:g} s")


def checked(answer: Answer, *, conditional: bool, beyond: bool, elsewhere: bool) -> Answer:
    """A page, a 304 to a conditional request, or a refusal `beyond` the last page; raises Failed for any other status.

    `elsewhere`: it was asked without the source's headers.
    """
    status, headers = answer.status, answer.headers
    if status in LISTS or status == EMPTY or (status == 304 and conditional) or (status in BEYOND and beyond):
        return answer
    # GitHub refuses so who asks too often.
    limited = status == 429 or (status == 403 and ("Retry-After" in headers or used_up(headers)))
    if limited or (status == 503 and "Retry-After" in headers):
        raise Failed("rate_limited" if limited else "server_error", f"the server answers {status}", retry_after(headers))
    if status >= 500 or status in RETRIED_STATUSES:
        raise Failed("server_error", f"the server answers {status}")
    if status >= 400:
        fix = "correct the URL or the headers of the source"
        if elsewhere:
            fix = "it redirects elsewhere, where headers of the source are not sent: set `url` to that place"
        raise Failed("client_error", f"the server answers {status}; {fix}")
    raise Failed("client_error", f"the server answers {status} where 200 is expected")


def retry_after(headers: Mapping[str, str]) -> float:
    """Seconds that the server asks us to wait (RFC 9110 section 10.2.3), or until a limit that is used up begins anew; 0 when it
    does not say."""
    try:
        if "Retry-After" in headers or not used_up(headers):
            return max(0.0, urllib3.Retry().parse_retry_after(headers.get("Retry-After", "0")))
        reset = float(headers.get("X-RateLimit-Reset") or headers.get("RateLimit-Reset") or 0)
    except (exceptions.InvalidHeader, OverflowError, ValueError):
        # A number or a year beyond what there is.
        return 0.0
    # Seconds from now, or since the epoch, or milliseconds.
    moment = reset / 1_000 if reset > MILLISECONDS else reset
    return max(0.0, moment - time.time() if moment > SECONDS else moment)


def used_up(headers: Mapping[str, str]) -> bool:
    return "0" in (headers.get("X-RateLimit-Remaining"), headers.get("RateLimit-Remaining"))


def failure(error: exceptions.HTTPError) -> Failed:
    """What urllib3 says, in our words."""
    match error:
        case exceptions.TimeoutError():
            return Failed("timeout", "the server does not answer in time")
        case exceptions.SSLError():
            return Failed("tls", "no trusted TLS with the server; `ca_file` names a CA of one's own")
        case exceptions.ProtocolError():
            return Failed("incomplete", "the server ended the connection before its answer was complete")
        case exceptions.LocationValueError():
            return Failed("redirects", "the server leads to what is no URL")
    return Failed("unreachable", "the server cannot be spoken with")


def followed(base: str, reference: str) -> str:
    """The absolute URL of a reference in an answer, quoted as browsers do; raises Failed for what no pull follows."""
    try:
        parts = urlsplit(urljoin(base, reference.strip()))
        path, query = (quote(part, string.punctuation, errors="surrogateescape") for part in (parts.path, parts.query))
        return values.http_url(parts._replace(path=path, query=query, fragment="").geturl())
    except ValueError:
        raise Failed("redirects", "the server leads to what is no plain http(s) URL") from None


def origin_of(url: str) -> tuple[str, str, int]:
    """Scheme, host and port: what credentials are bound to."""
    parts = urlsplit(url)
    return parts.scheme, parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)


def headers_of(source: Source) -> dict[str, str]:
    """All headers of a source, those of secret files read now; raises Failed when one cannot be used."""
    found = dict(source.headers)
    for name, file in source.secret_headers.items():
        try:
            found[name] = file.read_text(encoding="utf-8-sig").strip()
        except (OSError, UnicodeDecodeError) as error:
            detail = f"the file of header {name} cannot be read: {type(error).__name__}"
            raise Failed("secret_missing", detail) from None
        if not found[name] or not HEADER_VALUE.fullmatch(found[name]):
            raise Failed("secret_missing", f"the file of header {name} is empty or not printable ASCII")
    return found


def persistently(
    attempt: Callable[[], T],
    retries: int,
    pause: Callable[[float], None],
    give_up: float,
    backoff: Backoff = BACKOFF,
) -> T:
    """The first result of `attempt`, made again up to `retries` times while its Failed may pass, and not after `give_up`."""

    def asked(state: tenacity.RetryCallState) -> float:
        failed = cast(Failed, state.outcome.exception())  # type: ignore[union-attr] # there is one after each attempt
        return failed.retry_after

    return tenacity.Retrying(
        retry=tenacity.retry_if_exception(lambda error: isinstance(error, Failed) and error.reason in PASSING),
        wait=lambda state: backoff(state) + asked(state),
        stop=lambda state: (
            state.attempt_number > retries or asked(state) > MAX_PAUSE or time.monotonic() + state.upcoming_sleep > give_up
        ),
        sleep=pause,
        reraise=True,
    )(attempt)
