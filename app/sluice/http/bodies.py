"""A request's body: read in pieces under a deadline, inflated, and bounded before it is held."""

from __future__ import annotations

import codecs
import re
import time
from collections.abc import Callable, Iterable, Iterator
from typing import IO, TYPE_CHECKING, Protocol

from sluice import errors
from sluice.ingest.memory_budget import Reservation
from sluice.parsing import decompression
from sluice.parsing.weight import weight
from sluice.settings import Settings

if TYPE_CHECKING:
    from sluice.http.context import RequestContext

JSON_TYPES = re.compile(r"(application|text)/json|text/plain|application/[\w.+-]+\+json")
# RFC 6902: operations, and no object that any request here takes.
JSON_PATCH = "application/json-patch+json"
NDJSON_TYPES = ("application/x-ndjson", "application/ndjson", "application/jsonl", "application/x-jsonlines")
READ_BYTES = 64 << 10


class RequestBody(Protocol):
    """What a server offers of a request's body (sluice.server.worker)."""

    def set_deadline(self, seconds: float) -> None:
        """From now on `read_some` raises TimeoutError when nothing came until `seconds` from now."""

    def read_some(self) -> bytes:
        """What is there; waits only when nothing is. b"" at the end. Raises TimeoutError and errors.IncompleteBody."""

    def readable(self, timeout: float) -> bool:
        """Whether `read_some` has something to report (data, the end, a broken body) now or within `timeout` seconds."""

    def close_connection(self) -> None:
        """Answer this request with `Connection: close`: what is left of its body will not be read."""

    def skip_rest(self) -> None:
        """Before the response: skip the rest of the body, or close the connection when the rest does not come at once."""


class InputBody:
    """A body that is a file, as under Flask's test client."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def set_deadline(self, seconds: float) -> None:
        pass

    def read_some(self) -> bytes:
        return self._file.read(READ_BYTES)

    def readable(self, timeout: float) -> bool:
        return True

    def close_connection(self) -> None:
        pass

    def skip_rest(self) -> None:
        pass


def must_be_json(context: RequestContext, *also: str) -> None:
    """Refuse a body that says it is something else; one that says nothing is taken for JSON."""
    kind = context.media_type
    if kind != JSON_PATCH and (kind in ("", "application/json") or JSON_TYPES.fullmatch(kind)):
        return
    accepted = ", ".join(("application/json", *also))
    detail = f"the body is sent as {kind[:100]}, and {accepted} can be taken"
    if kind == "application/x-www-form-urlencoded":
        detail += "; add the header 'Content-Type: application/json', without which curl -d and many clients send a form's type"
    raise errors.UnsupportedMediaType(detail, headers={"Accept-Patch" if context.method == "PATCH" else "Accept-Post": accepted})


def whole(context: RequestContext, settings: Settings, reservation: Reservation) -> bytes:
    """The inflated body, held against `reservation`, without a byte order mark; raises 400, 408, 413, 415 or 503."""
    length = context.headers.get("CONTENT_LENGTH") or ""
    if length.isdecimal() and int(length) > settings.max_body_bytes:
        raise too_large(context, settings)
    context.body.set_deadline(settings.request_timeout)
    held: list[bytes] = []
    size = 0
    for piece in inflated(context, wire(context, settings)):
        size += len(piece)
        if size > settings.max_inflated_bytes:
            raise too_large(context, settings)
        reservation.take(len(piece))
        held.append(piece)
    body = b"".join(held).removeprefix(codecs.BOM_UTF8)
    parsed = weight(body)
    if parsed > settings.max_inflight_bytes:
        detail = (
            f"so many small values weigh {parsed} bytes, and a worker holds {settings.max_inflight_bytes}; send less at a time"
        )
        raise errors.ContentTooLarge(detail, reason="too_many_values")
    reservation.take(parsed - len(body))
    return body


def inflated(context: RequestContext, pieces: Iterable[bytes]) -> Iterator[bytes]:
    return decompression.inflated(pieces, context.headers.get("HTTP_CONTENT_ENCODING", ""))


def wire(context: RequestContext, settings: Settings) -> Iterator[bytes]:
    """The body as it comes, no more than MAX_BODY_BYTES of it."""
    size = 0
    while piece := read(context):
        size += len(piece)
        if size > settings.max_body_bytes:
            raise too_large(context, settings)
        yield piece


def read(context: RequestContext) -> bytes:
    """What is there of the body; b"" at its end."""
    try:
        return context.body.read_some()
    except TimeoutError as error:
        context.body.close_connection()
        raise errors.RequestTimeout("the body did not come within the deadline") from error
    except errors.IncompleteBody as error:
        detail = f"the body ended before it was complete, or its chunks are not framed as RFC 9112 says ({error})"
        raise errors.BadRequest(detail, error="invalid_body", reason="incomplete_body") from error


def too_large(context: RequestContext, settings: Settings) -> errors.ContentTooLarge:
    # What is still on its way is not read: the connection cannot serve another request.
    context.body.close_connection()
    return errors.ContentTooLarge(
        f"a body may have {settings.max_body_bytes} bytes, {settings.max_inflated_bytes} after decompression;"
        " send less at a time, or stream NDJSON"
    )


def streamed(context: RequestContext, timeout: float, wait: Callable[[], float]) -> Iterator[bytes]:
    """The body as it comes, without limit; b"" whenever nothing came for `wait()` s. Raises 408 after `timeout` s of silence."""
    silent_since = time.monotonic()
    while True:
        if context.body.readable(max(0.0, wait())):
            context.body.set_deadline(timeout)
            piece = read(context)
            if not piece:
                return
            silent_since = time.monotonic()
            yield piece
        elif time.monotonic() - silent_since > timeout:
            context.body.close_connection()
            raise errors.RequestTimeout(f"nothing came for {timeout:g} seconds")
        else:
            yield b""
