"""One cluster, one target, one database for the run; each test has operators of its own, with a Lease of their own.

The operator is a process of this machine and asks Pods by their addresses: these tests need the node of `make cluster`.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator

import pytest
from tests.cluster import bed
from tests.cluster.conftest import lacking, told
from tests.cluster.database import PostgreSQL
from tests.cluster.kube import Cluster
from tests.operator import account, stand
from tests.operator.operators import Operator
from tests.operator.processes import Proxy
from tests.operator.stand import Stand
from tests.operator.target import Target

Start = Callable[..., Operator]


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    if os.environ.get("KUBECONFIG"):
        lacking("the network of the Pods", "unset KUBECONFIG: the node of `python -m tools.cluster up` is used then")
    with told(), bed.any_cluster() as cluster:
        stand.install_crds(cluster)
        yield cluster


@pytest.fixture(scope="session")
def image(cluster: Cluster) -> str:
    with told():
        return bed.load(cluster, bed.ONE)


@pytest.fixture(scope="session")
def postgresql(cluster: Cluster) -> Iterator[PostgreSQL]:
    with told(), bed.a_database(cluster) as server:
        yield server


@pytest.fixture(scope="session")
def the_stand(cluster: Cluster, image: str, postgresql: PostgreSQL) -> Iterator[Stand]:
    """Its Pods have a key set, without any key in it."""
    with cluster.namespace("operator") as space:
        account.create(space)
        target = Target(space, postgresql.database(space.name), image)
        space.apply(stand.key_set())
        operator = Operator(space, "first", LEASE_NAME="first").start().leads()
        target.ready()
        operator.stop()
        operator.remove()
        made = Stand(space, target)
        yield made
        made.reader.close()


@pytest.fixture
def stand_(the_stand: Stand) -> Iterator[Stand]:
    """As it was found: keys that a test made are gone after it."""
    yield the_stand
    names = [each["metadata"]["name"] for each in the_stand.reader.all("apikey")]
    if names:
        the_stand.remove(*names)


@pytest.fixture
def start(the_stand: Stand) -> Iterator[Start]:
    """Start an operator; all are ended after the test."""
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
def operator(start: Start) -> Operator:
    """One that leads."""
    return start().leads()


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    made = Proxy()
    yield made
    made.stop()
