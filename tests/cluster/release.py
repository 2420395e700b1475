"""The chart, installed."""

from __future__ import annotations

import copy
import json
from typing import Any

import yaml
from tests.cluster.database import OWNER, Database
from tests.cluster.kube import Change, Document, Namespace, Refused, config_map, ready, secret
from tests.conftest import ROOT
from tests.integration.waiting import until

CHART = ROOT / "charts" / "sluice"
KEY = "a-key-of-the-cluster-tests"
HOST = "sluice.test"
SECONDS = 300

# The chart's own inequalities with small numbers, so that a rollout takes seconds.
QUICK: Document = {
    "replicaCount": 2,
    "rollout": {"minReadySeconds": 1},
    "timing": {
        "requestTimeoutSeconds": 2,
        "gracefulTimeoutSeconds": 3,
        "drainSeconds": 1,
        "preStopSeconds": 5,
        "terminationGracePeriodSeconds": 20,
        "secretWaitSeconds": 40,
        "loadBalancer": {"deregistrationDelaySeconds": 3},
    },
    "probes": {
        "startup": {"periodSeconds": 1, "timeoutSeconds": 1, "failureThreshold": 90},
        "readiness": {"periodSeconds": 1, "timeoutSeconds": 1, "failureThreshold": 3},
    },
}
# This node has two cores, and clients, database and ingress controller on them.
SMALL: Document = {
    # tests/operator has it. Here keys come from a Secret, and releases stand side by side.
    "operator": {"enabled": False},
    "config": {"threads": 8, "poolSize": 2},
    "resources": {"requests": {"cpu": "50m", "memory": "192Mi"}},
    "database": {"maxConnections": 200},
}


class Release:
    """One release of the chart in a namespace, on a database of its own."""

    def __init__(self, space: Namespace, database: Database, *values: Document, name: str = "sluice") -> None:
        self.space = space
        self.database = database
        self.name = name
        self.values = merged(connection(database), SMALL, *values)

    @property
    def url(self) -> str:
        """Through the Service."""
        return f"http://{self.name}.{self.space.name}.svc"

    @property
    def selector(self) -> str:
        """Of the service's pods."""
        labels: dict[str, str] = self.deployment()["spec"]["selector"]["matchLabels"]
        return ",".join(f"{name}={value}" for name, value in labels.items())

    def prepare(self) -> None:
        """What the chart takes as given: Secrets and the CA."""
        self.space.apply(*self.secrets(), config_map("database-ca", {"ca.crt": self.database.server.authority.certificate}))

    def secrets(self) -> tuple[Document, ...]:
        return (
            secret("database", DATABASE_URL=self.database.url()),
            secret("database-owner", DATABASE_URL=self.database.url(OWNER)),
            secret("keys", API_KEYS=KEY, key=KEY),
        )

    def install(self, image: str) -> None:
        """With what it needs."""
        self.prepare()
        self.upgrade(image)

    def install_patched(self, image: str, change: Change) -> None:
        """Without Helm, and with a Deployment that the chart itself would refuse."""
        self.prepare()
        documents = [document for document in yaml.safe_load_all(self.render(image, "--no-hooks")) if document]
        change(next(document for document in documents if document["kind"] == "Deployment"))
        self.space.apply(*documents)
        self.rolled_out()

    def upgrade(self, image: str, *more: str, **values: Any) -> None:
        """To `image` (name:tag), with `values` over those it has; one that fails is rolled back."""
        self.begin(image, "--wait", "--wait-for-jobs", "--rollback-on-failure", f"--timeout={SECONDS}s", *more, **values)
        self.rolled_out()

    def begin(self, image: str, *more: str, **values: Any) -> None:
        """As `upgrade`, without waiting for anything; a release that is not there is installed."""
        given = merged(self.values, of_image(image), values)
        words = ("upgrade", self.name, str(CHART), "--install", "--values=-", *more, f"--namespace={self.space.name}")
        self.space.cluster.helm(*words, stdin=json.dumps(given), seconds=SECONDS + 30)

    def rollback(self) -> None:
        self.space.helm("rollback", self.name, "--wait", f"--timeout={SECONDS}s", seconds=SECONDS + 30)
        self.rolled_out()

    def uninstall(self) -> None:
        self.space.helm("uninstall", self.name, "--wait", f"--timeout={SECONDS}s", seconds=SECONDS + 30)

    def test(self) -> str:
        """`helm test`, with what its pod printed."""
        return self.space.helm("test", self.name, "--logs", f"--timeout={SECONDS}s", seconds=SECONDS + 30)

    def render(self, image: str, *more: str) -> str:
        """What `helm template` makes of its values, as YAML."""
        given = json.dumps(merged(self.values, of_image(image)))
        words = ("template", self.name, str(CHART), "--values=-", f"--namespace={self.space.name}", *more)
        return self.space.cluster.helm(*words, stdin=given)

    def deployment(self) -> Document:
        found: Document = self.space.get("deployment", self.name)
        return found

    def pods(self) -> list[Document]:
        """Those that are not on their way out."""
        return self.space.pods(self.selector)

    def log(self) -> str:
        """Of all its pods."""
        return "".join(self.space.logs(name_of(pod)) for pod in self.pods())

    def restart(self) -> None:
        self.space.kubectl("rollout", "restart", f"deployment/{self.name}")
        self.rolled_out()

    def scale(self, replicas: int) -> None:
        self.space.kubectl("scale", f"deployment/{self.name}", f"--replicas={replicas}")
        self.rolled_out()

    def delete_pod(self) -> None:
        self.space.kubectl("delete", "pod", name_of(self.pods()[0]), "--wait=false")
        self.rolled_out()

    def evict_pod(self) -> None:
        """Through the eviction API, as a drain of its node does: again while the PodDisruptionBudget allows none."""
        pod = name_of(self.pods()[0])
        eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod, "namespace": self.space.name}}
        path = f"/api/v1/namespaces/{self.space.name}/pods/{pod}/eviction"

        def evicted() -> bool:
            try:
                self.space.kubectl("create", f"--raw={path}", "-f", "-", stdin=json.dumps(eviction))
            except Refused as refused:
                if "TooManyRequests" in str(refused):
                    return False
                raise
            return True

        until(evicted, 60, "the pod may be evicted")
        until(lambda: pod not in map(name_of, self.pods()), what="the pod is on its way out")
        self.rolled_out()

    def rolled_out(self) -> None:
        """Until as many new pods are available as are wanted; old ones may still be on their way out."""
        self.space.kubectl("rollout", "status", f"deployment/{self.name}", f"--timeout={SECONDS}s", seconds=SECONDS + 10)

    def settle(self) -> None:
        """Until no old pod is left, and all are ready."""
        until(self._settled, SECONDS, "the old pods are gone")

    def _settled(self) -> bool:
        pods = self.space.get("pods", f"--selector={self.selector}")
        leaving = [f"pod/{name_of(pod)}" for pod in pods if "deletionTimestamp" in pod["metadata"]]
        if leaving:
            self.space.kubectl("wait", *leaving, "--for=delete", f"--timeout={SECONDS}s", seconds=SECONDS + 10)
            return False
        return len(pods) == self.deployment()["spec"]["replicas"] and all(map(ready, pods))


def connection(database: Database) -> Document:
    """Values for the Secrets of `Release.prepare`."""
    return {
        "auth": {"existingSecret": "keys"},
        "database": {
            "url": {"existingSecret": "database"},
            "owner": {"url": {"existingSecret": "database-owner"}},
            "caConfigMap": {"name": "database-ca"},
        },
        "tests": {"keySecret": {"name": "keys"}},
    }


def of_image(image: str) -> Document:
    """A test's image has no registry that would give it a digest."""
    repository, _, tag = image.rpartition(":")
    return {"image": {"repository": repository, "tag": tag, "allowTag": True}}


def through(ingress_class: str, host: str = HOST) -> Document:
    """Values for an Ingress."""
    return {"ingress": {"enabled": True, "className": ingress_class, "hosts": [host]}}


def merged(*documents: Document) -> Document:
    """The later ones over the earlier, as Helm does with values files."""
    result: Document = {}
    for document in documents:
        for name, value in document.items():
            old = result.get(name)
            result[name] = merged(old, value) if isinstance(old, dict) and isinstance(value, dict) else copy.deepcopy(value)
    return result


def name_of(document: Document) -> str:
    return str(document["metadata"]["name"])
