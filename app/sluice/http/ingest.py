"""Events in: one, many, a stream, and what the clients of seeds 000 and 004 send. Every whole body takes one way, `ingest`."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from typing import Any

from sluice import errors, events
from sluice.events import Event
from sluice.http import auth, bodies, responses, streaming
from sluice.http.context import RequestContext
from sluice.http.responses import JSON, BatchData, Response, Result, Stored, Tally
from sluice.http.routes import NDJSON, Example, envelope, flags, parameter, route, success
from sluice.http.services import Services
from sluice.ingest.memory_budget import Reservation
from sluice.outcomes import Outcome
from sluice.parsing import batches, formats, legacy
from sluice.parsing.formats import Format
from sluice.stores import Claim, Kept

# A visible ASCII string of 1 to 255, quoted or not: the draft writes it as a structured string, most clients do not.
IDEMPOTENCY_KEY = re.compile(r'"([\x21\x23-\x7e]{1,255})"|([\x21\x23-\x7e]{1,255})')
ATOMIC, RESULTS = ("true", "false"), ("problems", "all")

BODIED = {408: "the body did not come in time", 413: "too large", 415: "another type or coding than is taken"}
ONCE = {**BODIED, 409: "stored with other content, or Idempotency-Key in use", 422: "Idempotency-Key reused"}
KEY_PARAMETER = parameter(
    "Idempotency-Key",
    {"type": "string", "pattern": "^[!#-~]{1,255}$"},
    "The same key and body within 24 hours: the same answer again, with Idempotent-Replayed: true.",
    "header",
)

EVENT = Event(
    event_id="checkout-7001",
    event_type="error",
    event_name="payment.failed",
    user_id="user-1",
    source="checkout",
    properties={"code": 502, "tags": {"provider": "acme"}},
)

Respond = Callable[[Sequence[Outcome], bool], Response]


@route(
    "POST",
    "/api/v1/ingest",
    summary="Store one event",
    access="ingest",
    body={JSON: events.Event},
    answers={201: envelope(Stored)},
    refusals=ONCE,
    parameters=(KEY_PARAMETER,),
    example=Example(
        headers={"Idempotency-Key": "order-7001"},
        body=EVENT,
        answer=success("event stored", Stored("checkout-7001", 10000, "created")),
    ),
)
def one(parts: Services, context: RequestContext) -> Response:
    flags(context)
    return ingest(parts, context, formats.EVENT, lambda found, replayed: responses.single(found[0], replayed=replayed))


@route(
    "POST",
    "/api/v1/batch-ingest",
    summary="Store many events; NDJSON is committed while it comes",
    access="ingest",
    body={JSON: list[events.Event] | batches.Batch, NDJSON: str},
    answers={201: envelope(BatchData), 200: envelope(BatchData)},
    refusals={
        **BODIED,
        409: "Idempotency-Key in use",
        422: "atomic batch refused, more events than the key's limit, or Idempotency-Key reused",
    },
    parameters=(
        parameter("atomic", {"enum": list(ATOMIC)}, "store all or nothing"),
        parameter("results", {"enum": list(RESULTS)}, "which items `results` lists"),
        KEY_PARAMETER,
    ),
    example=Example(
        query={"results": "problems"},
        body=[{"event_type": "log", "event_name": "started"}, {"event_type": "no such type", "event_name": "stopped"}],
        status=200,
        answer=success(
            "1 of 2 events stored",
            BatchData(
                total_received=2,
                logs_processed=1,
                created=1,
                duplicate=0,
                conflict=0,
                invalid=1,
                failed=0,
                results=[
                    Result(
                        index=1,
                        status="invalid",
                        event_id=None,
                        error="validation_error",
                        reason="invalid_value",
                        pointer="/event_type",
                        detail="must be one of behavioral, error, log, observability, performance, record, telemetry",
                        retryable=False,
                    )
                ],
            ),
        ),
    ),
)
def many(parts: Services, context: RequestContext) -> Response:
    if context.media_type in bodies.NDJSON_TYPES:
        return streaming.ingest(parts, context, everything=flags(context, results=RESULTS).get("results") == "all")
    given = flags(context, atomic=ATOMIC, results=RESULTS)
    atomic = given.get("atomic") == "true"

    def respond(found: Sequence[Outcome], replayed: bool) -> Response:
        tally = Tally(everything=given.get("results") == "all")
        tally.add(found)
        return (responses.atomic if atomic else responses.batch)(tally.data(), replayed=replayed)

    return ingest(parts, context, formats.BATCH, respond, atomic=atomic)


@route(
    "POST",
    "/",
    summary="Store an error report",
    access="ingest",
    body={JSON: legacy.ErrorReport},
    answers={204: (None, None)},
    refusals=ONCE,
    parameters=(KEY_PARAMETER,),
    example=Example(
        body=legacy.ErrorReport("shop", "/checkout", "payment timed out", 'File "pay.py", line 3, in pay\nTimeoutError'),
    ),
)
def error_report(parts: Services, context: RequestContext) -> Response:
    """204 and nothing more: seed 000's clients take no other answer."""

    def respond(found: Sequence[Outcome], replayed: bool) -> Response:
        responses.must_be_stored(found[0])
        return Response(204, b"", None, responses.REPLAYED if replayed else {})

    flags(context)
    return ingest(parts, context, formats.ERROR_REPORT, respond)


@route(
    "POST",
    "/log",
    summary="Store any JSON object as a log event; or many, as an array or one a line",
    access="ingest",
    body={JSON: dict[str, Any] | list[dict[str, Any]], NDJSON: str},
    answers={202: envelope(Stored), 200: envelope(BatchData)},
    refusals=ONCE,
    parameters=(KEY_PARAMETER,),
    example=Example(
        body={"level": "warning", "message": "disk is 90 % full"},
        answer=success("Log accepted", Stored("019c1e5d-6b00-7000-8000-3f1c2d4e5a6b", 20000, "created")),
    ),
)
def logs(parts: Services, context: RequestContext) -> Response:
    """202 for one object, and 200 with the counts of a batch for more."""

    def respond(found: Sequence[Outcome], replayed: bool) -> Response:
        if len(found) == 1:
            return responses.single(found[0], "Log accepted", 202, replayed=replayed)
        tally = Tally(everything=False)
        tally.add(found)
        return responses.batch(tally.data(), 200, replayed=replayed)

    flags(context)
    return ingest(parts, context, formats.LOG, respond)


def ingest(parts: Services, context: RequestContext, format: Format, respond: Respond, *, atomic: bool = False) -> Response:
    """The one way of a whole body: read, parse, count against the key's limit, store, respond."""
    if format.json_only:
        bodies.must_be_json(context, *(() if format.single else (NDJSON,)))
    with parts.memory.reservation() as reservation:
        kept = accept(parts, context, format, reservation, atomic=atomic)
    return respond(kept.outcomes, kept.replayed)


def accept(parts: Services, context: RequestContext, format: Format, reservation: Reservation, *, atomic: bool) -> Kept:
    """The outcomes. Body and items go with this frame, before the reservation does."""
    body = bodies.whole(context, parts.settings, reservation)
    try:
        items = format.parse(body, parts.settings.max_batch_size, parts.pipeline.rules, parts.pipeline.clock())
    except errors.BadRequest as error:
        if format.single and error.reason is not None:
            parts.metrics.count(format.label, received=1, invalid=1)
            parts.metrics.invalid([error.reason])
        raise
    auth.count_events(parts, context, len(items))
    claim = claim_of(context, body)
    if claim is not None:
        return parts.pipeline.accept_once(claim, items, format.label, atomic=atomic)
    return Kept(parts.pipeline.accept(items, auth.entry_on(context).key_id, format.label, atomic=atomic))


def claim_of(context: RequestContext, body: bytes) -> Claim | None:
    """The request's Idempotency-Key with a digest of what it asks for; None without one.

    draft-ietf-httpapi-idempotency-key-header-07.
    """
    text = context.headers.get("HTTP_IDEMPOTENCY_KEY")
    if text is None:
        return None
    match = IDEMPOTENCY_KEY.fullmatch(text)
    if match is None:
        raise errors.BadRequest("Idempotency-Key takes 1 to 255 visible ASCII characters", error="invalid_idempotency_key")
    asked = b"\0".join((context.path.encode(), context.query_string.encode("latin-1"), body))
    return Claim(auth.entry_on(context).key_id, match[1] or match[2], hashlib.sha256(asked).digest())
