"""The test bed: a cluster, images on its nodes, one PostgreSQL, one ingress controller. tests/cluster and tests/soak use it.

KUBECONFIG names the cluster, SLUICE_IMAGE_LOADER a command that brings an image archive to its nodes (`kind load image-archive`).
Without KUBECONFIG it is the node that `python -m tools.cluster up` makes; one that was not up goes away at the end.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from tests.cluster import builds, sharing
from tests.cluster.database import PostgreSQL
from tests.cluster.ingress import Traefik
from tests.cluster.kube import Cluster
from tools import Missing, folders, images
from tools.cluster import images as own_images
from tools.cluster import means, run, sandbox
from tools.images import builder

TOOL = [sys.executable, "-m", "tools.cluster"]
TRAEFIK = "localhost/traefik:test"
# What each image of ours holds more than this tree does.
MIGRATIONS = {"localhost/sluice:one": {}, "localhost/sluice:two": builds.EXPANDED, "localhost/sluice:three": builds.CONTRACTED}
ONE, TWO, THREE = MIGRATIONS


@contextlib.contextmanager
def any_cluster() -> Iterator[Cluster]:
    """Raises Missing."""
    given = os.environ.get("KUBECONFIG")
    if given is None:
        with our_own() as cluster:
            yield cluster
        return
    loader = os.environ.get("SLUICE_IMAGE_LOADER")
    if loader is None:
        raise Missing("set SLUICE_IMAGE_LOADER to what loads an image archive into the cluster of KUBECONFIG")
    yield Cluster(given, shlex.split(loader))


@contextlib.contextmanager
def our_own() -> Iterator[Cluster]:
    reason = means.missing()
    if reason is not None:
        raise Missing(f"there is no Kubernetes cluster: {reason}")
    here = run.here()
    with sharing.shared(here.folder / "users", partial(sandbox.keeper, here), partial(tool, "up"), partial(tool, "down")):
        yield Cluster(str(here.kubeconfig), [*TOOL, "load"])


def tool(word: str) -> None:
    subprocess.run([*TOOL, word], check=True, cwd=folders.ROOT)


@contextlib.contextmanager
def any_cluster_and_image() -> Iterator[Cluster]:
    """As `any_cluster`; while the node starts, `load` of ONE has its image built. Raises Missing."""
    with ThreadPoolExecutor(1) as pool:
        # What comes of it, `load` finds or meets again.
        pool.submit(build, ONE)
        with any_cluster() as cluster:
            yield cluster


def load(cluster: Cluster, name: str) -> str:
    """Build the image ONE, TWO or THREE, and bring it to the nodes; its name. Raises Missing."""
    cluster.load(build(name))
    return name


def build(name: str) -> Path:
    """The archive of an image of ours. Raises Missing."""
    can_build()
    with tempfile.TemporaryDirectory(prefix="sluice-tree-") as folder:
        return builds.with_migrations(Path(folder), name, MIGRATIONS[name]).archive


def can_build() -> None:
    """Raises Missing."""
    reason = images.missing()
    if reason is not None:
        raise Missing(f"no image can be built: {reason}")


@contextlib.contextmanager
def a_database(cluster: Cluster) -> Iterator[PostgreSQL]:
    """Raises Missing."""
    can_build()
    image = builder.postgres()
    cluster.load(image.archive)
    with cluster.namespace("database") as space:
        yield PostgreSQL(space, image.name)


def broker_image(cluster: Cluster) -> str:
    """RabbitMQ's, on the nodes; its name. Raises Missing."""
    can_build()
    image = builder.rabbitmq()
    cluster.load(image.archive)
    return image.name


@contextlib.contextmanager
def an_ingress_controller(cluster: Cluster) -> Iterator[Traefik]:
    """Raises Missing."""
    cluster.load(own_images.of_program("traefik", TRAEFIK))
    with cluster.namespace("ingress") as space:
        controller = Traefik(space, TRAEFIK)
        try:
            yield controller
        finally:
            controller.remove()
