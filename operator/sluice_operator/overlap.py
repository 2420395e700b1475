"""How long a superseded version goes on being accepted, and when its traces are removed.

The end is set once, when the successor was handed out: now + overlap, by the later clock. It is published as notAfter, so the
service keeps to it with the operator gone. Under HoldIfUsed it is moved, only ever later, and only before it has come: while the
version was used within the last half of an overlap (or while that is not known), by half an overlap, up to `maxOverlap` after the
successor was handed out. Nothing is removed before the end has passed by both clocks and MARGIN besides: a clock that jumped an
hour ahead and comes back has done no harm.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from sluice_operator import times
from sluice_operator.ledger import Ledger, Version
from sluice_operator.model import ApiKey
from sluice_operator.times import Clock
from sluice_operator.world import World

# What a clock may be wrong by.
MARGIN = timedelta(hours=1)
# Before its end it is decided whether a version is held: enough for the document to reach every worker.
LEAD = timedelta(minutes=10)


def end(ledger: Ledger, version: Version, world: World, clock: Clock) -> datetime:
    """When `version` ends, as it should be published now."""
    overlap = ledger.key.spec.rotation.overlap
    if version.ends_at is None:
        return times.whole_second(clock.latest + overlap)
    if not held(ledger, version, world, clock):
        return version.ends_at
    return max(version.ends_at, times.whole_second(min(clock.latest + overlap / 2, latest_end(ledger, clock))))


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
    """Whether a superseded version was used in the half overlap before its end. Unknown counts as used."""
    pods = [pod for pod in world.pods if pod.was_ready and not pod.finished]
    if not pods or any(pod.report is None for pod in pods):
        return True
    used = last_use(key, version, world.last_used)
    return used is not None and version.ends_at is not None and used > version.ends_at - key.spec.rotation.overlap / 2


def last_use(key: ApiKey, version: Version, last_used: Mapping[str, datetime]) -> datetime | None:
    return last_used.get(f"{key.name}/{version.number}")


def latest_end(ledger: Ledger, clock: Clock) -> datetime:
    """The end that nothing moves: `maxOverlap` after the successor was handed out."""
    successor, rotation = ledger.active, ledger.key.spec.rotation
    started = successor.activated_at if successor is not None else None
    return (started or clock.earliest) + max(rotation.max_overlap, rotation.overlap)


def removal(key: ApiKey, ends_at: datetime) -> datetime:
    """When a version that ended at `ends_at` leaves the key set, and its Secret goes. A short overlap has a short margin."""
    return ends_at + min(MARGIN, key.spec.rotation.overlap)
