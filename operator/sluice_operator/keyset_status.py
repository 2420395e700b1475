"""The status of a KeySet: how many keys, which revision, how many Pods have it, and whether the probes are proven."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from sluice_operator import conditions, gate, times
from sluice_operator.conditions import Condition
from sluice_operator.ledger import Ledger
from sluice_operator.model import KeySet
from sluice_operator.status import condition
from sluice_operator.times import Clock
from sluice_operator.world import Pod, World

# What two good clocks may differ by.
MAX_SKEW = timedelta(minutes=5)


def of_keyset(keyset: KeySet, seen: World, ledgers: Sequence[Ledger], clock: Clock, current: bool, room: int) -> dict[str, Any]:
    """`current`: whether what is published is what should be. `room`: for how many more versions there is."""
    document = seen.published.document if seen.published else None
    late = gate.lagging(seen, clock, gate.has_revision(seen))
    pods = [pod for pod in seen.pods if not pod.finished]
    found = [
        converged(seen, late, current),
        target_found(seen),
        probes_wired(seen),
        degraded(seen, late, clock, room),
    ]
    fields = {
        "keys": sum(bool(ledger.live) for ledger in ledgers),
        "entries": len(document.entries) if document else 0,
        "revision": document.revision if document else None,
        "shortRevision": document.revision[:8] if document else None,
        "publishedAt": times.stamp(document.generated_at) if document else None,
        "pods": len(pods),
        "podsAcknowledged": len(pods) - len(late),
        "acknowledged": f"{len(pods) - len(late)}/{len(pods)}",
        "laggingPods": sorted(pod.name for pod in late)[:10],
    }
    generation = keyset.metadata.generation
    return {
        "observedGeneration": generation,
        **{name: value for name, value in fields.items() if value is not None},
        "conditions": conditions.merge(keyset.status.get("conditions"), [ready(found), *found], generation, clock.here),
    }


def blind(keyset: KeySet, refused: Sequence[str], clock: Clock) -> dict[str, Any]:
    """The status of a KeySet that can not be looked at, because the API server refuses that: as it was, but Degraded."""
    told = condition("Degraded", "True", "Forbidden", *refused)
    return conditions.overlay(keyset.status, [told], keyset.metadata.generation, clock.here)


def ready(found: Sequence[Condition]) -> Condition:
    """Ready is Converged: the set is written, and everyone who should have it has it."""
    if found[0].status == "True":
        return condition("Ready", "True", "Published")
    return Condition("Ready", "False", found[0].reason, found[0].message)


def converged(seen: World, late: Sequence[Pod], current: bool) -> Condition:
    if not current:
        return condition("Converged", "False", "NotPublished")
    if (why := gate.nobody(seen)) is not None:
        return condition("Converged", "False", why)
    if late:
        return condition("Converged", "False", "Lagging", *sorted(pod.name for pod in late))
    return condition("Converged", "True", "Converged")


def target_found(seen: World) -> Condition:
    if seen.target is None:
        return condition("TargetFound", "False", "TargetNotFound")
    return condition("TargetFound", "True", "TargetFound")


def probes_wired(seen: World) -> Condition:
    """Proof, not presence: no finding, and a 200 from each Pod that the operator asked itself."""
    if seen.enforcement is not None:
        return condition("ProbesWired", "False", seen.enforcement.reason, *seen.enforcement.about)
    if seen.findings is None:
        return condition("ProbesWired", "Unknown", "NotAudited")
    if seen.findings:
        return condition("ProbesWired", "False", "Findings", *(finding.message for finding in seen.findings))
    pods = [pod for pod in seen.pods if not pod.finished and not pod.terminating]
    unseen = sorted(pod.name for pod in pods if not pod.ready_seen)
    if unseen or not pods:
        return condition("ProbesWired", "False", "NotProven", *unseen)
    if seen.muted:
        return condition("ProbesWired", "True", "ProvenButMuted", *(f"{reason} ({why})" for reason, why in seen.muted.items()))
    return condition("ProbesWired", "True", "Proven")


def degraded(seen: World, late: Sequence[Pod], clock: Clock, room: int) -> Condition:
    if clock.skew > MAX_SKEW:
        return condition("Degraded", "True", "ClockSkewed")
    if seen.refused:
        return condition("Degraded", "True", "Forbidden", *seen.refused)
    if aside := sorted(name for name, each in seen.aside.items() if each.reason != "NotRead"):
        return condition("Degraded", "True", "KeysSetAside", *aside)
    document = seen.published.document if seen.published else None
    if seen.published is not None and not seen.published.ours:
        return condition("Degraded", "True", "SecretNotOwned", seen.published.metadata.name)
    if room < 1:
        return condition("Degraded", "True", "NoRoom")
    if document is not None and late and clock.earliest >= document.generated_at + gate.PATIENCE:
        return condition("Degraded", "True", "ConvergenceLate", *sorted(pod.name for pod in late))
    return condition("Degraded", "False", "AsExpected")
