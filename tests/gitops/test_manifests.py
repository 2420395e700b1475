"""argocd/: what each environment becomes, what each project allows, and that Terraform hands over what is read."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from typing import Any

import pytest
import yaml
from tests import docs
from tests.chart.manifests import Object, of_kind, parse, pods
from tests.chart.network_policy import Network, Peer, peer
from tests.chart.render import Refused, merged, template
from tests.conftest import ROOT
from tests.gitops import argocd, handover
from tests.gitops.argocd import ARGOCD, ENVIRONMENTS
from tools.release import environment

ROOT_VALUES = {"repository": handover.REPOSITORY}
FILES = [file for file in sorted(ARGOCD.rglob("*")) if file.is_file() and file.suffix in {".yaml", ".tpl", ".sh"}]


def secret(name: str) -> Object:
    found: Object = yaml.safe_load(handover.text(name))
    return found


def projects(**values: Any) -> dict[str, Object]:
    made = argocd.rendered(ARGOCD / "root", ROOT_VALUES | values)
    return {each["metadata"]["name"]: each for each in of_kind(made, "AppProject")}


def test_an_environment_of_any_name_gets_a_project_and_its_clusters_are_found() -> None:
    made = argocd.rendered(ARGOCD / "root", ROOT_VALUES | {"environments": {"qa-eu": ["sluice-qa"]}})
    (found,) = of_kind(made, "ApplicationSet")
    (chosen,) = found["spec"]["generators"][0]["clusters"]["selector"]["matchExpressions"]
    assert chosen == {"key": "environment", "operator": "In", "values": ["dev", "prod", "qa-eu", "staging"]}
    assert {each["metadata"]["name"] for each in of_kind(made, "AppProject")} >= {"qa-eu", "platform"}


@pytest.mark.parametrize("name", ["clusters", "platform", "root"])
def test_an_environment_is_not_called_as_another_project(name: str) -> None:
    with pytest.raises(Refused, match=name):
        projects(environments={name: ["sluice-qa"]})


def test_an_environment_and_a_namespace_of_any_name_reach_the_cluster() -> None:
    """As README.md says: what the projects allow is what the cluster's Applications ask for."""
    told = secret("dev")
    told["metadata"]["labels"]["environment"] = told["stringData"]["name"] = "qa-eu"
    told["metadata"]["annotations"]["service_namespace"] = "events"
    allowed = projects(environments={"qa-eu": ["qa-eu"]}, namespace="events")
    for part, application in argocd.applications(told).items():
        spec = application["spec"]
        assert spec["project"] == ("platform" if part == "operator" else "qa-eu")
        assert spec["destination"] == {"name": "qa-eu", "namespace": "events"}
        assert spec["destination"] in allowed[spec["project"]]["spec"]["destinations"]


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_a_cluster_gets_operator_then_keys_and_service(name: str) -> None:
    found = argocd.applications(secret(name))
    waves = {part: each["metadata"]["annotations"]["argocd.argoproj.io/sync-wave"] for part, each in found.items()}
    assert waves == {"operator": "0", "keys": "1", "service": "1"}
    assert {each["metadata"]["name"] for each in found.values()} == {f"sluice-{name}-{part}" for part in waves}
    assert {part: each["spec"]["project"] for part, each in found.items()} == {
        "operator": "platform",
        "keys": name,
        "service": name,
    }


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_the_chart_takes_what_each_application_gives_it(name: str) -> None:
    found = argocd.applications(secret(name))
    service, operator = argocd.manifests(found["service"]), argocd.manifests(found["operator"])
    (deployment,) = of_kind(service, "Deployment")
    image = deployment["spec"]["template"]["spec"]["containers"][0]["image"]
    assert image == "123456789012.dkr.ecr.eu-central-1.amazonaws.com/sluice@sha256:" + f"{1:064x}"
    assert {each["kind"] for each in operator} >= {"CustomResourceDefinition", "ValidatingAdmissionPolicy", "Deployment"}
    assert not of_kind(operator, "Job")
    assert len(of_kind(service, "Job")) == 1


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_each_project_allows_just_what_its_applications_make(name: str) -> None:
    """Every kind that is made is allowed; the environment's own project allows no object of the cluster."""
    found, allowed = argocd.applications(secret(name)), projects()
    for part in ("operator", "service"):
        spec = allowed[found[part]["spec"]["project"]]["spec"]
        kinds = [*spec["clusterResourceWhitelist"], *spec["namespaceResourceWhitelist"]]
        for each in argocd.manifests(found[part]):
            group = each["apiVersion"].rpartition("/")[0]
            assert {"group": group, "kind": each["kind"]} in kinds, part
    assert allowed[name]["spec"]["clusterResourceWhitelist"] == []


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_an_application_goes_where_its_project_lets_it(name: str) -> None:
    allowed = projects()
    for application in argocd.applications(secret(name)).values():
        spec = allowed[application["spec"]["project"]]["spec"]
        assert application["spec"]["destination"] in spec["destinations"]
        assert application["spec"]["source"]["repoURL"] in spec["sourceRepos"]


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_what_is_allowed_is_used_or_could_be_switched_on(name: str) -> None:
    """The kinds of the environment's project are those of the chart with everything on, and the two of the keys."""
    optional = {
        "ConfigMap",
        "PersistentVolumeClaim",
        "HorizontalPodAutoscaler",
        "HTTPRoute",
        "PrometheusRule",
        "ServiceMonitor",
        "Ingress",
        "ScaledObject",
        "TriggerAuthentication",
    }
    made = {each["kind"] for each in argocd.manifests(argocd.applications(secret(name))["service"])}
    allowed = {each["kind"] for each in projects()[name]["spec"]["namespaceResourceWhitelist"]}
    assert allowed - made <= optional | {"ApiKey", "KeySet"}


def test_an_object_is_made_by_one_application_whatever_the_environment_s_values_add() -> None:
    """Argo CD refuses the sync of what another Application has made (FailOnSharedResource)."""
    own = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": "own"},
        "spec": {"podSelector": {}},
    }
    monitoring = {
        "serviceMonitor": {"enabled": True},
        "prometheusRule": {"enabled": True, "runbookBaseUrl": "https://example.org"},
        "dashboard": {"enabled": True},
    }
    told = secret("dev")
    told["metadata"]["annotations"]["sluice_helm_values"] += yaml.safe_dump({"extraObjects": [own], "monitoring": monitoring})
    found = argocd.applications(told)
    made = {
        part: {(one["kind"], one["metadata"]["name"]) for one in argocd.manifests(found[part])}
        for part in ("operator", "service")
    }
    assert made["operator"] & made["service"] == set()
    assert ("NetworkPolicy", "own") in made["service"]


SPACE = "sluice"


def joined(told: Object) -> tuple[Network, dict[str, Peer]]:
    """The NetworkPolicies and the pods of operator and service in one namespace."""
    made = [one for part in ("operator", "service") for one in argocd.manifests(argocd.applications(told)[part])]
    allowed = Network(of_kind(made, "NetworkPolicy"), {SPACE: {"kubernetes.io/metadata.name": SPACE}}, SPACE)
    return allowed, {title: peer(pod, SPACE) for title, pod in pods(made).items()}


def test_the_operator_may_ask_the_service_of_the_other_application() -> None:
    allowed, found = joined(secret("dev"))
    operator, service = found["Deployment/sluice-operator"], found["Deployment/sluice"]
    assert [allowed.may(operator, service, port) for port in (8080, 8081, 8082)] == [True, True, False]


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_a_value_in_git_stops_the_operator_for_a_restore(name: str) -> None:
    """As the operator's guide says: what kubectl scales, Argo CD scales back."""
    told = secret(name)
    told["metadata"]["annotations"]["sluice_helm_values"] += yaml.safe_dump({"operator": {"replicas": 0}})
    made = argocd.manifests(argocd.applications(told)["operator"])
    assert [one["spec"]["replicas"] for one in of_kind(made, "Deployment")] == [0]
    assert of_kind(made, "PodDisruptionBudget") == []
    guide = (ROOT / "docs" / "operator.md").read_text()
    assert "`operator.replicas: 0`" in guide.partition("## Backup and restore")[2].partition("\n## ")[0]


def test_a_mesh_in_an_environment_s_values_reaches_the_operator_too() -> None:
    """Before the service is made: what its Application adds would come too late."""
    told, mesh = secret("dev"), Peer(ip="10.0.0.9")
    rules = {"networkPolicy": {way: [{"ports": [{"port": 15008}]}] for way in ("extraIngress", "extraEgress")}}
    told["metadata"]["annotations"]["sluice_helm_values"] += yaml.safe_dump(rules)
    allowed, found = joined(told)
    assert len(found) == 3
    assert [title for title, pod in found.items() if not (allowed.may(pod, mesh, 15008) and allowed.may(mesh, pod, 15008))] == []
    operator, service = found["Deployment/sluice-operator"], found["Deployment/sluice"]
    assert allowed.may(operator, service, 8081), "the environment's rules took the place of the operator's"


def test_nothing_is_left_open() -> None:
    """No `default` project, no `*`, no HEAD, in what Argo CD reads."""
    documents = [
        *argocd.rendered(ARGOCD / "root", ROOT_VALUES),
        *(app for name in ENVIRONMENTS for app in argocd.applications(secret(name)).values()),
    ]
    leaves = [(path, value) for document in documents for path, value in walk(document)]
    assert [pair for pair in leaves if pair[1] in ("*", "HEAD") or (pair[0].endswith("project") and pair[1] == "default")] == []
    assert [path for path, _ in leaves if "ignoreDifferences" in path or "finalizers" in path] == []


def walk(node: Any, path: str = "") -> list[tuple[str, Any]]:
    if isinstance(node, dict):
        return [pair for key, value in node.items() for pair in walk(value, f"{path}.{key}")]
    if isinstance(node, list):
        return [pair for value in node for pair in walk(value, path)]
    return [(path, node)]


def test_every_application_heals_prunes_last_and_never_becomes_empty() -> None:
    for name in ENVIRONMENTS:
        for application in argocd.applications(secret(name)).values():
            policy = application["spec"]["syncPolicy"]
            assert policy["automated"] == {"prune": True, "selfHeal": True, "allowEmpty": False}
            assert {"ServerSideApply=true", "PruneLast=true", "FailOnSharedResource=true"} <= set(policy["syncOptions"])
            assert policy["retry"]["refresh"] is True


def test_pruning_asks_where_data_would_go() -> None:
    """A key set owns every key, the kinds every object, a claim the database."""
    for name in ENVIRONMENTS:
        keyset = yaml.safe_load((ARGOCD / "environments" / name / "keys" / "keyset.yaml").read_text())
        assert keyset["metadata"]["annotations"]["argocd.argoproj.io/sync-options"] == "Prune=confirm,Delete=confirm"
        assert keyset["spec"]["environment"] == name
    for each in of_kind(argocd.manifests(argocd.applications(secret("prod"))["operator"]), "CustomResourceDefinition"):
        assert each["metadata"]["annotations"]["argocd.argoproj.io/sync-options"] == "Prune=false,Delete=false"


def test_prod_is_not_released_by_itself_at_the_weekend_and_its_keys_are() -> None:
    windows = projects()["prod"]["spec"]["syncWindows"]
    assert [(each["kind"], each["manualSync"]) for each in windows] == [("deny", True)]
    held = [
        name
        for name in ("sluice-prod-service", "sluice-prod-keys")
        for w in windows
        if any(fnmatchcase(name, p) for p in w["applications"])
    ]
    assert held == ["sluice-prod-service"]
    assert "syncWindows" not in projects()["staging"]["spec"]


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_an_environment_is_a_few_lines_over_the_defaults(name: str) -> None:
    values = argocd.values_of(name)
    assert len(values.splitlines()) <= 12
    assert environment.read(values, None, name).release is None, "nothing of ours is released in the template"


def test_every_annotation_that_is_read_is_handed_over_and_every_other_is_documented() -> None:
    annotations, labels = (set(secret("dev")["metadata"][part]) for part in ("annotations", "labels"))
    read = argocd.read_by_templates("annotations")
    assert read <= annotations
    assert argocd.read_by_templates("labels") <= labels
    told = set(re.findall(r"`(\w+)`", (ARGOCD / "README.md").read_text()))
    assert annotations - read - told == set()
    assert labels - argocd.read_by_templates("labels") - told - {"argocd.argoproj.io/secret-type"} == set()


def test_the_chart_takes_a_queue_and_a_table_as_they_are_handed_over() -> None:
    told = yaml.safe_load(handover.text("dev", beyond=True))["metadata"]["annotations"]
    values = yaml.safe_load(told["sluice_helm_values"])
    image = {"image": {"digest": "sha256:" + "0" * 64}}
    objects = parse(template(merged(values, image)))
    found = {pod["spec"]["containers"][0]["name"]: pod["spec"] for pod in pods(objects).values()}
    assert (found["sluice"]["serviceAccountName"], found["worker"]["serviceAccountName"]) == ("sluice", "sluice-worker")
    for name in ("sluice", "worker"):
        given = {one["name"]: one.get("value") for one in found[name]["containers"][0]["env"]}
        assert (given["STORAGE_TYPE"], given["TABLE_NAME"]) == ("dynamodb", "sluice-dev-events")
        assert given["QUEUE_URL"] == "sqs://eu-central-1/sluice-dev-"


def test_a_cluster_without_terraform_runs_by_the_secret_that_the_readme_shows() -> None:
    shown = yaml.safe_load(docs.section(ARGOCD / "README.md", "cluster").strip("`").removeprefix("yaml"))
    assert shown["metadata"]["annotations"].keys() == argocd.read_by_templates("annotations")
    found = argocd.applications(shown)
    (deployment,) = of_kind(argocd.manifests(found["service"]), "Deployment")
    assert deployment["spec"]["template"]["spec"]["containers"][0]["image"].startswith("registry.example.org/sluice@sha256:")
    assert of_kind(argocd.manifests(found["operator"]), "Deployment")


@pytest.mark.parametrize("name", sorted(argocd.read_by_templates("annotations")))
def test_an_empty_annotation_never_reaches_a_manifest(name: str) -> None:
    changed = secret("dev")
    changed["metadata"]["annotations"][name] = ""
    with pytest.raises(Refused, match=r"minLength|length"):
        argocd.applications(changed)


def test_a_handover_that_is_no_yaml_is_named() -> None:
    changed = secret("dev")
    changed["metadata"]["annotations"]["sluice_helm_values"] = "a: b: c"
    with pytest.raises(Refused, match="sluice_helm_values is no YAML"):
        argocd.applications(changed)


@pytest.mark.parametrize("repository", ["", "*", "https://user:secret@github.com/x", "ftp://x"])
def test_a_repository_that_is_none_is_refused(repository: str) -> None:
    with pytest.raises(Refused, match="repository"):
        argocd.rendered(ARGOCD / "root", {"repository": repository})


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ARGOCD)))
def test_no_repository_is_written_down(file: Any) -> None:
    """It stands in one place: `gitops` of Terraform."""
    assert "github.com" not in file.read_text() or file.parent.name == "image-updater"


def test_argo_cd_is_small_enough_to_read() -> None:
    """Without each environment's own values, and the add-on that adopters may apply."""
    read = [file for file in FILES if file.suffix != ".sh" and not {"environments", "controllers"} & set(file.parts)]
    lines = sum(len(file.read_text().splitlines()) for file in read)
    assert lines <= 400
