"""The README's values for service meshes: what each mesh needs passes the NetworkPolicies, and STRICT leaves no port unasked."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from tests import docs
from tests.chart import kubernetes
from tests.chart.manifests import Object, of_kind, only, pods
from tests.chart.network_policy import Network, Peer, matches, peer
from tests.chart.render import CHART, NAMESPACE, RELEASE, render

MESHES = ("istio", "ambient", "linkerd")
# With an operator; all components that speak to a store, among them.
BASES = ("operator", "pull", "queue")
NAMESPACES = {name: {"kubernetes.io/metadata.name": name} for name in (NAMESPACE, "istio-system", "linkerd", "shop")}
ISTIOD, LINKERD = Peer("istio-system", {"app": "istiod"}), Peer("linkerd", {"linkerd.io/control-plane-component": "identity"})
MESHED = Peer("shop", {"app": "shop"}, "10.1.2.3")
KUBELET = [Peer(ip=ip) for ip in ("169.254.7.127", "fd16:9254:7127:1337:ffff:ffff:ffff:ffff")]


def rendered(base: str, mesh: str | None) -> list[Object]:
    text = docs.section(CHART / "README.md", f"{mesh}.yaml").strip("`").removeprefix("yaml") if mesh else "{}"
    return render(base, yaml.safe_load(text))


def network(objects: list[Object]) -> tuple[Network, dict[str, Peer]]:
    allowed = Network(of_kind(objects, "NetworkPolicy"), NAMESPACES, NAMESPACE)
    return allowed, {title: peer(pod, NAMESPACE) for title, pod in pods(objects).items()}


def stopped(base: str, mesh: str | None, way: str) -> list[str]:
    """Pods that are kept from what the mesh needs."""
    allowed, found = network(rendered(base, mesh))
    control, tunnel = {"istio": ((ISTIOD, 15012), None), "ambient": (None, 15008), "linkerd": ((LINKERD, 8086), 4143)}[way]
    needs: list[Any] = [lambda pod: allowed.may(pod, *control)] if control else []
    if tunnel:
        needs += [lambda pod: allowed.may(pod, MESHED, tunnel), lambda pod: allowed.may(MESHED, pod, tunnel)]
    return sorted(title for title, pod in found.items() if not all(need(pod) for need in needs))


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("mesh", MESHES)
def test_every_pod_of_the_release_reaches_its_mesh(base: str, mesh: str) -> None:
    assert stopped(base, mesh, mesh) == []
    assert stopped(base, None, mesh) == sorted(pods(rendered(base, None)))


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("mesh", MESHES)
def test_what_a_mesh_adds_fits_its_kinds_and_is_in_the_namespace_of_the_release(base: str, mesh: str) -> None:
    objects = rendered(base, mesh)
    added = [one for one in objects if one["metadata"]["labels"]["app.kubernetes.io/component"] == "extra"]
    assert [one["kind"] for one in added] == ([] if mesh == "linkerd" else ["PeerAuthentication"])
    assert {one["metadata"]["namespace"] for one in added} <= {NAMESPACE}
    assert [error for one in added for error in kubernetes.errors(one, "1.36")] == []


@pytest.mark.parametrize("base", BASES)
def test_in_ambient_probes_come_from_an_address_of_the_mesh(base: str) -> None:
    for mesh, let_in in (("ambient", True), (None, False)):
        objects = rendered(base, mesh)
        allowed, found = network(objects)
        probed = [(title, port) for title, pod in pods(objects).items() if (port := probed_port(pod))]
        assert probed
        assert {allowed.may(node, found[title], port) for node in KUBELET for title, port in probed} == {let_in}


def probed_port(pod: Object) -> int | None:
    (container,) = pod["spec"]["containers"]
    ports = {one["name"]: one["containerPort"] for one in container.get("ports") or []}
    return ports[container["livenessProbe"]["httpGet"]["port"]] if ports else None


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize(("mesh", "plain"), [("istio", {8080, 8081, 8082}), ("ambient", {8081, 8082})])
def test_ports_that_are_asked_in_plain_text_stay_open_under_strict(base: str, mesh: str, plain: set[int]) -> None:
    objects = rendered(base, mesh)
    spec = only(objects, "PeerAuthentication")["spec"]
    assert {int(port) for port, its in spec["portLevelMtls"].items() if its["mode"] == "PERMISSIVE"} == plain
    chosen = [title for title, pod in pods(objects).items() if matches(spec["selector"], pod["metadata"]["labels"])]
    assert sorted(chosen) == sorted(pods(objects))
    listening = {
        port["containerPort"] for pod in pods(objects).values() for port in pod["spec"]["containers"][0].get("ports") or []
    }
    assert listening <= plain | {8080}


def test_a_policy_of_a_mesh_lets_another_release_s_pods_have_their_own() -> None:
    allowed, _ = network(rendered("operator", "ambient"))
    other = Peer(NAMESPACE, {"app.kubernetes.io/instance": f"{RELEASE}-2"})
    assert [one["metadata"]["name"] for one in allowed.policies if allowed.selects(one, other)] == []
