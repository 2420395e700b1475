"""Success bodies: seed 001's envelope around the data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from flask import Response

from sluice import errors, outcomes
from sluice.outcomes import Outcome

JSON = "application/json"
STORED = ("created", "duplicate")
encode = msgspec.json.Encoder().encode


class Result(msgspec.Struct, omit_defaults=True):
    """One item of a batch, as it is told. `index` counts from 0 in the order of the request."""

    index: int
    event_id: str | None
    status: outcomes.Status
    id: int | None = None
    error: str | None = None
    reason: str | None = None
    pointer: str | None = None
    detail: str | None = None
    retryable: bool | None = None


class BatchData(msgspec.Struct, omit_defaults=True):
    """What became of a batch. `logs_processed` is created + duplicate."""

    total_received: int
    logs_processed: int
    created: int
    duplicate: int
    conflict: int
    invalid: int
    failed: int
    results: list[Result]
    results_truncated: bool = False
    retryable: bool = False
    stopped: str | None = None


def json_response(body: bytes, status: int = 200) -> Response:
    return Response(body, status, content_type=JSON)


def success(data: Any, message: str, status: int = 200) -> Response:
    return json_response(envelope(data, message), status)


def envelope(data: Any, message: str) -> bytes:
    return encode({"success": True, "message": message, "data": data})


def single(outcome: Outcome) -> tuple[int, bytes]:
    """Status and body for one event; raises the refusal that `outcome` is."""
    if outcome.status not in STORED:
        raise refusal(outcome)
    data = {"event_id": outcome.event_id, "id": outcome.id, "status": outcome.status}
    return 201, envelope(data, "event stored" if outcome.status == "created" else "event was stored before")


def refusal(outcome: Outcome) -> errors.ApiError:
    """The error that a single event's outcome is."""
    detail = outcome.detail or outcome.status
    if outcome.status == "conflict":
        return errors.Conflict(detail, reason=outcome.reason)
    if outcome.status == "invalid":
        return errors.BadRequest(detail, reason=outcome.reason, errors=[{"pointer": outcome.pointer or "", "detail": detail}])
    return errors.ServiceUnavailable(detail, reason=outcome.reason, headers={"Retry-After": "2"})


def batch_data(found: Sequence[Outcome], *, everything: bool = False) -> BatchData:
    counts = outcomes.count(found)
    told = [result(index, outcome) for index, outcome in enumerate(found) if everything or outcome.status != "created"]
    return BatchData(total_received=len(found), logs_processed=counts["created"] + counts["duplicate"], results=told, **counts)


def result(index: int, outcome: Outcome) -> Result:
    return Result(
        index=index,
        event_id=outcome.event_id,
        status=outcome.status,
        id=outcome.id,
        error=outcome.error,
        reason=outcome.reason,
        pointer=outcome.pointer,
        detail=outcome.detail,
        retryable=outcome.retryable if outcome.error else None,
    )


def batch(data: BatchData) -> tuple[int, bytes]:
    """201 when everything is stored, else 200."""
    whole = data.logs_processed == data.total_received and data.stopped is None
    message = "all events stored" if whole else f"{data.logs_processed} of {data.total_received} events stored"
    return 201 if whole else 200, envelope(data, message)


def atomic(data: BatchData) -> tuple[int, bytes]:
    """As batch, but raises 422 unless everything is stored."""
    if data.logs_processed == data.total_received:
        return batch(data)
    problems = [
        {"pointer": f"/{item.index}{item.pointer or ''}", "detail": item.detail or item.status}
        for item in data.results
        if item.status in ("invalid", "conflict")
    ]
    raise errors.UnprocessableContent(
        "no event was stored: the batch is atomic and holds events that can not be",
        error="duplicate_event" if data.conflict and not data.invalid else "validation_error",
        reason="atomic",
        errors=problems,
        data=msgspec.to_builtins(data),
    )
