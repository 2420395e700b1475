"""The bodies of successful responses, as types: views fill them, and the OpenAPI document is generated from them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Generic, Literal, TypeVar

import msgspec

from sluice import __version__, errors, outcomes
from sluice.events import EventType, Priority
from sluice.http import plain_request
from sluice.outcomes import Outcome
from sluice.stores import Capability, Figures

T = TypeVar("T")
JSON = "application/json"
STORED = ("created", "duplicate", "queued")
# A batch lists these items only if it lists all.
NO_NEWS = ("created", "queued")
# "The same answer again" (draft-ietf-httpapi-idempotency-key-header-07 leaves the name to us; it is Stripe's).
REPLAYED = {"Idempotent-Replayed": "true"}
encode = msgspec.json.Encoder().encode


class Response(msgspec.Struct):
    """What a view returns, whatever framework or server sends it."""

    status: int = 200
    body: bytes | Iterator[bytes] = b""
    content_type: str | None = JSON
    headers: Mapping[str, str] = {}


class Success(msgspec.Struct, Generic[T]):
    """Seed 001's envelope."""

    success: Literal[True]
    message: str
    data: T


class Stored(msgspec.Struct):
    """One event that is committed: now (created) or before (duplicate); or that the queue has, and then there is no id yet."""

    event_id: str
    id: int | None
    status: Literal["created", "duplicate", "queued"]


class Log(msgspec.Struct):
    """A stored event. Fields without a value are null, never left out."""

    id: int
    event_id: str
    timestamp: datetime
    event_type: EventType
    event_name: str
    properties: dict[str, Any]
    user_id: str | None
    session_id: str | None
    app_version: str | None
    device_info: dict[str, Any]
    source: str | None
    sequence_number: int | None
    priority: Priority
    key_id: str
    fingerprint: str | None
    created_at: datetime
    processed_at: datetime


class LogPage(msgspec.Struct):
    """One page. `total_count` is exact up to 10,000, and `total_count_exact` says whether it is."""

    logs: list[Log]
    total_count: int
    total_count_exact: bool
    page: int
    page_size: int
    total_pages: int
    next_cursor: str | None


class ServiceState(msgspec.Struct):
    """`fast_path`: whether single posts go past Flask; `no_parser`: gunicorn's HTTP parser in C is not installed."""

    name: str
    version: str
    uptime: str
    started_at: datetime
    fast_path: plain_request.State


class DatabaseState(msgspec.Struct):
    """`down` also while reads work and the last write failed; `reason` says why, for example `database_full`."""

    status: Literal["up", "down"]
    total_logs: int | None
    reason: str | None = None


class State(msgspec.Struct):
    """What the service knows of itself; `metrics` is null while the database cannot be read, or has none."""

    service: ServiceState
    database: DatabaseState
    metrics: Figures | None


class Limits(msgspec.Struct):
    """Every limit that the asking key meets; a number of 0 a minute is no limit. `store`: what the store supports."""

    max_event_bytes: int
    max_body_bytes: int
    max_inflated_bytes: int
    max_batch_size: int
    max_depth: int
    max_page_size: int
    max_seconds_ahead: int
    retention_days: int | None
    requests_per_minute: int
    events_per_minute: int
    window_seconds: int
    idempotency_key_hours: int
    deduplication: str
    store: list[Capability]


class Whoami(msgspec.Struct):
    key_id: str
    version: int
    owner: str
    scopes: list[str]
    expires_at: datetime | None


class Readiness(msgspec.Struct):
    ready: bool
    message: str


class Liveness(msgspec.Struct):
    alive: bool
    uptime: str
    version: str


class Health(msgspec.Struct):
    status: Literal["healthy", "unhealthy"]
    timestamp: datetime
    version: str
    services: dict[str, str]
    uptime: str


class Result(msgspec.Struct, omit_defaults=True):
    """One item of a batch. `index` counts from 0 in the order of the request."""

    index: int
    status: outcomes.Status
    event_id: str | None
    id: int | None = None
    error: str | None = None
    reason: str | None = None
    pointer: str | None = None
    detail: str | None = None
    retryable: bool | None = None


def result(index: int, of: Outcome) -> Result:
    retryable = of.retryable if of.error else None
    return Result(index, of.status, of.event_id, of.id, of.error, of.reason, of.pointer, of.detail, retryable)


class BatchData(msgspec.Struct, omit_defaults=True):
    """What became of a batch. `logs_processed` is created + duplicate + queued."""

    total_received: int
    logs_processed: int
    created: int
    duplicate: int
    conflict: int
    invalid: int
    failed: int
    results: list[Result]
    queued: int = 0
    results_truncated: bool = False
    retryable: bool = False
    stopped: str | None = None


def liveness(alive: bool, uptime: float) -> Response:
    """`uptime` in seconds, as below."""
    return Response(200 if alive else 503, encode(Liveness(alive, f"{int(uptime)}s", __version__)))


def readiness(ready: bool, reason: str) -> Response:
    return Response(200 if ready else 503, encode(Readiness(ready, reason)))


def health(ready: bool, uptime: float, services: dict[str, str]) -> Response:
    status: Literal["healthy", "unhealthy"] = "healthy" if ready else "unhealthy"
    return Response(200 if ready else 503, encode(Health(status, datetime.now(UTC), __version__, services, f"{int(uptime)}s")))


def success(data: Any, message: str, status: int = 200, *, replayed: bool = False) -> Response:
    """Seed 001's envelope around `data`."""
    body = encode({"success": True, "message": message, "data": data})
    return Response(status, body, headers=REPLAYED if replayed else {})


def single(outcome: Outcome, message: str | None = None, status: int = 201, *, replayed: bool = False) -> Response:
    """The response to one event; raises the refusal that `outcome` is."""
    must_be_stored(outcome)
    duplicate = outcome.status == "duplicate"
    message = message or ("event queued" if outcome.status == "queued" else "event stored")
    data = {"event_id": outcome.event_id, "id": outcome.id, "status": outcome.status}
    return success(data, "event was stored before" if duplicate else message, status, replayed=replayed or duplicate)


def must_be_stored(outcome: Outcome) -> None:
    """Raise the error that a single event's outcome is."""
    if outcome.status in STORED:
        return
    detail = outcome.detail or outcome.status
    if outcome.status == "conflict":
        raise errors.Conflict(detail, reason=outcome.reason)
    if outcome.status == "invalid":
        pointed = [{"pointer": outcome.pointer or "", "detail": detail}]
        raise errors.BadRequest(detail, reason=outcome.reason, errors=pointed)
    raise errors.ServiceUnavailable(detail, reason=outcome.reason, headers={"Retry-After": "2"})


class Tally:
    """What became of a batch's items so far. Counts are exact; of the results the first `max_results` are listed."""

    def __init__(self, *, everything: bool, max_results: int | None = None) -> None:
        self._everything = everything
        self._max_results = max_results
        self._counts = outcomes.count([])
        self._results: list[Result] = []
        self._truncated = False
        self.received = 0

    def add(self, found: Sequence[Outcome]) -> None:
        counts = outcomes.count(found)
        for status in outcomes.STATUSES:
            self._counts[status] += counts[status]
        listed = found if self._everything or counts["created"] + counts["queued"] < len(found) else ()
        for index, outcome in enumerate(listed, self.received):
            if self._everything or outcome.status not in NO_NEWS:
                if self._max_results is None or len(self._results) < self._max_results:
                    self._results.append(result(index, outcome))
                else:
                    self._truncated = True
        self.received += len(found)

    def data(self, stopped: str | None = None, *, retryable: bool = True) -> BatchData:
        """`stopped`: why the rest was not read; `retryable`: whether that may be different another time."""
        counts = self._counts
        return BatchData(
            total_received=self.received,
            logs_processed=counts["created"] + counts["duplicate"] + counts["queued"],
            **counts,
            results=self._results,
            results_truncated=self._truncated,
            retryable=stopped is not None and retryable,
            stopped=stopped,
        )


def batch(data: BatchData, status: int = 201, *, replayed: bool = False) -> Response:
    """The response to many events: `status` when everything is stored, else 200."""
    whole = data.logs_processed == data.total_received and data.stopped is None
    done = "queued" if data.queued else "stored"
    message = f"all events {done}" if whole else f"{data.logs_processed} of {data.total_received} events {done}"
    return success(data, message, status if whole else 200, replayed=replayed)


def atomic(data: BatchData, *, replayed: bool = False) -> Response:
    """As batch, but raises 422 unless everything is stored."""
    if data.logs_processed == data.total_received:
        return batch(data, replayed=replayed)
    problems = [
        {"pointer": f"/{item.index}{item.pointer or ''}", "detail": item.detail or item.status}
        for item in data.results
        if item.status in ("invalid", "conflict")
    ]
    raise errors.UnprocessableContent(
        "no event was stored: the batch is atomic and holds events that cannot be",
        error="duplicate_event" if data.conflict and not data.invalid else "validation_error",
        reason="atomic",
        errors=problems,
        data=msgspec.to_builtins(data),
    )
