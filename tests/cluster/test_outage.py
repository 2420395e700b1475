"""The database goes away under load and comes back."""

from __future__ import annotations

import pytest
from tests.cluster import events
from tests.cluster.database import PostgreSQL
from tests.cluster.ingress import Traefik
from tests.cluster.kube import Document, ready
from tests.cluster.release import HOST, Release, name_of
from tests.cluster.siege import Aftermath, direct, routed, siege
from tests.integration.waiting import until

pytestmark = pytest.mark.timeout(600)

# The long form (tests/soak/cluster.py) takes a minute.
SECONDS = 15


def states(pods: list[Document]) -> dict[str, tuple[bool, int]]:
    """Ready, and how often its container was started again, by pod."""
    return {name_of(pod): (ready(pod), pod["status"]["containerStatuses"][0]["restartCount"]) for pod in pods}


class Outage:
    """What was seen of pods and clients."""

    def __init__(self, aftermath: Aftermath, before: dict[str, tuple[bool, int]]) -> None:
        self.aftermath = aftermath
        self.before = before
        self.seen: list[dict[str, tuple[bool, int]]] = []

    def look(self, release: Release) -> None:
        self.seen.append(states(release.pods()))


@pytest.fixture(scope="module")
def outage(release: Release, postgresql: PostgreSQL, traefik: Traefik, image: str) -> Outage:
    crowd = {
        "service": direct(release, "--rate=30", "--connections=10"),
        "ingress": routed(traefik, HOST, "--rate=30", "--connections=10", "--body=batch"),
    }
    with siege(release, image, crowd) as under:
        found = Outage(under.aftermath, states(release.pods()))
        under.happen("database gone", lambda: events.outage(postgresql, SECONDS, lambda: found.look(release)))
        back = {name: client.acknowledged() for name, client in under.crowd.items()}
        until(
            lambda: all(client.acknowledged() > back[name] + 100 for name, client in under.crowd.items()), 60, "all is well again"
        )
    return found


def test_pods_stay_ready_and_nothing_restarts(release: Release, outage: Outage) -> None:
    assert len(outage.seen) >= 3
    assert all(seen == outage.before for seen in outage.seen)
    assert states(release.pods()) == outage.before
    assert all(is_ready for is_ready, _ in outage.before.values())


@pytest.mark.parametrize("way", ["service", "ingress"])
def test_clients_get_503_with_retry_after_and_nothing_else(outage: Outage, way: str) -> None:
    """load.py has another name for a 503 without Retry-After."""
    report = outage.aftermath.reports[way]
    assert set(report.failed) == {"status 503"}, outage.aftermath.details()
    assert report.failed["status 503"] > SECONDS


def test_everything_acknowledged_before_and_after_is_there_once(outage: Outage) -> None:
    assert {(*books.lost, *books.doubled) for books in outage.aftermath.books.values()} == {()}
    assert all(books.acknowledged > 100 for books in outage.aftermath.books.values())
