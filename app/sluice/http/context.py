"""One request as every function below the web framework sees it: its id, its trace, its key, and the headers of its response."""

from __future__ import annotations

import random
import re
import time
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

import structlog
from structlog.contextvars import bind_contextvars, clear_contextvars

from sluice import errors, limiter
from sluice.http.bodies import InputBody, RequestBody
from sluice.keyring import LastKey
from sluice.keys import KeyEntry
from sluice.limiter import Allowance

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

log = structlog.get_logger()
# What a client may choose; anything else is replaced, so that a log field has a bound and a form.
REQUEST_ID = re.compile(r"[A-Za-z0-9._:/+=-]{1,128}")
# W3C Trace Context, section 3.2; version 00.
TRACEPARENT = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))
# Where the middleware leaves the context in the environ.
CONTEXT = "sluice.context"


class RequestContext:
    """`headers`: by WSGI's names (PEP 3333: HTTP_AUTHORIZATION, CONTENT_TYPE); behind Flask that is the environ itself.

    `entry`, `key_id`: set by auth.admit. `last_key`: of the connection's request before, when the
    server keeps it. `error`, `reason`: of a refusal, for the log. Not the exception: its traceback holds
    this request and its body, and a cycle of them would stay in memory until the garbage collector comes by.
    """

    __slots__ = (
        "allowances",
        "body",
        "entry",
        "error",
        "headers",
        "key_id",
        "last_key",
        "method",
        "path",
        "query_string",
        "reason",
        "request_id",
        "route",
        "started",
        "traceparent",
    )

    def __init__(self, method: str, path: str, headers: Mapping[str, Any], body: RequestBody, query_string: str = "") -> None:
        # Ids, not secrets: the system's randomness would cost more than all else here.
        fresh = f"{random.getrandbits(320):080x}"
        self.started = time.perf_counter()
        self.method = method
        self.path = path
        self.headers = headers
        self.body = body
        self.query_string = query_string
        given = headers.get("HTTP_X_REQUEST_ID")
        self.request_id: str = given if given and REQUEST_ID.fullmatch(given) else fresh[:32]
        given = headers.get("HTTP_TRACEPARENT")
        # The caller's trace as it came, or a new one that is not sampled.
        self.traceparent: str = given if given and TRACEPARENT.fullmatch(given) else f"00-{fresh[32:64]}-{fresh[64:]}-00"
        self.entry: KeyEntry | None = None
        self.key_id: str | None = None
        self.last_key: LastKey | None = None
        self.route: str | None = None
        self.error: str | None = None
        self.reason: str | None = None
        self.allowances: dict[limiter.Kind, Allowance] = {}

    @property
    def query(self) -> list[tuple[str, str]]:
        """The query parameters in order; raises BadRequest for bytes that are no text, which would mean another one."""
        try:
            return parse_qsl(self.query_string, keep_blank_values=True, errors="strict") if self.query_string else []
        except UnicodeError as error:
            raise errors.BadRequest("the query has %XX that are no text in UTF-8", reason="query") from error

    @property
    def media_type(self) -> str:
        """The Content-Type in lower case, without its parameters."""
        return str(self.headers.get("CONTENT_TYPE") or "").partition(";")[0].strip().lower()

    def response_headers(self) -> list[tuple[str, str]]:
        return [
            ("X-Request-ID", self.request_id),
            ("traceparent", self.traceparent),
            ("X-Content-Type-Options", "nosniff"),
            *limiter.headers(self.allowances.values()),
        ]

    def log_response(self, status: int, ended: float | None = None) -> None:
        """One line a request; of successes only at debug, so that a busy service does not log more than it stores.

        `ended`: a time of time.perf_counter(), now without it.
        """
        write = log.error if status >= 500 else log.info if status >= 400 else log.debug
        write(
            "request",
            method=self.method if self.method in METHODS else "other",
            route=self.route,
            status=status,
            error=self.error,
            reason=self.reason,
            key_id=self.key_id,
            milliseconds=round(((ended or time.perf_counter()) - self.started) * 1000, 1),
        )


class Middleware:
    """WSGI middleware that makes a RequestContext of each request and puts its headers on the response.

    Around Flask and not inside it: there each header and each look at the request costs several times as much.
    """

    def __init__(self, app: WSGIApplication, *, log_all: bool) -> None:
        self._app = app
        self._log_all = log_all

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        # An offer that a server may ignore (RFC 9110 section 7.8), and for which werkzeug refuses the request.
        environ.pop("HTTP_UPGRADE", None)
        # The server's own, when it is one of ours (sluice.server.body).
        body: Any = environ["wsgi.input"]
        context = environ[CONTEXT] = RequestContext(
            environ["REQUEST_METHOD"],
            environ["PATH_INFO"],
            environ,
            body if hasattr(body, "read_some") else InputBody(body),
            environ.get("QUERY_STRING", ""),
        )
        clear_contextvars()
        bind_contextvars(request_id=context.request_id, traceparent=context.traceparent)

        def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            # Else the server would wait for it afterwards, in a thread that a client could hold.
            context.body.skip_rest()
            headers.extend(context.response_headers())
            code = int(status[:3])
            if code >= 400 or self._log_all:
                context.log_response(code)
            return start_response(status, headers, exc_info)

        return self._app(environ, start)
