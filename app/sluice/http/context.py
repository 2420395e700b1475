"""What every request carries: its id, its trace and the headers of its answer."""

from __future__ import annotations

import re
import secrets
import time

import structlog
from flask import Flask, Response, g, request
from structlog.contextvars import bind_contextvars, clear_contextvars

from sluice import limiter
from sluice.http.services import services

log = structlog.get_logger()
# What a client may choose; anything else is replaced, so that a log field has a bound and a form.
REQUEST_ID = re.compile(r"[A-Za-z0-9._:/+=-]{1,128}")
# W3C Trace Context, section 3.2; version 00.
TRACEPARENT = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))


def init_app(app: Flask) -> None:
    app.before_request(begin)
    app.after_request(finish)


def begin() -> None:
    environ = request.environ
    g.started = time.perf_counter()
    g.request_id = request_id(environ.get("HTTP_X_REQUEST_ID"))
    g.traceparent = traceparent(environ.get("HTTP_TRACEPARENT"))
    g.verdicts = []
    if request.method not in METHODS:
        # The exporter labels by method, and a client may invent methods without end.
        request.prom_do_not_track = True  # type: ignore[attr-defined]
    clear_contextvars()
    bind_contextvars(request_id=g.request_id, traceparent=g.traceparent)


def request_id(given: str | None) -> str:
    return given if given and REQUEST_ID.fullmatch(given) else secrets.token_hex(16)


def traceparent(given: str | None) -> str:
    """The caller's trace as it came, or a new one that is not sampled."""
    return given if given and TRACEPARENT.fullmatch(given) else f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-00"


def finish(response: Response) -> Response:
    headers = response.headers
    headers["X-Request-ID"] = g.request_id
    headers["traceparent"] = g.traceparent
    headers["X-Content-Type-Options"] = "nosniff"
    for name, value in limiter.headers(g.verdicts).items():
        headers.setdefault(name, value)
    record(response.status_code)
    return response


def record(status: int) -> None:
    """One line a request: at debug when all went well, so that a busy service does not log more than it stores."""
    write = log.error if status >= 500 else log.info if status >= 400 else log.debug
    if status < 400 and services().settings.log_level != "debug":
        return
    problem = g.get("problem")
    write(
        "request",
        method=request.method if request.method in METHODS else "other",
        route=request.url_rule.rule if request.url_rule else None,
        status=status,
        error=problem.error if problem else None,
        reason=problem.reason if problem else None,
        key_id=g.get("key_id"),
        milliseconds=round((time.perf_counter() - g.started) * 1000, 1),
    )
