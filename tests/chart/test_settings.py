"""The service takes every variable that the chart gives it: a misspelt or impossible one would keep every pod from starting."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from tests.chart.manifests import Object, of_kind, pods
from tests.chart.mutation import nodes, placed
from tests.chart.render import NAMESPACE, PLAIN, SETS, Refused, merged, render, values_of
from tests.chart.values_table import schema

from sluice.settings import Settings, known
from sluice.sources import definitions
from sluice_operator.settings import Settings as OperatorSettings
from sluice_operator.settings import known as operator_settings

# What the mounted Secrets hold.
SECRETS = {
    "API_KEYS_FILE": "a-plain-key-of-some-length",
    "DATABASE_URL_FILE": "postgresql://sluice@db.example.org/sluice",
    "QUEUE_URL_FILE": "amqps://sluice:password@broker.example.org/production",
    "REDIS_URL_FILE": "redis://redis.example.org",
    "MONGODB_URI_FILE": "mongodb://sluice:password@mongodb.example.org/events",
    "INFLUXDB_TOKEN_FILE": "a-token",
}
# Read by others than the service's settings: the AWS SDK, `sluice check`.
FOREIGN = {"MALLOC_ARENA_MAX", "AWS_REGION", "SLUICE_API_KEY_FILE"}
# What Kubernetes fills in.
FIELDS = {"metadata.namespace": NAMESPACE, "metadata.name": "a-pod"}
ROOMY = {"database": {"maxConnections": 100000}, "resources": {"limits": {"memory": "9999Gi"}}}
# Values that become a variable of the service.
NUMBERS = [
    (path, node[edge])
    for path, node in nodes(schema(), schema())
    for edge in ("minimum", "maximum")
    if path[:1] in (("config",), ("timing",)) and edge in node
]


def variables(pod: Object) -> dict[str, str]:
    """Name to value."""
    return {one["name"]: value_of(one) for container in pod["spec"]["containers"] for one in container.get("env") or []}


def value_of(variable: Object) -> str:
    text: str = variable["value"] if "value" in variable else FIELDS[variable["valueFrom"]["fieldRef"]["fieldPath"]]
    return text


def taken(pod: Object, folder: Path) -> Settings:
    """The settings that a pod starts with, its Secrets at hand; raises what the service would tell."""
    given = variables(pod)
    for name in given.keys() & SECRETS.keys():
        file = folder / name
        file.write_text(SECRETS[name], encoding="utf-8")
        given[name] = str(file)
    return Settings.from_env(given)


def of(objects: list[Object], kind: str) -> list[Object]:
    """The service's and the migration's pods; the operator has settings of its own."""
    found = [pod for title, pod in pods(objects).items() if title.startswith(kind)]
    return [pod for pod in found if not is_operator(pod)]


def is_operator(pod: Object) -> bool:
    return bool(pod["metadata"]["labels"]["app.kubernetes.io/component"] == "operator")


@pytest.mark.parametrize("name", SETS)
def test_service_and_migration_start_with_what_they_are_given(name: str, tmp_path: Path) -> None:
    for pod in of(render(name), "Deployment") + of(render(name), "Job"):
        taken(pod, tmp_path)


@pytest.mark.parametrize("owner", [{}, {"url": {"existingSecret": "owner"}, "secretArn": ""}], ids=["by secret", "by URL"])
def test_the_service_s_role_logs_in_by_tokens_of_rds_where_the_service_does(owner: dict[str, object], tmp_path: Path) -> None:
    (job,) = of(render("rds-iam", {"database": {"owner": owner}}), "Job")
    assert taken(job, tmp_path).grants_rds_iam
    (job,) = of(render(PLAIN), "Job")
    assert not taken(job, tmp_path).grants_rds_iam


def test_service_and_worker_get_the_broker_s_url_and_the_service_redis_too(tmp_path: Path) -> None:
    found = {pod["spec"]["containers"][0]["name"]: taken(pod, tmp_path) for pod in of(render("queue"), "Deployment")}
    queues = {name: its.queue_url for name, its in found.items()}
    assert queues == dict.fromkeys(("sluice", "worker"), SECRETS["QUEUE_URL_FILE"])
    assert (found["sluice"].redis_url, found["worker"].redis_url) == (SECRETS["REDIS_URL_FILE"], None)


def test_the_puller_starts_with_its_sources(tmp_path: Path) -> None:
    (pod,) = [pod for pod in of(render("pull"), "Deployment") if pod["spec"]["containers"][0]["args"] == ["pull"]]
    found = taken(pod, tmp_path)
    assert found.sources_file == Path("/etc/sluice/sources/sources.yaml")
    (given,) = [one["data"]["sources.yaml"] for one in of_kind(render("pull"), "ConfigMap") if "sources.yaml" in one["data"]]
    (tmp_path / "sources.yaml").write_text(given)
    sources = definitions.load(replace(found, sources_file=tmp_path / "sources.yaml"))
    assert [source.name for source in sources] == ["orders", "prices"]
    mounts = {one["mountPath"] for one in pod["spec"]["containers"][0]["volumeMounts"]}
    assert {str(file.parent) for source in sources for file in source.secret_headers.values()} <= mounts


@pytest.mark.parametrize("text", ["  # ours\nsources: []\n", "\n  sources: []", "sources: []\r\n"])
def test_the_puller_reads_its_sources_as_they_were_given(text: str) -> None:
    """Also with a first line that is indented more than the rest, which as a block of YAML would end there."""
    (found,) = [
        one["data"] for one in of_kind(render("pull", {"pull": {"sources": text}}), "ConfigMap") if "sources.yaml" in one["data"]
    ]
    assert found == {"sources.yaml": text}


def test_other_sources_are_other_pods() -> None:
    def pod(sources: str) -> Object:
        objects = render("pull", {"pull": {"sources": sources}})
        return next(pod for title, pod in pods(objects).items() if title.endswith("-puller"))

    assert pod("a") != pod("b")


@pytest.mark.parametrize("name", SETS)
def test_the_operator_starts_with_what_it_is_given(name: str) -> None:
    switches = values_of(name)["operator"]
    given = [OperatorSettings.from_env(variables(pod)) for pod in pods(render(name)).values() if is_operator(pod)]
    assert len(given) == switches["enabled"]
    for its in given:
        assert its.watch_namespaces == (NAMESPACE, *switches["watchNamespaces"])
        assert (its.enforce, its.bootstrap_configmap is not None) == (switches["enforce"], switches["bootstrap"]["enabled"])


@pytest.mark.parametrize("name", SETS)
def test_every_variable_is_one_that_somebody_reads(name: str) -> None:
    ours = set(known()) | {f"{one}_FILE" for one in known()} | FOREIGN | set(operator_settings())
    more = {one["name"] for one in values_of(name)["extraEnv"]}
    given = {one for pod in pods(render(name)).values() for one in variables(pod)}
    assert given - ours - more == set()


@pytest.mark.parametrize(("path", "number"), NUMBERS, ids=lambda one: ".".join(one) if isinstance(one, tuple) else str(one))
def test_the_service_takes_every_number_that_the_schema_allows(path: tuple[str, ...], number: int, tmp_path: Path) -> None:
    try:
        objects = render(PLAIN, merged(ROOMY, placed(path, number)))
    except Refused as refused:
        if "these values cannot be used" not in str(refused):
            raise
        return  # it is out of its inequalities before it reaches the service
    taken(of(objects, "Deployment")[0], tmp_path)
