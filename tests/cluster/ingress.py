"""A real ingress controller: Traefik, which sends to the pods' own addresses, as a load balancer with IP targets does."""

from __future__ import annotations

from tests.cluster.kube import CONTAINER_SECURITY, POD_SECURITY, Document, Namespace, kind, service

NAME = "traefik"
WEB, PING = 8000, 9000
USER = 65532
LABELS = {"app": NAME}
# Nothing is retried, or it would hide what is to be seen. All else is as Traefik has it.
OPTIONS = (
    f"--entrypoints.web.address=:{WEB}",
    f"--entrypoints.traefik.address=:{PING}",
    "--ping=true",
    "--global.checknewversion=false",
    "--global.sendanonymoususage=false",
)


class Traefik:
    """It serves the Ingresses of class `ingress_class` in all namespaces, at `url`, by their Host."""

    def __init__(self, space: Namespace, image: str) -> None:
        self.space = space
        self.ingress_class = space.name
        self.url = f"http://{NAME}.{space.name}.svc:{WEB}"
        space.apply(*rights(space), deployment(image, self.ingress_class), service(NAME, LABELS, web=WEB))
        space.apply(
            kind("networking.k8s.io/v1", "IngressClass", self.ingress_class, spec={"controller": "traefik.io/ingress-controller"})
        )
        space.kubectl("rollout", "status", f"deployment/{NAME}", "--timeout=120s")

    def remove(self) -> None:
        """What does not go with the namespace."""
        for what in ("clusterrolebinding", "clusterrole", "ingressclass"):
            self.space.kubectl("delete", what, self.space.name, "--ignore-not-found")


def rights(space: Namespace) -> tuple[Document, ...]:
    """To see Ingresses and what they name, in the whole cluster."""
    seen = ["get", "list", "watch"]
    rules = [
        {"apiGroups": [""], "resources": ["services", "secrets", "nodes"], "verbs": seen},
        {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": seen},
        {"apiGroups": ["networking.k8s.io"], "resources": ["ingresses", "ingressclasses"], "verbs": seen},
    ]
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": space.name}
    subjects = [{"kind": "ServiceAccount", "name": NAME, "namespace": space.name}]
    return (
        kind("v1", "ServiceAccount", NAME),
        kind("rbac.authorization.k8s.io/v1", "ClusterRole", space.name, rules=rules),
        kind("rbac.authorization.k8s.io/v1", "ClusterRoleBinding", space.name, roleRef=role, subjects=subjects),
    )


def deployment(image: str, ingress_class: str) -> Document:
    container = {
        "name": NAME,
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "args": [*OPTIONS, "--providers.kubernetesingress=true", f"--providers.kubernetesingress.ingressclass={ingress_class}"],
        "securityContext": CONTAINER_SECURITY,
        "resources": {"requests": {"cpu": "50m", "memory": "64Mi"}},
        "readinessProbe": {"httpGet": {"path": "/ping", "port": PING}, "periodSeconds": 1},
    }
    pod = {"serviceAccountName": NAME, "securityContext": {**POD_SECURITY, "runAsUser": USER}, "containers": [container]}
    template = {"metadata": {"labels": LABELS}, "spec": pod}
    return kind("apps/v1", "Deployment", NAME, spec={"selector": {"matchLabels": LABELS}, "template": template})
