"""The one place where errors become responses: RFC 9457 problem details."""

from __future__ import annotations

from typing import Any

import msgspec
import structlog

from sluice import errors
from sluice.http.context import RequestContext
from sluice.http.responses import Response

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


def response_to(error: Exception, context: RequestContext) -> Response:
    """The response to a request that ended in `error`; its code and reason are left on the context, for the log."""
    problem = api_error(error)
    context.error, context.reason = problem.error, problem.reason
    return Response(problem.status, document(problem, context.request_id), PROBLEM, problem.headers)


def document(error: errors.ApiError, request_id: str) -> bytes:
    """The problem details of `error` as JSON."""
    return msgspec.json.encode(
        Problem(
            type=f"urn:sluice:problem:{error.error}",
            title=error.title,
            status=error.status,
            detail=error.detail,
            error=error.error,
            request_id=request_id,
            reason=error.reason,
            errors=[dict(item) for item in error.errors],
            data=dict(error.data) if error.data is not None else None,
        )
    )


def api_error(error: Exception) -> errors.ApiError:
    """`error` as a client may know it. What nobody raised on purpose is logged here, with its places."""
    match error:
        case errors.ApiError():
            return error
        case errors.StoreUnavailable():
            what = "queue" if isinstance(error, errors.QueueUnavailable) else "store"
            return errors.ServiceUnavailable(
                f"the {what} cannot be reached or is too busy; send it again",
                reason=error.reason,
                headers={"Retry-After": str(error.retry_after)},
            )
        case errors.QueryTimeout():
            detail = (
                "the query took too long; narrow its time range, sort it by that time (sort_by=timestamp for start_time and"
                " end_time), or have an index added for what it filters by (sluice index)"
            )
            return errors.GatewayTimeout(detail)
        case errors.InvalidCursor():
            detail = "this cursor was not made here for these filters; begin again without it"
            return errors.BadRequest(detail, error="invalid_cursor", errors=[{"parameter": "cursor", "detail": detail}])
        case errors.IdempotencyKeyInUse():
            detail = "another request with this Idempotency-Key is being worked on"
            return errors.Conflict(detail, error="idempotency_key_in_use", headers={"Retry-After": "1"})
        case errors.IdempotencyKeyReused():
            detail = "this Idempotency-Key was used for another request"
            return errors.UnprocessableContent(detail, error="idempotency_key_reused")
    log.error("request.failed", cause=type(error).__name__, exc_info=error)
    return errors.InternalServerError("something here is broken; the log has the request id")
