"""Every error Sluice raises on purpose.

    SluiceError
    |-- SettingsError            the start is refused; lists every mistake
    |-- InvalidEvent             one event breaks a rule
    |-- keys.InvalidKeySet       a published key set breaks a rule
    |-- InvalidCursor            not a cursor of ours, or one of other filters
    |-- IncompleteBody           the client left before its body was complete
    |-- ApiError                 becomes an HTTP response (RFC 9457, rendered by http/problems.py only)
    |   |-- BadRequest 400 .. ServiceUnavailable 503
    |-- StoreError               raised by stores only, never holds a driver's text
        |-- StoreUnavailable     away or too busy; the same call may work later
        |   |-- QueueUnavailable the same of the broker before the store
        |-- QueryTimeout         a query took longer than it may; the same one will again
        |-- RecordsRefused       the store cannot hold these records; the same call never works
        |-- IdempotencyKeyInUse  another request with this Idempotency-Key is being worked on now
        |-- IdempotencyKeyReused this Idempotency-Key was used for another request

The stable code is `error` (seed 001's values where it has one), the finer cause is `reason`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import msgspec

# What decoding raises for what is no JSON, or JSON of another type.
NOT_JSON = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
# How many characters of the client's own words an error repeats.
MAX_DETAIL = 200
# The rules that an event can break.
InvalidReason = Literal[
    "invalid_json",
    "invalid_value",
    "missing_field",
    "not_utf8",
    "nul_character",
    "refused_by_store",
    "too_deep",
    "too_far_ahead",
    "too_large",
    "too_old",
    "unknown_field",
]


# What CPython says of a thread that the system refuses (EAGAIN), and what to do.
NO_THREAD = "can't start new thread"
MORE_THREADS = "raise the limit of threads: ulimit -u, TasksMax (systemd), --pids-limit (container), podPidsLimit (kubelet)"


class SluiceError(Exception):
    """Root of every error of ours."""


class SettingsError(SluiceError):
    """The environment cannot be used. `problems`: one sentence each, with its fix."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(self.problems))


class InvalidEvent(SluiceError):
    """One event breaks a rule. `pointer` is relative to the event (RFC 6901); `event_id` is known when it could be read."""

    def __init__(
        self, detail: str, *, pointer: str = "", reason: InvalidReason = "invalid_value", event_id: str | None = None
    ) -> None:
        # The client's own words are cut, so that no response grows with the input.
        super().__init__(detail[:MAX_DETAIL])
        self.detail = detail[:MAX_DETAIL]
        # A cut between the two characters of an escape would leave no JSON pointer.
        self.pointer = pointer[:MAX_DETAIL].removesuffix("~")
        self.reason = reason
        self.event_id = event_id


class InvalidCursor(SluiceError):
    """Not a cursor of ours, or one of other filters."""


class IncompleteBody(SluiceError):
    """The client left, or broke HTTP's framing, before its body was complete."""


class StoreError(SluiceError):
    """Something between us and the store went wrong."""


class StoreUnavailable(StoreError):
    """The store cannot take or give data now. `reason` is one of a closed list, safe to show."""

    def __init__(self, reason: str = "database_unreachable", retry_after: int = 2) -> None:
        self.reason = reason
        self.retry_after = retry_after
        super().__init__(reason)


class QueueUnavailable(StoreUnavailable):
    """The broker cannot take or give messages now."""

    def __init__(self, reason: str = "queue_unreachable") -> None:
        super().__init__(reason)


class QueryTimeout(StoreError):
    """A query took longer than one may."""


class RecordsRefused(StoreError):
    """The store refuses the content of at least one record (a gap in our own checks, or it would have been refused earlier)."""


class IdempotencyKeyInUse(StoreError):
    """Another request with the same Idempotency-Key is being worked on now."""


class IdempotencyKeyReused(StoreError):
    """This Idempotency-Key was used for another request."""


class ApiError(SluiceError):
    """A response that is not a success.

    `errors`: `{"pointer": JSON pointer (RFC 6901), "detail": text}` each. `data`: extension members that count what was done.
    """

    status: int = 500
    title: str = "Internal Server Error"
    error: str = "internal_error"

    def __init__(
        self,
        detail: str,
        *,
        error: str | None = None,
        reason: str | None = None,
        errors: Sequence[Mapping[str, str]] = (),
        headers: Mapping[str, str] | None = None,
        data: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.error = error or type(self).error
        self.reason = reason
        self.errors = list(errors)
        self.headers = dict(headers or {})
        self.data = data


class BadRequest(ApiError):
    status, title, error = 400, "Bad Request", "validation_error"


class Unauthorized(ApiError):
    """RFC 9110 section 15.5.2: always with WWW-Authenticate."""

    status, title, error = 401, "Unauthorized", "unauthorized"


class Forbidden(ApiError):
    status, title, error = 403, "Forbidden", "forbidden"


class NotFound(ApiError):
    status, title, error = 404, "Not Found", "not_found"


class MethodNotAllowed(ApiError):
    status, title, error = 405, "Method Not Allowed", "method_not_allowed"


class RequestTimeout(ApiError):
    status, title, error = 408, "Request Timeout", "request_timeout"


class Conflict(ApiError):
    status, title, error = 409, "Conflict", "duplicate_event"


class PreconditionFailed(ApiError):
    status, title, error = 412, "Precondition Failed", "precondition_failed"


class ContentTooLarge(ApiError):
    status, title, error = 413, "Content Too Large", "request_too_large"


class UnsupportedMediaType(ApiError):
    status, title, error = 415, "Unsupported Media Type", "unsupported_media_type"


class UnprocessableContent(ApiError):
    status, title, error = 422, "Unprocessable Content", "validation_error"


class PreconditionRequired(ApiError):
    """RFC 6585 section 3."""

    status, title, error = 428, "Precondition Required", "precondition_required"


class TooManyRequests(ApiError):
    status, title, error = 429, "Too Many Requests", "rate_limit_exceeded"


class InternalServerError(ApiError):
    status, title, error = 500, "Internal Server Error", "internal_error"


class NotSupported(ApiError):
    status, title, error = 501, "Not Implemented", "not_supported_by_store"


class ServiceUnavailable(ApiError):
    status, title, error = 503, "Service Unavailable", "database_error"


class GatewayTimeout(ApiError):
    status, title, error = 504, "Gateway Timeout", "query_timeout"
