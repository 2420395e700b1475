"""The bed (bed.py) as fixtures, a release that tests share, and which tests a process of two gets when."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.cluster import bed
from tests.cluster.database import PostgreSQL
from tests.cluster.ingress import Traefik
from tests.cluster.kube import Cluster, Namespace
from tests.cluster.release import QUICK, Release, through
from tests.parts import Parts

# Workers are replaced all the time while a test sends requests.
RECYCLING = {"config": {"maxRequests": 500}}
# They use one release, in one process.
SHARING = ("test_install.py", "test_outage.py", "test_zero_downtime.py")
# What is not named, tests/image, comes last.
ORDER = (*SHARING, "test_migration.py", "test_queue.py", "test_late.py", "test_controls.py", "test_sandbox.py", "test_apply.py")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> Parts:
    return Parts(config, log, lambda file: "sharing" if file in SHARING else file)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: ORDER.index(item.path.name) if item.path.name in ORDER else len(ORDER))


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    with bed.any_cluster_and_image() as cluster:
        yield cluster


@pytest.fixture(scope="session")
def image(cluster: Cluster) -> str:
    """Ours, of this tree."""
    return bed.load(cluster, bed.ONE)


@pytest.fixture(scope="session")
def second_image(cluster: Cluster) -> str:
    """The next release: with a migration that serving does not wait for."""
    return bed.load(cluster, bed.TWO)


@pytest.fixture(scope="session")
def third_image(cluster: Cluster) -> str:
    """The one after the next: a migration that it needs, and one that drops what the last one added."""
    return bed.load(cluster, bed.THREE)


@pytest.fixture(scope="session")
def postgresql(cluster: Cluster) -> Iterator[PostgreSQL]:
    """The server that all tests share: whoever stops it starts it again."""
    with bed.a_database(cluster) as server:
        yield server


@pytest.fixture(scope="session")
def traefik(cluster: Cluster) -> Iterator[Traefik]:
    with bed.an_ingress_controller(cluster) as controller:
        yield controller


@pytest.fixture(scope="module")
def space(cluster: Cluster, request: pytest.FixtureRequest) -> Iterator[Namespace]:
    """A namespace of the module's own."""
    with cluster.namespace(request.path.stem.removeprefix("test_").replace("_", "-")) as space:
        yield space


@pytest.fixture(scope="session")
def release(cluster: Cluster, postgresql: PostgreSQL, traefik: Traefik, image: str) -> Iterator[Release]:
    """The release that tests share, reached through its Service and through the ingress controller. Leave it as it was."""
    with cluster.namespace("release") as space:
        made = Release(space, postgresql.database(space.name), QUICK, RECYCLING, through(traefik.ingress_class))
        made.install(image)
        yield made
