"""Behind an AWS load balancer `helm test` looks for its readiness gates: with rights of its own for so long, and nowhere else."""

from __future__ import annotations

import importlib.util
import ssl
from pathlib import Path
from typing import Any

import certifi
import pytest
from tests.chart.manifests import Object, annotation, of_kind, only, pods
from tests.chart.network_policy import Network, Peer, peer
from tests.chart.render import CHART, NAMESPACE, SETS, render, values_of

KINDS = {"ServiceAccount", "Role", "RoleBinding", "Pod"}
GATE = {"conditionType": "target-health.elbv2.k8s.aws/k8s-events-sluice-1a2b3c4d5e"}


def parts(name: str) -> list[Object]:
    return [one for one in render(name) if one["metadata"]["name"].endswith("-test-gates")]


@pytest.mark.parametrize("name", SETS)
def test_it_runs_behind_an_aws_load_balancer_and_nowhere_else(name: str) -> None:
    ingress, service = values_of(name)["ingress"], values_of(name)["service"]
    kinds = {one["kind"] for one in parts(name)} - {"NetworkPolicy"}
    behind = (ingress["enabled"] and ingress["className"] == "alb") or service["loadBalancerClass"] == "service.k8s.aws/nlb"
    assert kinds == (KINDS if behind else set())


def test_its_right_is_to_list_pods_and_all_of_it_goes_with_the_test() -> None:
    found = parts("ingress-alb")
    assert only(found, "Role")["rules"] == [{"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]}]
    assert {annotation(one, "helm.sh/hook") for one in found if one["kind"] in KINDS} == {"test"}
    assert all("hook-succeeded" in annotation(one, "helm.sh/hook-delete-policy") for one in found if one["kind"] in KINDS)


def test_it_asks_for_the_pods_of_the_service_in_the_release_s_namespace() -> None:
    *_, namespace, selector = only(parts("ingress-alb"), "Pod")["spec"]["containers"][0]["args"]
    (service,) = [one for one in of_kind(render("ingress-alb"), "Deployment") if one["metadata"]["name"] == "blue-sluice"]
    labels = service["spec"]["selector"]["matchLabels"]
    assert (namespace, dict(pair.split("=") for pair in selector.split(","))) == (NAMESPACE, labels)


def test_it_may_reach_the_kubernetes_api_and_nothing_else() -> None:
    objects = render("ingress-alb")
    network = Network(of_kind(objects, "NetworkPolicy"), {NAMESPACE: {}}, NAMESPACE)
    found = {title: peer(pod, NAMESPACE) for title, pod in pods(objects).items()}
    gates, service = found["Pod/blue-sluice-test-gates"], found["Deployment/blue-sluice"]
    assert network.may(gates, Peer(ip="10.0.0.1"), 443)
    assert not network.may(gates, service, 8080)
    assert not network.may(service, gates, 8080)


def program() -> Any:
    spec = importlib.util.spec_from_file_location("readiness_gates", CHART / "files/tests/readiness_gates.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def pod(name: str, *gates: dict[str, str], **metadata: str) -> dict[str, Any]:
    return {"metadata": {"name": name, **metadata}, "spec": {"readinessGates": list(gates)} if gates else {}}


def test_certificates_as_eks_has_them_are_trusted() -> None:
    assert not program().trust(Path(certifi.where())).verify_flags & ssl.VERIFY_X509_STRICT


def test_a_pod_that_stays_and_lacks_the_gate_is_named() -> None:
    other = {"conditionType": "example.org/ready"}
    found = [pod("a", GATE), pod("c"), pod("b", other), pod("d", other, GATE), pod("e", deletionTimestamp="2026-11-29T00:00:00Z")]
    assert program().without_gate(found) == ["b", "c"]
