"""What somebody types on the first day: values that remove, quotas, other ingress controllers, a render without Helm."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from tests import docs
from tests.chart import pod_security
from tests.chart.manifests import annotation, of_kind, only, parse, pods
from tests.chart.render import CHART, NAMESPACE, PLAIN, RELEASE, SETS, Refused, helm, notes, refusal, render, template
from tests.conftest import ROOT

README = CHART / "README.md"
LIMIT = {"resources": {"limits": {"cpu": 1}}}


@pytest.mark.parametrize(
    "values", [{"ingress": {"className": None}}, {"resources": {"limits": None}}, {"pull": {"runsDays": None}}]
)
def test_a_value_that_is_missing_is_refused_in_the_words_of_the_readme(values: dict[str, Any]) -> None:
    """By null, or by --reuse-values of a release before the value was there."""
    with pytest.raises(Refused, match="missing property"):
        template(values, SETS[PLAIN])
    told = " ".join(README.read_text(encoding="utf-8").split())
    assert "`missing property` or `missing properties`" in told
    assert "--reset-then-reuse-values" in told


def test_a_render_without_tests_has_no_pod_that_would_run_at_once() -> None:
    objects = parse(template({}, SETS["ingress-alb"], arguments=("--skip-tests",)))
    assert [one for one in objects if annotation(one, "helm.sh/hook")] == []
    assert of_kind(objects, "Pod") == []


def test_no_command_asks_for_the_log_of_a_test_that_passed_whose_pod_helm_3_has_removed() -> None:
    """It says `pods "sluice-test" not found` and fails (helm#9098); Helm 4 asks first."""
    texts = [
        notes(PLAIN),
        *((ROOT / path).read_text(encoding="utf-8") for path in ("charts/sluice/README.md", "tools/release/chart.sh")),
    ]
    told = [[line.strip() for line in text.splitlines() if line.strip().startswith("helm test ")] for text in texts]
    assert all(told)
    assert [line for lines in told for line in lines if "--logs" in line] == []


@pytest.mark.parametrize("name", ["default", "embedded", "everything", "operator", "queue"])
def test_every_container_may_have_a_limit_of_cpu_as_a_quota_asks(name: str) -> None:
    parts = ("migration", "operator", "pull", "worker")
    objects = render(name, {**LIMIT, **dict.fromkeys(parts, LIMIT)})
    found = [
        one for pod in pods(objects).values() for one in [*pod["spec"]["containers"], *pod["spec"].get("initContainers", [])]
    ]
    assert [one["name"] for one in found if "cpu" not in one["resources"].get("limits", {})] == []


def test_the_readme_removes_whatever_helm_keeps() -> None:
    told = {line.split()[2]: line.split() for line in docs.section(README, "remove").splitlines() if " delete " in line}
    kept = [one for name in SETS for one in render(name) if annotation(one, "helm.sh/resource-policy")]
    assert kept
    for one in kept:
        kind = one["kind"].lower().replace("customresourcedefinition", "crd")
        assert one["metadata"]["name"].replace(f"{RELEASE}-sluice", "sluice") in told[kind]


def test_the_readme_s_values_for_nginx_are_taken() -> None:
    text = docs.section(README, "nginx.yaml").strip("`").removeprefix("yaml")
    ingress = only(parse(template(yaml.safe_load(text), SETS[PLAIN])), "Ingress")
    assert annotation(ingress, "nginx.ingress.kubernetes.io/proxy-body-size") == "0"


def test_the_readme_s_values_below_a_path_take_away_the_path_that_they_let_in() -> None:
    text = docs.section(README, "below-a-path.yaml").strip("`").removeprefix("yaml")
    objects = parse(template(yaml.safe_load(text), SETS[PLAIN]))
    ingress, middleware = only(objects, "Ingress"), only(objects, "Middleware")
    name = f"{middleware['metadata']['namespace']}-{middleware['metadata']['name']}@kubernetescrd"
    assert annotation(ingress, "traefik.ingress.kubernetes.io/router.middlewares") == name
    paths = [path["path"] for rule in ingress["spec"]["rules"] for path in rule["http"]["paths"]]
    assert middleware["spec"]["stripPrefix"]["prefixes"] == paths == ["/sluice"]


def test_the_readme_s_values_for_openshift_leave_users_to_it_and_let_its_prometheus_in() -> None:
    text = docs.section(README, "openshift.yaml").strip("`").removeprefix("yaml")
    objects = parse(template(yaml.safe_load(text), SETS["operator"]))
    chosen = {"runAsUser", "runAsGroup", "fsGroup"}
    assert [name for name, pod in pods(objects).items() if chosen & pod["spec"]["securityContext"].keys()] == []
    scraped = [one for one in of_kind(objects, "NetworkPolicy") if "openshift-user-workload-monitoring" in str(one)]
    assert {one["metadata"]["name"].rpartition("-")[2] for one in scraped} == {"service", "operator"}


@pytest.mark.parametrize("name", ["ca", "csi"])
@pytest.mark.parametrize("base", ["operator", "pull", "queue"])
def test_the_readme_s_volumes_for_certificates_and_secrets_are_in_every_pod_but_the_test_s(name: str, base: str) -> None:
    values = yaml.safe_load(docs.section(README, f"{name}.yaml").strip("`").removeprefix("yaml"))
    objects = render(base, values)
    for title, pod in pods(objects).items():
        (container,) = pod["spec"]["containers"]
        assert (values["extraVolumes"][0] in pod["spec"]["volumes"]) is not title.endswith("-test")
        assert (values["extraVolumeMounts"][0] in container["volumeMounts"]) is not title.endswith("-test")
        names = [one["name"] for one in container.get("env", [])]
        assert ("SSL_CERT_FILE" in names) is (name == "ca" and not title.endswith("-test"))
        assert pod_security.violations(pod) == []


@pytest.mark.parametrize("name", ["ingress-alb", "operator", "pull", "queue", "embedded"])
def test_every_object_and_pod_keeps_what_admission_policies_usually_ask_for(name: str) -> None:
    """Of hooks too. What the README excepts: the test's ServiceAccount, and probes of what ends by itself."""
    objects = render(name, {"commonLabels": {"team": "events"}, "imagePullSecrets": [{"name": "mirror"}]})
    found = [*objects, *pods(objects).values()]
    assert [one for one in found if one["metadata"]["labels"].get("team") != "events"] == []
    for title, pod in pods(objects).items():
        spec, ends = pod["spec"], title.startswith(("Pod/", "Job/"))
        assert spec["imagePullSecrets"] == [{"name": "mirror"}]
        assert spec["automountServiceAccountToken"] is False
        assert ("serviceAccountName" in spec) is not title.endswith("-test")
        assert [pod_security.violations(pod), pod_security.weaknesses(pod)] == [[], []]
        for container in spec["containers"]:
            assert ends or container.keys() >= {"livenessProbe", "readinessProbe"}
    assert [one for one in of_kind(objects, "ServiceAccount") if one["automountServiceAccountToken"]] == []


@pytest.mark.parametrize("name", ["dynamodb", "influxdb", "mongodb"])
def test_a_ca_of_postgresql_is_refused_beside_another_store(name: str) -> None:
    """It was left out without a word, and the store not reached."""
    assert "remove database.caConfigMap.name" in refusal(name, {"database": {"caConfigMap": {"name": "ca"}}})


@pytest.mark.parametrize(
    ("name", "values", "url"),
    [
        ("ingress", "ingress.tls[0].secretName=events-tls", "https://events.example.org"),
        ("default", "ingress.enabled=true,ingress.hosts[0]=events.example.org", "http://events.example.org"),
        ("ingress-alb", "replicaCount=3", "https://events.example.org"),
    ],
)
def test_the_notes_name_the_address_by_whether_there_is_a_certificate(name: str, values: str, url: str) -> None:
    command = ("install", RELEASE, CHART, "--namespace", NAMESPACE, "--dry-run=client", "--values", SETS[name], "--set", values)
    done = helm(*command)
    assert done.returncode == 0, done.stderr
    assert f"URL={url}\n" in done.stdout
    assert ("in plain text" in done.stdout) is url.startswith("http:")
