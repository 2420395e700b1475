"""Queue mode: service and workers are rolled out, with RabbitMQ in a Pod, under load through the Service."""

from __future__ import annotations

import pytest
from tests.cluster import bed, clients
from tests.cluster.broker import RabbitMQ
from tests.cluster.database import PostgreSQL
from tests.cluster.kube import Cluster, Namespace, secret
from tests.cluster.release import QUICK, SECONDS, Release
from tests.cluster.siege import Aftermath, direct, siege
from tests.integration.waiting import until

pytestmark = pytest.mark.timeout(600)

QUEUED = {"broker": {"existingSecret": "broker"}, "worker": {"enabled": True, "replicas": 2}}


@pytest.fixture(scope="module")
def queued(cluster: Cluster, space: Namespace, postgresql: PostgreSQL, image: str) -> Release:
    broker = RabbitMQ(space, bed.broker_image(cluster))
    space.apply(secret("broker", QUEUE_URL=broker.url))
    release = Release(space, postgresql.database(space.name), QUICK, QUEUED)
    release.install(image)
    return release


@pytest.fixture(scope="module")
def rolled(queued: Release, image: str, second_image: str) -> Aftermath:
    """What releases of both left behind, when the workers have stored what was queued."""
    crowd = {
        "singles": direct(queued, "--rate=40", "--connections=20", "--blind"),
        "batches": direct(queued, "--rate=20", "--connections=10", "--body=batch"),
    }
    with siege(queued, image, crowd) as under:
        under.happen("upgraded", lambda: queued.upgrade(second_image))
        under.happen("workers restarted", lambda: restart_workers(queued))
        under.happen("rolled back", queued.rollback)
    until(lambda: not any(books.lost for books in stored(under.aftermath, queued)), 60, "all that was queued is stored")
    return under.aftermath


def stored(aftermath: Aftermath, release: Release) -> list[clients.Books]:
    return [clients.books(report, release.database) for report in aftermath.reports.values()]


def restart_workers(release: Release) -> None:
    name = f"deployment/{release.name}-worker"
    release.space.kubectl("rollout", "restart", name)
    release.space.kubectl("rollout", "status", name, f"--timeout={SECONDS}s", seconds=SECONDS + 10)


def test_a_rollout_of_service_and_workers_fails_no_request(rolled: Aftermath) -> None:
    assert (rolled.failed, rolled.fixed) == ({}, {}), rolled.details()
    assert all(report.sent > 500 for report in rolled.reports.values())


def test_every_queued_event_is_stored_exactly_once(rolled: Aftermath, queued: Release) -> None:
    for books in stored(rolled, queued):
        assert (books.lost, books.doubled) == ([], [])
        assert books.stored == books.acknowledged > 500
