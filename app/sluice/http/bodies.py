"""A request's body: read in pieces under a deadline, inflated, and bounded before it is held."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator

from sluice import errors
from sluice.http import worker
from sluice.http.context import Request
from sluice.inflight import Share
from sluice.intake import inflate
from sluice.settings import Settings

JSON_TYPES = re.compile(r"(application|text)/json|text/plain|application/[\w.+-]+\+json")
NDJSON_TYPES = ("application/x-ndjson", "application/ndjson", "application/jsonl", "application/x-jsonlines")


def is_ndjson(request: Request) -> bool:
    return request.mimetype in NDJSON_TYPES


def must_be_json(request: Request, *also: str) -> None:
    """Refuse a body that says it is something else; one that says nothing is taken for JSON."""
    kind = request.environ.get("CONTENT_TYPE") or ""
    if kind in ("", "application/json") or JSON_TYPES.fullmatch(request.mimetype):
        return
    accepted = ", ".join(("application/json", *also))
    raise errors.UnsupportedMediaType(f"send one of {accepted}", headers={"Accept-Post": accepted})


def whole(request: Request, settings: Settings, share: Share) -> bytes:
    """The inflated body, held against `share`; raises 400, 408, 413, 415 or 503."""
    if (request.content_length or 0) > settings.max_body_bytes:
        raise too_large(request, settings)
    worker.set_deadline(settings.request_timeout)
    held: list[bytes] = []
    size = 0
    for piece in inflate.inflated(wire(request, settings), encoding(request)):
        size += len(piece)
        if size > settings.max_inflated_bytes:
            raise too_large(request, settings)
        share.take(len(piece))
        held.append(piece)
    return b"".join(held)


def encoding(request: Request) -> str:
    return str(request.environ.get("HTTP_CONTENT_ENCODING", ""))


def wire(request: Request, settings: Settings) -> Iterator[bytes]:
    """The body as it comes, no more than MAX_BODY_BYTES of it."""
    size = 0
    while piece := read(request):
        size += len(piece)
        if size > settings.max_body_bytes:
            raise too_large(request, settings)
        yield piece


def read(request: Request) -> bytes:
    """What is there of the body; b"" at its end."""
    try:
        return worker.read_some(request.environ)
    except TimeoutError as error:
        worker.close_after(request.environ)
        raise errors.RequestTimeout("the body did not come within the deadline") from error
    except worker.BrokenBody as error:
        detail = "the body ended before it was complete"
        raise errors.BadRequest(detail, error="invalid_body", reason="incomplete_body") from error


def too_large(request: Request, settings: Settings) -> errors.ContentTooLarge:
    # What is still on its way is not read: the connection can not serve another request.
    worker.close_after(request.environ)
    return errors.ContentTooLarge(
        f"a body may have {settings.max_body_bytes} bytes, {settings.max_inflated_bytes} after decompression;"
        " send less at a time, or stream NDJSON"
    )


def streamed(request: Request, timeout: float, wait: Callable[[], float]) -> Iterator[bytes]:
    """The body as it comes, without limit; b"" whenever nothing came for `wait()` s. Raises 408 after `timeout` s of silence."""
    silent_since = time.monotonic()
    while True:
        if worker.readable(request.environ, max(0.0, wait())):
            worker.set_deadline(timeout)
            piece = read(request)
            if not piece:
                return
            silent_since = time.monotonic()
            yield piece
        elif time.monotonic() - silent_since > timeout:
            worker.close_after(request.environ)
            raise errors.RequestTimeout(f"nothing came for {timeout:g} seconds")
        else:
            yield b""
