"""RabbitMQ in a Pod, as a managed broker would be: reached by name, its messages on a claim."""

from __future__ import annotations

import secrets

from tests.cluster.database import claim
from tests.cluster.kube import CONTAINER_SECURITY, POD_SECURITY, Document, Namespace, kind, mount, secret, secret_volume, service

NAME = "rabbitmq"
PORT = 5672
USER = 10003
LABELS = {"app": NAME}


class RabbitMQ:
    """The broker in the namespace of its release."""

    def __init__(self, space: Namespace, image: str) -> None:
        password = secrets.token_urlsafe(16)
        self.url = f"amqp://sluice:{password}@{NAME}.{space.name}.svc:{PORT}/"
        space.apply(
            secret("rabbitmq", password=password),
            service(NAME, LABELS, amqp=PORT),
            kind("v1", "PersistentVolumeClaim", NAME, spec=claim()),
            kind("apps/v1", "StatefulSet", NAME, spec=stateful_set(image)),
        )
        space.kubectl("rollout", "status", f"statefulset/{NAME}", "--timeout=170s")


def stateful_set(image: str) -> Document:
    container = {
        "name": NAME,
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "ports": [{"containerPort": PORT}],
        "securityContext": CONTAINER_SECURITY,
        "resources": {"requests": {"cpu": "50m", "memory": "192Mi"}},
        "readinessProbe": {"tcpSocket": {"port": PORT}, "periodSeconds": 1},
        "volumeMounts": [mount("data", "/data"), mount("password", "/secret"), mount("tmp", "/tmp")],
    }
    volumes = [
        {"name": "data", "persistentVolumeClaim": {"claimName": NAME}},
        secret_volume("password", "rabbitmq"),
        {"name": "tmp", "emptyDir": {}},
    ]
    pod = {
        "automountServiceAccountToken": False,
        # Its own name in the cluster of one node, whatever the Pod's DNS says.
        "hostAliases": [{"ip": "127.0.0.1", "hostnames": [NAME]}],
        "securityContext": {**POD_SECURITY, "fsGroup": USER, "fsGroupChangePolicy": "OnRootMismatch"},
        "containers": [container],
        "volumes": volumes,
    }
    template = {"metadata": {"labels": LABELS}, "spec": pod}
    return {"serviceName": NAME, "selector": {"matchLabels": LABELS}, "template": template}
