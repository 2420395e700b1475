"""Events in: one, many, a stream, and what the clients of seeds 000 and 004 send."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence

from flask import Blueprint, Response

from sluice import errors, events, filters, outcomes
from sluice.http import answers, auth, bodies, streaming
from sluice.http.context import Request, current
from sluice.http.services import Services, services
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
    parts, request = services(), current()
    flags(request)
    bodies.must_be_json(request)
    with parts.inflight.share() as share:
        body = bodies.whole(request, parts.settings, share)
        event = parsed(parts, batches.one, body, "event")
        auth.count_events(parts, request, 1)
        claim = claim_of(request, body)
        if claim is not None:
            return kept(parts.pipeline.once(claim, [event], "event", render=lambda found: answers.single(found[0])))
        return answered(stored(parts, request, event, "event"))


@blueprint.post("/api/v1/batch-ingest")
@auth.needs("ingest")
def batch_ingest() -> Response:
    parts, request = services(), current()
    if bodies.is_ndjson(request):
        return streaming.ingest(parts, request, everything=flags(request, "results").get("results") == "all")
    given = flags(request, "atomic", "results")
    bodies.must_be_json(request, NDJSON)
    with parts.inflight.share() as share:
        body = bodies.whole(request, parts.settings, share)
        items = batches.many(body, parts.settings.max_batch_size)
        auth.count_events(parts, request, len(items))
        atomic = given.get("atomic") == "true"
        render = renderer(atomic=atomic, everything=given.get("results") == "all")
        claim = claim_of(request, body)
        if claim is not None:
            return kept(parts.pipeline.once(claim, items, "batch", atomic=atomic, render=render))
        status, text = render(parts.pipeline.many(items, auth.entry_on(request).key_id, "batch", atomic=atomic))
        return answers.json_response(text, status)


@blueprint.post("/")
@auth.needs("ingest")
def error_report() -> Response:
    """204 and nothing more: seed 000's clients take no other answer."""
    received(reports.error_report, "error_report")
    return Response(status=204)


@blueprint.post("/log")
@auth.needs("ingest")
def log_object() -> Response:
    outcome = received(reports.log_object, "log")
    data = {"event_id": outcome.event_id, "id": outcome.id, "status": outcome.status}
    return answers.success(data, "Log accepted", 202)


def received(parse: Callable[[bytes], events.Event], format: Format) -> Outcome:
    """Store the event of a body whose Content-Type nobody ever set right."""
    parts, request = services(), current()
    flags(request)
    with parts.inflight.share() as share:
        event = parsed(parts, parse, bodies.whole(request, parts.settings, share), format)
        auth.count_events(parts, request, 1)
        return stored(parts, request, event, format)


def parsed(parts: Services, parse: Callable[[bytes], events.Event], body: bytes, format: Format) -> events.Event:
    """`parse(body)`; a body that is no event is counted as an invalid one."""
    try:
        return parse(body)
    except errors.BadRequest:
        parts.metrics.count(format, received=1, invalid=1)
        raise


def stored(parts: Services, request: Request, event: events.Event, format: Format) -> Outcome:
    """Store one event; raises what its outcome is when that is no success."""
    try:
        outcome = parts.pipeline.one(event, auth.entry_on(request).key_id, format)
    except events.Invalid as problem:
        raise answers.refusal(outcomes.invalid(problem)) from problem
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


def renderer(*, atomic: bool, everything: bool) -> Callable[[list[Outcome]], tuple[int, bytes]]:
    answer = answers.atomic if atomic else answers.batch
    return lambda found: answer(answers.batch_data(found, everything=everything))


CHOICES = {"atomic": ("true", "false"), "results": ("all", "problems")}


def flags(request: Request, *known: str) -> dict[str, str]:
    """The query parameters; raises filters.Refused for one that is not `known` or not one of its choices."""
    if not request.query_string:
        return {}
    given = dict(request.args)
    problems = [problem for name, value in given.items() if (problem := flag_problem(name, value, known))]
    if problems:
        raise filters.Refused(problems)
    return given


def flag_problem(name: str, value: str, known: Sequence[str]) -> filters.Problem | None:
    if name not in known:
        return filters.unknown(name)
    return None if value in CHOICES[name] else filters.Problem(name, f"must be {' or '.join(CHOICES[name])}")


def claim_of(request: Request, body: bytes) -> Claim | None:
    """The request's Idempotency-Key with a digest of what it asks for; None without one.

    draft-ietf-httpapi-idempotency-key-header-07.
    """
    text = request.environ.get("HTTP_IDEMPOTENCY_KEY")
    if text is None:
        return None
    match = IDEMPOTENCY_KEY.fullmatch(text)
    if match is None:
        raise errors.BadRequest("Idempotency-Key takes 1 to 255 visible ASCII characters", error="invalid_idempotency_key")
    asked = b"\0".join((request.path.encode(), request.query_string, body))
    return Claim(auth.entry_on(request).key_id, match[1] or match[2], hashlib.sha256(asked).digest())
