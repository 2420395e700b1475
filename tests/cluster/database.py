"""One PostgreSQL for all releases, as a managed one would be: reached by name over TLS that is verified."""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from tests.certificates import Authority
from tests.cluster.kube import (
    CONTAINER_SECURITY,
    POD_SECURITY,
    Document,
    Namespace,
    kind,
    mount,
    secret,
    secret_volume,
    service,
)

NAME = "postgres"
PORT = 5432
USER = 10002
APP, OWNER = "sluice_app", "sluice_owner"
LABELS = {"app": NAME}
# A connection in TIME_WAIT or a terminating pod holds its own; the chart's sum is checked by the chart's tests.
OPTIONS = ["-c", "max_connections=200", "-c", "shared_buffers=64MB"]


class PostgreSQL:
    """The server in a namespace of its own, its data on a claim, so that it may go away and come back."""

    def __init__(self, space: Namespace, image: str) -> None:
        self.space = space
        self.host = f"{NAME}.{space.name}.svc"
        self.password = secrets.token_urlsafe(16)
        self.authority = Authority()
        certificate, key = self.authority.sign(f"*.{space.name}.svc")
        space.apply(
            secret("password", password=self.password),
            {**secret("tls", **{"tls.crt": certificate, "tls.key": key}), "type": "kubernetes.io/tls"},
            service(NAME, LABELS, postgresql=PORT),
            kind("v1", "PersistentVolumeClaim", NAME, spec=claim()),
            kind("apps/v1", "StatefulSet", NAME, spec=stateful_set(image)),
        )
        self.wait()
        for role, more in ((APP, ""), (OWNER, "CREATEROLE")):
            self.query(f"CREATE ROLE {role} LOGIN {more} PASSWORD '{self.password}'")

    def wait(self) -> None:
        """Until it answers."""
        self.space.kubectl("rollout", "status", f"statefulset/{NAME}", "--timeout=120s")

    def query(self, sql: str, database: str = "postgres") -> str:
        """What psql prints for one statement, as the superuser: a line for each row."""
        words = ("psql", "--host=/tmp", "--username=postgres", "--no-psqlrc", "--tuples-only", "--no-align", "--quiet")
        return self.space.kubectl("exec", f"{NAME}-0", "--", *words, f"--dbname={database}", f"--command={sql}")

    def name(self, name: str) -> str:
        """Give it another name; the host to reach it by."""
        self.space.apply(service(name, LABELS, postgresql=PORT))
        return f"{name}.{self.space.name}.svc"

    def database(self, name: str) -> Database:
        """A new, empty one."""
        name = name.replace("-", "_")
        self.query(f"CREATE DATABASE {name} OWNER {OWNER}")
        return Database(self, name)

    def scale(self, replicas: int) -> None:
        """0 stops it, 1 starts it on the same data; returns when that is so."""
        self.space.kubectl("scale", f"statefulset/{NAME}", f"--replicas={replicas}")
        if replicas:
            self.wait()
        else:
            self.space.wait(f"pod/{NAME}-0", "delete")


@dataclass(frozen=True)
class Database:
    server: PostgreSQL
    name: str

    def url(self, user: str = APP, host: str | None = None) -> str:
        """`host`: another name of the same server."""
        return f"postgresql://{user}:{self.server.password}@{host or self.server.host}:{PORT}/{self.name}"

    def query(self, sql: str) -> str:
        return self.server.query(sql, self.name)

    def numbers(self, prefix: str) -> list[int]:
        """What follows `<prefix>-` in the event_id of each stored row, sorted; a row stored twice stands here twice."""
        wanted = f"SELECT substr(event_id, {len(prefix) + 2})::bigint FROM sluice.events WHERE event_id LIKE '{prefix}-%'"
        return sorted(map(int, self.query(wanted).split()))

    def count(self) -> int:
        return int(self.query("SELECT count(*) FROM sluice.events"))


def claim() -> Document:
    return {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}


def stateful_set(image: str) -> Document:
    """`data` on the claim; a probe that asks the server whether it takes connections."""
    container = {
        "name": NAME,
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "args": OPTIONS,
        "ports": [{"containerPort": PORT}],
        "securityContext": CONTAINER_SECURITY,
        "resources": {"requests": {"cpu": "50m", "memory": "128Mi"}},
        "readinessProbe": {
            "exec": {"command": ["pg_isready", "--quiet", "--host=/tmp"]},
            "periodSeconds": 1,
            "timeoutSeconds": 5,
        },
        "volumeMounts": [mount("data", "/data"), mount("password", "/secret"), mount("tls", "/tls"), mount("tmp", "/tmp")],
    }
    volumes = [
        {"name": "data", "persistentVolumeClaim": {"claimName": NAME}},
        secret_volume("password", "password"),
        secret_volume("tls", "tls"),
        {"name": "tmp", "emptyDir": {}},
    ]
    pod = {
        "automountServiceAccountToken": False,
        # Always, the default, would open the data to the group at each start, which PostgreSQL refuses.
        "securityContext": {**POD_SECURITY, "fsGroup": USER, "fsGroupChangePolicy": "OnRootMismatch"},
        "containers": [container],
        "volumes": volumes,
    }
    template = {"metadata": {"labels": LABELS}, "spec": pod}
    return {"serviceName": NAME, "selector": {"matchLabels": LABELS}, "template": template}
