"""Whether every Pod that a client can reach accepts a key: what activation waits for.

A Pod that was ever Ready, or is terminating and still runs, must answer that all its workers have a revision with the digest. A
Pod that starts must too, once it answers. Until then: was it made after the revision was published, it mounts that one. Was it
made before, it may come up with an older set, until the kubelet has delivered: it is waited for as long as that may take.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Set
from datetime import datetime, timedelta

from sluice_operator.times import Clock
from sluice_operator.world import Pod, Report, World

# The kubelet's own period (82 s measured), rounded up. Annotated Pods take 0.6 s.
DELIVERY = timedelta(minutes=2)
# What the date on a document and that on a Pod may differ by: both are cut to seconds, the first was extrapolated.
SLACK = timedelta(seconds=10)
# From then on a missing acknowledgement is no delay but a fault, and is told.
PATIENCE = timedelta(minutes=5)

Accepts = Callable[[Report], bool]


def current(world: World) -> str | None:
    """The revision that is published now."""
    document = world.published.document if world.published is not None else None
    return document.revision if document is not None else None


def has_revision(world: World) -> Accepts:
    """Whether a Pod has the revision that is published now: an answer from before another one was published does not say so."""
    revision = current(world)
    return lambda report: revision is not None and report.possible == {revision}


def has_digest(world: World, digest: str) -> Accepts:
    """Whether a Pod has a revision that `digest`, which is published now, is in: this one or one that is still known."""
    revision = current(world)
    having = {known for known, digests in world.known.items() if digest in digests} | ({revision} if revision else set())
    return lambda report: report.possible <= having


def refuses(world: World, digests: Set[str]) -> Accepts:
    """Whether a Pod has a revision that accepts none of `digests`: this one or one that is still known."""
    revision = current(world)
    without = {known for known, accepted in world.known.items() if not accepted & digests} | ({revision} if revision else set())
    return lambda report: report.possible <= without


def lagging(world: World, clock: Clock, accepts: Accepts) -> tuple[Pod, ...]:
    """The Pods that are waited for."""
    published = world.published.document.generated_at if world.published and world.published.document else clock.latest
    return tuple(pod for pod in world.pods if not pod.finished and not is_right(pod, clock, accepts, published))


def is_right(pod: Pod, clock: Clock, accepts: Accepts, published: datetime) -> bool:
    if pod.report is not None:
        return accepts(pod.report)
    if pod.was_ready or pod.terminating:
        return False
    return not pod.started or pod.created > published + SLACK or clock.earliest >= published + DELIVERY


def unacknowledged(world: World) -> tuple[str, ...]:
    """The Pods to ask again: those that run and have not reported the revision."""
    has_it = has_revision(world)
    pods = (pod for pod in world.pods if pod.started and not pod.finished)
    return tuple(pod.name for pod in pods if pod.report is None or not has_it(pod.report))


def dates(world: World) -> list[datetime]:
    """When a Pod that has not acknowledged the key set stops being waited for, and when that is told."""
    document = world.published.document if world.published else None
    if document is None or not unacknowledged(world):
        return []
    return [document.generated_at + DELIVERY, document.generated_at + PATIENCE]


def nobody(world: World) -> str | None:
    """Why there is nobody to wait for, and yet no reason to go on; None: there is a Pod, or none is wanted."""
    if world.target is None:
        return "TargetNotFound"
    if not world.pods_known:
        return "PodsUnknown"
    answering = any(pod.report is not None and not pod.finished for pod in world.pods)
    return None if answering or world.target.replicas == 0 else "NoPods"


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
