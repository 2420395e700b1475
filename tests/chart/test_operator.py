"""The operator's part of the chart: what it may do, what it makes once, and what belongs to the cluster."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml
from tests.chart import rbac
from tests.chart.manifests import Object, annotation, of_kind, only, pods, title
from tests.chart.render import CHART, NAMESPACE, PLAIN, RELEASE, SETS, notes, render, values_of
from tests.chart.test_runbooks import commands
from tests.conftest import ROOT

from sluice_operator import api_types, probes
from sluice_operator.api_types import ApiKey, KeySet, parse

ON = "operator"
OF_THE_CLUSTER = ("CustomResourceDefinition", "ClusterRole", "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding")
FULLNAME = f"{RELEASE}-sluice"
# What the operator does in every namespace that it watches, and only in its own. Nothing is left out and nothing is more.
EVERYWHERE = {
    "apikeys": {"list", "watch"},
    "keysets": {"list", "watch"},
    "apikeys/status": {"patch"},
    "keysets/status": {"patch"},
    "secrets": {"get", "list", "watch", "create", "patch", "delete"},
    "pods": {"list", "watch", "patch"},
    "events": {"create"},
    "deployments": {"list", "watch"},
    "replicasets": {"list"},
    "poddisruptionbudgets": {"list"},
    "leases": {"create"},
    "leases/sluice-operator-claim": {"get", "patch"},
}
AT_HOME = {
    f"leases/{FULLNAME}-operator": {"get", "patch"},
    f"configmaps/{FULLNAME}-bootstrap": {"get"},
    "apikeys": {"create"},
    "keysets": {"create"},
}

operated = [name for name in SETS if values_of(name)["operator"]["enabled"]]
every_operated = pytest.mark.parametrize("name", operated)


def rights(role: Object) -> dict[str, set[str]]:
    """Verbs by resource, or by resource/name where only some are named."""
    found: dict[str, set[str]] = {}
    for rule in role["rules"]:
        for resource in rule["resources"]:
            for name in rule.get("resourceNames") or [""]:
                found.setdefault(f"{resource}/{name}".rstrip("/"), set()).update(rule["verbs"])
    return found


def together(*parts: dict[str, set[str]]) -> dict[str, set[str]]:
    return {name: set().union(*(part.get(name, set()) for part in parts)) for part in parts for name in part}


def roles(values: dict[str, Any] | None = None) -> dict[str, Object]:
    """By namespace."""
    return {one["metadata"]["namespace"]: one for one in of_kind(render(ON, values), "Role")}


def test_the_operator_may_do_what_it_does_and_no_more() -> None:
    assert {where: rights(role) for where, role in roles().items()} == {NAMESPACE: together(EVERYWHERE, AT_HOME)}


def test_in_a_namespace_that_it_watches_it_neither_leads_nor_makes_keys() -> None:
    found = roles({"operator": {"watchNamespaces": ["shop", "warehouse"]}})
    assert found.keys() == {NAMESPACE, "shop", "warehouse"}
    assert rights(found["shop"]) == rights(found["warehouse"]) == EVERYWHERE


def test_it_may_patch_deployments_only_to_enforce() -> None:
    assert rights(roles({"operator": {"enforce": True}})[NAMESPACE])["deployments"] == {"list", "watch", "patch"}


def test_without_a_bootstrap_it_makes_no_keys() -> None:
    found = rights(roles({"operator": {"bootstrap": {"enabled": False}}})[NAMESPACE])
    assert found == together(EVERYWHERE, {name: AT_HOME[name] for name in AT_HOME if name.startswith("leases")})


@every_operated
def test_every_role_is_bound_to_the_operator_s_account_and_has_no_wildcard(name: str) -> None:
    objects = [one for one in render(name) if one["metadata"]["labels"]["app.kubernetes.io/component"] == "operator"]
    account = {"kind": "ServiceAccount", "name": "sluice-operator", "namespace": NAMESPACE}
    bound = {(one["metadata"]["namespace"], one["roleRef"]["name"]): one["subjects"] for one in of_kind(objects, "RoleBinding")}
    assert bound == {(one["metadata"]["namespace"], one["metadata"]["name"]): [account] for one in of_kind(objects, "Role")}
    assert "*" not in {
        word for one in of_kind(objects, "Role") for words in rights(one).items() for word in (words[0], *words[1])
    }


# people with Kubernetes' own roles

# Each has what the one before has. Secrets of a namespace are in `edit`, and in `view` on purpose not (kubernetes.io, "Using RBAC
# Authorization", user-facing roles).
ROLES = ("view", "edit", "admin")
OF_KUBERNETES = {("get", "", "secrets"), ("list", "", "secrets")}


def has(role: str) -> set[rbac.Right]:
    """Of the chart's kinds and of Secrets, what a user of the ClusterRole `role` may do."""
    those = {f"rbac.authorization.k8s.io/aggregate-to-{name}" for name in ROLES[: ROLES.index(role) + 1]}
    added = [one for one in of_kind(render(ON), "ClusterRole") if those & one["metadata"]["labels"].keys()]
    return {right for one in added for right in rbac.granted(one["rules"])} | (set() if role == "view" else OF_KUBERNETES)


def guide(*headings: str) -> list[str]:
    """kubectl's lines of these parts of the operator's guide."""
    text = (ROOT / "docs" / "operator.md").read_text(encoding="utf-8")
    parts = dict(re.findall(r"^#+ (.*)\n((?:(?!^#+ )[^\n]*\n)*)", text, re.MULTILINE))
    return [line for heading in headings for line in commands(parts[heading]) if line.startswith("kubectl ")]


def test_a_user_with_the_role_edit_may_run_every_everyday_command_of_the_guide() -> None:
    lines = guide("Is it done?", "Everyday")
    assert len(lines) > 8
    assert [line for line in lines if not rbac.asked(line) <= has("edit")] == []


def test_a_user_with_the_role_view_sees_keys_and_key_sets_and_changes_nothing() -> None:
    assert all(rbac.asked(f"kubectl get {kinds}") <= has("view") for kinds in ("apikeys", "keysets", "apikey/a", "keyset/a"))
    assert {verb for verb, _, _ in has("view")} == {"get", "list", "watch"}
    assert not rbac.asked("kubectl get secret checkout") <= has("view")


def test_only_the_role_admin_changes_a_key_set_which_says_what_keys_may_be_given() -> None:
    patch = "kubectl patch keyset shop --type=merge -p {}"
    assert [rbac.asked(patch) <= has(role) for role in ROLES] == [False, False, True]


def test_no_role_for_people_writes_a_status_or_has_a_wildcard() -> None:
    rights = has("admin")
    assert {resource for _, _, resource in rights} == {"apikeys", "keysets", "secrets"}
    assert "*" not in {word for right in rights for word in right}


def test_where_another_release_has_made_the_kinds_it_has_made_the_roles_too() -> None:
    assert of_kind(render("second-release"), "ClusterRole") == []


# what belongs to the cluster


def test_the_kinds_are_rendered_as_they_are_and_stay_when_the_release_goes() -> None:
    files = {one["metadata"]["name"]: one for one in map(loaded, sorted((CHART / "files/crds").glob("*.yaml")))}
    found = {one["metadata"]["name"]: one for one in of_kind(render(ON), "CustomResourceDefinition")}
    assert {name: one["spec"] for name, one in found.items()} == {name: one["spec"] for name, one in files.items()}
    assert {annotation(one, "helm.sh/resource-policy") for one in found.values()} == {"keep"}
    assert {annotation(one, "argocd.argoproj.io/sync-wave") for one in found.values()} == {"-3"}


def loaded(path: Any) -> Object:
    one: Object = yaml.safe_load(path.read_text(encoding="utf-8"))
    return one


@every_operated
def test_what_is_the_cluster_s_is_made_where_the_values_say_so(name: str) -> None:
    values = values_of(name)
    wanted = {
        "CustomResourceDefinition": 2 * values["crds"]["install"],
        "ClusterRole": 3 * values["crds"]["install"],
        "ValidatingAdmissionPolicy": 3 * values["clusterPolicies"]["install"],
        "ValidatingAdmissionPolicyBinding": 3 * values["clusterPolicies"]["bind"],
    }
    assert {kind: len(of_kind(render(name), kind)) for kind in OF_THE_CLUSTER} == wanted


def test_a_second_release_shares_no_object_of_the_cluster_with_the_first() -> None:
    """Helm refuses to install what another release made."""
    first = {title(one) for one in render(ON) if one["kind"] in OF_THE_CLUSTER}
    second = {title(one) for one in render("second-release", {}, "--namespace=shop") if one["kind"] in OF_THE_CLUSTER}
    assert len(second) == 3
    assert first & second == set()


def test_the_policies_are_the_same_in_every_release() -> None:
    """They name no namespace and no release, so it does not matter whose they are."""
    first, other = (
        [one["spec"] for one in of_kind(render(name, {}, f"--namespace={where}"), "ValidatingAdmissionPolicy")]
        for name, where in ((ON, NAMESPACE), ("everything", "other"))
    )
    assert first == other != []


def test_a_binding_carries_its_namespaces_and_denies() -> None:
    found = of_kind(render(ON, {"operator": {"watchNamespaces": ["shop"]}}), "ValidatingAdmissionPolicyBinding")
    policies = {one["metadata"]["name"] for one in of_kind(render(ON), "ValidatingAdmissionPolicy")}
    assert {one["metadata"]["name"] for one in found} == {f"{name}-{NAMESPACE}" for name in policies}
    assert {one["spec"]["policyName"] for one in found} == policies
    for one in found:
        (chosen,) = one["spec"]["matchResources"]["namespaceSelector"]["matchExpressions"]
        assert chosen == {"key": "kubernetes.io/metadata.name", "operator": "In", "values": [NAMESPACE, "shop"]}
        assert one["spec"]["validationActions"] == ["Deny"]


def test_a_policy_that_cannot_be_judged_denies() -> None:
    assert {one["spec"]["failurePolicy"] for one in of_kind(render(ON), "ValidatingAdmissionPolicy")} == {"Fail"}


def test_without_the_operator_nothing_of_it_is_rendered() -> None:
    objects = render(PLAIN)
    assert [title(one) for one in objects if one["kind"] in (*OF_THE_CLUSTER, "Role", "RoleBinding", "ConfigMap")] == []
    assert {one["metadata"]["labels"]["app.kubernetes.io/component"] for one in objects} == {"service", "migrate", "test"}


# what it makes once


def bootstrap(name: str = ON, values: dict[str, Any] | None = None) -> dict[str, Object]:
    """The objects of the ConfigMap by kind."""
    (found,) = [one for one in of_kind(render(name, values), "ConfigMap") if one["metadata"]["name"].endswith("-bootstrap")]
    documents = [yaml.safe_load(text) for text in found["data"].values()]
    return {one["kind"]: one for one in documents}


def born(one: Object) -> Object:
    return {**one, "metadata": {**one["metadata"], "creationTimestamp": "2026-03-01T12:00:00Z"}}


@pytest.mark.parametrize("name", [name for name in operated if values_of(name)["operator"]["bootstrap"]["enabled"]])
def test_the_first_key_is_one_that_the_service_of_the_release_reads(name: str) -> None:
    made = bootstrap(name)
    keyset, key = parse(KeySet, born(made["KeySet"])), parse(ApiKey, born(made["ApiKey"]))
    service = next(one for one in of_kind(render(name), "Deployment") if one["metadata"]["name"] == keyset.spec.target.name)
    (volume,) = [each for each in service["spec"]["template"]["spec"]["volumes"] if each["name"] == "keyset"]
    assert volume["secret"]["secretName"] == api_types.published_secret(keyset.name)
    assert volume["secret"]["optional"] is True
    assert key.spec.key_set_ref.name == keyset.name
    assert key.spec.scopes <= keyset.spec.allowed_scopes


def test_the_first_key_is_as_the_values_say() -> None:
    made = bootstrap("everything")
    assert made["KeySet"]["spec"]["environment"] == "live"
    assert made["ApiKey"]["metadata"]["name"] == "console"
    assert (made["ApiKey"]["spec"]["owner"], made["ApiKey"]["spec"]["scopes"]) == ("Ω platform: team", ["read", "admin"])


def test_the_first_key_and_its_key_set_have_the_labels_of_every_object() -> None:
    made = bootstrap(values={"commonLabels": {"owner": "platform"}})
    assert {kind: one["metadata"]["labels"] for kind, one in made.items()} == {kind: {"owner": "platform"} for kind in made}


def test_the_longest_names_still_fit_their_kinds() -> None:
    made = bootstrap(values={"fullnameOverride": "a" * 46})
    assert {len(one["metadata"]["name"]) <= 52 for one in made.values()} == {True}


def test_the_notes_name_the_secret_of_the_first_key_and_how_to_read_it() -> None:
    told = notes(ON)
    assert f"Its key is in Secret {FULLNAME}-admin" in told
    assert f"kubectl get secret {FULLNAME}-admin --namespace {NAMESPACE} -o go-template=" in told


def test_the_notes_name_no_key_where_none_is_made() -> None:
    assert f"{FULLNAME}-admin" not in notes("key-set-by-git") + notes(PLAIN)


def test_the_notes_say_what_a_load_balancer_and_an_image_of_one_architecture_need() -> None:
    assert "elbv2.k8s.aws/pod-readiness-gate-inject=enabled" in notes("ingress-alb")
    assert "image.architectures has arm64 only" in notes("eks-auto-mode")
    assert not any(word in notes(PLAIN) for word in ("elbv2", "architectures"))


# the pods


@every_operated
def test_the_operator_s_probes_ask_the_port_of_its_metrics(name: str) -> None:
    (container,) = operator_pod(name)["spec"]["containers"]
    assert [(port["name"], port["containerPort"]) for port in container["ports"]] == [("metrics", 8082)]
    paths = {probe: container[probe]["httpGet"]["path"] for probe in probes.PROBES}
    assert paths == {"startupProbe": "/livez", "readinessProbe": "/readyz", "livenessProbe": "/livez"}
    assert {container[probe]["httpGet"]["port"] for probe in probes.PROBES} == {"metrics"}


def operator_pod(name: str) -> Object:
    return pods(render(name))[f"Deployment/{only(of_the_operator(name), 'Deployment')['metadata']['name']}"]


def of_the_operator(name: str) -> list[Object]:
    return [one for one in render(name) if one["metadata"]["labels"]["app.kubernetes.io/component"] == "operator"]


def test_two_operators_are_never_evicted_at_once() -> None:
    assert only(of_the_operator("operator"), "PodDisruptionBudget")["spec"]["maxUnavailable"] == 1
    assert of_kind(of_the_operator("second-release"), "PodDisruptionBudget") == []


@every_operated
@pytest.mark.parametrize("values", [{}, {"podDisruptionBudget": {"enabled": False}}], ids=["plain", "no-budget"])
def test_the_operator_has_nothing_to_say_against_the_chart_s_own_probes(name: str, values: dict[str, Any]) -> None:
    """What a value asks for is muted: the embedded database has one pod, which no rollout can spare."""
    objects = render(name, values)
    service = next(one for one in of_kind(objects, "Deployment") if one["metadata"]["name"] == FULLNAME)
    secret = values_of(name)["auth"]["keySet"]["secretName"] or api_types.published_secret(FULLNAME)
    found = {finding.reason for finding in probes.lint(service, of_kind(objects, "PodDisruptionBudget"), secret)}
    assert found - probes.muted(service).keys() == set()
    assert probes.muted(service).keys() <= {"RolloutDropsAll", "NoDisruptionBudget"}
    assert bool(probes.muted(service)) is (values_of(name)["database"]["embedded"] or bool(values))
