"""Conditions as the Kubernetes API conventions want them: a list by type, each with its own observedGeneration."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any, Literal

from msgspec import Struct

from sluice_operator import times


class Condition(Struct, frozen=True):
    """`reason` is one of reasons.CONDITIONS, `message` a sentence for people."""

    type: str
    status: Literal["True", "False", "Unknown"]
    reason: str
    message: str = ""


def merge(old: Any, new: Iterable[Condition], generation: int, now: datetime) -> list[dict[str, Any]]:
    """`new` as they are written; lastTransitionTime is only moved when a condition's status is another than in `old`."""
    before = by_type(old)
    return [written(each, before.get(each.type, {}), generation, now) for each in new]


def written(condition: Condition, before: dict[str, Any], generation: int, now: datetime) -> dict[str, Any]:
    same = before.get("status") == condition.status and "lastTransitionTime" in before
    return {
        "type": condition.type,
        "status": condition.status,
        "reason": condition.reason,
        "message": condition.message,
        "observedGeneration": generation,
        "lastTransitionTime": before["lastTransitionTime"] if same else times.stamp(now),
    }


def overlay(status: dict[str, Any], new: Iterable[Condition], generation: int, now: datetime) -> dict[str, Any]:
    """`status` with the conditions `new` in the place of those of their types, and all else as it was."""
    written = {each["type"]: each for each in merge(status.get("conditions"), new, generation, now)}
    return {
        **status,
        "observedGeneration": generation,
        "conditions": list({**by_type(status.get("conditions")), **written}.values()),
    }


def by_type(conditions: Any) -> dict[str, dict[str, Any]]:
    """Conditions of a status by their type; whatever else stands there is nothing."""
    if not isinstance(conditions, list):
        return {}
    return {each["type"]: each for each in conditions if isinstance(each, dict) and isinstance(each.get("type"), str)}


def changed(old: Any, new: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Those of `new` whose status or reason is another than in `old`."""
    before = by_type(old)
    return [each for each in new if any(before.get(each["type"], {}).get(field) != each[field] for field in ("status", "reason"))]
