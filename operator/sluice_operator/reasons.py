"""The closed lists of reasons: of conditions (with their sentence) and of events. docs/operator.md explains each.

`{}` in a sentence is filled in with names only: never a value of a Secret.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any, Literal

from msgspec import Struct

from sluice_operator import api_types
from sluice_operator.api_types import ApiKey, KeySet
from sluice_operator.world import Action, Aside, EmitEvent, ProbeWhoami, SecretAction, SetStatus


class Condition(Struct, frozen=True):
    """`reason` is one of reasons.CONDITIONS, `message` a sentence for people."""

    type: str
    status: Literal["True", "False", "Unknown"]
    reason: str
    message: str = ""


def merge(old: Any, new: Iterable[Condition], generation: int, now: datetime) -> list[dict[str, Any]]:
    """`new` as they are written; lastTransitionTime is only moved when a condition's status is another than in `old`."""
    before = by_type(old)
    return [with_dates(each, before.get(each.type, {}), generation, now) for each in new]


def with_dates(condition: Condition, before: dict[str, Any], generation: int, now: datetime) -> dict[str, Any]:
    same = before.get("status") == condition.status and "lastTransitionTime" in before
    return {
        "type": condition.type,
        "status": condition.status,
        "reason": condition.reason,
        "message": condition.message,
        "observedGeneration": generation,
        "lastTransitionTime": before["lastTransitionTime"] if same else api_types.stamp(now),
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


class Warn(str):
    """The sentence of a reason that becomes a Warning when a condition takes it on."""


CONDITIONS: dict[str, str] = {
    # Ready and Active of an ApiKey
    "Active": "version {} is accepted by the target and handed out",
    "Staging": "the first version is being made",
    "Publishing": "the key set with what the spec asks for is being written",
    "Converging": "waiting until every Pod has the key set with what the spec asks for: {}",
    "Pending": "refused until spec.notBefore has come",
    "Suspended": "suspended: refused until spec.suspended is false",
    "Revoked": "revoked: refused for good",
    "Expired": Warn("spec.expiresAt has passed: refused; move it to accept the key again"),
    "PlaintextLost": Warn("the Secrets of version {} are gone; it is still accepted and a new version follows"),
    # Ready of a key without a version, Degraded of one that has one
    "KeySetNotFound": Warn("no KeySet of the name in spec.keySetRef is in this namespace"),
    "NotSelected": Warn("the labels are not those of spec.selector of the KeySet"),
    "ScopesNotAllowed": Warn("spec.scopes has scopes that spec.allowedScopes of the KeySet has not; they are not granted"),
    "SecretNotOwned": Warn("these Secrets belong to somebody else: {}; delete them or choose another name"),
    "DigestTaken": Warn("spec.delivery.digest belongs to another key or was revoked"),
    "KeySetFull": Warn("the KeySet has spec.maxKeys keys, or no room left; delete keys, then this one is taken in"),
    # Published
    "InKeySet": "the key set has it",
    "NotInKeySet": "the key set does not have it",
    # Rotating
    "Idle": "no rotation is on its way",
    "Staged": "version {} is made and not handed out yet",
    "Overlap": "version {} is still accepted beside its successor",
    # PreviousInUse
    "Used": Warn("version {} was used within the last half overlap; take its successor from the client Secret"),
    "NotUsed": "no superseded version is in use",
    # Refused
    "StillSent": Warn("version {} was refused within the last 10 minutes: somebody goes on sending it"),
    "NotSent": "no version of the key set was refused within the last 10 minutes",
    # Expiring
    "Within30Days": Warn("the key expires within 30 days"),
    "Within7Days": Warn("the key expires within 7 days"),
    "Within1Day": Warn("the key expires within a day"),
    "NotSoon": "the key does not expire soon",
    # Degraded, both kinds
    "AsExpected": "nothing is wrong",
    "ConvergenceLate": Warn("these Pods have not acknowledged the key set for 5 minutes: {}"),
    "NotAcknowledged": Warn("no Pod of the target acknowledges the key set"),
    "InvalidApiKey": Warn("the ApiKey breaks a rule of its kind and is left as it is; correct it: {}"),
    "NotPlanned": Warn(
        "a fault of the operator: it leaves this ApiKey as it is, all others go on; report it with the operator's log"
    ),
    "InvalidKeySet": Warn("the KeySet breaks a rule of its kind: keys are revoked and suspended, all else waits; correct it: {}"),
    "KeysSetAside": Warn("these ApiKeys cannot be planned and are left as they are: {}"),
    "NoRoom": Warn("the key set is as large as a Secret may be: no new versions; delete or revoke keys"),
    "Forbidden": Warn("the API server refuses these calls, see the operator's log for its words (rights, quota, policies): {}"),
    "ClockSkewed": Warn("the clocks of operator and API server differ; what is due by time waits for the later one"),
    # KeySet: Ready, Converged, TargetFound, ProbesWired
    "Published": "the key set is written and every Pod has it",
    "Converged": "every Pod has the revision",
    "Lagging": "waiting for Pods: {}",
    "NotPublished": "the key set is not written yet",
    "TargetFound": "the Deployment is there",
    "TargetNotFound": Warn("no Deployment of the name in spec.target is in this namespace"),
    "NoPods": "no Pod of the target answers yet",
    "PodsUnknown": "nobody can tell which Pods the target has; see condition Degraded of the KeySet",
    "NotAudited": "the probes were not looked at yet",
    "Proven": "three distinct probes, and each Pod's readiness was seen to answer 200",
    "ProvenButMuted": "each Pod's readiness was seen to answer 200; accepted by annotation: {}",
    "NotProven": "readiness was not yet seen to answer 200 on: {}",
    "Findings": Warn("the probes need work: {}"),
    "FieldConflict": Warn("somebody else owns a field that Enforce would set; nothing was changed"),
    "NotOptedIn": Warn("Enforce changes a Deployment only with the label sluice.dev/enforce=true"),
    "EnforceDisabled": Warn(
        "this operator may not change Deployments: install it with operator.enforce, or set probes.mode to Audit"
    ),
    "EnforceRefused": Warn("the API server refuses what Enforce would set; the operator's log has its words"),
    "ProbeHandlers": Warn("Enforce sets httpGet; remove the other handler of these probes from the Deployment: {}"),
    "EnforceNoContainer": Warn("the Deployment has no container of the name in spec.probes.container"),
}

# Reason of an event, and its sentence.
EVENTS: dict[str, str] = {
    "VersionStaged": "made {}",
    "VersionRestored": "made {} again, with the same digest",
    "KeySetPublished": "wrote revision {}",
    "KeySetRestored": "overwrote a key set that somebody else had written",
    "VersionActivated": "{} has the new version",
    "ClientRepaired": "{} has the same version again",
    "ClientRemoved": "deleted {}",
    "PlaintextDropped": "took the plaintext out of {}",
    "VersionRetired": "deleted {}",
}
WARNINGS = {reason for reason, text in CONDITIONS.items() if isinstance(text, Warn)}


def sentence(reason: str, *about: str) -> str:
    """The sentence of a reason of either list, at most ten names in it."""
    shown = ", ".join(about[:10]) + (f" and {len(about) - 10} more" if len(about) > 10 else "")
    return str({**CONDITIONS, **EVENTS}[reason].format(shown))


# Events that tell of something that nobody asked for.
ALARMING = frozenset({"ClientRepaired", "VersionRestored", "KeySetRestored"})
# Reasons of these two that are told when they take them on; of the others all that somebody should look at.
TOLD = {"Active": frozenset({"Active", "Pending", "Suspended", "Revoked", "Expired"}), "Ready": frozenset({"KeySetNotFound"})}


def told(key: str, actions: Iterable[SecretAction | ProbeWhoami]) -> Iterator[Action]:
    """Each action on a Secret of `key`, and the event that tells of it."""
    for action in actions:
        yield action
        if not isinstance(action, ProbeWhoami) and action.event:
            yield event(api_types.API_KEY, key, action.event, action.secret)


def event(kind: str, name: str, reason: str, *about: str) -> EmitEvent:
    return EmitEvent(kind, name, "Warning" if reason in ALARMING else "Normal", reason, sentence(reason, *about))


def set_status(kind: str, about: ApiKey | KeySet | Aside, new: dict[str, Any]) -> Iterator[Action]:
    """The status, when it is another one, and an event for each condition that took on a reason worth one."""
    name, old = about.metadata.name, about.status
    if old == new:
        return
    yield SetStatus(kind, name, new)
    new_ones = changed(old.get("conditions"), new["conditions"])
    messages = {each["reason"]: each["message"] for each in new_ones if each["reason"] in TOLD.get(each["type"], WARNINGS)}
    for reason, message in messages.items():
        yield EmitEvent(kind, name, "Warning" if reason in WARNINGS else "Normal", reason, message)
