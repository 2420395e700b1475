"""What the chart's own service account may do and may not, as the API server tells its token: RBAC and policies together."""

from __future__ import annotations

import base64
import copy
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tests.cluster.kube import CONTAINER_SECURITY, POD_SECURITY, Cluster, Document, Namespace, kind, secret
from tests.integration.waiting import until
from tests.operator.caller import APPLY, DENIED, MERGE, Caller
from tests.operator.installed import EMBEDDED, NO_IMAGE, install

from sluice_operator import client, probes
from sluice_operator.api_types import KeySet, parse

pytestmark = pytest.mark.timeout(600)

KEY, KEYSET = "sluice.dev/api-key", "sluice.dev/keyset"
REVISION = "sluice.dev/keyset-revision"
DRY = "?dryRun=All"
OPTED_IN = {"sluice.dev/enforce": "true"}


@pytest.fixture(scope="module")
def space(cluster: Cluster) -> Iterator[Namespace]:
    """With a release that may enforce, and objects that are not the operator's."""
    with cluster.namespace("rights") as space:
        install(space, NO_IMAGE, EMBEDDED, {"operator": {"enforce": True}})
        wanted = (deployment("web", OPTED_IN), deployment("other", {}), deployment("fresh", OPTED_IN))
        space.apply(secret("passwords", key="x"), pod("bystander"), *wanted)
        yield space
        space.helm("uninstall", "sluice")


@pytest.fixture(scope="module")
def caller(space: Namespace) -> Iterator[Caller]:
    with Caller(space) as caller:
        until(lambda: all_denied(caller), 60, "the policies are in force")
        yield caller


def all_denied(caller: Caller) -> bool:
    """Whether each policy refuses something; nothing is changed by asking."""
    statuses = (
        caller.create(f"secrets{DRY}", typed("foreign", "Opaque"))[0],
        caller.patch("pods", "bystander", {"metadata": {"labels": {"more": "x"}}}, query=DRY)[0],
        caller.patch("apps/deployments", "web", {"spec": {"paused": True}}, query=DRY)[0],
    )
    return set(statuses) == {DENIED}


def pod(name: str, **metadata: Any) -> Document:
    labels = {"labels": {"app": "bystander"}, "annotations": {"example.org/team": "shop"}}
    return {**kind("v1", "Pod", name), "metadata": {"name": name, **labels, **metadata}, "spec": inside()}


def inside() -> Document:
    return {
        "automountServiceAccountToken": False,
        "securityContext": {**POD_SECURITY, "runAsUser": 10001},
        "containers": [box()],
        "volumes": [{"name": "tmp", "emptyDir": {}}],
    }


def box(**more: Any) -> Document:
    """A container whose image is nowhere, so that nothing ever starts."""
    return {
        "name": "web",
        "image": "localhost/nowhere:1",
        "imagePullPolicy": "Never",
        "env": [{"name": "WORKERS", "value": "2"}],
        "ports": [{"name": "admin", "containerPort": 8081, "protocol": "TCP"}],
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],
        "securityContext": CONTAINER_SECURITY,
        **more,
    }


def deployment(name: str, labels: dict[str, str]) -> Document:
    template = {"metadata": {"labels": {"app": name}}, "spec": inside()}
    spec = {"replicas": 1, "selector": {"matchLabels": {"app": name}}, "template": template}
    return {**kind("apps/v1", "Deployment", name), "metadata": {"name": name, "labels": labels}, "spec": spec}


def typed(name: str, type_: str, value: str = "x") -> Document:
    return kind("v1", "Secret", name, type=type_, data={"key": base64.b64encode(value.encode()).decode()})


# Secrets


@pytest.mark.parametrize("type_", [KEY, KEYSET])
def test_it_makes_changes_and_deletes_secrets_of_its_own_types(caller: Caller, type_: str) -> None:
    assert caller.create("secrets", typed("own", type_)) == (201, "")
    assert caller.patch("secrets", "own", {"metadata": {"labels": {"sluice.dev/keyset": "main"}}}) == (200, "")
    assert caller.delete("secrets", "own") == (200, "")


@pytest.mark.parametrize("type_", ["Opaque", "kubernetes.io/tls", "kubernetes.io/service-account-token", "sluice.dev/api-keys"])
def test_it_makes_no_secret_of_another_type(caller: Caller, type_: str) -> None:
    """One of a service account's type would even be filled in with a token of that account."""
    made = typed("foreign", type_)
    made["metadata"]["annotations"] = {"kubernetes.io/service-account.name": "default"}
    made["data"] |= {"tls.crt": "", "tls.key": ""}
    refused(caller.create("secrets", made), "only write Secrets of the types")


def test_it_neither_changes_nor_deletes_a_secret_that_is_not_its_own(caller: Caller) -> None:
    for body in ({"data": {"key": "eA=="}}, {"metadata": {"labels": {"a": "b"}}}, {"type": KEY}):
        status, words = caller.patch("secrets", "passwords", body)
        assert status in (DENIED, 422), words
    refused(caller.delete("secrets", "passwords"), "only change and delete Secrets of the types")


def test_it_deletes_no_collection_of_secrets(caller: Caller) -> None:
    refused(caller.delete("secrets", ""), "cannot deletecollection")


def refused(answer: tuple[int, str], words: str) -> None:
    status, told = answer
    assert (status, words in told) == (DENIED, True), told


# Pods


def test_it_sets_the_one_annotation_of_a_pod_and_sets_it_again(caller: Caller) -> None:
    for revision in ("one", "two"):
        assert caller.patch("pods", "bystander", {"metadata": {"annotations": {REVISION: revision}}}) == (200, "")


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"spec": {"containers": [box(image="localhost/evil:1")]}}, "spec of a Pod"),
        ({"spec": {"activeDeadlineSeconds": 5}}, "spec of a Pod"),
        ({"metadata": {"labels": {"app": "other"}}}, "labels, owners and finalizers"),
        ({"metadata": {"labels": {"more": "x"}}}, "labels, owners and finalizers"),
        ({"metadata": {"finalizers": ["sluice.dev/held"]}}, "labels, owners and finalizers"),
        (
            {"metadata": {"ownerReferences": [{"apiVersion": "v1", "kind": "Node", "name": "x", "uid": "x"}]}},
            "labels, owners and finalizers",
        ),
        ({"metadata": {"annotations": {"example.org/team": "other"}}}, "one annotation of a Pod"),
        ({"metadata": {"annotations": {"example.org/team": None}}}, "one annotation of a Pod"),
        ({"metadata": {"annotations": {"more": "x"}}}, "one annotation of a Pod"),
        ({"metadata": {"annotations": {REVISION: "x", "more": "x"}}}, "one annotation of a Pod"),
    ],
    ids=lambda value: None if isinstance(value, str) else f"{value}"[:50],
)
def test_it_changes_nothing_else_of_a_pod(caller: Caller, body: Document, words: str) -> None:
    refused(caller.patch("pods", "bystander", body), words)


def test_it_makes_deletes_and_enters_no_pods(caller: Caller) -> None:
    refused(caller.create("pods", pod("mine")), "cannot create")
    refused(caller.delete("pods", "bystander"), "cannot delete")
    refused(caller.create("pods/bystander/eviction", {"apiVersion": "policy/v1", "kind": "Eviction"}), "cannot create")
    refused(caller.get(f"{caller.path('pods')}/bystander/log"), "cannot get")
    refused(caller.create("pods/bystander/exec", {}), "cannot create")
    refused(caller.patch("pods", "bystander/ephemeralcontainers", {"spec": {}}), "cannot patch")


# Deployments


def keyset() -> KeySet:
    metadata = {"name": "main", "creationTimestamp": "2026-03-01T12:00:00Z"}
    spec = {"environment": "test", "target": {"name": "web"}, "probes": {"mode": "Enforce"}}
    return parse(KeySet, {"metadata": metadata, "spec": spec})


def applied(caller: Caller, name: str, body: Document) -> tuple[int, str]:
    return caller.patch("apps/deployments", name, body, APPLY, f"?fieldManager={client.FIELD_MANAGER}")


def test_it_wires_a_deployment_that_opted_in_and_a_second_time_changes_nothing(caller: Caller, space: Namespace) -> None:
    patch = probes.patch(keyset(), space.get("deployment", "web"))
    assert patch is not None
    assert applied(caller, "web", patch) == (200, "")
    wired = space.get("deployment", "web")
    assert probes.is_wired(patch, wired)
    assert applied(caller, "web", patch) == (200, "")
    assert space.get("deployment", "web")["metadata"]["generation"] == wired["metadata"]["generation"]


def test_it_wires_no_deployment_that_did_not(caller: Caller, space: Namespace) -> None:
    patch = probes.patch(keyset(), space.get("deployment", "other"))
    assert patch is not None
    patch["metadata"]["name"] = "other"
    refused(applied(caller, "other", patch), "only change Deployments with the label")


def test_it_cannot_opt_a_deployment_in_itself(caller: Caller) -> None:
    refused(
        caller.patch("apps/deployments", "other", {"metadata": {"labels": OPTED_IN}}), "only change Deployments with the label"
    )


Change = Callable[[Document], object]


def of_pod(document: Document) -> Document:
    found: Document = document["spec"]["template"]["spec"]
    return found


def of_box(document: Document) -> Document:
    found: Document = of_pod(document)["containers"][0]
    return found


def probe(**handler: Any) -> Document:
    return {"periodSeconds": 5, **handler}


EVIL: dict[str, tuple[Change, str]] = {
    "a label": (lambda it: it["metadata"]["labels"].update(more="x"), "metadata of a Deployment"),
    "an annotation": (lambda it: it["metadata"].setdefault("annotations", {}).update(more="x"), "metadata of a Deployment"),
    "a finalizer": (lambda it: it["metadata"].update(finalizers=["sluice.dev/held"]), "metadata of a Deployment"),
    "a restart": (
        lambda it: it["spec"]["template"]["metadata"].update(annotations={"kubectl.kubernetes.io/restartedAt": "now"}),
        "metadata of a Deployment",
    ),
    "replicas": (lambda it: it["spec"].update(replicas=0), "containers and volumes"),
    "the strategy": (
        lambda it: it["spec"].update(strategy={"type": "Recreate", "rollingUpdate": None}),
        "containers and volumes",
    ),
    "a pause": (lambda it: it["spec"].update(paused=True), "containers and volumes"),
    "a service account": (lambda it: of_pod(it).update(serviceAccountName="sluice-operator"), "containers and volumes"),
    "a token": (lambda it: of_pod(it).update(automountServiceAccountToken=True), "containers and volumes"),
    "the host's network": (lambda it: of_pod(it).update(hostNetwork=True), "containers and volumes"),
    "an init container": (lambda it: of_pod(it).update(initContainers=[box(name="first")]), "containers and volumes"),
    "an image": (lambda it: of_box(it).update(image="localhost/evil:1"), "no other field"),
    "a command": (lambda it: of_box(it).update(command=["sh"]), "no other field"),
    "a privilege": (lambda it: of_box(it)["securityContext"].update(runAsUser=0), "no other field"),
    "a hook": (lambda it: of_box(it).update(lifecycle={"postStart": {"exec": {"command": ["sh"]}}}), "no other field"),
    "more environment": (lambda it: of_box(it).update(envFrom=[{"secretRef": {"name": "passwords"}}]), "no other field"),
    "a sidecar": (lambda it: of_pod(it)["containers"].append(box(name="side")), "adds and removes no containers"),
    "a variable": (lambda it: of_box(it)["env"].append({"name": "PATH", "value": "/tmp"}), "set one variable"),
    "a variable less": (lambda it: of_box(it).update(env=[]), "set one variable"),
    "another key set file": (lambda it: of_box(it)["env"].append({"name": "KEYSET_FILE", "value": "/tmp/x"}), "set one variable"),
    "a secret variable": (
        lambda it: of_box(it)["env"].append(
            {"name": "KEYSET_FILE", "valueFrom": {"secretKeyRef": {"name": "passwords", "key": "key"}}}
        ),
        "set one variable",
    ),
    "another volume": (lambda it: of_pod(it)["volumes"].append({"name": "more", "emptyDir": {}}), "add one volume"),
    "a volume less": (lambda it: (of_pod(it).update(volumes=[]), of_box(it).update(volumeMounts=[])), "add one volume"),
    "a folder of the host": (
        lambda it: of_pod(it)["volumes"].append({"name": "sluice-keyset", "hostPath": {"path": "/"}}),
        "add one volume",
    ),
    "a secret that is no key set": (
        lambda it: of_pod(it)["volumes"].append({"name": "sluice-keyset", "secret": {"secretName": "passwords"}}),
        "add one volume",
    ),
    "a mount elsewhere": (
        lambda it: (
            of_pod(it)["volumes"].append({"name": "sluice-keyset", "secret": {"secretName": "main-published"}}),
            of_box(it)["volumeMounts"].append({"name": "sluice-keyset", "mountPath": "/usr/bin", "readOnly": True}),
        ),
        "add one mount",
    ),
    "another mount": (
        lambda it: of_box(it)["volumeMounts"].append({"name": "tmp", "mountPath": "/usr/bin"}),
        "add one mount",
    ),
    "a probe that starts a program": (
        lambda it: of_box(it).update(livenessProbe=probe(exec={"command": ["sh"]})),
        "set probes of a container by httpGet",
    ),
    "a probe of another host": (
        lambda it: of_box(it).update(livenessProbe=probe(httpGet={"path": "/", "port": 80, "host": "example.org"})),
        "set probes of a container by httpGet",
    ),
    "a probe with a header": (
        lambda it: of_box(it).update(
            livenessProbe=probe(httpGet={"path": "/", "port": 80, "httpHeaders": [{"name": "Host", "value": "x"}]})
        ),
        "set probes of a container by httpGet",
    ),
}


@pytest.mark.parametrize("name", EVIL)
def test_it_changes_nothing_else_of_a_deployment_that_opted_in(caller: Caller, name: str) -> None:
    """Of one that nobody has wired, and that is as it was applied: each change is refused."""
    change, words = EVIL[name]
    changed = copy.deepcopy(deployment("fresh", OPTED_IN))
    change(changed)
    body = {"metadata": changed["metadata"], "spec": changed["spec"]}
    refused(caller.patch("apps/deployments", "fresh", body, MERGE), words)


def test_it_takes_no_probe_away(caller: Caller, space: Namespace) -> None:
    made = deployment("probed", OPTED_IN)
    of_box(made)["livenessProbe"] = {"httpGet": {"path": "/", "port": 8081}}
    space.apply(made)
    less = box(livenessProbe=None)
    body = {"spec": {"template": {"spec": {"containers": [less]}}}}
    refused(caller.patch("apps/deployments", "probed", body), "remove none")


def test_it_makes_and_deletes_no_deployments(caller: Caller) -> None:
    refused(caller.create("apps/deployments", deployment("mine", OPTED_IN)), "cannot create")
    refused(caller.delete("apps/deployments", "web"), "cannot delete")


# the rest


def test_it_reads_and_writes_nothing_in_a_namespace_that_it_does_not_watch(caller: Caller, cluster: Cluster) -> None:
    with cluster.namespace("foreign") as foreign:
        foreign.apply(secret("passwords", key="x"))
        path = caller.path("secrets", foreign.name)
        refused(caller.get(path), "cannot list")
        refused(caller.get(f"{path}/passwords"), "cannot get")
        for resource in ("pods", "apps/deployments", "sluice.dev/apikeys"):
            refused(caller.get(caller.path(resource, foreign.name)), "cannot list")
    refused(caller.get("/api/v1/secrets"), "cannot list")


def test_it_gives_itself_no_rights(caller: Caller) -> None:
    rule = {"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}
    body = kind("rbac.authorization.k8s.io/v1", "Role", "mine", rules=[rule])
    refused(caller.create("rbac.authorization.k8s.io/roles", body), "cannot create")
    refused(caller.patch("rbac.authorization.k8s.io/roles", "sluice-operator", {"rules": [rule]}), "cannot patch")
    refused(caller.create("serviceaccounts/default/token", {"apiVersion": "authentication.k8s.io/v1"}), "cannot create")


def test_it_changes_no_spec_of_a_key_and_deletes_none(caller: Caller, space: Namespace) -> None:
    spec = {"keySetRef": {"name": "main"}, "owner": "shop", "scopes": ["ingest"]}
    space.apply(kind("sluice.dev/v1alpha1", "ApiKey", "web", spec=spec))
    refused(caller.patch("sluice.dev/apikeys", "web", {"spec": {"scopes": ["admin"]}}), "cannot patch")
    refused(caller.delete("sluice.dev/apikeys", "web"), "cannot delete")
    assert caller.patch("sluice.dev/apikeys", "web/status", {"status": {"version": 1}}) == (200, "")


def test_it_reads_its_own_config_map_and_writes_its_own_lease_and_no_other(caller: Caller) -> None:
    assert caller.get(f"{caller.path('configmaps')}/sluice-bootstrap") == (200, "")
    refused(caller.get(f"{caller.path('configmaps')}/kube-root-ca.crt"), "cannot get")
    lease = kind("coordination.k8s.io/v1", "Lease", "sluice-operator", spec={"leaseDurationSeconds": 15})
    assert caller.create("coordination.k8s.io/leases", lease) == (201, "")
    assert caller.patch("coordination.k8s.io/leases", "sluice-operator", {"spec": {"holderIdentity": "me"}}) == (200, "")
    refused(caller.patch("coordination.k8s.io/leases", "other", {"spec": {"holderIdentity": "me"}}), "cannot patch")


@pytest.mark.usefixtures("caller")
@pytest.mark.parametrize("name", ["secrets", "pods", "deployments"])
def test_the_api_server_finds_no_fault_in_a_policy(space: Namespace, name: str) -> None:
    """It checks the types of every expression when it first reads a policy."""

    def status() -> Document:
        found: Document = space.get("validatingadmissionpolicy", f"sluice-operator-{name}").get("status", {})
        return found

    until(lambda: "observedGeneration" in status(), 30, "the policy was checked")
    assert status().get("typeChecking", {}).get("expressionWarnings", []) == []
