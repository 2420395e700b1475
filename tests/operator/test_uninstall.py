"""A release goes within a minute, by Helm or with its namespace. Kinds always stay, keys where only the release goes."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from tests.cluster.kube import Cluster, Document, Namespace, Refused
from tests.integration.waiting import until
from tests.operator.installed import BRIEF, EMBEDDED, SECOND, install, kinds, running

pytestmark = pytest.mark.timeout(900)
OURS = {"apikeys.sluice.dev", "keysets.sluice.dev"}
MOST_SECONDS = 60


@pytest.fixture(scope="module")
def spaces(cluster: Cluster, image: str) -> Iterator[list[Namespace]]:
    """With a release each; tests delete them themselves. Made at the same time, for most of it is waiting."""
    made = [Namespace(cluster, f"sluice-uninstall-{secrets.token_hex(3)}") for _ in range(3)]
    values = [{}, SECOND, SECOND]
    try:
        with ThreadPoolExecutor() as pool:
            list(pool.map(lambda space, more: release(space, image, more), made, values))
        yield list(made)
    finally:
        cluster.kubectl("delete", "namespace", *(space.name for space in made), "--ignore-not-found", "--wait=false")


def release(space: Namespace, image: str, values: Document) -> None:
    space.cluster.kubectl("create", "namespace", space.name)
    install(space, running(image), EMBEDDED, BRIEF, values, wait=True)
    space.wait("apikey/sluice-admin", "condition=Ready")


@pytest.fixture
def space(spaces: list[Namespace]) -> Namespace:
    """One that no test had yet; the first test gets the one whose release made the kinds."""
    return spaces.pop(0)


def test_helm_uninstall_ends_and_leaves_the_kinds_and_the_keys(space: Namespace) -> None:
    key = space.get("secret", "sluice-admin")["data"]
    began = time.monotonic()
    space.helm("uninstall", "sluice", "--wait", f"--timeout={MOST_SECONDS}s")
    until(lambda: not space.get("pods"), MOST_SECONDS, "its pods are gone")
    assert time.monotonic() - began < MOST_SECONDS
    assert kinds(space) >= OURS
    assert space.get("apikey", "sluice-admin")["spec"]["keySetRef"] == {"name": "sluice"}
    assert space.get("secret", "sluice-admin")["data"] == key
    assert bindings(space) == []


def test_the_namespace_goes_with_all_keys_and_leaves_the_kinds(space: Namespace) -> None:
    began = time.monotonic()
    space.cluster.kubectl("delete", "namespace", space.name, f"--timeout={MOST_SECONDS}s")
    assert time.monotonic() - began < MOST_SECONDS
    assert kinds(space) >= OURS
    with pytest.raises(Refused, match="not found"):
        space.cluster.kubectl("get", "namespace", space.name)
    space.cluster.kubectl("delete", *bindings(space))


def test_a_namespace_goes_after_its_release(space: Namespace) -> None:
    space.helm("uninstall", "sluice", f"--timeout={MOST_SECONDS}s")
    began = time.monotonic()
    space.cluster.kubectl("delete", "namespace", space.name, f"--timeout={MOST_SECONDS}s")
    assert time.monotonic() - began < MOST_SECONDS
    assert kinds(space) >= OURS


def bindings(space: Namespace) -> list[str]:
    """Those of the namespace, which belong to the cluster and go with the release alone."""
    found = space.cluster.kubectl("get", "validatingadmissionpolicybindings", "--output=name").split()
    return [name for name in found if name.endswith(f"-{space.name}")]
