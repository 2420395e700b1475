"""The one place where errors become answers: RFC 9457 problem details."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import structlog
from flask import Flask, Response
from werkzeug.exceptions import HTTPException

from sluice import cursors, errors, filters
from sluice.http.context import current
from sluice.stores import InFlight, OtherRequest

log = structlog.get_logger()
PROBLEM = "application/problem+json"


class Problem(msgspec.Struct, omit_defaults=True):
    """A refusal. `error` is the stable code, `reason` its finer cause; `data` counts what was done before it."""

    type: str
    title: str
    status: int
    detail: str
    error: str
    request_id: str
    reason: str | None = None
    errors: list[dict[str, str]] = []
    data: dict[str, Any] | None = None


def init_app(app: Flask) -> None:
    app.register_error_handler(errors.ApiError, rendered)
    app.register_error_handler(errors.StoreUnavailable, lambda error: rendered(unavailable(error)))
    app.register_error_handler(filters.Refused, lambda error: rendered(bad_parameters(error)))
    app.register_error_handler(cursors.Foreign, lambda _: rendered(foreign_cursor()))
    app.register_error_handler(InFlight, lambda _: rendered(in_flight()))
    app.register_error_handler(OtherRequest, lambda _: rendered(other_request()))
    app.register_error_handler(HTTPException, lambda error: rendered(of_framework(error)))
    app.register_error_handler(Exception, unexpected)


def rendered(error: errors.ApiError) -> Response:
    call = current().call
    problem = Problem(
        type=f"urn:sluice:problem:{error.error}",
        title=error.title,
        status=error.status,
        detail=error.detail,
        error=error.error,
        request_id=call.request_id,
        reason=error.reason,
        errors=[dict(item) for item in error.errors],
        data=dict(error.data) if error.data is not None else None,
    )
    call.error, call.reason = error.error, error.reason
    headers: Mapping[str, str] = error.headers
    return Response(msgspec.json.encode(problem), error.status, headers, content_type=PROBLEM)


def unavailable(error: errors.StoreUnavailable) -> errors.ServiceUnavailable:
    return errors.ServiceUnavailable(
        "the store can not be reached or is too busy; send it again",
        reason=error.reason,
        headers={"Retry-After": str(error.retry_after)},
    )


def bad_parameters(error: filters.Refused) -> errors.BadRequest:
    details = [{"parameter": p.parameter, "detail": p.detail} for p in error.problems]
    first = error.problems[0]
    return errors.BadRequest(f"{first.parameter} {first.detail}", error=first.error, reason="query", errors=details)


def foreign_cursor() -> errors.BadRequest:
    detail = "this cursor was not made here for these filters; begin again without it"
    return errors.BadRequest(detail, error="invalid_cursor", errors=[{"parameter": "cursor", "detail": detail}])


def in_flight() -> errors.Conflict:
    detail = "another request with this Idempotency-Key is being worked on"
    return errors.Conflict(detail, error="idempotency_key_in_use", headers={"Retry-After": "1"})


def other_request() -> errors.UnprocessableContent:
    return errors.UnprocessableContent("this Idempotency-Key was used for another request", error="idempotency_key_reused")


def of_framework(error: HTTPException) -> errors.ApiError:
    """What Flask and werkzeug raise by themselves: no such path, no such method, a request they can not read."""
    if error.code == 404:
        return errors.NotFound("there is nothing here; /openapi.json lists what is")
    if error.code == 405:
        allowed = getattr(error, "valid_methods", None) or ()
        return errors.MethodNotAllowed("this path takes other methods", headers={"Allow": ", ".join(sorted(allowed))})
    if error.code is not None and 400 <= error.code < 500:
        return errors.BadRequest("the request can not be read", error="invalid_request")
    return errors.InternalServerError("something here is broken; the log has the request id")


def unexpected(error: Exception) -> Response:
    log.error("request.failed", cause=type(error).__name__, exc_info=error)
    return rendered(errors.InternalServerError("something here is broken; the log has the request id"))
