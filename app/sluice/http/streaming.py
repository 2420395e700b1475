"""NDJSON without a length limit: committed chunk by chunk while it comes, answered once at its end."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
import structlog
from flask import Response

from sluice import errors, outcomes
from sluice.http import answers, auth, bodies, worker
from sluice.http.context import Request
from sluice.http.problems import unavailable
from sluice.http.services import Services
from sluice.intake import batches, inflate, stream
from sluice.intake.batches import Item
from sluice.outcomes import Outcome

log = structlog.get_logger()
MAX_RESULTS = 1_000
# What one stream holds at most: a chunk, its events, and the piece that is being read.
HELD_BYTES = 2 * stream.CHUNK_BYTES


class Tally:
    """What became of the lines so far. Counts are exact; of the results the first MAX_RESULTS are kept."""

    def __init__(self, everything: bool) -> None:
        self._everything = everything
        self._counts = outcomes.count([])
        self._results: list[answers.Result] = []
        self._truncated = False
        self.received = 0

    def add(self, found: Sequence[Outcome]) -> None:
        for index, outcome in enumerate(found, self.received):
            self._counts[outcome.status] += 1
            if self._everything or outcome.status != "created":
                self._tell(index, outcome)
        self.received += len(found)

    def _tell(self, index: int, outcome: Outcome) -> None:
        if len(self._results) < MAX_RESULTS:
            self._results.append(answers.result(index, outcome))
        else:
            self._truncated = True

    def data(self, stopped: str | None = None) -> answers.BatchData:
        counts = self._counts
        return answers.BatchData(
            total_received=self.received,
            logs_processed=counts["created"] + counts["duplicate"],
            results=self._results,
            results_truncated=self._truncated,
            retryable=stopped is not None,
            stopped=stopped,
            **counts,
        )


def ingest(parts: Services, request: Request, *, everything: bool) -> Response:
    """The answer to an NDJSON body."""
    if "HTTP_IDEMPOTENCY_KEY" in request.environ:
        detail = "Idempotency-Key does not apply to a stream; event ids make its lines safe to send again"
        raise errors.BadRequest(detail, error="invalid_idempotency_key")
    tally = Tally(everything)
    with parts.inflight.share() as share:
        share.take(HELD_BYTES)
        try:
            stopped = take_in(parts, request, tally)
        except errors.ApiError as error:
            counted(error, tally)
            # Not `from` itself: the cycle would keep the chunk in memory until the garbage collector comes by.
            raise
        except errors.StoreUnavailable as error:
            raise counted(unavailable(error), tally) from error
    status, body = answers.batch(tally.data(stopped))
    return answers.json_response(body, status)


def counted(error: errors.ApiError, tally: Tally) -> errors.ApiError:
    """`error` with the counts of what was done before it. The client may be gone: then only the log hears them."""
    data = msgspec.to_builtins(tally.data(error.error))
    error.data = data
    told: dict[str, Any] = {name: data[name] for name in ("total_received", *outcomes.STATUSES)}
    log.info("stream.ended", error=error.error, reason=error.reason, **told)
    return error


def take_in(parts: Services, request: Request, tally: Tally) -> str | None:
    """Commit chunk after chunk; why it stopped before the end of the body, or None."""
    settings = parts.settings
    chunker = stream.Chunker(settings.max_batch_size, settings.max_event_bytes, time.monotonic)
    for text in chunks(request, chunker, settings.request_timeout):
        commit(parts, request, tally, text)
        if parts.draining():
            worker.close_after(request.environ)
            return "draining"
        # A key that was revoked ends the stream with the chunk.
        auth.entry_of(parts, request)
    return None


def chunks(request: Request, chunker: stream.Chunker, timeout: float) -> Iterator[bytes]:
    """Texts of whole lines, as they fall due, and b"" now and then. Of a body that breaks off its whole lines come first."""
    try:
        for piece in inflate.inflated(bodies.streamed(request, timeout, lambda: chunker.wait), bodies.encoding(request)):
            chunker.add(piece)
            yield from chunker.take() if chunker.due else (b"",)
    except errors.ApiError:
        yield from chunker.finish()
        raise
    chunker.end()
    yield from chunker.finish()


def commit(parts: Services, request: Request, tally: Tally, text: bytes) -> None:
    items: Sequence[Item] = batches.lines(text)
    # Blank lines are counted too: compressed, millions of them are a few bytes to send and much to read.
    if cost := max(len(items), text.count(b"\n")):
        auth.count_events(parts, request, cost)
    if not items:
        return
    try:
        tally.add(parts.pipeline.many(items, auth.entry_on(request).key_id, "ndjson"))
    except errors.StoreUnavailable as error:
        tally.add([outcomes.failed(None, error.reason)] * len(items))
        raise
