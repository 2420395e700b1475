"""What the chart refuses to be, patched past it, fails: without this a green test of zero downtime would prove nothing.

The long form (tests/soak/cluster.py) also shows that the same clients meet no failure when nothing is broken.
"""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor

import pytest
from tests.cluster import controls
from tests.cluster.controls import Control
from tests.cluster.database import PostgreSQL
from tests.cluster.ingress import Traefik
from tests.cluster.kube import Cluster
from tests.cluster.release import QUICK, Release, through
from tests.cluster.siege import Aftermath

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def shown(cluster: Cluster, postgresql: PostgreSQL, traefik: Traefik, image: str) -> dict[str, Future[Aftermath]]:
    """Two at a time, for most of it is waiting; each in a namespace of its own, by name. Five starve each other's clients."""

    def show(control: Control) -> Aftermath:
        with cluster.namespace("control") as space:
            release = Release(space, postgresql.database(space.name), QUICK)
            release.values |= through(traefik.ingress_class, controls.host_of(release))
            return controls.show(control, release, traefik, image)

    with ThreadPoolExecutor(2) as pool:
        return {control.name: pool.submit(show, control) for control in controls.CONTROLS}


@pytest.mark.parametrize("name", [control.name for control in controls.CONTROLS])
def test_a_broken_rule_fails_requests_of_every_client(shown: dict[str, Future[Aftermath]], name: str) -> None:
    aftermath = shown[name].result()
    assert set(aftermath.failures) == set(aftermath.reports), aftermath.failures
    assert all(books.lost == [] for books in aftermath.books.values())
