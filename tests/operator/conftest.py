"""One cluster, one target, one database for the run, and one operator for all tests that leave it as it was.

A test of an operator's start or end has operators of its own, with a Lease of their own.

The operator is a process of this machine and asks Pods by their addresses: these tests need the node of `make cluster`.
"""

from __future__ import annotations

import fcntl
import os
import secrets
from collections.abc import Callable, Iterator
from typing import IO

import pytest
from tests.cluster import bed
from tests.cluster import conftest as on_cluster
from tests.cluster.database import PostgreSQL
from tests.cluster.kube import Cluster
from tests.operator import halves, stand, whole
from tests.operator.calls import Recorder
from tests.operator.operators import Operator
from tests.operator.processes import Proxy
from tests.operator.stand import Stand
from tests.parts import Parts
from tools import Missing
from tools.cluster import run

Start = Callable[..., Operator]
# Its fixtures, on the cluster of this folder.
image, postgresql = on_cluster.image, on_cluster.postgresql


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: halves.order(item.path.name))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> Parts:
    return Parts(config, log, halves.part)


def pytest_deselected(items: list[pytest.Item]) -> None:
    whole.leave_out(items)


@pytest.fixture(scope="session")
def recorder() -> Recorder:
    """Of the calls since the cluster was there."""
    return Recorder(run.here().audit_log)


@pytest.fixture(scope="session")
def users() -> Iterator[IO[str]]:
    """Locked by each process of tests from before it uses the cluster until after that."""
    folder = run.here().folder
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "tests").open("a") as users:
        fcntl.flock(users, fcntl.LOCK_SH)
        yield users


@pytest.fixture(scope="session")
def cluster(recorder: Recorder, users: IO[str]) -> Iterator[Cluster]:
    if os.environ.get("KUBECONFIG"):
        raise Missing("Pods are asked by their addresses: unset KUBECONFIG, and the node of `make cluster` is used")
    with bed.any_cluster_and_image() as cluster:
        stand.install_crds(cluster)
        recorder.begin()
        yield cluster


@pytest.fixture(scope="session")
def the_stand(cluster: Cluster, image: str, postgresql: PostgreSQL) -> Iterator[Stand]:
    with stand.standing(cluster, image, postgresql) as made:
        yield made


@pytest.fixture
def stand_(the_stand: Stand) -> Iterator[Stand]:
    """As it was found: keys that a test made are gone after it."""
    yield the_stand
    names = [each["metadata"]["name"] for each in the_stand.reader.all("apikey")]
    if names:
        the_stand.remove(*names)


@pytest.fixture(scope="session")
def resident(the_stand: Stand) -> Iterator[Operator]:
    """The operator of many tests: to start one takes longer than most of them. It may enforce, which only some tests ask for."""
    made = Operator(the_stand.space, "resident", LEASE_NAME="resident", ENFORCE="true")
    yield made
    made.remove()


@pytest.fixture
def operator(resident: Operator) -> Iterator[Operator]:
    """One that leads, the same for many tests."""
    if not resident.running:
        resident.start().leads()
    yield resident
    print(resident.tail())


@pytest.fixture
def start(the_stand: Stand, resident: Operator) -> Iterator[Start]:
    """Start an operator; all are ended after the test."""
    resident.end()
    started: list[Operator] = []
    lease = f"lease-{secrets.token_hex(3)}"

    def one(name: str = "one", **more: object) -> Operator:
        made = Operator(the_stand.space, name, **{"LEASE_NAME": lease, **more})  # type: ignore[arg-type]
        started.append(made)
        return made.start()

    yield one
    for operator in started:
        operator.remove()


@pytest.fixture
def alone(cluster: Cluster, users: IO[str]) -> Cluster:
    """The cluster, once every other process of tests has ended. Not of the session: what is of it is made while others go on."""
    fcntl.flock(users, fcntl.LOCK_EX)
    return cluster


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    made = Proxy()
    yield made
    made.stop()
