"""NDJSON without a length limit: committed chunk by chunk while it comes, answered once at its end."""

from __future__ import annotations

import time
from collections.abc import Iterator

import msgspec
import structlog

from sluice import errors, outcomes
from sluice.http import auth, bodies, problems, responses
from sluice.http.context import RequestContext
from sluice.http.responses import Response, Tally
from sluice.http.services import Services
from sluice.ingest.memory_budget import Reservation
from sluice.parsing import batches, ndjson

log = structlog.get_logger()
MAX_RESULTS = 1_000
# What says nothing against the body.
RETRYABLE = (408, 429, 503)


def ingest(parts: Services, context: RequestContext, *, everything: bool) -> Response:
    """The response to an NDJSON body."""
    if "HTTP_IDEMPOTENCY_KEY" in context.headers:
        detail = "Idempotency-Key does not apply to a stream; event ids make its lines safe to send again"
        raise errors.BadRequest(detail, error="invalid_idempotency_key")
    tally = Tally(everything=everything, max_results=MAX_RESULTS)
    give_back = parts.streams.take(auth.entry_on(context).key_id)
    try:
        with parts.stream_memory.reservation() as reservation:
            stopped = take_in(parts, context, tally, reservation)
        if not tally.received and stopped is None:
            raise errors.BadRequest("the stream holds no event", error="empty_batch")
    except errors.ApiError as error:
        counted(error, tally)
        # Not `from` itself: the cycle would keep the chunk in memory until the garbage collector comes by.
        raise
    except errors.StoreUnavailable as error:
        raise counted(problems.api_error(error), tally) from error
    finally:
        give_back()
    return responses.batch(tally.data(stopped))


def counted(error: errors.ApiError, tally: Tally) -> errors.ApiError:
    """`error` with the counts of what was done before it. The client may be gone: then only the log has them."""
    # A body that broke off may come whole another time.
    retryable = error.status in RETRYABLE or error.reason == "incomplete_body"
    data = error.data = msgspec.to_builtins(tally.data(error.error, retryable=retryable))
    counts = {name: data[name] for name in ("total_received", *outcomes.STATUSES) if name in data}
    log.info("stream.ended", error=error.error, reason=error.reason, **counts)
    return error


def take_in(parts: Services, context: RequestContext, tally: Tally, reservation: Reservation) -> str | None:
    """Commit chunk after chunk; why it stopped before the end of the body, or None."""
    for text in chunks(parts, context, reservation):
        commit(parts, context, tally, text)
        if parts.draining():
            context.body.close_connection()
            return "draining"
        # A key that was revoked, or lost the scope, ends the stream with the chunk.
        auth.check(parts, context, "ingest")
    return None


def chunks(parts: Services, context: RequestContext, reservation: Reservation) -> Iterator[bytes]:
    """Texts of whole lines, as they fall due, and b"" now and then. Of a body that breaks off its whole lines come first."""
    settings = parts.settings
    # A chunk that the key's whole limit does not hold would never be granted.
    limit = parts.limiter.limit_of(auth.entry_on(context), "events") or settings.max_batch_size
    chunker = ndjson.Chunker(min(settings.max_batch_size, limit), settings.max_event_bytes, time.monotonic)
    try:
        pieces = bodies.streamed(context, settings.request_timeout, lambda: chunker.wait)
        for piece in bodies.inflated(context, pieces):
            try:
                reservation.hold(chunker.room(piece))
            except errors.ServiceUnavailable:
                yield from chunker.finish()
                reservation.hold(chunker.room(piece))
            chunker.add(piece)
            yield from chunker.take() if chunker.due else (b"",)
    except errors.ApiError:
        yield from chunker.finish()
        raise
    chunker.end()
    yield from chunker.finish()


def commit(parts: Services, context: RequestContext, tally: Tally, text: bytes) -> None:
    items = batches.lines(text)
    # Blank lines are counted too: compressed, millions of them are a few bytes to send and much to read.
    if cost := max(len(items), text.count(b"\n")):
        auth.count_events(parts, context, cost)
    if not items:
        return
    try:
        tally.add(parts.pipeline.accept(items, auth.entry_on(context).key_id, "ndjson"))
    except errors.StoreUnavailable as error:
        tally.add([outcomes.failed(None, error.reason)] * len(items))
        raise
