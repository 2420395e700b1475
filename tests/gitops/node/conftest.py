"""A fresh node of its own, a registry in it, Argo CD, and a first release that came through the whole chain."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from tests.cluster import bed, clients
from tests.cluster.database import Database
from tests.cluster.kube import Cluster, Document, Namespace, Refused, config_map
from tests.cluster.release import QUICK, Release, connection, merged
from tests.conftest import ROOT
from tests.gitops.node import alerts as alerts_
from tests.gitops.node.argo import Argo
from tests.gitops.node.chain import IMAGE, REGISTRY, Built, Chain
from tests.integration.waiting import until
from tests.operator.stand import statuses
from tools import Missing, binaries, folders, kubectl, not_installed
from tools.cluster import run, sandbox

NAME = "sluice-staging"
PARTS = tuple(f"{NAME}-{part}" for part in ("operator", "keys", "service"))
ALL = ("root", NAME, *PARTS)
# As Terraform hands over, with a database of the tests' and times for a small node.
VALUES: Document = {
    "image": {"repository": IMAGE},
    "replicaCount": 2,
    "operator": {"replicas": 1, "resources": {"requests": {"cpu": "50m", "memory": "128Mi"}}},
    "config": {"threads": 8, "poolSize": 2},
    "resources": {"requests": {"cpu": "50m", "memory": "192Mi"}},
    "tests": {"enabled": False},
    "rollout": {"minReadySeconds": 1, "progressDeadlineSeconds": 62},
    "timing": QUICK["timing"],
    "probes": merged(QUICK["probes"], {"startup": {"failureThreshold": 60}}),
}


@dataclass
class Platform:
    """All of it, running; the first release is healthy."""

    cluster: Cluster
    argo: Argo
    chain: Chain
    database: Database
    first: Built
    alerts: Path
    handover: Document

    @property
    def space(self) -> Namespace:
        return Namespace(self.cluster, "sluice")

    def bootstrap(self) -> None:
        """The script as a user runs it, and then the Secrets that pods wait for, in the namespace that Argo CD makes."""
        environ = {**os.environ, "ARGOCD": "present", "KUBECONFIG": self.cluster.kubeconfig}
        environ["PATH"] = os.pathsep.join([str(kubectl.kubectl().parent), environ["PATH"]])
        done = subprocess.run(
            [ROOT / "argocd" / "bootstrap.sh"], input=yaml.safe_dump(self.handover), env=environ, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        until(self._takes_secrets, 120, "namespace sluice is there")
        authority = self.database.server.authority.certificate
        self.space.apply(*self.release.secrets()[:2], config_map("database-ca", {"ca.crt": authority}))

    def _takes_secrets(self) -> bool:
        try:
            return bool(self.space.get("serviceaccount", "default"))
        except Refused:
            return False

    @property
    def release(self) -> Release:
        return Release(self.space, self.database)

    def key(self, name: str = "admin") -> str:
        return self.space.kubectl("get", "secret", name, "--output=go-template={{.data.key | base64decode}}")

    def answers(self, key: str) -> set[int]:
        """What every Pod of the service says to it."""
        pods = self.release.pods()
        return set(statuses([f"http://{pod['status']['podIP']}:8080/api/v1/whoami" for pod in pods] * 2, key))

    @contextlib.contextmanager
    def load(self, rate: int = 40) -> Iterator[Load]:
        """Clients at work, while the block lasts and until no old Pod is left."""
        with self.cluster.namespace("load") as space:
            clients.prepare(space, self.key())
            options = (f"--url=http://sluice.{self.space.name}.svc", f"--rate={rate}", "--connections=20", "--blind")
            image = f"{IMAGE}@{self.first.digest}"
            with clients.client(space, "load", image, *options) as client:
                client.wait()
                made = Load()
                yield made
                made.report = client.stop()
                made.books = clients.books(made.report, self.database)


class Load:
    report: clients.Report
    books: clients.Books

    def is_clean(self) -> None:
        """0 failed, 0 lost, 0 doubled."""
        assert self.report.failed == {}, self.report.samples
        assert (self.books.lost, self.books.doubled) == ([], [])
        assert self.books.stored == self.books.acknowledged > 500


@pytest.fixture(scope="session")
def own_node() -> Iterator[None]:
    """What is tried here is a fresh cluster: one that nobody else uses."""
    if os.environ.get("KUBECONFIG"):
        raise Missing("a node of its own is needed: unset KUBECONFIG, and one is made")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SLUICE_CLUSTER_DIR", str(folders.cache() / "gitops"))
        yield


@pytest.fixture(scope="session")
def cluster(own_node: None) -> Iterator[Cluster]:
    for program in ("argocd", "crane", "cosign"):
        binaries.path(program)
    if shutil.which("redis-server") is None:
        raise not_installed("redis")
    with bed.our_own() as cluster:
        yield cluster


@contextlib.contextmanager
def inside(log: Path, *words: str) -> Iterator[None]:
    """A process in the sandbox's network."""
    with log.open("wb") as file:
        command = [*sandbox.entering(run.here(), "net"), *words]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=file, stderr=file)
    try:
        yield
    finally:
        process.terminate()
        process.wait()


@pytest.fixture(scope="session")
def registry(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    log = tmp_path_factory.mktemp("registry") / "log"
    with inside(log, str(binaries.path("crane")), "registry", "serve", f"--address={REGISTRY}"):
        yield


@pytest.fixture(scope="session")
def alerts(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The file with what was notified."""
    folder = tmp_path_factory.mktemp("alerts")
    with inside(folder / "log", sys.executable, alerts_.__file__, str(folder / "alerts")):
        yield folder / "alerts"


@pytest.fixture(scope="session")
def platform(cluster: Cluster, registry: None, alerts: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    chain = Chain(tmp_path_factory.mktemp("chain"))
    bed.can_build()
    # Database and Argo CD come up while the image is built.
    with contextlib.ExitStack() as stack, ThreadPoolExecutor() as pool:
        server = pool.submit(stack.enter_context, bed.a_database(cluster))
        argo = Argo(cluster, tmp_path_factory.mktemp("argo"), alerts_.URL)
        stack.callback(argo.stop)
        argo.start()
        chain.begin()
        first = chain.sign(chain.build(chain.head()))
        done = chain.bump(first)
        assert done.exit_code == 0, done.output
        database = server.result().database("sluice")
        made = Platform(cluster, argo, chain, database, first, alerts, handed_over(NAME, chain.url, connection(database)))
        made.bootstrap()
        argo.until_healthy(*ALL)
        yield made


def handed_over(name: str, repository: str, values: Document, server: str = "https://kubernetes.default.svc") -> Document:
    """A Secret with what Argo CD reads of Terraform's; `test_manifests.py` has the real one. `values`: of the database."""
    database = {"database": merged(values["database"], {"maxConnections": 200})}
    annotations = {
        "gitops_repository": repository,
        "gitops_revision": "main",
        "gitops_path": "argocd",
        "service_namespace": "sluice",
        "sluice_helm_values": yaml.safe_dump(merged(VALUES, database)),
    }
    labels = {"argocd.argoproj.io/secret-type": "cluster", "environment": name.removeprefix("sluice-")}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": f"cluster-{name}", "namespace": "argocd", "labels": labels, "annotations": annotations},
        "stringData": {"name": name, "server": server, "config": '{"tlsClientConfig": {"insecure": false}}'},
    }
