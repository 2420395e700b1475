"""Why a run failed, as one of a closed list of words: a label of metrics, and a field of its status."""

from __future__ import annotations

from typing import Literal, get_args

from sluice import errors

Reason = Literal[
    "address_refused",
    "client_error",
    "database",
    "incomplete",
    "internal",
    "interrupted",
    "invalid_record",
    "no_list",
    "not_json",
    "pagination",
    "rate_limited",
    "redirects",
    "secret_missing",
    "server_error",
    "stopped",
    "timeout",
    "tls",
    "too_large",
    "too_many_pages",
    "too_many_records",
    "unreachable",
]
REASONS: tuple[Reason, ...] = get_args(Reason)
# What may be over in a moment.
PASSING: frozenset[Reason] = frozenset(("incomplete", "not_json", "rate_limited", "server_error", "timeout", "unreachable"))


class Failed(errors.SluiceError):
    """A run cannot go on. `detail` is for people: no URL, no header and nothing of a body is in it.

    `retry_after`: seconds that the other side asks to wait.
    """

    def __init__(self, reason: Reason, detail: str, retry_after: float = 0) -> None:
        super().__init__(detail)
        self.reason: Reason = reason
        self.detail = detail
        self.retry_after = retry_after
