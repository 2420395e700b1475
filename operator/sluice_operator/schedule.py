"""When a version is made, handed out and ended: reasons to rotate, what a hand-over waits for, and the overlap.

The end of a superseded version is set once, when its successor was handed out: now + overlap, by the later clock. It is published
as notAfter, so the service keeps to it with the operator gone. Under HoldIfUsed it is moved, only ever later, and only before it
has come: while the version was used within the last half of an overlap (or while that is not known), by half an overlap, up to
`maxOverlap` after the successor was handed out. Nothing is removed before the end has passed by both clocks and MARGIN besides: a
clock that jumped an hour ahead and comes back has done no harm.

A hand-over waits until every Pod that a client can reach accepts the key. A Pod that was ever Ready, or is terminating and still
runs, must answer that all its workers have a revision with the digest. A Pod that starts must too, once it answers. Until then:
was it made after the revision was published, it mounts that one. Was it made before, it may come up with an older set, until the
kubelet has delivered: it is waited for as long as that may take.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Set
from datetime import datetime, timedelta
from typing import Literal

from sluice.keys import KeyEntry
from sluice_operator import api_types
from sluice_operator.api_types import ApiKey, Clock
from sluice_operator.versions import Ledger, Version
from sluice_operator.world import Pod, Report, World

Reason = Literal["First", "Lost", "Digest", "Requested", "Due"]
# Of a version that is handed out although what it was made for was taken back since.
WITHDRAWN = "Withdrawn"
# What goes first when not all may go at once.
URGENCY: dict[Reason, int] = {"First": 0, "Lost": 1, "Digest": 2, "Requested": 3, "Due": 4}
# Keys that were made together do not rotate together: up to this part of the period earlier, never later.
SPREAD = 0.1


def reason(ledger: Ledger, clock: Clock) -> Reason | None:
    """Why `ledger.key` needs a new version now; None: it does not, or one is on its way."""
    return None if ledger.staged is not None else why(ledger, clock)


def why(ledger: Ledger, clock: Clock) -> Reason | None:
    """Why its active version needs a successor, be there one already or not."""
    active, key = ledger.active, ledger.key
    if active is None:
        return "First"
    if lost(ledger):
        return "Lost"
    if key.spec.delivery.mode == "Provided":
        return "Digest" if active.digest != key.spec.delivery.digest else None
    if requested(key, active):
        return "Requested"
    date = due(key, active)
    return "Due" if date is not None and clock.earliest >= date else None


def since(ledger: Ledger, clock: Clock) -> datetime | None:
    """When that came about, where a date tells: when the ApiKey was made, or when its rotation was due."""
    reason, active = why(ledger, clock), ledger.active
    if reason == "First":
        return ledger.key.metadata.creation_timestamp
    return due(ledger.key, active) if reason == "Due" and active is not None else None


def lost(ledger: Ledger) -> bool:
    """Whether the plaintext that clients mount is nowhere any more. Its digest is still published."""
    active = ledger.active
    if active is None or ledger.key.spec.delivery.mode != "Retain":
        return False
    return not active.plaintext and not ledger.held_by_client(active)


def requested(key: ApiKey, active: Version) -> bool:
    """Whether ROTATE has another value than the active version was made for. A forgotten one counts as done."""
    value = key.metadata.annotations.get(api_types.ROTATE)
    return bool(value) and active.made_for is not None and active.made_for != fingerprint(key)


def fingerprint(key: ApiKey) -> str:
    """The value of ROTATE, 64 bits of its SHA-256: anything can stand in an annotation of other people."""
    value = key.metadata.annotations.get(api_types.ROTATE, "")
    return hashlib.sha256(value.encode()).hexdigest()[:16]


def due(key: ApiKey, active: Version) -> datetime | None:
    """When the active version is old enough, by the server's date on its Secret, which nobody can edit."""
    period = key.spec.rotation.period
    if period is None or active.secret is None or key.spec.delivery.mode == "DropAfter":
        return None  # who copied a key by hand does not notice a new one: theirs would end
    return active.secret.metadata.creation_timestamp + period * (1 - SPREAD * share(active.digest))


def share(seed: str) -> float:
    """A number from 0 up to 1, always the same for the same seed.

    Seeded by the digest, not by the ApiKey's uid: a re-created ApiKey has another uid, and must not rotate for that.
    """
    return int.from_bytes(hashlib.sha256(seed.encode()).digest()[:4], "big") / 2**32


# What a clock may be wrong by.
MARGIN = timedelta(hours=1)
# Before its end it is decided whether a version is held: enough for the document to reach every worker.
LEAD = timedelta(minutes=10)


def end(ledger: Ledger, version: Version, world: World, clock: Clock) -> datetime:
    """When `version` ends, as it should be published now."""
    overlap = ledger.key.spec.rotation.overlap
    if version.ends_at is None:
        since = handed_out(ledger, clock)
        has_end = clock.earliest >= since + overlap and not accepted_after(since, version, world)
        return api_types.whole_second((since if has_end else clock.latest) + overlap)
    if not held(ledger, version, world, clock):
        return version.ends_at
    return max(version.ends_at, api_types.whole_second(min(clock.latest + overlap / 2, latest_end(ledger, clock))))


def accepted_after(moment: datetime, version: Version, world: World) -> bool:
    """Whether `version` had no end after `moment`. A document of before that may be of a backup, and says nothing of it."""
    return version.entry is not None and world.document is not None and world.document.generated_at > moment


def held(ledger: Ledger, version: Version, world: World, clock: Clock) -> bool:
    """Whether the end should be moved: it is near, it has not come, and the version is still in use."""
    decide = decision(ledger.key, version)
    if decide is None or version.ends_at is None or not decide <= clock.earliest or clock.latest >= version.ends_at:
        return False
    return not any(pod.was_ready and not pod.asked for pod in world.pods) and in_use(ledger.key, version, world)


def decision(key: ApiKey, version: Version) -> datetime | None:
    """When it is looked at whether `version` is still in use; None: never."""
    idle = key.spec.suspended or key.spec.rotation.retire_policy == "Retire"
    return None if idle or version.ends_at is None else version.ends_at - min(key.spec.rotation.overlap / 4, LEAD)


def in_use(key: ApiKey, version: Version, world: World) -> bool:
    """Whether a superseded version was used late, or might have been: some Pod does not tell."""
    pods = [pod for pod in world.pods if pod.was_ready and not pod.finished]
    return not pods or any(pod.report is None for pod in pods) or used_late(key, version, world)


def used_late(key: ApiKey, version: Version, world: World) -> bool:
    """Whether a superseded version was used in the half overlap before its end."""
    used = last_use(key, version, world.last_used)
    return used is not None and version.ends_at is not None and used > version.ends_at - key.spec.rotation.overlap / 2


def last_use(key: ApiKey, version: Version, last_used: Mapping[str, datetime]) -> datetime | None:
    return last_used.get(f"{key.name}/{version.number}")


def latest_end(ledger: Ledger, clock: Clock) -> datetime:
    """The end that nothing moves: `maxOverlap` after the successor was handed out."""
    rotation = ledger.key.spec.rotation
    return handed_out(ledger, clock) + max(rotation.max_overlap, rotation.overlap)


def handed_out(ledger: Ledger, clock: Clock) -> datetime:
    """Since when clients have the active version; now, when nothing tells."""
    return ledger.active.activated_at if ledger.active is not None and ledger.active.activated_at is not None else clock.earliest


def removal(key: ApiKey, ends_at: datetime) -> datetime:
    """When a version that ended at `ends_at` leaves the key set, and its Secret goes. A short overlap has a short margin."""
    return ends_at + min(MARGIN, key.spec.rotation.overlap)


# The kubelet's own period (82 s measured), rounded up. Annotated Pods take 0.6 s.
DELIVERY = timedelta(minutes=2)
# What the date on a document and that on a Pod may differ by: both are cut to seconds, the first was extrapolated.
SLACK = timedelta(seconds=10)
# From then on a missing acknowledgement is no delay but a fault, and is told.
PATIENCE = timedelta(minutes=5)

Accepts = Callable[[Report], bool]
# Of the entries that a revision accepts, by digest.
Holds = Callable[[Mapping[str, KeyEntry]], bool]


def current(world: World) -> str | None:
    """The revision that is published now."""
    return world.document.revision if world.document is not None else None


def has_revision(world: World) -> Accepts:
    """Whether a Pod has the revision that is published now: an answer from before another one was published does not say so."""
    revision = current(world)
    return lambda report: revision is not None and report.possible == {revision}


def has_digest(world: World, digest: str) -> Accepts:
    """Whether a Pod has a revision that accepts `digest`, as the one does that is published now."""
    return among(world, lambda accepted: digest in accepted)


def refuses(world: World, digests: Set[str]) -> Accepts:
    """Whether a Pod has a revision that accepts none of `digests`, as the one does that is published now."""
    return among(world, lambda accepted: digests.isdisjoint(accepted))


def among(world: World, holds: Holds) -> Accepts:
    """Whether a Pod has the revision that is published now, or another one of which `holds`, and which is still known."""
    revisions = {current(world), *(revision for revision, accepted in world.known.items() if holds(accepted))} - {None}
    return lambda report: report.possible <= revisions


def lagging(world: World, clock: Clock, accepts: Accepts) -> tuple[Pod, ...]:
    """The Pods that are waited for."""
    published = world.document.generated_at if world.document is not None else clock.latest
    return tuple(pod for pod in world.pods if not pod.finished and not is_right(pod, clock, accepts, published))


def is_right(pod: Pod, clock: Clock, accepts: Accepts, published: datetime) -> bool:
    if pod.report is not None:
        return accepts(pod.report)
    if pod.was_ready or pod.terminating:
        return False
    return not pod.started or pod.metadata.creation_timestamp > published + SLACK or clock.earliest >= published + DELIVERY


def stale(world: World) -> dict[str, set[str]]:
    """Revisions that are known and that Pods may have beside the one that is published, each with the names of these Pods.

    By what they last reported and what came after it. One that fell silent, or of which nothing is known, is not among them for
    that: the status of every key would change with it.
    """
    found: dict[str, set[str]] = {}
    for pod in world.pods:
        for revision in pod.last.possible if pod.last is not None and not pod.finished else ():
            if revision is not None and revision in world.known and revision != current(world):
                found.setdefault(revision, set()).add(pod.name)
    return found


def behind(world: World, stale: Mapping[str, Set[str]], holds: Holds) -> tuple[str, ...]:
    """The Pods that may have a revision of which not `holds`."""
    names = (pods for revision, pods in stale.items() if not holds(world.known[revision]))
    return tuple(sorted(set().union(*names)))


def unacknowledged(world: World) -> tuple[str, ...]:
    """The Pods to ask again: those that run and have not reported the revision."""
    has_it = has_revision(world)
    pods = (pod for pod in world.pods if pod.started and not pod.finished)
    return tuple(pod.name for pod in pods if pod.report is None or not has_it(pod.report))


def dates(world: World) -> list[datetime]:
    """When a Pod that has not acknowledged the key set stops being waited for, and when that is told."""
    document = world.document
    if document is None or not unacknowledged(world):
        return []
    return [document.generated_at + DELIVERY, document.generated_at + PATIENCE]


def nobody(world: World) -> str | None:
    """Why there is nobody to wait for, and yet no reason to go on; None: there is a Pod, or none is wanted."""
    if world.replicas is None:
        return "TargetNotFound"
    if not world.pods_known:
        return "PodsUnknown"
    answering = any(pod.report is not None and not pod.finished for pod in world.pods)
    return None if answering or world.replicas == 0 else "NoPods"


def unproved(pods: Iterable[Pod], digest: str) -> tuple[str, ...]:
    """The Pods whose `whoami` has still to be asked."""
    return tuple(pod.name for pod in pods if (pod.was_ready or pod.terminating) and not pod.finished and digest not in pod.proved)


def to_annotate(world: World) -> tuple[str, ...]:
    """The Pods that were not poked yet for what is published now; not those that came up with it.

    One that was poked for something else is, whatever it says: that may still be on its way to it.
    """
    edition, has_it = world.published.edition if world.published else None, has_revision(world)
    unpoked = (pod for pod in world.pods if pod.started and not pod.finished and pod.edition != edition)
    return tuple(pod.name for pod in unpoked if pod.edition is not None or pod.report is None or not has_it(pod.report))
