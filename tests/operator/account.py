"""The operator's own account: the rights that the chart gives it, and a kubeconfig for a process outside of a Pod."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

from tests.chart.manifests import of_kind, only, parse
from tests.chart.render import NAMESPACE, template
from tests.cluster.kube import Document, Namespace, kind
from tests.operator.installed import EMBEDDED, NO_IMAGE

NAME = "sluice-operator"
ALLOWED: Document = {**NO_IMAGE, **EMBEDDED, "operator": {"enforce": True}}


@cache
def rendered() -> tuple[Document, ...]:
    """The rules of the chart's Role where the release is, with all that a value can add to them."""
    text = template(ALLOWED, arguments=("--show-only", "templates/operator/rights.yaml"))
    found: Document = only(of_kind(parse(text), "Role"), "Role")
    assert found["metadata"]["namespace"] == NAMESPACE
    return tuple(found["rules"])


def rules(*without: str) -> list[Document]:
    """Those of the chart, for any Lease: each test has one of its own. `without`: rights to leave out, as `verb resource`."""
    made = []
    for rule in rendered():
        for resource in rule["resources"]:
            verbs = [verb for verb in rule["verbs"] if f"{verb} {resource}" not in without]
            made.append({**rule, "resources": [resource], "verbs": verbs})
    for rule in made:
        if rule["resources"] == ["leases"]:
            rule.pop("resourceNames", None)
    return made


def role(*without: str) -> Document:
    return kind("rbac.authorization.k8s.io/v1", "Role", NAME, rules=rules(*without))


def create(space: Namespace) -> None:
    space.apply(kind("v1", "ServiceAccount", NAME))
    admit(space, space)


def admit(space: Namespace, home: Namespace) -> None:
    """Give the account of `home` its rights in `space`."""
    binding = {
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": NAME},
        "subjects": [{"kind": "ServiceAccount", "name": NAME, "namespace": home.name}],
    }
    space.apply(role(), kind("rbac.authorization.k8s.io/v1", "RoleBinding", NAME, **binding))


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
