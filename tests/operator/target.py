"""What verifies keys: the real service, three Pods of two workers, with the key set mounted and nothing else to accept."""

from __future__ import annotations

from tests.cluster.database import OWNER, Database
from tests.cluster.kube import (
    CONTAINER_SECURITY,
    POD_SECURITY,
    Document,
    Namespace,
    config_map,
    kind,
    mount,
    secret,
    secret_volume,
    service,
)

NAME = "web"
LABELS = {"app": NAME}
REPLICAS, WORKERS = 3, 2
SECONDS = 180


class Target:
    """A Deployment in `space`, on a database of its own."""

    def __init__(self, space: Namespace, database: Database, image: str, keyset: str = "main", replicas: int = REPLICAS) -> None:
        self.space = space
        space.apply(
            secret("database", url=database.url(), owner=database.url(OWNER)),
            config_map("database-ca", {"ca.crt": database.server.authority.certificate}),
            service(NAME, LABELS, http=8080, admin=8081),
            kind("batch/v1", "Job", "migrate", spec={"template": {"spec": migration(image)}}),
        )
        space.wait("job/migrate", "condition=Complete", SECONDS)
        space.apply(deployment(image, keyset, replicas), budget())

    @property
    def url(self) -> str:
        """By the Service's address: the node itself asks no cluster DNS."""
        return f"http://{self.space.get('service', NAME)['spec']['clusterIP']}:8080"

    def ready(self) -> None:
        """Until every Pod is: each has a key set then."""
        self.space.kubectl("rollout", "status", f"deployment/{NAME}", f"--timeout={SECONDS}s", seconds=SECONDS + 10)

    def pods(self) -> list[Document]:
        return self.space.pods("app=" + NAME)


def deployment(image: str, keyset: str, replicas: int) -> Document:
    spec = {
        "replicas": replicas,
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
        "selector": {"matchLabels": LABELS},
        "template": {"metadata": {"labels": LABELS}, "spec": pod(container(image), keyset)},
    }
    return {**kind("apps/v1", "Deployment", NAME, spec=spec), "metadata": {"name": NAME, "labels": LABELS}}


def pod(container: Document, keyset: str) -> Document:
    return {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": 20,
        "securityContext": {**POD_SECURITY, "runAsUser": 10001, "fsGroup": 10001},
        "containers": [container],
        "volumes": [
            {"name": "sluice-keyset", "secret": {"secretName": f"{keyset}-published", "optional": True}},
            {"name": "tmp", "emptyDir": {}},
            {"name": "shm", "emptyDir": {"medium": "Memory"}},
            secret_volume("database", "database"),
            {"name": "ca", "configMap": {"name": "database-ca"}},
        ],
    }


def container(image: str) -> Document:
    environment = {
        "HOST": "0.0.0.0",
        "WORKERS": str(WORKERS),
        "THREADS": "8",
        "DB_POOL_SIZE": "2",
        "DRAIN_SECONDS": "1",
        "GRACEFUL_TIMEOUT": "3",
        "DATABASE_URL_FILE": "/etc/sluice/database/url",
        "DATABASE_CA_FILE": "/etc/sluice/ca/ca.crt",
        "KEYSET_FILE": "/etc/sluice/keyset/keyset.json",
    }
    return {
        "name": "sluice",
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "args": ["serve"],
        "env": [{"name": name, "value": value} for name, value in environment.items()],
        "ports": [{"name": "http", "containerPort": 8080}, {"name": "admin", "containerPort": 8081}],
        "securityContext": CONTAINER_SECURITY,
        "resources": {"requests": {"cpu": "50m", "memory": "128Mi"}},
        "startupProbe": probe("/liveness", period=1, threshold=90),
        "readinessProbe": probe("/readiness", period=1, threshold=3),
        "livenessProbe": probe("/liveness", period=10, threshold=6),
        "lifecycle": {"preStop": {"sleep": {"seconds": 2}}},
        "volumeMounts": [
            mount("tmp", "/tmp"),
            mount("shm", "/dev/shm"),
            mount("database", "/etc/sluice/database"),
            mount("ca", "/etc/sluice/ca"),
            mount("sluice-keyset", "/etc/sluice/keyset"),
        ],
    }


def probe(path: str, period: int, threshold: int) -> Document:
    # A second is for idle machines: this node runs everything else too.
    timeout = 1 if period == 1 else 5
    return {
        "httpGet": {"path": path, "port": "admin"},
        "periodSeconds": max(period, 2),
        "timeoutSeconds": timeout,
        "failureThreshold": threshold,
    }


def budget() -> Document:
    return kind("policy/v1", "PodDisruptionBudget", NAME, spec={"maxUnavailable": 1, "selector": {"matchLabels": LABELS}})


def migration(image: str) -> Document:
    """Brings the schema up, as the chart's Job does."""
    environment = {"DATABASE_URL_FILE": "/etc/sluice/database/owner", "DATABASE_CA_FILE": "/etc/sluice/ca/ca.crt"}
    job = {
        "name": "migrate",
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "args": ["migrate"],
        "env": [{"name": name, "value": value} for name, value in environment.items()],
        "securityContext": CONTAINER_SECURITY,
        "volumeMounts": [mount("database", "/etc/sluice/database"), mount("ca", "/etc/sluice/ca"), mount("tmp", "/tmp")],
    }
    volumes = [
        secret_volume("database", "database"),
        {"name": "ca", "configMap": {"name": "database-ca"}},
        {"name": "tmp", "emptyDir": {}},
    ]
    return {
        "restartPolicy": "OnFailure",
        "automountServiceAccountToken": False,
        "securityContext": {**POD_SECURITY, "runAsUser": 10001, "fsGroup": 10001},
        "containers": [job],
        "volumes": volumes,
    }
