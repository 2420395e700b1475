"""What is scraped and drawn, and that everybody asks for names that a running service knows."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client import CollectorRegistry
from prometheus_client import metrics as prometheus
from tests.chart import promql
from tests.chart.manifests import Object, of_kind
from tests.chart.monitoring import dashboards, expressions, exprs, objects, panels, rules
from tests.chart.render import NAMESPACE, refusal, render
from tests.conftest import PARTS, require
from tests.integration import scrape
from tests.integration.keysets import KeysetFile
from tests.integration.service import KEY, running
from tests.integration.waiting import until

from sluice.ingest.pipeline import utc_now
from sluice.queue import DEAD_LETTERS, EVENTS
from sluice.queue.worker import WorkerMetrics
from sluice.sources.definitions import Source
from sluice.sources.metrics import PullMetrics
from sluice_operator import telemetry as operator
from sluice_operator.cache import Cache
from sluice_operator.health import Gauges
from sluice_operator.watch import Hearing

# What is not ours: Prometheus' own, and kube-state-metrics (docs/metrics/workload of its repository; all of them stable).
FOREIGN = {
    "up": {"namespace", "job"},
    "kube_deployment_spec_replicas": {"namespace", "deployment"},
    "kube_deployment_status_replicas_ready": {"namespace", "deployment"},
    "kube_job_status_failed": {"namespace", "job_name", "reason"},
    "kube_job_status_succeeded": {"namespace", "job_name"},
    "kube_pod_container_status_restarts_total": {"namespace", "pod", "container", "uid"},
}
# What Prometheus adds to each series that it scrapes from a pod behind a ServiceMonitor.
TARGET = {"namespace", "job", "pod", "service", "container", "endpoint", "instance"}
PARTS_OF = {"counter": ("_total",), "gauge": ("",), "histogram": ("_bucket", "_sum", "_count")}
# Of the dashboards' format that Grafana 11.6 reads; later ones bring it up to date themselves.
SCHEMA_VERSION = 41
# What an annotation takes (Kubernetes: 256 KiB for all of an object), and how much of that a dashboard may take.
ANNOTATIONS, SHARE = 256 << 10, 0.5


@pytest.fixture(scope="module")
def exposition() -> Iterator[str]:
    """/metrics of a running service that had a few good and bad requests."""
    require("embedded PostgreSQL", PARTS["embedded PostgreSQL"])
    with tempfile.TemporaryDirectory(prefix="sluice-test-") as name:
        keyset = KeysetFile(Path(name) / "keyset.json")
        keyset.add("web")
        keyset.publish()
        with running("", DATABASE_URL=None, KEYSET_FILE=str(keyset.path)) as service, service.client() as client:
            use(client)
            # Of the parent's own figures, which come from the database.
            until(lambda: "sluice_error_regressions_total" in scrape.scrape(service), 10)
            yield scrape.scrape(service)


def use(client: httpx.Client) -> None:
    for fields in ({"event_type": "log"}, {"event_type": "log", "event_name": "x"}):
        client.post("/api/v1/ingest", json=fields)
        client.post("/api/v1/batch-ingest", json=[fields])
        client.get("/api/v1/whoami", headers={"Authorization": f"Bearer no-{KEY}"})
        client.get("/nothing")
        client.get("/readiness")


# ServiceMonitor


def monitors() -> dict[str, Object]:
    """By component."""
    return {component(one): one for one in of_kind(objects(), "ServiceMonitor")}


def component(one: Object) -> str:
    found: str = one["metadata"]["labels"]["app.kubernetes.io/component"]
    return found


def chosen(monitor: Object) -> Object:
    """The one Service that a ServiceMonitor selects."""
    wanted = monitor["spec"]["selector"]["matchLabels"]
    (service,) = [one for one in of_kind(objects(), "Service") if wanted.items() <= one["metadata"]["labels"].items()]
    return service


@pytest.mark.parametrize(("name", "port"), [("service", "admin"), ("puller", "admin"), ("operator", "metrics")])
def test_a_service_monitor_finds_one_service_and_its_port(name: str, port: str) -> None:
    monitor = monitors()[name]
    (endpoint,) = monitor["spec"]["endpoints"]
    assert [each["name"] for each in chosen(monitor)["spec"]["ports"] if each["name"] == endpoint["port"]] == [port]
    assert (endpoint["path"], monitor["spec"]["namespaceSelector"]) == ("/metrics", {"matchNames": [NAMESPACE]})


def test_the_rules_ask_for_the_jobs_that_the_service_monitors_make() -> None:
    asked = {labels["job"] for rule in rules("alert") for _, labels in promql.selectors(rule["expr"]) if "job" in labels}
    assert asked == {chosen(one)["metadata"]["labels"][one["spec"]["jobLabel"]] for one in monitors().values()}


def test_a_service_monitor_finds_its_service_also_when_argo_cd_tracks_by_label() -> None:
    """It writes its Application's name over app.kubernetes.io/instance of every object, and of no pod."""
    selected = [one["spec"]["selector"]["matchLabels"] for one in monitors().values()]
    assert [labels for labels in selected if "app.kubernetes.io/instance" in labels] == []


def test_a_scrape_ends_before_the_next_begins() -> None:
    assert {endpoint["scrapeTimeout"] for one in monitors().values() for endpoint in one["spec"]["endpoints"]} == {"4s"}
    shortest = {"monitoring": {"serviceMonitor": {"enabled": True, "interval": "5s"}}}
    assert len(of_kind(render("default", shortest), "ServiceMonitor")) == 1
    assert "interval" in refusal("default", {"monitoring": {"serviceMonitor": {"interval": "4s"}}})


def test_the_limits_of_a_scrape_leave_room_and_not_too_much(exposition: str) -> None:
    monitor = monitors()["service"]["spec"]
    samples = list(scrape.samples(exposition))
    labels = max(len(sample.labels) for sample in samples) + len(TARGET) + 1
    assert len(samples) * 10 < monitor["sampleLimit"] <= 10_000
    assert labels + 10 < monitor["labelLimit"] <= 32
    assert max(len(value) for sample in samples for value in sample.labels.values()) * 3 < monitor["labelValueLengthLimit"]


# names


def test_every_metric_and_label_is_one_that_a_running_service_has(exposition: str) -> None:
    known: dict[str, dict[str, set[str]]] = {name: {label: set() for label in labels} for name, labels in FOREIGN.items()}
    for sample in scrape.samples(exposition):
        labels = known.setdefault(sample.name, {label: set() for label in TARGET})
        for name, value in sample.labels.items():
            labels.setdefault(name, set()).add(value)
    unknown = [
        fault for text in expressions() for fault in faults(text, known | of_the_operator() | of_the_puller() | of_the_worker())
    ]
    assert unknown == []


def of_the_operator() -> dict[str, dict[str, set[str]]]:
    """What its registry and its gauges tell; a label that a scrape brings itself is renamed, as Prometheus does it."""
    known: dict[str, set[str]] = {}
    for one in vars(operator).values():
        if isinstance(one, prometheus.MetricWrapperBase):
            (family,) = one.describe()
            known |= {family.name + part: {*one._labelnames, "le"} for part in PARTS_OF[family.type]}
    for gauge in Gauges(Cache(), Hearing(), (), (), leads=lambda: True).collect():
        known[gauge.name] = set(gauge._labelnames)
    return {name: {label: set() for label in TARGET | {exported(each) for each in labels}} for name, labels in known.items()}


def of_the_puller() -> dict[str, dict[str, set[str]]]:
    registry = CollectorRegistry()
    source = Source(name="orders", url="https://x.example/", interval=300)
    PullMetrics(registry, [source], utc_now).saw("orders", utc_now())
    samples = [sample for family in registry.collect() for sample in family.samples]
    return {sample.name: {label: set() for label in TARGET | set(sample.labels)} for sample in samples}


def of_the_worker() -> dict[str, dict[str, set[str]]]:
    registry = CollectorRegistry()
    metrics = WorkerMetrics(registry)
    for name in (EVENTS, DEAD_LETTERS):
        metrics.depth.labels(name).set(0)
    samples = [sample for family in registry.collect() for sample in family.samples]
    queues = {EVENTS, DEAD_LETTERS}
    return {one.name: {label: queues if label == "queue" else set() for label in TARGET | set(one.labels)} for one in samples}


def exported(label: str) -> str:
    return f"exported_{label}" if label in TARGET else label


def faults(text: str, known: dict[str, dict[str, set[str]]]) -> Iterator[str]:
    """What an expression asks for that nobody tells: a metric, a label, or a value of one of our labels."""
    for metric, labels in promql.selectors(text):
        if ":" in metric:
            continue
        if metric not in known:
            yield metric
            continue
        for name, value in labels.items():
            if name not in known[metric]:
                yield f"{metric}: {name}"
            elif known[metric][name] and value not in known[metric][name]:
                yield f"{metric}: {name}={value}"


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("rate(sluice_event_total[5m])", "sluice_event_total"),
        ('sluice_events_total{kind="x"}', "sluice_events_total: kind"),
        ('sluice_events_total{status="stored"}', "sluice_events_total: status=stored"),
    ],
)
def test_a_name_that_nobody_has_is_found(text: str, fault: str) -> None:
    known = {"sluice_events_total": {"status": {"created"}, "job": set()}}
    assert list(faults(text, known)) == [fault]
    assert list(faults('sluice_events_total{status="created", job="x"}', known)) == []


# dashboard


every_dashboard = pytest.mark.parametrize("name", dashboards())


@every_dashboard
def test_a_dashboard_is_in_a_config_map_as_it_is_in_the_chart(name: str) -> None:
    (found,) = [one for one in of_kind(objects(), "ConfigMap") if own(name) in one["data"]]
    assert json.loads(found["data"][own(name)]) == dashboards()[name]
    assert found["metadata"]["labels"]["grafana_dashboard"] == "1"


def test_there_is_a_dashboard_for_each_part_that_runs() -> None:
    alone = render("default", {"monitoring": {"dashboard": {"enabled": True}}})
    assert files(alone) == {own(name) for name in ("analytics.json", "errors.json", "server.json")}
    assert files(objects()) == {own(name) for name in dashboards()}


def own(name: str) -> str:
    """As the sidecar calls the file: it has one folder for all charts, and of two files of one name the later is shown."""
    return f"sluice-{name}"


def files(rendered: list[Object]) -> set[str]:
    return {name for one in of_kind(rendered, "ConfigMap") for name in one["data"] if name.endswith(".json")}


def test_a_config_map_fits_into_the_annotation_that_argo_cd_or_kubectl_keeps_it_in() -> None:
    made = [one for one in of_kind(objects(), "ConfigMap") if one["metadata"]["labels"].get("grafana_dashboard")]
    sizes = {one["metadata"]["name"]: len(json.dumps(one)) for one in made}
    assert len(sizes) == len(dashboards())
    assert {name: size for name, size in sizes.items() if size > ANNOTATIONS * SHARE} == {}


@every_dashboard
def test_a_dashboard_names_no_data_source_of_anybody(name: str) -> None:
    found = dashboards()[name]
    text = json.dumps(found)
    assert found["schemaVersion"] == SCHEMA_VERSION
    chosen = {variable["name"] for variable in found["templating"]["list"] if variable["type"] == "datasource"}
    assert set(re.findall(r'"uid": "([^"]*)"', text)) == {found["uid"], *(f"${{{name}}}" for name in chosen)}
    assert chosen <= {"datasource", "database"}
    assert '"datasource": "' not in text


@every_dashboard
def test_every_panel_says_what_it_shows_of_the_chosen_release(name: str) -> None:
    found = panels(dashboards()[name])
    assert [panel["title"] for panel in found if not (panel["description"] and panel["fieldConfig"]["defaults"]["unit"])] == []
    asked = exprs(dashboards()[name])
    assert [text for text in asked if 'namespace="$namespace"' not in text or "$job" not in text] == []


@every_dashboard
def test_no_panel_covers_another(name: str) -> None:
    found: list[dict[str, Any]] = dashboards()[name]["panels"]
    places = [(x, y) for panel in found for x, y in cells(panel["gridPos"])]
    assert (len(places), len({panel["id"] for panel in found})) == (len(set(places)), len(found))
    assert max(x for x, _ in places) == 23


def cells(place: dict[str, int]) -> Iterator[tuple[int, int]]:
    for x in range(place["x"], place["x"] + place["w"]):
        for y in range(place["y"], place["y"] + place["h"]):
            yield x, y
