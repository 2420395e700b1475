"""The operator's own account: exactly the rights that it is said to use, and a kubeconfig for a process outside of a Pod."""

from __future__ import annotations

import json
from pathlib import Path

from tests.cluster.kube import Document, Namespace, kind

NAME = "sluice-operator"
RIGHTS: tuple[tuple[str, str, str], ...] = (
    ("sluice.dev", "apikeys keysets", "list watch create"),
    ("sluice.dev", "apikeys/status keysets/status", "patch"),
    ("", "secrets", "get list watch create patch delete"),
    ("", "pods", "list watch patch"),
    ("", "events", "create"),
    ("", "configmaps", "get"),
    ("apps", "deployments", "list watch patch"),
    ("apps", "replicasets", "list"),
    ("policy", "poddisruptionbudgets", "list"),
    ("coordination.k8s.io", "leases", "get create patch"),
)


def rules(*without: str) -> list[Document]:
    """`without`: rights that are left out, each as `verb resource`."""
    made = []
    for group, resources, verbs in RIGHTS:
        for resource in resources.split():
            allowed = [verb for verb in verbs.split() if f"{verb} {resource}" not in without]
            made.append({"apiGroups": [group], "resources": [resource], "verbs": allowed})
    return made


def role(*without: str) -> Document:
    return kind("rbac.authorization.k8s.io/v1", "Role", NAME, rules=rules(*without))


def create(space: Namespace) -> None:
    binding = {
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": NAME},
        "subjects": [{"kind": "ServiceAccount", "name": NAME, "namespace": space.name}],
    }
    space.apply(kind("v1", "ServiceAccount", NAME), role(), kind("rbac.authorization.k8s.io/v1", "RoleBinding", NAME, **binding))


def kubeconfig(space: Namespace, server: Document, path: Path) -> None:
    """Write one for the account. `server`: the `cluster` of another kubeconfig."""
    token = space.kubectl("create", "token", NAME, "--duration=4h").strip()
    context = {"cluster": "it", "user": NAME, "namespace": space.name}
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "it",
        "contexts": [{"name": "it", "context": context}],
        "clusters": [{"name": "it", "cluster": server}],
        "users": [{"name": NAME, "user": {"token": token}}],
    }
    path.touch(mode=0o600)
    path.write_text(json.dumps(document))
