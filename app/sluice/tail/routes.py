"""GET /api/v1/logs/tail: events as they are committed, until the client ends it."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator
from datetime import UTC, datetime

from sluice import errors, filters
from sluice.filters import Match
from sluice.http import auth
from sluice.http.context import RequestContext
from sluice.http.read import STORED, filter_parameters
from sluice.http.responses import Response
from sluice.http.routes import Example, parameter, route
from sluice.http.services import Services
from sluice.keys import KeyEntry
from sluice.tail.hub import Hub
from sluice.tail.stream import OPENING, Tail

EVENT_STREAM = "text/event-stream"
# A proxy that collects a response before it sends it on would end what is live about it (nginx reads the second one).
HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
MAX_MATCHES = 32
LAST_EVENT_ID = {"type": "string", "maxLength": 2048}
SHOWN = datetime(2026, 1, 31, 12, tzinfo=UTC)


@route(
    "GET",
    "/api/v1/logs/tail",
    summary="Events as they are committed, as Server-Sent Events",
    access="read",
    answers={200: (EVENT_STREAM, str)},
    refusals={503: "too many tails, or the store is away"},
    parameters=(
        *filter_parameters(paged=False),
        parameter("Last-Event-ID", LAST_EVENT_ID, "the last `id` that came: goes on behind it", "header"),
    ),
    example=Example(after=STORED, query={"source": "checkout"}, answer=OPENING.decode()),
)
def tail(parts: Services, context: RequestContext) -> Response:
    matches = filters.parse(context.query, paged=False).matches
    return opened(parts, context, auth.entry_on(context), matches)


def opened(
    parts: Services, context: RequestContext, entry: KeyEntry, matches: tuple[Match, ...], after: str | None = None
) -> Response:
    """The response that is a tail of `matches`; it ends with the key of `entry`. `after`: where it begins the first time."""
    if context.method == "HEAD":
        return Response(content_type=EVENT_STREAM, headers=HEADERS)
    client = context.headers.get("gunicorn.socket")
    if client is None:
        raise errors.NotSupported("a tail needs the server of `sluice serve`", error="not_supported")
    if len(matches) > MAX_MATCHES:
        raise errors.BadRequest(
            f"a tail has at most {MAX_MATCHES} conditions, for each new event is asked for all of them",
            error="validation_error",
            reason="query",
        )
    if parts.draining():
        raise errors.ServiceUnavailable("this process is about to end", reason="draining", headers={"Retry-After": "1"})
    hub = parts.single(Hub)
    try:
        found = hub.open(entry, matches, context.headers.get("HTTP_LAST_EVENT_ID") or after)
    except errors.InvalidCursor as error:
        detail = "this Last-Event-ID was not made here; begin again without it"
        wrong = [{"parameter": "Last-Event-ID", "detail": detail}]
        raise errors.BadRequest(detail, error="invalid_cursor", errors=wrong) from error
    chunked = context.headers.get("SERVER_PROTOCOL") != "HTTP/1.0"
    return Response(body=Opening(hub, found, client, chunked=chunked), content_type=EVENT_STREAM, headers=HEADERS)


class Opening(Iterator[bytes]):
    """The body as the server sees it: it sends the head and the first bytes, and then the socket is the hub's.

    The server closes its own handle of the connection, as for a client that left, and its thread is free.
    """

    def __init__(self, hub: Hub, tail: Tail, client: socket.socket, *, chunked: bool) -> None:
        self._hub = hub
        self._tail = tail
        self._client = client
        self._chunked = chunked
        self._begun = False

    def __next__(self) -> bytes:
        if not self._begun:
            self._begun = True
            return OPENING
        self._hub.begin(self._tail, self._client.dup(), chunked=self._chunked)
        raise ConnectionResetError(errno.ECONNRESET, "the tail took the connection over")

    def close(self) -> None:
        if self._tail.socket is None:
            self._hub.close(self._tail)
