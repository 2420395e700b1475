"""What every request carries: its id, its trace, who asks, and what the headers of its answer tell."""

from __future__ import annotations

import random
import re
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, cast

import flask
import structlog
from structlog.contextvars import bind_contextvars, clear_contextvars

from sluice import limiter
from sluice.keys import KeyEntry
from sluice.limiter import Verdict

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

log = structlog.get_logger()
# What a client may choose; anything else is replaced, so that a log field has a bound and a form.
REQUEST_ID = re.compile(r"[A-Za-z0-9._:/+=-]{1,128}")
# W3C Trace Context, section 3.2; version 00.
TRACEPARENT = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))
CALL = "sluice.call"


class Call:
    """One request as we see it, kept in its WSGI environ."""

    __slots__ = ("entry", "error", "key_id", "reason", "request_id", "route", "started", "traceparent", "verdicts")

    def __init__(self, environ: WSGIEnvironment) -> None:
        # Ids, not secrets: the system's randomness would cost more than all else here.
        fresh = f"{random.getrandbits(320):080x}"
        self.started = time.perf_counter()
        self.request_id = request_id(environ.get("HTTP_X_REQUEST_ID"), fresh)
        self.traceparent = traceparent(environ.get("HTTP_TRACEPARENT"), fresh)
        self.entry: KeyEntry | None = None
        self.key_id: str | None = None
        self.route: str | None = None
        # Of a refusal, for the log. Not the exception: its traceback holds this request and its body, and a cycle of them would
        # stay in memory until the garbage collector comes by.
        self.error: str | None = None
        self.reason: str | None = None
        self.verdicts: tuple[Verdict, ...] = ()

    def headers(self) -> list[tuple[str, str]]:
        return [
            ("X-Request-ID", self.request_id),
            ("traceparent", self.traceparent),
            ("X-Content-Type-Options", "nosniff"),
            *limiter.headers(self.verdicts),
        ]


class Request(flask.Request):
    """Flask's request, with our Call at hand."""

    prom_do_not_track: bool

    @property
    def call(self) -> Call:
        return cast(Call, self.environ[CALL])


def current() -> Request:
    """The request itself: every look through Flask's proxy costs, and one is enough."""
    return cast(Request, flask.request._get_current_object())  # type: ignore[attr-defined]


def request_id(given: str | None, fresh: str) -> str:
    """The client's own id when it is fit for a log, else 32 digits of `fresh`."""
    return given if given and REQUEST_ID.fullmatch(given) else fresh[:32]


def traceparent(given: str | None, fresh: str) -> str:
    """The caller's trace as it came, or a new one that is not sampled."""
    return given if given and TRACEPARENT.fullmatch(given) else f"00-{fresh[32:64]}-{fresh[64:]}-00"


class Context:
    """WSGI middleware that makes a Call of each request and puts its headers on the answer.

    Around Flask and not inside it: there each header and each look at the request costs several times as much.
    """

    def __init__(self, app: WSGIApplication, *, log_all: bool) -> None:
        self._app = app
        self._log_all = log_all

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        call = environ[CALL] = Call(environ)
        clear_contextvars()
        bind_contextvars(request_id=call.request_id, traceparent=call.traceparent)

        def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            headers.extend(call.headers())
            code = int(status[:3])
            if code >= 400 or self._log_all:
                record(call, environ["REQUEST_METHOD"], code)
            return start_response(status, headers, exc_info)

        return self._app(environ, start)


def record(call: Call, method: str, status: int) -> None:
    """One line a request; of successes only at debug, so that a busy service does not log more than it stores."""
    write = log.error if status >= 500 else log.info if status >= 400 else log.debug
    write(
        "request",
        method=method if method in METHODS else "other",
        route=call.route,
        status=status,
        error=call.error,
        reason=call.reason,
        key_id=call.key_id,
        milliseconds=round((time.perf_counter() - call.started) * 1000, 1),
    )
