"""What the chart refuses to be, patched past it, fails: without this a green test of zero downtime would prove nothing."""

from __future__ import annotations

import pytest
from tests.cluster import controls
from tests.cluster.controls import Control
from tests.cluster.database import PostgreSQL
from tests.cluster.ingress import Traefik
from tests.cluster.kube import Document, Namespace
from tests.cluster.release import QUICK, Release, through

pytestmark = pytest.mark.timeout(600)

CONTROLLED = "controlled.test"


@pytest.fixture(scope="module")
def victim(space: Namespace, postgresql: PostgreSQL, traefik: Traefik, image: str) -> Release:
    """A release of its own, for nothing brings a patched one back."""
    release = Release(space, postgresql.database(space.name), QUICK, through(traefik.ingress_class, controls.HOST))
    release.install(image)
    return release


@pytest.fixture(scope="module")
def original(victim: Release) -> Document:
    return victim.deployment()


@pytest.mark.parametrize("control", controls.CONTROLS, ids=lambda control: control.name)
def test_a_broken_rule_fails_requests(
    victim: Release, original: Document, traefik: Traefik, image: str, control: Control
) -> None:
    aftermath = controls.show(control, victim, original, traefik, image)
    assert set(aftermath.failures) == set(aftermath.reports), "every client meets failures"
    assert all(books.lost == [] for books in aftermath.books.values())


def test_the_same_clients_meet_no_failure_when_no_rule_is_broken(
    victim: Release, original: Document, traefik: Traefik, image: str
) -> None:
    """The one control whose clients are of a kind that no other test has."""
    control = next(each for each in controls.CONTROLS if each.change is controls.no_connection_close)
    assert controls.show(controls.without(control), victim, original, traefik, image).failures == {}
