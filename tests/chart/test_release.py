"""What every set of values renders to, whatever it is for: the promises that hold for the chart as a whole."""

from __future__ import annotations

import json
import re
import shutil
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests import docs
from tests.chart import closure, kubernetes, pod_security, values_table
from tests.chart.manifests import Object, annotation, of_kind, only, parse, pod_of, pods, title
from tests.chart.network_policy import Network, Peer, matches, peer
from tests.chart.render import (
    CHART,
    NAMESPACE,
    PLAIN,
    RELEASE,
    SETS,
    Refused,
    copied,
    helm,
    manifest,
    merged,
    render,
    template,
    values_of,
)

from sluice.queue import EVENTS

FIXTURES = Path(__file__).parent / "fixtures"
# What Kubernetes itself puts into every namespace.
GIVEN = {"kube-root-ca.crt"}
# What a release may never change: a selector with anything else in it can not be upgraded.
IMMUTABLE = {"app.kubernetes.io/name", "app.kubernetes.io/instance", "app.kubernetes.io/component"}
SMTP = 25
# apimachinery's rule for the value of a label.
LABEL = re.compile(r"(?=.{0,63}$)(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?")
NEWEST_COMMON = "1.36"
LOCAL_VOLUMES = "cluster-autoscaler.kubernetes.io/safe-to-evict-local-volumes"

every_set = pytest.mark.parametrize("name", SETS)


def test_there_are_at_least_twelve_sets_of_values() -> None:
    assert len(SETS) >= 12


@every_set
def test_helm_lint_finds_nothing(name: str) -> None:
    done = helm("lint", "--strict", "--quiet", CHART, "--values", SETS[name])
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_catalogue_of_charts_finds_who_makes_it_and_what_it_is() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text(encoding="utf-8"))
    assert {"home", "sources", "icon", "maintainers", "annotations", "keywords"} <= chart.keys()
    assert chart["icon"].startswith("https://")
    assert (CHART / chart["icon"].rpartition("/")[2]).is_file()
    kinds = {one["name"] for one in yaml.safe_load(chart["annotations"]["artifacthub.io/crds"])}
    assert kinds == {one["metadata"]["name"] for one in of_kind(render("operator"), "CustomResourceDefinition")}


def test_helm_lint_refuses_what_helm_template_refuses_in_the_same_words() -> None:
    done = helm("lint", "--quiet", CHART, "--values", SETS[PLAIN], "--set", "timing.preStopSeconds=20")
    assert done.returncode != 0
    assert "timing.preStopSeconds 20" in done.stdout


def test_a_version_of_kubernetes_that_is_too_old_is_refused_as_the_readme_says() -> None:
    """A Helm that is older than the cluster renders with its own version of Kubernetes, until it is given one."""
    told = values_table.README.read_text(encoding="utf-8")
    with pytest.raises(Refused, match="chart requires kubeVersion"):
        template({}, SETS[PLAIN], version="1.33.0")
    assert "chart requires kubeVersion" in told
    given = re.search(r"--kube-version ([0-9.]+)", told)
    assert given is not None
    assert template({}, SETS[PLAIN], version=given[1])


@pytest.mark.parametrize("release", ["9events", "prod.events"])
def test_a_release_whose_services_kubernetes_would_refuse_is_refused_with_the_fix(release: str) -> None:
    """Helm takes such a name, and Argo CD names releases after Applications."""
    with pytest.raises(Refused, match=f"{release}-sluice.* set fullnameOverride"):
        template({}, SETS[PLAIN], release=release)
    assert template({"fullnameOverride": "events"}, SETS[PLAIN], release=release)


def test_the_longest_release_name_that_helm_takes_names_objects_that_kubernetes_takes() -> None:
    objects = parse(template({}, SETS["everything"], release="a" + "b" * 52))
    assert {len(one["metadata"]["name"]) for one in objects if one["kind"] in ("Service", "Job", "Pod")} <= set(range(64))
    labels = [text for one in objects for text in one["metadata"].get("labels", {}).values()]
    assert max(map(len, labels)) <= 63


def looking_like(word: str, values: dict[str, Any], node: dict[str, Any]) -> dict[str, Any]:
    """`word` for each text among the values that is set and that the schema lets be so."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        its = node["properties"].get(name, {})
        if isinstance(value, dict) and "properties" in its:
            found[name] = looking_like(word, value, its)
        elif value and re.search(its.get("pattern", "$^"), word):
            found[name] = word
    return found


@every_set
@pytest.mark.parametrize("words", [("1234", "12", "34"), ("on", "off", "yes")], ids=["1234", "on"])
def test_a_name_that_yaml_takes_for_another_type_stays_text(name: str, words: tuple[str, ...]) -> None:
    """A namespace may be called 1234, a Secret on."""
    word = words[0]
    empty = {"nameOverride": word, "priorityClassName": word, "ingress": {"className": word}}
    # Each account has a name of its own; that of a worker is the word.
    accounts = {"serviceAccount": {"service": {"name": words[1]}, "migrate": {"name": words[2]}}}
    values = looking_like(word, values_of(name), values_table.schema())
    values = merged(values, {**empty, **accounts, "operator": {"watchNamespaces": [word]}})
    objects = parse(template(values, SETS[name], release=f"a{word}", arguments=("--namespace", word)))
    assert [error for one in objects for error in kubernetes.errors(one, NEWEST_COMMON)] == []


@pytest.mark.parametrize("given", [1, 1.0, "1"])
def test_an_amount_of_cpu_may_be_a_number_and_is_rendered_as_text(given: float | str) -> None:
    cpu = {"requests": {"cpu": given}, "limits": {"cpu": given}}
    objects = render("operator", {"resources": cpu, "migration": {"resources": cpu}, "operator": {"resources": cpu}})
    containers = [pod["spec"]["containers"][0] for where, pod in pods(objects).items() if not where.startswith("Pod/")]
    assert [one["resources"][part]["cpu"] for one in containers for part in ("requests", "limits")] == ["1"] * 6


@pytest.mark.parametrize("name", ["default", "everything", "embedded", "http-route", "pull"])
def test_two_releases_in_one_namespace_share_no_object(name: str) -> None:
    """The second takes its keys from the operator of the first."""
    beside = {"operator": {"enabled": False}, "auth": {"keySet": {"secretName": "blue-sluice-published"}}}
    second = parse(template(beside, SETS[name], release="green"))
    assert {title(one) for one in render(name)} & {title(one) for one in second} == set()


@every_set
def test_a_second_render_is_the_same_to_the_byte(name: str) -> None:
    assert template({}, SETS[name]) == manifest(name)


@every_set
def test_every_object_fits_its_schema(name: str) -> None:
    assert [words for one in render(name) for words in kubernetes.errors(one, NEWEST_COMMON)] == []


@every_set
def test_every_pod_is_restricted(name: str) -> None:
    """Hooks and tests too; a namespace that enforces *restricted* refuses none."""
    found = {title: pod_security.violations(pod) for title, pod in pods(render(name)).items()}
    assert found
    assert {title: words for title, words in found.items() if words} == {}


@every_set
def test_every_pod_is_as_strong_as_this_house_asks(name: str) -> None:
    found = {title: pod_security.weaknesses(pod) for title, pod in pods(render(name)).items()}
    assert {title: words for title, words in found.items() if words} == {}


@every_set
def test_nothing_that_a_pod_needs_comes_too_late(name: str) -> None:
    assert closure.late(render(name), external=external(values_of(name))) == []


@every_set
def test_no_pod_reaches_what_nobody_allowed_or_the_policies_are_off(name: str) -> None:
    policies = of_kind(render(name), "NetworkPolicy")
    network = Network(policies, {NAMESPACE: {}}, NAMESPACE)
    reached = [
        title for title, pod in pods(render(name)).items() if network.may(peer(pod, NAMESPACE), Peer(ip="203.0.113.9"), SMTP)
    ]
    assert reached == [] or not values_of(name)["networkPolicy"]["enabled"]


@every_set
def test_no_two_objects_have_one_name(name: str) -> None:
    titles = [(title(one), namespace_of(one)) for one in render(name)]
    assert len(titles) == len(set(titles))


@every_set
def test_every_object_is_of_the_release(name: str) -> None:
    """Labels say whose it is; a namespace that is named is the release's, but for the operator's rights where it watches."""
    for one in render(name):
        watched = set(values_of(name)["operator"]["watchNamespaces"]) if one["kind"] in ("Role", "RoleBinding") else set()
        labels = one["metadata"]["labels"]
        assert labels["app.kubernetes.io/instance"] == RELEASE, title(one)
        assert labels["app.kubernetes.io/managed-by"] == "Helm", title(one)
        assert namespace_of(one) in {NAMESPACE} | watched, title(one)


@every_set
def test_the_only_hook_is_the_test(name: str) -> None:
    hooks = {annotation(one, "helm.sh/hook") for one in render(name)}
    assert hooks - {""} == {"test"}
    assert {annotation(one, "argocd.argoproj.io/hook") for one in render(name)} == {""}


@every_set
def test_no_pod_but_operator_and_test_of_gates_has_a_token_of_the_kubernetes_api(name: str) -> None:
    """No other asks for one, and no account gives one by itself."""
    for whose, pod in pods(render(name)).items():
        assert pod["spec"]["automountServiceAccountToken"] is False, whose
        sources = [source for volume in pod["spec"]["volumes"] for source in (volume.get("projected") or {}).get("sources", [])]
        assert any("serviceAccountToken" in source for source in sources) is (component(pod) in ("operator", "test-gates")), whose
    for account in of_kind(render(name), "ServiceAccount"):
        assert account["automountServiceAccountToken"] is False, title(account)


@every_set
def test_a_deployment_with_an_autoscaler_does_not_set_its_replicas(name: str) -> None:
    """Helm 4 applies server-side: two managers of one field are a conflict at the next upgrade."""
    scalers = of_kind(render(name), "HorizontalPodAutoscaler") + of_kind(render(name), "ScaledObject")
    scaled = {one["spec"]["scaleTargetRef"]["name"] for one in scalers}
    for deployment in of_kind(render(name), "Deployment"):
        assert ("replicas" in deployment["spec"]) is (deployment["metadata"]["name"] not in scaled)


def test_a_scaler_of_another_kind_finds_a_deployment_without_replicas() -> None:
    """KEDA makes a HorizontalPodAutoscaler of its own; what it may choose is reckoned with all the same."""
    scaled = {"autoscaling": {"external": True}}
    objects = render("autoscaling", scaled)
    assert of_kind(objects, "HorizontalPodAutoscaler") == []
    assert ["replicas" in one["spec"] for one in of_kind(objects, "Deployment")] == [False]
    with pytest.raises(Refused, match=r"database\.maxConnections"):
        template(scaled | {"database": {"maxConnections": 80}}, SETS["autoscaling"])


def test_keda_counts_workers_by_the_queue_with_the_broker_s_own_secret() -> None:
    objects = render("queue")
    (trigger,) = only(objects, "ScaledObject")["spec"]["triggers"]
    login = only(objects, "TriggerAuthentication")
    assert (trigger["metadata"]["queueName"], trigger["metadata"]["value"]) == (EVENTS, "200")
    assert trigger["authenticationRef"]["name"] == login["metadata"]["name"]
    assert login["spec"]["secretTargetRef"] == [{"parameter": "host", "name": "sluice-broker", "key": "QUEUE_URL"}]


def test_keda_counts_workers_by_sqs_with_the_identity_of_its_own_operator() -> None:
    objects = render("sqs")
    (trigger,) = only(objects, "ScaledObject")["spec"]["triggers"]
    login = only(objects, "TriggerAuthentication")
    asked = {"queueURL": f"sluice-prod-{EVENTS}", "awsRegion": "eu-central-1", "queueLength": "200"}
    assert (trigger["type"], trigger["metadata"]) == ("aws-sqs-queue", asked)
    assert trigger["authenticationRef"]["name"] == login["metadata"]["name"]
    assert login["spec"] == {"podIdentity": {"provider": "aws"}}


def accounts(values: dict[str, Any]) -> dict[str, str]:
    """The ServiceAccount of each component's pods, over the set with SQS."""
    return {component(pod): pod["spec"].get("serviceAccountName", "") for pod in pods(render("sqs", values)).values()}


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ({"create": False, "name": ""}, "blue-sluice"),
        ({"create": True, "name": ""}, "blue-sluice-worker"),
        ({"create": False, "name": "made-by-others"}, "made-by-others"),
    ],
)
def test_a_worker_has_an_account_of_its_own_only_where_it_is_asked_for(given: dict[str, Any], name: str) -> None:
    values = {"serviceAccount": {"worker": given}}
    assert (accounts(values)["service"], accounts(values)["worker"]) == ("blue-sluice", name)
    made = {one["metadata"]["name"] for one in of_kind(render("sqs", values), "ServiceAccount")}
    assert ("blue-sluice-worker" in made) is given["create"]


def test_without_postgresql_no_pod_asks_for_a_secret_of_a_database() -> None:
    for whose, pod in pods(render("sqs")).items():
        assert not {"database", "broker"} & {volume["name"] for volume in pod["spec"].get("volumes", [])}, whose
        names = {one["name"] for one in pod["spec"]["containers"][0].get("env", [])}
        assert not {name for name in names if name.startswith(("DB_", "DATABASE_"))}, whose


def test_a_worker_is_probed_on_its_own_port_and_ends_its_batch_before_it_is_killed() -> None:
    worker = next(one for one in of_kind(render("queue"), "Deployment") if component(one) == "worker")
    spec = spec_of(worker)
    probes = {name: spec["containers"][0][name]["httpGet"] for name in ("startupProbe", "livenessProbe", "readinessProbe")}
    assert [one["path"] for one in probes.values()] == ["/liveness", "/liveness", "/readiness"]
    assert {one["port"] for one in probes.values()} == {"admin"}
    assert spec["containers"][0]["args"] == ["worker"]
    assert spec["terminationGracePeriodSeconds"] >= 60


@every_set
def test_an_autoscaler_names_its_metrics_in_the_order_the_api_server_keeps(name: str) -> None:
    """Sorted by type and name as the controller writes them, or Argo CD sees a difference for ever (argo-cd#1079)."""
    for scaler in of_kind(render(name), "HorizontalPodAutoscaler"):
        assert scaler["apiVersion"] == "autoscaling/v2"
        names = [one["containerResource"]["name"] for one in scaler["spec"]["metrics"]]
        assert names == sorted(names, reverse=True)
        assert scaler["spec"]["behavior"].keys() == {"scaleUp", "scaleDown"}


def test_an_autoscaler_counts_the_service_s_own_container_for_a_sidecar_may_request_no_cpu() -> None:
    (metric,) = only(render("autoscaling"), "HorizontalPodAutoscaler")["spec"]["metrics"]
    (container,) = service("autoscaling")["spec"]["template"]["spec"]["containers"]
    assert (metric["type"], metric["containerResource"]["container"]) == ("ContainerResource", container["name"])
    assert metric["containerResource"]["name"] in container["resources"]["requests"]


@every_set
def test_a_disruption_budget_always_leaves_a_pod_to_evict(name: str) -> None:
    for budget in of_kind(render(name), "PodDisruptionBudget"):
        fewest = fewest_pods(name)
        assert "maxUnavailable" in budget["spec"] or budget["spec"]["minAvailable"] < fewest
        assert budget["spec"]["unhealthyPodEvictionPolicy"] == "AlwaysAllow"


@every_set
def test_no_volume_of_the_chart_keeps_the_cluster_autoscaler_from_removing_a_node(name: str) -> None:
    theirs = {volume["name"] for volume in values_of(name)["extraVolumes"]}
    for each in of_kind(render(name), "Deployment"):
        template = each["spec"]["template"]
        local = {volume["name"] for volume in template["spec"]["volumes"] if "emptyDir" in volume} - theirs
        assert local <= set(template["metadata"]["annotations"][LOCAL_VOLUMES].split(","))


def test_an_annotation_of_pods_that_the_user_sets_wins() -> None:
    theirs = {LOCAL_VOLUMES: "tmp", "team": "a"}
    made = of_kind(render(PLAIN, {"podAnnotations": theirs}), "Deployment")[0]
    assert made["spec"]["template"]["metadata"]["annotations"] == theirs


@every_set
def test_pods_spread_over_zones_and_nodes_by_revision(name: str) -> None:
    """Without pod-template-hash the pods of the old revision distort where the new ones go."""
    spread = spec_of(service(name)).get("topologySpreadConstraints", [])
    assert bool(spread) is values_of(name)["topologySpread"]["enabled"]
    assert {one["topologyKey"] for one in spread} in (set(), {"topology.kubernetes.io/zone", "kubernetes.io/hostname"})
    assert all(one["matchLabelKeys"] == ["pod-template-hash"] for one in spread)
    assert all(matches(one["labelSelector"], service(name)["spec"]["template"]["metadata"]["labels"]) for one in spread)


@pytest.mark.parametrize(
    ("built", "chosen", "kept"),
    [
        (["amd64", "arm64"], {}, None),
        (["arm64"], {}, "arm64"),
        (["amd64", "arm64"], {"kubernetes.io/arch": "amd64"}, "amd64"),
        (["arm64"], {"kubernetes.io/arch": "arm64"}, "arm64"),
    ],
)
def test_every_pod_is_kept_to_nodes_that_can_run_its_image(built: list[str], chosen: dict[str, str], kept: str | None) -> None:
    objects = render("operator", {"image": {"architectures": built}, "nodeSelector": chosen})
    found = [pod["spec"]["nodeSelector"] for pod in pods(objects).values()]
    assert len(found) == 4
    assert all(one["kubernetes.io/os"] == "linux" and one.get("kubernetes.io/arch") == kept for one in found)


@every_set
def test_ingress_and_route_are_never_both(name: str) -> None:
    assert len(of_kind(render(name), "Ingress")) + len(of_kind(render(name), "HTTPRoute")) <= 1


@every_set
def test_the_world_reaches_the_api_and_nothing_else(name: str) -> None:
    ports = {port["name"]: port for port in only_service(name)["spec"]["ports"]}
    for backend in backends(render(name)):
        assert backend["service"] == only_service(name)["metadata"]["name"]
        assert backend["port"] in ("http", ports["http"]["port"])


@every_set
def test_the_world_reaches_every_endpoint_of_the_api_and_no_probe(name: str) -> None:
    """The README's table is held to what the service serves (tests/unit/test_docs.py)."""
    served = {endpoint.partition(" ")[2] for row in docs.table("Endpoints") for endpoint in docs.quoted(row[0])}
    routes = paths(render(name))
    reached = {path for path in served if any(leads(route, path) for route in routes)}
    assert reached == (served - {"/health", "/readiness", "/liveness"} if routes else set())
    assert not any(leads(route, admin) for route in routes for admin in ("/metrics", "/keyset"))


@every_set
def test_selectors_are_of_labels_that_never_change(name: str) -> None:
    for one, selector in selectors(render(name)):
        assert selector.keys() <= IMMUTABLE, title(one)
        assert {"app.kubernetes.io/name", "app.kubernetes.io/instance"} <= selector.keys(), title(one)


@every_set
def test_every_selector_finds_its_pods(name: str) -> None:
    labels = [pod["metadata"]["labels"] for pod in pods(render(name)).values()]
    for one, selector in selectors(render(name)):
        assert any(matches({"matchLabels": selector}, one_s) for one_s in labels), title(one)


def test_a_job_of_one_name_is_one_job() -> None:
    """A Job's template can not be changed: what differs has to have another name."""
    templates: dict[str, set[str]] = defaultdict(set)
    for name in SETS:
        for job in of_kind(render(name), "Job"):
            templates[job["metadata"]["name"]].add(json.dumps(job["spec"], sort_keys=True))
    assert templates
    assert {job for job, different in templates.items() if len(different) > 1} == set()


def test_another_image_is_another_job_and_other_replicas_are_not() -> None:
    first, more, newer = (job_name(values) for values in ({}, {"replicaCount": 2}, {"image": {"digest": f"sha256:{'f' * 64}"}}))
    assert first == more != newer


@every_set
def test_a_finished_job_stays(name: str) -> None:
    """Deleted by its time to live, Argo CD would find it missing and migrate again."""
    assert [job for job in of_kind(render(name), "Job") if "ttlSecondsAfterFinished" in job["spec"]] == []


@pytest.mark.parametrize("version", ["0.1.0-main.20261130+7ebc91a.dirty", f"0.1.0-{'a' * 49}.20261130", "0.1.0+sha.7ebc91a"])
def test_a_label_takes_every_version_that_a_chart_is_packaged_with(version: str, tmp_path: Path) -> None:
    chart = copied(tmp_path)
    file = chart / "Chart.yaml"
    file.write_text(file.read_text(encoding="utf-8").replace(" 0.1.0\n", f" {version}\n"), encoding="utf-8")
    objects = parse(template({}, SETS[PLAIN], chart=chart))
    labels = [one["metadata"]["labels"] for one in objects + list(pods(objects).values())]
    assert len([one for one in labels if "0.1.0" in one["app.kubernetes.io/version"]]) == len(labels)
    assert [text for one in labels for text in one.values() if not LABEL.fullmatch(text)] == []


@pytest.fixture(scope="module")
def umbrella(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The fixture's chart with this one as its dependency, resolved as a user does it."""
    folder = tmp_path_factory.mktemp("umbrella")
    shutil.copytree(CHART, folder / "sluice")
    parent = Path(shutil.copytree(FIXTURES / "parent", folder / "parent"))
    done = helm("dependency", "update", parent)
    assert done.returncode == 0, done.stderr
    return parent


def test_an_umbrella_chart_renders_what_the_chart_alone_does(umbrella: Path) -> None:
    values = yaml.safe_load(SETS[PLAIN].read_text(encoding="utf-8"))
    inside = parse(template({"sluice": values, "global": {"team": "events"}}, chart=umbrella))
    assert inside == render(PLAIN)


def test_an_umbrella_chart_switches_it_off(umbrella: Path) -> None:
    assert parse(template({"sluice": {"enabled": False}}, chart=umbrella)) == []


def external(values: dict[str, Any]) -> set[str]:
    """Names of what the values say is made elsewhere, and a Pod can not start without."""
    accounts = {one["name"] or "default" for one in values["serviceAccount"].values() if not one["create"]}
    return GIVEN | {one["name"] for one in values["imagePullSecrets"]} | {values["tests"]["keySecret"]["name"]} | accounts


def service(name: str) -> Object:
    return next(one for one in of_kind(render(name), "Deployment") if component(one) == "service")


def only_service(name: str) -> Object:
    found = [one for one in render(name) if component(one) == "service" and not one["metadata"]["name"].endswith("-admin")]
    return only(found, "Service")


def namespace_of(one: Object) -> str:
    """Of what the cluster has one of, the release's: it has none."""
    found: str = one["metadata"].get("namespace", NAMESPACE)
    return found


def component(one: Object) -> str:
    found: str = one["metadata"]["labels"]["app.kubernetes.io/component"]
    return found


def spec_of(one: Object) -> dict[str, Any]:
    pod = pod_of(one)
    assert pod is not None
    spec: dict[str, Any] = pod["spec"]
    return spec


def fewest_pods(name: str) -> int:
    scalers = of_kind(render(name), "HorizontalPodAutoscaler")
    fewest: int = scalers[0]["spec"]["minReplicas"] if scalers else service(name)["spec"]["replicas"]
    return fewest


def job_name(values: dict[str, Any]) -> str:
    name: str = only(render(PLAIN, values), "Job")["metadata"]["name"]
    return name


def backends(objects: list[Object]) -> list[dict[str, Any]]:
    """Service and port, by number or name, of everything that a route leads to."""
    found = []
    for ingress in of_kind(objects, "Ingress"):
        for rule in ingress["spec"]["rules"]:
            for path in rule["http"]["paths"]:
                to = path["backend"]["service"]
                found.append({"service": to["name"], "port": to["port"].get("name") or to["port"].get("number")})
    for route in of_kind(objects, "HTTPRoute"):
        for rule in route["spec"]["rules"]:
            found += [{"service": to["name"], "port": to["port"]} for to in rule["backendRefs"]]
    return found


Route = tuple[bool, str]


def paths(objects: list[Object]) -> list[Route]:
    """Of every route whether it is a prefix, and its path."""
    ingresses = [path for one in of_kind(objects, "Ingress") for rule in one["spec"]["rules"] for path in rule["http"]["paths"]]
    routes = [
        match["path"] for one in of_kind(objects, "HTTPRoute") for rule in one["spec"]["rules"] for match in rule["matches"]
    ]
    assert {one["pathType"] for one in ingresses} | {one["type"].removeprefix("Path") for one in routes} <= {"Exact", "Prefix"}
    by_ingress = [(one["pathType"] == "Prefix", one["path"]) for one in ingresses]
    return by_ingress + [(one["type"] == "PathPrefix", one["value"]) for one in routes]


def leads(route: Route, path: str) -> bool:
    """A prefix matches whole parts of a path, in Ingress and Gateway API alike."""
    prefix, its = route
    return path == its or (prefix and path.startswith(f"{its.rstrip('/')}/"))


def selectors(objects: list[Object]) -> list[tuple[Object, dict[str, str]]]:
    """Every selector by which an object of the chart finds Pods of the chart."""
    found = []
    for one in objects:
        selector = (one.get("spec") or {}).get("selector")
        if selector and one["kind"] not in ("PersistentVolumeClaim", "ServiceMonitor"):
            found.append((one, selector.get("matchLabels", selector)))
    return found
