"""The HTTP client of the command line: one request, sent again while the service is away or overloaded.

urllib3 does the HTTP: its pool keeps connections alive for several threads and it can stream. tenacity does the retries.
"""

from __future__ import annotations

import contextlib
import gzip
import ipaddress
import os
import re
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, cast
from urllib.parse import SplitResult, unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

import msgspec
import tenacity
import urllib3
from urllib3.exceptions import HTTPError, InvalidHeader, SSLError
from urllib3.util import make_headers, parse_url

from sluice import errors, values

T = TypeVar("T")

# What a load balancer or a draining service answers: the same request may work in a moment.
RETRIED = frozenset({429, 502, 503, 504})
# What a proxy answers to CONNECT, in http.client's words: asked again, it says the same.
NO_TUNNEL = re.compile(r"Tunnel connection failed: (403|407)")
# Full jitter: clients that were refused together do not come back together.
BACKOFF = tenacity.wait_random_exponential(multiplier=0.2, max=10)
RETRY_FOR = 120.0
CONNECTIONS = 3
TIMEOUT = urllib3.Timeout(connect=5, read=60)
FIRST_RUN_KEY = "first-run.key"
VISIBLE_ASCII = re.compile(r"[\x21-\x7e]+")

SET_A_KEY = "set SLUICE_API_KEY, or SLUICE_API_KEY_FILE to a file that holds it"
NOT_SLUICE = "set SLUICE_URL to the address of a Sluice service; `sluice check URL` tests one"
TRUST = "check the address (does it speak https?) and its certificate; SSL_CERT_FILE names a CA of your own"
NOT_OURS = "not Sluice but something before it answers so: a proxy that wants a sign-in, a firewall, or a port for https"
UNREACHABLE = "start it with `make run`, or set SLUICE_URL to where it is; does a firewall or NetworkPolicy block it?"
FIXES = {
    401: f"{SET_A_KEY}; `sluice keys check` tells whether it was copied whole",
    403: "use a key with the scope ingest",
    404: NOT_SLUICE,
    407: "the proxy wants a sign-in: name it as http://USER:PASSWORD@HOST:PORT",
    413: "raise the limit: of a proxy before it (nginx: client_max_body_size), or its MAX_BODY_BYTES",
    429: "wait a minute, or raise the key's limit",
    503: "run `sluice doctor` where the service runs",
}

encode = msgspec.json.Encoder().encode


class ClientError(errors.SluiceError):
    """The service did not do what was asked: `what` happened and how to `fix` it.

    `status` is the HTTP status of the last answer, None when there was none.
    """

    def __init__(self, what: str, fix: str = "", status: int | None = None) -> None:
        self.what = what
        self.fix = fix
        self.detail = f"{what}; {fix}" if fix else what
        self.status = status
        super().__init__(self.detail)


class NoAnswer(ClientError):
    """Another try may get one."""


@dataclass(frozen=True)
class Key:
    """A key and where it came from, which is named when the service refuses it."""

    text: str = field(repr=False)
    source: str

    def __post_init__(self) -> None:
        # http.client repeats a header that it refuses, and this one is secret.
        if not VISIBLE_ASCII.fullmatch(self.text):
            raise ClientError(f"the key from {self.source} is empty or not visible ASCII", SET_A_KEY)


class Body(msgspec.Struct):
    """What an answer may hold: `data` in a success, the others in a problem (RFC 9457); `message` is readiness's reason."""

    data: msgspec.Raw = msgspec.Raw(b"null")
    error: str | None = None
    reason: str | None = None
    detail: str | None = None
    message: str | None = None


@dataclass(frozen=True)
class Answer:
    """An answer without our key in it. `location`: what to do about a redirect, or empty; `retry_after`: seconds to wait, or 0.

    `repeated`: an earlier try may have reached the service, too.
    """

    status: int
    content: bytes
    location: str
    retry_after: float
    repeated: bool

    @property
    def body(self) -> Body:
        with contextlib.suppress(*errors.NOT_JSON):
            return msgspec.json.decode(self.content, type=Body)
        return Body()

    def data(self, kind: type[T]) -> T:
        """`data` of a success; raises ClientError when it is not what a Sluice service answers."""
        try:
            return msgspec.json.decode(self.body.data, type=kind)
        except errors.NOT_JSON as error:
            raise stranger(self.status) from error

    @property
    def ours(self) -> bool:
        """Whether a refusal is that of a Sluice service."""
        return self.body.error is not None

    @property
    def reason(self) -> str:
        """The status and the short reason given with it."""
        body = self.body
        return printable(f"{self.status} {body.reason or body.error or body.message or ''}".strip())

    @property
    def fix(self) -> str:
        if self.location:
            return self.location
        if self.status in (400, 401, 403) and not self.ours:
            return NOT_OURS
        return FIXES.get(self.status, "")

    @property
    def explained(self) -> str:
        """`reason` and the sentence given with it."""
        detail = self.body.detail
        return f"{self.reason}: {printable(detail)}" if detail else self.reason


def printable(text: str) -> str:
    """Text of somebody else for a terminal: no escape sequence, and not too much of it."""
    return "".join(letter if letter.isprintable() else "?" for letter in text[:300])


def find_key(text: str | None, file: Path | None, data_dir: Path, url: str) -> Key | None:
    """The key to send: out of a file, given, or the first-run key under `data_dir`; None when there is none.

    The first-run key goes to a service on this machine only: no other service may learn it.
    Raises ClientError for a file that cannot be read or holds no key, and for what is no address.
    """
    if file is not None:
        return Key(read_key(file), "SLUICE_API_KEY_FILE")
    if text:
        return Key(text.strip(), "SLUICE_API_KEY")
    first_run = data_dir / FIRST_RUN_KEY
    if values.is_loopback(urlsplit(checked(url)).hostname or "") and os.path.isfile(first_run):
        return Key(read_key(first_run), str(first_run))
    return None


def read_key(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ClientError(f"the key cannot be read from {path}: {type(error).__name__}", SET_A_KEY) from error


class Client:
    """One service and one key. Thread-safe: up to `connections` threads share connections that are kept alive.

    `retry_for`: seconds that one task may take with all its retries; `backoff`: pauses between them, on top of what the service
    asks for. `on_wait(why, seconds)` is called before each pause.
    """

    def __init__(
        self,
        url: str,
        key: Key | None = None,
        *,
        compress: bool = False,
        connections: int = CONNECTIONS,
        timeout: urllib3.Timeout = TIMEOUT,
        retry_for: float = RETRY_FOR,
        backoff: tenacity.wait.wait_base = BACKOFF,
        on_wait: Callable[[str, float], None] = lambda _why, _seconds: None,
        sleep: Callable[[float], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Raises ClientError for what is no http(s) address."""
        self.url = checked(url)
        self.key = key
        self.connections = connections
        self._compress = compress
        self._retry_for = retry_for
        self._backoff = backoff
        self._on_wait = on_wait
        self._stopping = threading.Event()
        self._sleep = sleep or tenacity.sleep_using_event(self._stopping)
        self._clock = clock
        # No redirects and no retries by the pool: it knows neither our deadline nor which requests may be sent twice.
        self._pool = pool_for(self.url, maxsize=connections, block=True, timeout=timeout, retries=False)

    def deadline(self) -> float:
        """Until when a task that begins now may go on."""
        return self._clock() + self._retry_for

    def stop(self) -> None:
        """End every pause now and begin no other. A request that is under way is waited for."""
        self._stopping.set()

    def request(self, method: str, path: str, body: bytes | None, deadline: float, key: str | None = None) -> Answer:
        """The first answer that another try would not change, or the last one before `deadline`.

        `key`: its Idempotency-Key. Raises ClientError when there is no answer.
        """
        headers = {"Content-Type": "application/json"}
        if key is not None:
            headers["Idempotency-Key"] = key
        if self._compress and body is not None:
            headers["Content-Encoding"] = "gzip"
            body = gzip.compress(body, compresslevel=1, mtime=0)
        tries = 0

        def send() -> Answer | ClientError:
            nonlocal tries
            tries += 1
            try:
                return self._answer(self.send(method, path, headers, body=body), path, tries > 1)
            except NoAnswer as error:
                return error

        def unsettled(result: Answer | ClientError) -> str:
            if isinstance(result, ClientError):
                return result.detail
            # Of an earlier try, whose answer was lost.
            retried = result.status in RETRIED or result.body.error == "idempotency_key_in_use"
            return f"{self.url} answers {result.explained}" if retried else ""

        result = self.retry(send, deadline, unsettled, lambda result: getattr(result, "retry_after", 0))
        if isinstance(result, ClientError):
            raise result
        return result

    def send(self, method: str, path: str, headers: Mapping[str, str] | None = None, **options: Any) -> urllib3.BaseHTTPResponse:
        """The answer to one try. Raises NoAnswer, or ClientError where another try would change nothing."""
        key = {"Authorization": f"Bearer {self.key.text}"} if self.key is not None else {}
        whole = {"User-Agent": "sluice-cli", **key, **(headers or {})}
        try:
            return self._pool.request(method, self.url + path, headers=whole, redirect=False, **options)
        except SSLError as error:
            raise ClientError(f"no trusted TLS with {self.url} ({cause_of(error)})", TRUST) from error
        except HTTPError as error:
            by = f" by the proxy {self._pool.proxy.netloc}" if self._pool.proxy else ""
            cause = cause_of(error)
            if (refused := NO_TUNNEL.search(cause)) is not None:
                fix = FIXES[407] if refused[1] == "407" else NOT_OURS
                raise ClientError(f"no way to {self.url}{by} ({cause})", fix) from error
            raise NoAnswer(f"no answer from {self.url}{by} ({cause})", UNREACHABLE) from error

    def retry(
        self,
        attempt: Callable[[], T],
        deadline: float,
        unsettled: Callable[[T], str],
        asked: Callable[[T], float] = lambda _result: 0,
    ) -> T:
        """The first result of `attempt` that is not `unsettled`, which says why; or the last result before `deadline`.

        `asked` gives the seconds that a result wants us to wait.
        """

        def go() -> T:
            if self._stopping.is_set():
                raise ClientError("stopped before everything was sent")
            return attempt()

        def result(state: tenacity.RetryCallState) -> T:
            return cast(T, state.outcome.result())  # type: ignore[union-attr] # there is one after each attempt

        return tenacity.Retrying(
            retry=tenacity.retry_if_result(lambda result: bool(unsettled(result))),
            wait=lambda state: self._backoff(state) + asked(result(state)),
            stop=lambda state: self._stopping.is_set() or self._clock() + state.upcoming_sleep > deadline,
            before_sleep=lambda state: self._on_wait(unsettled(result(state)), state.upcoming_sleep),
            sleep=self._sleep,
            retry_error_callback=result,
        )(go)

    def refusal(self, answer: Answer) -> ClientError:
        """An answer that is no success, as an error."""
        if answer.status == 401 and answer.ours:
            refused = f"refuses the key from {self.key.source}" if self.key else "wants a key and none was found"
            return ClientError(f"{self.url} {refused} ({answer.explained})", FIXES[401], 401)
        return ClientError(f"{self.url} answers {answer.explained}", answer.fix, answer.status)

    def _answer(self, response: urllib3.BaseHTTPResponse, path: str, repeated: bool = False) -> Answer:
        content, location = response.data, redirected(response.headers.get("Location", ""), path)
        if self.key is not None:
            content = content.replace(self.key.text.encode(), b"[key]")
            location = location.replace(self.key.text, "[key]")
        return Answer(response.status, content, location, retry_after(response), repeated)

    def streamed(self, response: urllib3.BaseHTTPResponse, path: str, kind: str) -> Answer | None:
        """None for a 200 of the media type `kind`, which is not read yet; raises ClientError for a 200 of another one."""
        if response.status != 200:
            return self._answer(response, path)
        if response.headers.get("Content-Type", "").partition(";")[0].strip().lower() != kind:
            response.close()
            raise stranger(200)
        return None


def checked(url: str) -> str:
    """`url` without its last slash; raises ClientError for what is no http(s) address."""
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parse_url(url).host) and parts.port != 0
    except ValueError:
        usable = False
    if not usable or "@" in parts.netloc or parts.query or parts.fragment:
        raise ClientError("the address must read http://HOST:PORT or https://HOST, without user and query", "fix SLUICE_URL")
    return url.rstrip("/")


def pool_for(url: str, **options: Any) -> urllib3.PoolManager:
    """Connections to `url`: by the proxy that HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY name, never within this machine."""
    parts = urlsplit(url)
    proxies = getproxies()
    options |= {"ssl_context": values.client_tls()} if parts.scheme == "https" else {}
    proxy = proxies.get(parts.scheme) or proxies.get("all")
    if not proxy or values.is_loopback(parts.hostname or "") or is_passed_by(parts, proxies.get("no", "")):
        return urllib3.PoolManager(**options)
    try:
        found = parse_url(proxy if "://" in proxy else f"http://{proxy}")
        headers = make_headers(proxy_basic_auth=unquote(found.auth)) if found.auth else None
        return urllib3.ProxyManager(found._replace(auth=None).url, proxy_headers=headers, **options)
    except HTTPError as error:
        # It may hold a password.
        what = f"the proxy that the environment names for {parts.scheme} cannot be used"
        raise ClientError(what, "write http://HOST:PORT, or name this service's host in NO_PROXY") from error


def is_passed_by(parts: SplitResult, no_proxy: str) -> bool:
    """Whether NO_PROXY names the host: as Python reads it, or by a network such as 10.0.0.0/8, which Python does not know."""
    for each in no_proxy.split(","):
        with contextlib.suppress(ValueError):
            if "/" in each and ipaddress.ip_address(parts.hostname or "") in ipaddress.ip_network(each.strip(), strict=False):
                return True
    return bool(proxy_bypass(parts.hostname or "") or proxy_bypass(parts.netloc))


def redirected(location: str, path: str) -> str:
    """What to do about a redirect of the request for `path` to `location`."""
    # A sign-in's query is long, and may hold what is nobody's business.
    place, asked = printable(location.partition("?")[0]), path.partition("?")[0]
    if place.endswith(asked):
        return f"give the address that it redirects to: {place.removesuffix(asked)}"
    return place and f"something before it redirects to: {place}; name an address that needs no sign-in"


def stranger(status: int) -> ClientError:
    return ClientError(f"the answer {status} is not that of a Sluice service", NOT_SLUICE)


def retry_after(response: urllib3.BaseHTTPResponse) -> float:
    """Seconds that the answer asks us to wait (RFC 9110 section 10.2.3: a number or a date); 0 when it does not say."""
    try:
        return urllib3.Retry().parse_retry_after(response.headers.get("Retry-After", "0"))
    except (InvalidHeader, OverflowError, ValueError):
        # A number or a year beyond what there is, among others.
        return 0


def cause_of(error: BaseException) -> str:
    """The system's own words for why there is no answer, without urllib3's wrapping."""
    while (inner := error.__cause__ or error.__context__) is not None:
        error = inner
    words = getattr(error, "strerror", None) or (str(error) if isinstance(error, OSError) else "")
    return printable(words) or type(error).__name__
