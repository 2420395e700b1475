"""Conditions keep the time of their last change."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from sluice_operator import reasons
from sluice_operator.reasons import Condition

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
OLD = "2026-01-01T00:00:00Z"


def old(**fields: str) -> list[dict[str, str]]:
    return [{"type": "Ready", "status": "True", "reason": "Active", "message": "", "lastTransitionTime": OLD, **fields}]


def test_a_condition_that_stays_keeps_its_time() -> None:
    [written] = reasons.merge(old(), [Condition("Ready", "True", "Other", "a sentence")], 3, NOW)
    assert written == {
        "type": "Ready",
        "status": "True",
        "reason": "Other",
        "message": "a sentence",
        "observedGeneration": 3,
        "lastTransitionTime": OLD,
    }


@pytest.mark.parametrize(
    "before", [old(status="False"), old(type="Other"), [], None, "nonsense", [1, {"type": 1}], [{"type": "Ready"}]]
)
def test_a_condition_that_changes_or_is_new_gets_the_time_of_now(before: object) -> None:
    [written] = reasons.merge(before, [Condition("Ready", "True", "Active")], 1, NOW)
    assert written["lastTransitionTime"] == "2026-03-01T12:00:00Z"


def test_a_condition_without_a_time_gets_one() -> None:
    [before] = old()
    del before["lastTransitionTime"]
    [written] = reasons.merge([before], [Condition("Ready", "True", "Active")], 1, NOW)
    assert written["lastTransitionTime"] == "2026-03-01T12:00:00Z"


def test_changed_are_those_with_another_status_or_reason() -> None:
    assert reasons.changed(old(), [dict(each) for each in old(message="other")]) == []
    assert reasons.changed(old(), old(reason="Other")) == old(reason="Other")
    assert reasons.changed(old(), old(status="False")) == old(status="False")
    assert reasons.changed(None, old()) == old()
