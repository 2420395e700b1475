"""The status of an ApiKey, for people and `kubectl get`: is it safe, until when, what happens next.

Nothing of a status is ever read back but to keep lastTransitionTime, and to see that there is nothing to write.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from msgspec.structs import replace

from sluice_operator import api_types, reasons, schedule, steps, world
from sluice_operator.api_types import ApiKey, Clock, KeySet
from sluice_operator.reasons import Condition
from sluice_operator.steps import Scene
from sluice_operator.versions import Version
from sluice_operator.world import Aside, Pod, World

# lastUsedAt moves no more often than this: it would be written with every request otherwise.
USE_STEP = timedelta(hours=1)
# The operator asks each Pod with a key before it hands the key out, and notes when that was in whole seconds of another clock.
PROOF = timedelta(seconds=10)
# So long after the last refusal Refused stays true: who sends a key that has ended can have it written twice in that time.
REMEMBERED = timedelta(minutes=10)
NOTICES = ((timedelta(days=1), "Within1Day"), (timedelta(days=7), "Within7Days"), (timedelta(days=30), "Within30Days"))


def of_key(scene: Scene) -> dict[str, Any]:
    """The whole status of one key; fields that there is nothing to say of are left out."""
    key, active = scene.ledger.key, scene.ledger.active
    following = upcoming(scene)
    first = min(following, default=None)
    old = next(iter(scene.ledger.having("superseded")), None)
    fields = {
        "version": active.number if active else None,
        "secretName": scene.ledger.client.name if scene.ledger.client else None,
        "expiresAt": shown(key.spec.expires_at),
        "nextAction": first[1] if first else None,
        "nextActionAt": shown(first[0]) if first else None,
        "lastUsedAt": last_used(scene, active, key.status.get("lastUsedAt")) if active else None,
        "previousVersion": old.number if old else None,
        "previousEndsAt": shown(old.ends_at) if old else None,
    }
    found = [
        ready(scene),
        accepted(scene),
        published(scene),
        rotating(scene),
        previous_in_use(scene),
        refused(scene),
        expiring(scene),
        degraded(scene),
    ]
    return written(key, fields, found, scene.clock)


def written(about: ApiKey | KeySet, fields: dict[str, Any], found: list[Condition], clock: Clock) -> dict[str, Any]:
    generation = about.metadata.generation
    return {
        "observedGeneration": generation,
        **{name: value for name, value in fields.items() if value is not None},
        "conditions": reasons.merge(about.status.get("conditions"), found, generation, clock.here),
    }


def without_keyset(key: ApiKey, clock: Clock) -> dict[str, Any]:
    """Of a key whose KeySet does not exist."""
    return written(key, {}, [condition("Ready", "False", "KeySetNotFound")], clock)


def of_aside(aside: Aside, clock: Clock) -> dict[str, Any]:
    """Of a key that cannot be planned: what was known of it, and that it is left alone."""
    found = [condition("Ready", "False", aside.reason, aside.about), condition("Degraded", "True", aside.reason, aside.about)]
    return reasons.overlay(aside.status, found, aside.metadata.generation, clock.here)


def shown(moment: datetime | None) -> str | None:
    return api_types.stamp(moment) if moment is not None else None


def last_used(scene: Scene, version: Version, before: Any) -> str | None:
    """When the version was last used, in steps of USE_STEP; its proof by the operator itself is no use."""
    used = schedule.last_use(scene.ledger.key, version, scene.world.last_used)
    old = api_types.read_stamp(before if isinstance(before, str) else None)
    proof = used is not None and version.activated_at is not None and used < version.activated_at + PROOF
    if used is None or proof or (old is not None and used - old < USE_STEP):
        return shown(old)
    return shown(used)


def upcoming(scene: Scene) -> list[tuple[datetime, str]]:
    """What the clock will bring, and when."""
    key, active = scene.ledger.key, scene.ledger.active
    if scene.dead:
        return []
    found = [(key.spec.expires_at, "Expire")]
    for version in scene.ledger.having("superseded"):
        found += [(version.ends_at, "Retire")]
    if active is not None:
        if not scene.resting and not scene.ledger.staged:
            found += [(schedule.due(key, active), "Rotate")]
        if not steps.is_dropped(scene, active):
            found += [(steps.drop_date(scene, active), "Drop")]
    return [(date, what) for date, what in found if date is not None]


def condition(kind: str, status: Any, reason: str, *about: str) -> Condition:
    return Condition(kind, status, reason, reasons.sentence(reason, *about))


def ready(scene: Scene) -> Condition:
    """Whether the state that the spec asks for is reached, be it that the key is accepted or that it is not."""
    active = scene.ledger.active
    reason = unreached(scene) if scene.unwanted else unready(scene) or underway(scene)
    if reason is None:
        return condition("Ready", "True", resting(scene) or "Active", str(active.number if active else ""))
    about = {"PlaintextLost": [str(active.number)] if active else [], "SecretNotOwned": scene.ledger.foreign}
    pods = waited_for(scene) if active is None or scene.unwanted else catching_up(scene)
    return condition("Ready", "False", reason, *about.get(reason, pods))


def accepted(scene: Scene) -> Condition:
    """Whether a client that sends the active version now is let in."""
    active = scene.ledger.active
    reason = resting(scene)
    if reason is None and (active is None or not scene.accepts(active)):
        reason = unready(scene)
    if reason is not None:
        return condition("Active", "False", reason, *(scene.ledger.foreign if reason == "SecretNotOwned" else waited_for(scene)))
    if active is not None and (pods := schedule.behind(scene.world, scene.stale, lambda accepted: active.digest in accepted)):
        return condition("Active", "False", "Converging", *pods)
    return condition("Active", "True", "Active", str(active.number if active else ""))


def resting(scene: Scene) -> str | None:
    """Why the spec itself keeps the key from being accepted now, as a reason."""
    spec = scene.ledger.key.spec
    if spec.revoked:
        return "Revoked"
    if scene.dead:
        return "Expired"
    if spec.suspended:
        return "Suspended"
    return "Pending" if spec.not_before is not None and scene.clock.earliest < spec.not_before else None


def unreached(scene: Scene) -> str | None:
    """What is still to come until a key that is revoked, expired or suspended is refused by every Pod."""
    if resting(scene) == "Expired":
        return None  # Pods hold to the date by themselves
    if not scene.world.authentic or any(entry.state == "active" for entry in scene.entries.values()):
        return "Publishing"
    return "Converging" if waited_for(scene) else None


def unready(scene: Scene) -> str | None:
    """What keeps the active version, or the first one, from being accepted and held by its client."""
    active = scene.ledger.active
    if active is not None and scene.accepts(active):
        return "PlaintextLost" if schedule.lost(scene.ledger) else None
    if scene.refusal is not None:
        return scene.refusal
    if active is not None:
        return "Publishing"
    return "Staging" if scene.ledger.staged is None else steps.blocked(scene) or "Converging"


def underway(scene: Scene) -> str | None:
    """What an active version waits for, until every Pod holds it to what its spec says now."""
    digest = scene.ledger.active.digest if scene.ledger.active is not None else ""
    if scene.entries.get(digest) != scene.wanted.get(digest):
        return "Publishing"
    return "Converging" if catching_up(scene) else None


def catching_up(scene: Scene) -> tuple[str, ...]:
    """The Pods that may still have the active version as it was before its spec changed."""
    digest = scene.ledger.active.digest if scene.ledger.active is not None else ""
    return schedule.behind(scene.world, scene.stale, lambda accepted: accepted.get(digest) == scene.wanted.get(digest))


def waited_for(scene: Scene) -> tuple[str, ...]:
    """The Pods that have still to accept the staged version, or to refuse a key that is not wanted any more."""
    if scene.unwanted:
        digests = scene.revoked | {version.digest for version in scene.ledger.versions if version.digest}
        return tuple(
            sorted(pod.name for pod in schedule.lagging(scene.world, scene.clock, schedule.refuses(scene.world, digests)))
        )
    staged = scene.ledger.staged
    if staged is None or not scene.accepts(staged):
        return ()
    late = schedule.lagging(scene.world, scene.clock, schedule.has_digest(scene.world, staged.digest))
    return tuple(sorted(pod.name for pod in late)) or tuple(sorted(steps.unproved(scene, staged)))


def published(scene: Scene) -> Condition:
    there = bool(scene.entries) and all(version.digest in scene.entries for version in scene.ledger.live)
    return condition("Published", "True", "InKeySet") if there else condition("Published", "False", "NotInKeySet")


def rotating(scene: Scene) -> Condition:
    staged, active = scene.ledger.staged, scene.ledger.active
    if staged is not None and active is not None:
        return condition("Rotating", "True", "Staged", str(staged.number))
    for version in scene.ledger.having("superseded"):
        return condition("Rotating", "True", "Overlap", str(version.number))
    return condition("Rotating", "False", "Idle")


def previous_in_use(scene: Scene) -> Condition:
    """Whether somebody still sends a superseded version shortly before it ends."""
    for version in scene.ledger.having("superseded"):
        if schedule.used_late(scene.ledger.key, version, scene.world):
            return condition("PreviousInUse", "True", "Used", str(version.number))
    return condition("PreviousInUse", "False", "NotUsed")


def refused(scene: Scene) -> Condition:
    """Whether a version that the key set has, and does not accept (now), is sent all the same."""
    sent = sorted(number for number, forgotten in refusals(scene) if scene.clock.earliest < forgotten)
    if sent:
        return condition("Refused", "True", "StillSent", *map(str, sent))
    return condition("Refused", "False", "NotSent")


def refusals(scene: Scene) -> list[tuple[int, datetime]]:
    """The versions of the key that were refused, and when that is no longer told."""
    found = ((name.rpartition("/"), at) for name, at in scene.world.last_refused.items())
    return [(int(number), at + REMEMBERED) for (key, _, number), at in found if key == scene.ledger.key.name]


def expiring(scene: Scene) -> Condition:
    expires_at = scene.ledger.key.spec.expires_at
    for before, reason in NOTICES:
        if expires_at is not None and scene.clock.earliest >= expires_at - before:
            return condition("Expiring", "True", reason)
    return condition("Expiring", "False", "NotSoon")


def degraded(scene: Scene) -> Condition:
    """What somebody should look at."""
    if scene.refusal is not None:
        return condition("Degraded", "True", scene.refusal, *scene.ledger.foreign)
    if not scene.dead and schedule.lost(scene.ledger):
        return condition("Degraded", "True", "PlaintextLost", str(scene.ledger.active.number if scene.ledger.active else ""))
    if (late := late_since(scene)) is not None and scene.clock.earliest >= late:
        pods = waited_for(scene)
        return condition("Degraded", "True", "ConvergenceLate" if pods else "NotAcknowledged", *pods)
    return condition("Degraded", "False", "AsExpected")


def late_since(scene: Scene) -> datetime | None:
    """From when a staged version counts as held up."""
    staged = scene.ledger.staged
    if staged is None or staged.secret is None or scene.resting:
        return None
    return staged.secret.metadata.creation_timestamp + schedule.PATIENCE


# What two good clocks may differ by.
MAX_SKEW = timedelta(minutes=5)


def of_keyset(keyset: KeySet, seen: World, clock: Clock, current: bool, room: int) -> dict[str, Any]:
    """`current`: whether what is published is what should be. `room`: for how many more versions there is."""
    document = seen.document
    late = schedule.lagging(seen, clock, schedule.has_revision(seen))
    pods = [pod for pod in seen.pods if not pod.finished]
    # Ready is Converged: the set is written, and everyone who should have it has it.
    done, there = converged(seen, late, current), seen.replicas is not None
    found = [
        condition("Ready", "True", "Published") if done.status == "True" else replace(done, type="Ready"),
        done,
        condition("TargetFound", "True" if there else "False", "TargetFound" if there else "TargetNotFound"),
        probes_wired(seen),
        keyset_degraded(keyset, seen, late, clock, room),
    ]
    fields = {
        "keys": len({entry.key_id for entry in document.entries if entry.state != "revoked"}) if document else 0,
        "entries": len(document.entries) if document else 0,
        "revision": document.revision if document else None,
        "shortRevision": document.revision[:8] if document else None,
        "publishedAt": shown(document.generated_at) if document else None,
        "pods": len(pods),
        "podsAcknowledged": len(pods) - len(late),
        "acknowledged": f"{len(pods) - len(late)}/{len(pods)}",
        "laggingPods": sorted(pod.name for pod in late)[:10],
    }
    return written(keyset, fields, found, clock)


def blind(keyset: KeySet, refused: Sequence[str], clock: Clock) -> dict[str, Any]:
    """The status of a KeySet that cannot be looked at, because the API server refuses that: as it was, but Degraded."""
    told = condition("Degraded", "True", "Forbidden", *refused)
    return reasons.overlay(keyset.status, [told], keyset.metadata.generation, clock.here)


def converged(seen: World, late: Sequence[Pod], current: bool) -> Condition:
    if not current:
        return condition("Converged", "False", "NotPublished")
    if (why := schedule.nobody(seen)) is not None:
        return condition("Converged", "False", why)
    if late:
        return condition("Converged", "False", "Lagging", *sorted(pod.name for pod in late))
    return condition("Converged", "True", "Converged")


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


def keyset_degraded(keyset: KeySet, seen: World, late: Sequence[Pod], clock: Clock, room: int) -> Condition:
    if keyset.fault:
        return condition("Degraded", "True", "InvalidKeySet", keyset.fault)
    if clock.skew > MAX_SKEW:
        return condition("Degraded", "True", "ClockSkewed")
    if seen.refused:
        return condition("Degraded", "True", "Forbidden", *seen.refused)
    if aside := sorted(name for name, each in seen.aside.items() if each.reason not in world.NO_NEWS):
        return condition("Degraded", "True", "KeysSetAside", *aside)
    document = seen.document
    if taken := world.taken(seen):
        return condition("Degraded", "True", "SecretNotOwned", *taken)
    if room < 1:
        return condition("Degraded", "True", "NoRoom")
    if document is not None and late and clock.earliest >= document.generated_at + schedule.PATIENCE:
        return condition("Degraded", "True", "ConvergenceLate", *sorted(pod.name for pod in late))
    return condition("Degraded", "False", "AsExpected")
