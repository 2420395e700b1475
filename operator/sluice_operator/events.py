"""Which events tell of a plan: one for each change of a Secret, one for each condition that took on a reason worth telling."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from sluice_operator import conditions, names, reasons
from sluice_operator.actions import (
    Action,
    ActivateClient,
    DropPlaintext,
    EmitEvent,
    RemoveClient,
    RepairClient,
    RestoreVersion,
    RetireVersion,
    SetStatus,
    StageVersion,
)

EVENT_OF: dict[type[Any], str] = {
    StageVersion: "VersionStaged",
    RestoreVersion: "VersionRestored",
    ActivateClient: "VersionActivated",
    RepairClient: "ClientRepaired",
    RemoveClient: "ClientRemoved",
    DropPlaintext: "PlaintextDropped",
    RetireVersion: "VersionRetired",
}
# Events that tell of something that nobody asked for.
ALARMING = frozenset({"ClientRepaired", "VersionRestored", "KeySetRestored"})
# Reasons of these two that are told when they take them on; of the others all that somebody should look at.
TOLD = {"Active": frozenset({"Active", "Pending", "Suspended", "Revoked", "Expired"}), "Ready": frozenset({"KeySetNotFound"})}


def told(key: str, actions: Iterable[Action]) -> Iterator[Action]:
    """Each action on a Secret of `key`, and the event that tells of it."""
    for action in actions:
        yield action
        reason = EVENT_OF.get(type(action))
        if reason is not None:
            yield event(names.API_KEY, key, reason, getattr(action, "secret", ""))


def event(kind: str, name: str, reason: str, *about: str) -> EmitEvent:
    return EmitEvent(kind, name, "Warning" if reason in ALARMING else "Normal", reason, reasons.sentence(reason, *about))


def set_status(kind: str, name: str, old: dict[str, Any], new: dict[str, Any]) -> Iterator[Action]:
    """The status, when it is another one, and an event for each condition that took on a reason worth one."""
    if old == new:
        return
    yield SetStatus(kind, name, new)
    changed = conditions.changed(old.get("conditions"), new["conditions"])
    messages = {each["reason"]: each["message"] for each in changed if is_told(each)}
    for reason, message in messages.items():
        yield EmitEvent(kind, name, "Warning" if reason in reasons.WARNINGS else "Normal", reason, message)


def is_told(condition: dict[str, Any]) -> bool:
    """Whether somebody should hear that a condition took on this reason."""
    return condition["reason"] in TOLD.get(condition["type"], reasons.WARNINGS)
