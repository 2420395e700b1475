"""The test bed: a cluster, the images on it, one PostgreSQL, one ingress controller.

KUBECONFIG names the cluster, SLUICE_IMAGE_LOADER a command that brings an image archive to its nodes (`kind load image-archive`).
Without KUBECONFIG it is the node that `python -m tools.cluster up` makes; one that was not up goes away with the tests.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest
from tests.cluster.database import PostgreSQL
from tests.cluster.ingress import Traefik
from tests.cluster.kube import Cluster, Namespace
from tests.cluster.release import QUICK, Release, through
from tests.conftest import Part, require
from tools import folders, images
from tools.cluster import images as own_images
from tools.cluster import means, run, sandbox
from tools.images import builder

# Workers are replaced all the time while a test sends requests.
RECYCLING = {"config": {"maxRequests": 500}}
TOOL = [sys.executable, "-m", "tools.cluster"]


class Lacking(Part):
    """A part whose absence has a reason of its own."""

    def missing(self) -> bool:
        return True


def lacking(name: str, reason: str) -> None:
    """Skip, or fail under CI=true."""
    require(name, Lacking(there=name, get=reason, in_ci=True))


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    if given := os.environ.get("KUBECONFIG"):
        loader = os.environ.get("SLUICE_IMAGE_LOADER")
        if loader is None:
            lacking("an image loader", "set SLUICE_IMAGE_LOADER to what loads an image archive into the cluster of KUBECONFIG")
        yield Cluster(given, shlex.split(str(loader)))
        return
    reason = means.missing()
    if reason is not None:
        lacking("a Kubernetes cluster", reason)
    yield from our_own()


def our_own() -> Iterator[Cluster]:
    here = run.here()
    was_up = sandbox.state(here) == "ready"
    subprocess.run([*TOOL, "up"], check=True, cwd=folders.ROOT)
    try:
        yield Cluster(str(here.kubeconfig), [*TOOL, "load"])
    finally:
        if not was_up:
            subprocess.run([*TOOL, "down"], check=True, cwd=folders.ROOT)


Loaded = Callable[[images.Image], str]


@pytest.fixture(scope="session")
def loaded(cluster: Cluster) -> Loaded:
    """Brings an image to the nodes; its name."""

    def load(image: images.Image) -> str:
        cluster.load(image.archive)
        return image.name

    return load


@pytest.fixture(scope="session")
def image_builder() -> None:
    """Images can be built here."""
    reason = images.missing()
    if reason is not None:
        lacking("an image builder", reason)


@pytest.fixture(scope="session")
def image(image_builder: None, loaded: Loaded) -> str:
    """Ours, of this tree."""
    return loaded(images.build(name="localhost/sluice:one"))


@pytest.fixture(scope="session")
def second_image(image_builder: None, loaded: Loaded) -> str:
    """The same content as another version."""
    return loaded(images.build(name="localhost/sluice:two", args={"VERSION": "2"}))


@pytest.fixture(scope="session")
def postgresql(cluster: Cluster, image_builder: None, loaded: Loaded) -> Iterator[PostgreSQL]:
    """The server that all tests share: whoever stops it starts it again."""
    name = loaded(builder.postgres())
    with cluster.namespace("database") as space:
        yield PostgreSQL(space, name)


@pytest.fixture(scope="session")
def traefik(cluster: Cluster) -> Iterator[Traefik]:
    archive = own_images.of_program("traefik", "localhost/traefik:test")
    cluster.load(archive)
    with cluster.namespace("ingress") as space:
        controller = Traefik(space, "localhost/traefik:test")
        try:
            yield controller
        finally:
            controller.remove()


@pytest.fixture(scope="module")
def space(cluster: Cluster, request: pytest.FixtureRequest) -> Iterator[Namespace]:
    """A namespace of the module's own."""
    with cluster.namespace(request.path.stem.removeprefix("test_").replace("_", "-")[:30]) as space:
        yield space


@pytest.fixture(scope="session")
def release(cluster: Cluster, postgresql: PostgreSQL, traefik: Traefik, image: str) -> Iterator[Release]:
    """The release that tests share, reached through its Service and through the ingress controller. Leave it as it was."""
    with cluster.namespace("release") as space:
        made = Release(space, postgresql.database(space.name), QUICK, RECYCLING, through(traefik.ingress_class))
        made.install(image)
        yield made
