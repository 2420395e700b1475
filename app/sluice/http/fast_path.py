"""A plain single post from its bytes to its response, without Flask and without a thread of its own.

One thread, the worker's poller, calls `begin` and `finish`; neither waits for anything. Between them the records of all requests
that came meanwhile are committed together by one thread. The functions are those that a Flask view uses.
"""

from __future__ import annotations

import codecs
import functools
import io
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from email.utils import formatdate
from http import HTTPStatus
from typing import Any, Protocol

import structlog
from structlog.contextvars import bind_contextvars, clear_contextvars

from sluice import errors
from sluice.events import Record
from sluice.http import auth, problems, responses
from sluice.http.bodies import InputBody
from sluice.http.context import RequestContext
from sluice.http.plain_request import MAX_BODY, PATH, Plain
from sluice.http.responses import Response
from sluice.http.services import Services
from sluice.ingest.batch_thread import BatchThread
from sluice.keyring import LastKey
from sluice.metrics import RequestMetrics, SlowReason
from sluice.parsing import batches
from sluice.parsing.weight import weight

log = structlog.get_logger()
ROUTE = PATH.decode()
# The body is in hand before the request is begun.
NO_BODY = InputBody(io.BytesIO())
# Lines that may wait for a log that nobody reads; what comes then is counted, and the count is logged.
MAX_LINES = 1_000
STATUS_LINES = {status.value: f"HTTP/1.1 {status.value} {status.phrase.upper()}" for status in HTTPStatus}


class Client(Protocol):
    """The server's side of a connection."""

    last_key: LastKey


class Exchange:
    """A request on its way to its `response`. `client`: where that goes, to the server; `record`: None when it is refused."""

    __slots__ = ("client", "context", "held", "keep_alive", "record", "response")
    response: Response

    def __init__(self, client: Client, plain: Plain) -> None:
        self.client: Any = client
        self.context = RequestContext("POST", ROUTE, plain.headers, NO_BODY)
        self.context.route = ROUTE
        self.context.last_key = client.last_key
        self.keep_alive = plain.keep_alive
        self.held = 0
        self.record: Record | None = None


class FastPath:
    """`deliver` is set by the server, and called by the commit thread with exchanges that have their responses."""

    deliver: Callable[[Sequence[Exchange]], object]

    def __init__(self, parts: Services, metrics: RequestMetrics) -> None:
        settings = parts.settings
        self.max_body = min(MAX_BODY, settings.max_body_bytes, settings.max_inflated_bytes)
        self._parts = parts
        self._metrics = metrics
        self._log_all = settings.log_level == "debug"
        self._dropped_lines = 0
        self._commits = BatchThread("commit", self._commit)
        self._lines = BatchThread("log", self._write)

    def begin(self, client: Client, plain: Plain) -> Exchange:
        """Check key, limits and event in the order of a Flask view. Without a `record` it is refused, else `commit` it."""
        exchange = Exchange(client, plain)
        try:
            self._begin(exchange, plain.body)
        except Exception as error:
            exchange.response = problems.response_to(error, exchange.context)
            self._report([exchange])
        return exchange

    def _begin(self, exchange: Exchange, body: bytes) -> None:
        parts, context = self._parts, exchange.context
        entry = auth.identify(parts, context, "ingest")
        auth.count_request(parts, context, entry)
        held = weight(body)
        parts.memory.take(held)
        exchange.held = held
        try:
            items = [batches.one(body.removeprefix(codecs.BOM_UTF8))]
        except errors.BadRequest as error:
            parts.metrics.count("event", received=1, invalid=1)
            parts.metrics.invalid([error.reason])
            raise
        auth.count_events(parts, context, 1)
        records, found = parts.pipeline.prepared(items, entry.key_id, parts.pipeline.clock())
        if found[0] is not None:
            parts.pipeline.count("event", (), (), found)
            responses.must_be_stored(found[0])
        exchange.record = records[0]
        exchange.record.traceparent = context.traceparent

    def commit(self, exchange: Exchange) -> None:
        """Have the record committed with whatever else waits."""
        self._commits.put(exchange)

    def finish(self, exchange: Exchange, *, close: bool) -> bytes:
        """The bytes of the response. `close`: it says `Connection: close`."""
        self._parts.memory.give(exchange.held)
        response, context = exchange.response, exchange.context
        body = response.body if isinstance(response.body, bytes) else b"".join(response.body)
        more = "".join([f"{name}: {value}\r\n" for name, value in (*response.headers.items(), *context.response_headers())])
        head = (
            f"{STATUS_LINES[response.status]}\r\nServer: sluice\r\nDate: {date(int(time.time()))}\r\n"
            f"Connection: {'close' if close else 'keep-alive'}\r\n"
            f"Content-Type: {response.content_type}\r\nContent-Length: {len(body)}\r\n{more}\r\n"
        )
        return head.encode("latin-1") + body

    def left(self, reason: SlowReason) -> None:
        """Count a request that is left to Flask."""
        self._parts.metrics.fast_path(reason)

    def log(self, write: Callable[[], object]) -> None:
        """Have a line written by another thread: the poller must not wait for the reader of the log."""
        if self._lines.waiting() < MAX_LINES:
            self._lines.put(write)
        else:
            self._dropped_lines += 1

    def _commit(self, group: Sequence[Exchange]) -> None:
        """Commit, respond and count."""
        records = [exchange.record for exchange in group if exchange.record is not None]
        pipeline = self._parts.pipeline
        try:
            found = pipeline.sink.accept(records, pipeline.clock())
        except Exception as error:
            self._parts.metrics.count("event", received=len(group), failed=len(group))
            problem = problems.api_error(error)
            for exchange in group:
                exchange.response = problems.response_to(problem, exchange.context)
        else:
            pipeline.count("event", records, found)
            for exchange, outcome in zip(group, found, strict=True):
                try:
                    exchange.response = responses.single(outcome)
                except errors.ApiError as error:
                    exchange.response = problems.response_to(error, exchange.context)
        self._report(group)
        self.deliver(group)

    def _report(self, group: Sequence[Exchange]) -> None:
        """Count the responses, and log what a Flask view would."""
        now = time.perf_counter()
        seconds: dict[int, list[float]] = defaultdict(list)
        for exchange in group:
            status = exchange.response.status
            seconds[status].append(now - exchange.context.started)
            if status >= 400 or self._log_all:
                self.log(functools.partial(log_response, exchange.context, status, now))
        self._metrics.observe(seconds)
        self._parts.metrics.auth("ok", sum(exchange.context.entry is not None for exchange in group))
        self._parts.metrics.fast_path("served", len(group))

    def _write(self, lines: Sequence[Callable[[], object]]) -> None:
        for line in lines:
            line()
        if self._dropped_lines:
            dropped, self._dropped_lines = self._dropped_lines, 0
            clear_contextvars()
            log.warning("log.lines_dropped", lines=dropped)


def log_response(context: RequestContext, status: int, ended: float) -> None:
    clear_contextvars()
    bind_contextvars(request_id=context.request_id, traceparent=context.traceparent)
    context.log_response(status, ended)


@functools.lru_cache(1)
def date(second: int) -> str:
    """The Date header (RFC 9110 section 5.6.7)."""
    return formatdate(second, usegmt=True)
