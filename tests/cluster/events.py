"""What happens to the pods of a release: planned events, by name, and the one that nobody plans."""

from __future__ import annotations

import time
from collections.abc import Callable

from tests.cluster.database import PostgreSQL
from tests.cluster.kube import Document
from tests.cluster.reaper import Reaper
from tests.cluster.release import Release, name_of
from tests.integration.waiting import until

Action = Callable[[], object]

PLANNED = ("workers recycled", "upgraded", "rolled back", "restarted", "scaled 2-5-2", "pod deleted", "pod evicted")
# What a worker says that has had MAX_REQUESTS, and what it says when no client counts on a connection to it any more.
LEAVING, GONE = "worker.to_be_replaced", "worker.replaced"
WORKERS = 4


def planned(release: Release, second_image: str, recycled: str = LEAVING) -> dict[str, Action]:
    """In this order; at the end the release is as it was. `recycled`: what workers have to say before the first is over."""
    actions: tuple[Action, ...] = (
        lambda: recycle(release, recycled),
        lambda: release.upgrade(second_image),
        release.rollback,
        release.restart,
        lambda: scale(release, 5, 2),
        release.delete_pod,
        release.evict_pod,
    )
    return dict(zip(PLANNED, actions, strict=True))


def scale(release: Release, *replicas: int) -> None:
    for each in replicas:
        release.scale(each)


def recycle(release: Release, recycled: str) -> None:
    """Wait until some more workers have said so. GONE takes a minute: ingress controllers keep connections unused."""
    before = release.log().count(recycled)
    until(lambda: release.log().count(recycled) >= before + WORKERS, 300, f"workers say {recycled}")


def kill(release: Release, reaper: Reaper) -> None:
    """Kill a container, and wait until it runs again and is ready."""
    victim = release.pods()[0]
    before = restarts(victim)
    reaper.kill(victim)
    until(lambda: restarts(release.space.get("pod", name_of(victim))) > before, 60, "the container is started again")
    release.rolled_out()


def outage(postgresql: PostgreSQL, seconds: float, meanwhile: Action = lambda: time.sleep(1)) -> None:
    """Stop the database for so long; `meanwhile` is called again and again."""
    postgresql.scale(0)
    try:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            meanwhile()
    finally:
        postgresql.scale(1)


def restarts(pod: Document) -> int:
    return sum(status["restartCount"] for status in pod["status"]["containerStatuses"])
