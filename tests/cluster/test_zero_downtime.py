"""What happens to pods in production, under load through the Service and through a real ingress controller.

The long form, with the chart's own times, is `python -m tests.soak cluster`.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.cluster import events
from tests.cluster.ingress import Traefik
from tests.cluster.kube import Cluster
from tests.cluster.reaper import PRIVILEGED, Reaper
from tests.cluster.release import HOST, Release
from tests.cluster.siege import Aftermath, direct, routed, siege

pytestmark = pytest.mark.timeout(600)

PLANNED = events.PLANNED
CONNECTION_ERRORS = {"refused", "reset before", "reset after", "stale", "connect timeout", "timeout"}
# A proxy's word for a connection error of its own.
BAD_GATEWAY = {"status 502"}


@pytest.fixture(scope="module")
def planned(release: Release, traefik: Traefik, image: str, second_image: str) -> Aftermath:
    """What all planned events in a row left behind."""
    crowd = {
        "service": direct(release, "--rate=60", "--connections=20", "--blind"),
        "fresh": direct(release, "--rate=25", "--connections=10", "--fresh"),
        "ingress": routed(traefik, HOST, "--rate=30", "--connections=20", "--body=batch"),
    }
    with siege(release, image, crowd) as under:
        for name, event in events.planned(release, second_image).items():
            under.happen(name, event)
    return under.aftermath


@pytest.mark.parametrize("name", PLANNED)
def test_a_planned_event_fails_no_request(planned: Aftermath, name: str) -> None:
    assert planned.during(planned.event(name)) == [], planned.details()


def test_no_request_fails_between_the_events(planned: Aftermath) -> None:
    assert planned.failed == {}, planned.details()
    assert all(report.sent > 1_000 for report in planned.reports.values())


def test_every_acknowledged_event_is_stored_exactly_once(planned: Aftermath) -> None:
    assert {(*books.lost, *books.doubled) for books in planned.books.values()} == {()}
    assert all(books.stored == books.acknowledged > 1_000 for books in planned.books.values())


@pytest.fixture(scope="module")
def killed(cluster: Cluster, release: Release, traefik: Traefik, image: str) -> Iterator[Aftermath]:
    """What kill -9 of a container left behind, with clients that try again what failed."""
    crowd = {
        "service": direct(release, "--rate=60", "--connections=20", "--retry"),
        "ingress": routed(traefik, HOST, "--rate=30", "--connections=20", "--retry"),
    }
    with cluster.namespace("reaper", PRIVILEGED) as space:
        reaper = Reaper(space, image)
        with siege(release, image, crowd) as under:
            under.happen("container killed", lambda: events.kill(release, reaper))
        yield under.aftermath


def test_a_killed_container_costs_connection_errors_only_and_a_retry_repairs_them(killed: Aftermath) -> None:
    assert killed.failed == {}, killed.details()
    assert all(report.sent > 100 for report in killed.reports.values())
    assert set(killed.fixed.get("service", {})) <= CONNECTION_ERRORS
    assert set(killed.fixed.get("ingress", {})) <= CONNECTION_ERRORS | BAD_GATEWAY


def test_a_killed_container_loses_and_doubles_nothing(killed: Aftermath) -> None:
    assert {(*books.lost, *books.doubled) for books in killed.books.values()} == {()}
    assert all(books.stored == books.acknowledged for books in killed.books.values())
