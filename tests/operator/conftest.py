"""One cluster, one target, one database for the run; each test has operators of its own, with a Lease of their own.

The operator is a process of this machine and asks Pods by their addresses: these tests need the node of `make cluster`.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.cluster import bed
from tests.cluster import conftest as on_cluster
from tests.cluster.conftest import lacking, told
from tests.cluster.database import PostgreSQL
from tests.cluster.kube import Cluster
from tests.operator import stand, whole
from tests.operator.calls import Recorder
from tests.operator.operators import Operator
from tests.operator.processes import Proxy
from tests.operator.stand import Stand
from tools.cluster import run

Start = Callable[..., Operator]
# Its fixtures, on the cluster of this folder.
image, postgresql = on_cluster.image, on_cluster.postgresql
LAST = Path(__file__).with_name("test_calls.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What looks back at all calls of a run comes last."""
    items.sort(key=lambda item: item.path == LAST)


def pytest_deselected(items: list[pytest.Item]) -> None:
    whole.leave_out(items)


@pytest.fixture(scope="session")
def recorder() -> Recorder:
    """Of the calls since the cluster was there."""
    return Recorder(run.here().audit_log)


@pytest.fixture(scope="session")
def cluster(recorder: Recorder) -> Iterator[Cluster]:
    if os.environ.get("KUBECONFIG"):
        lacking("the network of the Pods", "unset KUBECONFIG: the node of `python -m tools.cluster up` is used then")
    with told(), bed.any_cluster() as cluster:
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
