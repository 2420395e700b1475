"""What users add to the chart's objects and change about them, and what stays as strict as it was."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from tests import docs
from tests.chart import pod_security
from tests.chart.manifests import Object, annotation, of_kind, only, pods
from tests.chart.render import CHART, PLAIN, SETS, helm, refusal, render

NLB = "service.beta.kubernetes.io/aws-load-balancer-"


def containers(objects: list[Object]) -> dict[str, Object]:
    """By what brings it, without the pods of `helm test`."""
    return {name: pod["spec"]["containers"][0] for name, pod in pods(objects).items() if not name.startswith("Pod/")}


def test_variables_and_volumes_reach_every_pod_but_the_tests() -> None:
    values: dict[str, Any] = {
        "pull": {"enabled": True, "sources": "sources: []"},
        "extraEnvFrom": [{"secretRef": {"name": "proxy"}, "prefix": "P_"}],
        "extraVolumes": [{"name": "ca", "secret": {"secretName": "ca"}}],
        "extraVolumeMounts": [{"name": "ca", "mountPath": "/ca"}],
    }
    objects = render("operator", values)
    found = containers(objects)
    assert len(found) == 4
    assert all(one["envFrom"] == values["extraEnvFrom"] for one in found.values())
    assert all(values["extraVolumeMounts"][0] in one["volumeMounts"] for one in found.values())
    volumes = {name: pod["spec"]["volumes"] for name, pod in pods(objects).items()}
    assert {name for name, its in volumes.items() if values["extraVolumes"][0] in its} == found.keys()


@pytest.mark.parametrize("kind", ["hostPath", "nfs", "flexVolume"])
def test_a_volume_that_pod_security_refuses_is_refused_at_once(kind: str) -> None:
    assert kind in refusal(PLAIN, {"extraVolumes": [{"name": "x", kind: {"path": "/"}}]})


def test_a_volume_of_the_chart_s_own_name_is_refused() -> None:
    assert "extraVolumes has keyset" in refusal(PLAIN, {"extraVolumes": [{"name": "keyset", "emptyDir": {}}]})


def test_an_object_of_the_user_s_own_is_of_the_release_and_may_name_it() -> None:
    labels = {"team": "platform"}
    one = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "{{ .Release.Name }}-own", "labels": labels}, "data": {}}
    (found,) = [each for each in render(PLAIN, {"extraObjects": [one]}) if each["metadata"]["name"] == "blue-own"]
    assert found["metadata"]["labels"].items() > {**labels, "app.kubernetes.io/instance": "blue"}.items()


WAVE = "argocd.argoproj.io/sync-wave"


@pytest.mark.parametrize(
    ("kind", "annotations", "wave"),
    [
        ("ConfigMap", {}, "-1"),
        ("ExternalSecret", {"team": "platform"}, "-1"),
        ("PersistentVolumeClaim", {}, "-1"),
        ("ConfigMap", {WAVE: "3"}, "3"),
        # Argo CD calls these healthy once the service is there, and would wait for that before it makes the service.
        ("Ingress", {}, ""),
        ("HorizontalPodAutoscaler", {}, ""),
        ("ScaledObject", {}, ""),
        ("HTTPRoute", {WAVE: "2"}, "2"),
    ],
)
def test_an_object_of_the_user_s_own_comes_no_later_than_the_migration_that_needs_it(
    kind: str, annotations: dict[str, str], wave: str
) -> None:
    one = {"apiVersion": "v1", "kind": kind, "metadata": {"name": "own", "annotations": annotations}}
    objects = render(PLAIN, {"extraObjects": [one]})
    (found,) = [each for each in objects if each["metadata"]["name"] == "own"]
    assert annotation(found, WAVE) == wave
    assert found["metadata"].get("annotations", {}).items() >= annotations.items()
    assert annotation(only(objects, "Job"), WAVE) == "-1"


def test_a_component_is_scheduled_by_its_own_values_else_by_those_of_all() -> None:
    values = {
        "nodeSelector": {"pool": "all"},
        "tolerations": [{"key": "all"}],
        "operator": {"nodeSelector": {"pool": "system"}, "tolerations": [{"key": "system"}], "priorityClassName": "high"},
        "migration": {"affinity": {"nodeAffinity": {}}},
    }
    found = {name.partition("-")[2]: pod["spec"] for name, pod in pods(render("operator", values)).items()}
    chosen = {name: (its["nodeSelector"]["pool"], its["tolerations"][0]["key"]) for name, its in found.items()}
    assert chosen.pop("sluice-operator") == ("system", "system")
    assert set(chosen.values()) == {("all", "all")}
    assert [its.get("priorityClassName") for name, its in found.items() if name == "sluice-operator"] == ["high"]
    assert {name for name, its in found.items() if "affinity" in its} == {name for name in found if "migrate" in name}


def test_users_and_groups_may_be_left_to_the_cluster_and_pods_stay_restricted() -> None:
    values = {"podSecurityContext": {"runAsUser": 0, "runAsGroup": 0, "fsGroup": 0, "seLinuxOptions": {"level": "s0:c1,c2"}}}
    for name, pod in pods(render("operator", values)).items():
        context = pod["spec"]["securityContext"]
        assert not {"runAsUser", "runAsGroup", "fsGroup"} & context.keys(), name
        assert context["seLinuxOptions"] == {"level": "s0:c1,c2"}
        assert pod_security.violations(pod) == []


@pytest.mark.parametrize(
    "values", [{"runAsNonRoot": False}, {"seLinuxOptions": {"type": "spc_t"}}, {"seccompProfile": {"type": "Unconfined"}}]
)
def test_what_is_not_restricted_cannot_be_set(values: dict[str, Any]) -> None:
    assert "podSecurityContext" in refusal(PLAIN, {"podSecurityContext": values})


@pytest.mark.parametrize("kind", ["LoadBalancer", "NodePort"])
def test_a_service_that_is_reached_from_outside_carries_the_api_and_no_admin_port(kind: str) -> None:
    monitored = {"monitoring": {"serviceMonitor": {"enabled": True}}}
    objects = render(PLAIN, {"service": {"type": kind}, **monitored})
    services = {one["metadata"]["name"]: one for one in of_kind(objects, "Service")}
    ports = {name: [port["name"] for port in one["spec"]["ports"]] for name, one in services.items()}
    assert ports == {"blue-sluice": ["http"], "blue-sluice-admin": ["admin"]}
    assert services["blue-sluice"]["spec"]["type"] == kind
    assert services["blue-sluice-admin"]["spec"]["clusterIP"] == "None"
    # Alerts and dashboards know the service by its job.
    label = only(objects, "ServiceMonitor")["spec"]["jobLabel"]
    assert services["blue-sluice-admin"]["metadata"]["labels"][label] == "blue-sluice"


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"service": {"annotations": {f"{NLB}nlb-target-type": "instance"}}}, "nlb-target-type to ip"),
        ({"service": {"annotations": {f"{NLB}target-group-attributes": "x=1"}}}, "Add deregistration_delay.timeout_seconds=20"),
        ({"service": {"annotations": {f"{NLB}healthcheck-path": "/healthz"}}}, "healthcheck-path /healthz to /readiness"),
        (
            {"rollout": {"minReadySeconds": 30}},
            "(must exceed healthcheck-interval 10 x healthcheck-healthy-threshold 3 = 30)",
        ),
        ({"service": {"type": "ClusterIP", "externalTrafficPolicy": ""}}, "need service.type LoadBalancer"),
        (
            {"service": {"type": "ClusterIP", "loadBalancerClass": "", "loadBalancerSourceRanges": []}},
            "externalTrafficPolicy needs service.type",
        ),
    ],
)
def test_a_network_load_balancer_is_asked_for_the_same_as_an_alb(values: dict[str, Any], told: str) -> None:
    assert told in refusal("service-nlb", values)


def test_a_host_may_serve_some_paths_and_another_one_all() -> None:
    some = {"host": "in.example.org", "paths": [{"path": "/api/v1", "pathType": "Prefix"}]}
    values = {"ingress": {"enabled": True, "hosts": [some, "all.example.org", {"host": "more.example.org"}]}}
    found = only(render(PLAIN, values), "Ingress")["spec"]["rules"]
    rules = {one["host"]: [path["path"] for path in one["http"]["paths"]] for one in found}
    assert rules["in.example.org"] == ["/api/v1"]
    assert rules["all.example.org"] == rules["more.example.org"]
    assert "/log" in rules["all.example.org"]


README = (CHART / "README.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^helm (?:install|upgrade|template) .*$", README.replace("\\\n", " "), re.MULTILINE)
# Not of `helm template`.
OF_A_CLUSTER = ("--install", "--create-namespace", "--wait")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_install_of_the_readme_is_taken(command: str, tmp_path: Path) -> None:
    """As `helm template`, with a digest in the place of dots and the values that the README shows or somebody set before."""
    (tmp_path / "service.yaml").write_text(docs.section(CHART / "README.md", "service.yaml").strip("`").removeprefix("yaml"))
    (tmp_path / "mine.yaml").write_text(SETS[PLAIN].read_text())
    given = command.partition(" | ")[0].replace("--reset-then-reuse-values", "--values mine.yaml")
    words = shlex.split(given.replace("sha256:...", f"sha256:{'0' * 64}").replace("REGISTRY", "registry.example.org"))
    rest = [
        re.sub(r"^(?=(service|mine)\.yaml$)", f"{tmp_path}/", word.replace("charts/sluice", str(CHART))) for word in words[2:]
    ]
    done = helm("template", *(word for word in rest if word not in OF_A_CLUSTER), "--kube-version", "1.36")
    assert done.returncode == 0, done.stderr


def test_the_readme_shows_how_to_start_on_kind_and_behind_an_alb() -> None:
    assert len(COMMANDS) >= 3
    assert any("database.embedded=true" in line for line in COMMANDS)
    assert any("ci/ingress-alb.yaml" in line for line in COMMANDS)


def test_the_values_of_the_sets_are_named_where_the_readme_links_to_them() -> None:
    assert set(re.findall(r"\(ci/([\w-]+)\.yaml\)", README)) <= SETS.keys()


OUTSIDE = {"ingress": {"enabled": True}}, {"httpRoute": {"enabled": True, "parentRefs": [{"name": "public"}]}}
BALANCED = {"service": {"type": "LoadBalancer"}}


@pytest.mark.parametrize("values", OUTSIDE, ids=["ingress", "route"])
def test_no_path_leads_to_the_console_unless_asked(values: dict[str, Any]) -> None:
    assert "/console" not in routed(render(PLAIN, values))
    assert "/console" in routed(render(PLAIN, {**values, "console": {"outside": True}}))
    assert "/console" not in routed(render(PLAIN, {**values, "console": {"outside": True, "enabled": False}}))


def routed(objects: list[Object]) -> set[str]:
    """What Ingress or HTTPRoute let in."""
    rules = [rule for kind in ("Ingress", "HTTPRoute") for one in of_kind(objects, kind) for rule in one["spec"]["rules"]]
    paths = {path["path"] for rule in rules if "http" in rule for path in rule["http"]["paths"]}
    return paths | {match["path"]["value"] for rule in rules for match in rule.get("matches", ())}


@pytest.mark.parametrize(
    ("values", "console"),
    [
        ({}, "on"),
        ({"console": {"enabled": False}}, "off"),
        (BALANCED, "off"),
        ({**BALANCED, "console": {"outside": True}}, "on"),
        ({**BALANCED, "console": {"outside": True, "enabled": False}}, "off"),
    ],
)
def test_a_service_that_leads_outside_has_no_console_unless_asked(values: dict[str, Any], console: str) -> None:
    (container,) = only(render(PLAIN, values), "Deployment")["spec"]["template"]["spec"]["containers"]
    assert {"name": "CONSOLE", "value": console} in container["env"]
