"""Events in: one, many, a stream, and what the clients of seeds 000 and 004 send."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence

from flask import Blueprint, Response, g, request

from sluice import errors, events, filters
from sluice.http import answers, auth, bodies, streaming
from sluice.http.services import services
from sluice.intake import batches, reports
from sluice.metrics import Format
from sluice.outcomes import Outcome
from sluice.stores import Answer, Claim

blueprint = Blueprint("ingest", __name__)

# A visible ASCII string of 1 to 255, quoted or not: the draft writes it as a structured string, most clients do not.
IDEMPOTENCY_KEY = re.compile(r'"([\x21\x23-\x7e]{1,255})"|([\x21\x23-\x7e]{1,255})')
NDJSON = "application/x-ndjson"


@blueprint.post("/api/v1/ingest")
@auth.needs("ingest")
def ingest() -> Response:
    flags()
    bodies.must_be_json()
    parts = services()
    with parts.inflight.share() as share:
        body = bodies.whole(share)
        event = parsed(batches.one, body, "event")
        auth.count_events(1)
        claim = claim_of(body)
        if claim is not None:
            return kept(parts.pipeline.once(claim, [event], "event", render=lambda found: answers.single(found[0])))
        return answered(stored(event, "event"))


@blueprint.post("/api/v1/batch-ingest")
@auth.needs("ingest")
def batch_ingest() -> Response:
    if bodies.is_ndjson():
        return streaming.ingest(flags("results"))
    given = flags("atomic", "results")
    bodies.must_be_json(NDJSON)
    parts = services()
    with parts.inflight.share() as share:
        body = bodies.whole(share)
        items = batches.many(body, parts.settings.max_batch_size)
        auth.count_events(len(items))
        render = renderer(given)
        claim = claim_of(body)
        if claim is not None:
            return kept(parts.pipeline.once(claim, items, "batch", atomic=is_atomic(given), render=render))
        found = parts.pipeline.many(items, g.key_id, "batch", atomic=is_atomic(given))
        status, text = render(found)
        return answers.json_response(text, status)


@blueprint.post("/")
@auth.needs("ingest")
def error_report() -> Response:
    """204 and nothing more: seed 000's clients take no other answer."""
    stored(received(reports.error_report, "error_report"), "error_report")
    return Response(status=204)


@blueprint.post("/log")
@auth.needs("ingest")
def log_object() -> Response:
    outcome = stored(received(reports.log_object, "log"), "log")
    data = {"event_id": outcome.event_id, "id": outcome.id, "status": outcome.status}
    return answers.success(data, "Log accepted", 202)


def received(parse: Callable[[bytes], events.Event], format: Format) -> events.Event:
    """The event of a body whose Content-Type nobody ever set right."""
    flags()
    with services().inflight.share() as share:
        event = parsed(parse, bodies.whole(share), format)
    auth.count_events(1)
    return event


def parsed(parse: Callable[[bytes], events.Event], body: bytes, format: Format) -> events.Event:
    """`parse(body)`; a body that is no event is counted as an invalid one."""
    try:
        return parse(body)
    except errors.BadRequest:
        services().metrics.count(format, received=1, invalid=1)
        raise


def stored(event: events.Event, format: Format) -> Outcome:
    """Store one event; raises what its outcome is when that is no success."""
    try:
        outcome = services().pipeline.one(event, g.key_id, format)
    except events.Invalid as problem:
        found = [{"pointer": problem.pointer, "detail": problem.detail}]
        raise errors.BadRequest(problem.detail, reason=problem.reason, errors=found) from problem
    if outcome.status not in answers.STORED:
        raise answers.refusal(outcome)
    return outcome


def answered(outcome: Outcome) -> Response:
    status, body = answers.single(outcome)
    response = answers.json_response(body, status)
    if outcome.status == "duplicate":
        response.headers["Idempotent-Replayed"] = "true"
    return response


def kept(answer: Answer) -> Response:
    response = answers.json_response(answer.body, answer.status)
    if answer.replayed:
        response.headers["Idempotent-Replayed"] = "true"
    return response


def renderer(given: dict[str, str]) -> Callable[[list[Outcome]], tuple[int, bytes]]:
    answer = answers.atomic if is_atomic(given) else answers.batch
    everything = given.get("results") == "all"

    def render(found: Sequence[Outcome]) -> tuple[int, bytes]:
        return answer(answers.batch_data(found, everything=everything))

    return render


def is_atomic(given: dict[str, str]) -> bool:
    return given.get("atomic") == "true"


CHOICES = {"atomic": ("true", "false"), "results": ("all", "problems")}


def flags(*known: str) -> dict[str, str]:
    """The query parameters; raises filters.Refused for one that is not `known` or not one of its choices."""
    given = dict(request.args)
    problems = [
        filters.Problem(name[:64], "is not a parameter of this request", "unknown_parameter")
        if name not in known
        else filters.Problem(name, f"must be {' or '.join(CHOICES[name])}")
        for name, value in given.items()
        if name not in known or value not in CHOICES[name]
    ]
    if problems:
        raise filters.Refused(problems)
    return given


def claim_of(body: bytes) -> Claim | None:
    """The request's Idempotency-Key with a digest of what it asks for; None without one (draft-ietf-httpapi-idempotency-key-header)."""
    text = request.headers.get("Idempotency-Key")
    if text is None:
        return None
    match = IDEMPOTENCY_KEY.fullmatch(text)
    if match is None:
        raise errors.BadRequest("Idempotency-Key takes 1 to 255 visible ASCII characters", error="invalid_idempotency_key")
    asked = b"\0".join((request.path.encode(), request.query_string, body))
    return Claim(g.key_id, match[1] or match[2], hashlib.sha256(asked).digest())


