"""Outcomes: what a client reads off each, and books that balance."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice import errors, outcomes
from sluice.outcomes import Outcome

PROBLEM = errors.InvalidEvent("too long", pointer="/user_id", reason="invalid_value", event_id="e")
TOLD = {
    "created": (outcomes.created("e", 7), ("created", 7, None, None, False)),
    "duplicate": (outcomes.duplicate("e", 7), ("duplicate", 7, None, None, False)),
    "conflict": (outcomes.conflict("e"), ("conflict", None, "duplicate_event", "other_content", False)),
    "invalid": (outcomes.invalid(PROBLEM), ("invalid", None, "validation_error", "invalid_value", False)),
    "refused by the store": (
        outcomes.refused_by_store("e", "/user_id"),
        ("invalid", None, "validation_error", "refused_by_store", False),
    ),
    "failed": (outcomes.failed("e", "login_refused"), ("failed", None, "database_error", "login_refused", True)),
    "rolled back": (outcomes.rolled_back("e"), ("failed", None, "validation_error", "atomic", False)),
}


@pytest.mark.parametrize(("outcome", "told"), TOLD.values(), ids=TOLD)
def test_an_outcome_reports_status_code_reason_and_whether_to_send_again(outcome: Outcome, told: tuple[object, ...]) -> None:
    assert (outcome.status, outcome.id, outcome.error, outcome.reason, outcome.retryable) == told
    assert outcome.event_id == "e"


def test_an_invalid_outcome_points_at_the_place() -> None:
    assert (outcomes.invalid(PROBLEM).pointer, outcomes.invalid(PROBLEM).detail) == ("/user_id", "too long")


@given(st.lists(st.sampled_from(outcomes.STATUSES)))
def test_counts_add_up_to_what_was_received(statuses: list[outcomes.Status]) -> None:
    counts = outcomes.count(map(Outcome, statuses))
    assert list(counts) == list(outcomes.STATUSES)
    assert all(counts[status] == statuses.count(status) for status in outcomes.STATUSES)
