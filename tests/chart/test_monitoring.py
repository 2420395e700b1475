"""What is scraped and drawn, and that everybody asks for names that a running service knows."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from tests.chart import promql
from tests.chart.manifests import of_kind, only
from tests.chart.monitoring import dashboard, expressions, objects, panels, rules
from tests.chart.render import NAMESPACE, refusal, render
from tests.conftest import PARTS, require
from tests.integration import scrape
from tests.integration.keysets import KeysetFile
from tests.integration.service import KEY, running

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
# The last version of the dashboards' format before Grafana's next API.
SCHEMA_VERSION = 42


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
            yield scrape.scrape(service)


def use(client: httpx.Client) -> None:
    for fields in ({"event_type": "log"}, {"event_type": "log", "event_name": "x"}):
        client.post("/api/v1/ingest", json=fields)
        client.post("/api/v1/batch-ingest", json=[fields])
        client.get("/api/v1/whoami", headers={"Authorization": f"Bearer no-{KEY}"})
        client.get("/nothing")
        client.get("/readiness")


# ServiceMonitor


def test_the_service_monitor_finds_one_service_and_its_admin_port() -> None:
    monitor = only(objects(), "ServiceMonitor")["spec"]
    wanted = monitor["selector"]["matchLabels"]
    found = [one for one in of_kind(objects(), "Service") if wanted.items() <= one["metadata"]["labels"].items()]
    (endpoint,) = monitor["endpoints"]
    assert [port["name"] for one in found for port in one["spec"]["ports"] if port["name"] == endpoint["port"]] == ["admin"]
    assert (endpoint["path"], monitor["namespaceSelector"]) == ("/metrics", {"matchNames": [NAMESPACE]})


def test_the_rules_ask_for_the_job_that_the_service_monitor_makes() -> None:
    monitor = only(objects(), "ServiceMonitor")["spec"]
    wanted = monitor["selector"]["matchLabels"]
    # Without a jobLabel the operator of Prometheus takes the Service's name.
    (service,) = [one for one in of_kind(objects(), "Service") if wanted.items() <= one["metadata"]["labels"].items()]
    asked = {labels["job"] for rule in rules("alert") for _, labels in promql.selectors(rule["expr"]) if "job" in labels}
    assert ("jobLabel" in monitor, asked) == (False, {service["metadata"]["name"]})


def test_a_scrape_ends_before_the_next_begins() -> None:
    (endpoint,) = only(objects(), "ServiceMonitor")["spec"]["endpoints"]
    assert endpoint["scrapeTimeout"] == "4s"
    shortest = {"monitoring": {"serviceMonitor": {"enabled": True, "interval": "5s"}}}
    assert len(of_kind(render("default", shortest), "ServiceMonitor")) == 1
    assert "interval" in refusal("default", {"monitoring": {"serviceMonitor": {"interval": "4s"}}})


def test_the_limits_of_a_scrape_leave_room_and_not_too_much(exposition: str) -> None:
    monitor = only(objects(), "ServiceMonitor")["spec"]
    samples = list(scrape.samples(exposition))
    labels = max(len(sample.labels) for sample in samples) + len(TARGET) + 1
    assert len(samples) * 10 < monitor["sampleLimit"] <= 10_000
    assert labels + 10 < monitor["labelLimit"] <= 32
    assert max(len(value) for sample in samples for value in sample.labels.values()) * 3 < monitor["labelValueLengthLimit"]


# names


def test_every_metric_and_label_is_one_that_a_running_service_tells(exposition: str) -> None:
    known: dict[str, dict[str, set[str]]] = {name: {label: set() for label in labels} for name, labels in FOREIGN.items()}
    for sample in scrape.samples(exposition):
        labels = known.setdefault(sample.name, {label: set() for label in TARGET})
        for name, value in sample.labels.items():
            labels.setdefault(name, set()).add(value)
    unknown = [fault for text in expressions() for fault in faults(text, known)]
    assert unknown == []


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
def test_a_name_that_nobody_tells_is_found(text: str, fault: str) -> None:
    known = {"sluice_events_total": {"status": {"created"}, "job": set()}}
    assert list(faults(text, known)) == [fault]
    assert list(faults('sluice_events_total{status="created", job="x"}', known)) == []


# dashboard


def test_the_dashboard_is_in_a_config_map_as_it_is_in_the_chart() -> None:
    (found,) = [one for one in of_kind(objects(), "ConfigMap") if "sluice.json" in one["data"]]
    assert json.loads(found["data"]["sluice.json"]) == dashboard()
    assert found["metadata"]["labels"]["grafana_dashboard"] == "1"


def test_the_dashboard_names_no_data_source_of_anybody() -> None:
    found = dashboard()
    text = json.dumps(found)
    assert found["schemaVersion"] == SCHEMA_VERSION
    assert set(re.findall(r'"uid": "([^"]*)"', text)) == {found["uid"], "${datasource}"}
    assert '"datasource": "' not in text
    assert [variable["name"] for variable in found["templating"]["list"]] == ["datasource", "namespace", "job"]


def test_every_panel_says_what_it_shows_of_the_chosen_release() -> None:
    assert [panel["title"] for panel in panels() if not (panel["description"] and panel["fieldConfig"]["defaults"]["unit"])] == []
    asked = [target["expr"] for panel in panels() for target in panel["targets"]]
    assert [text for text in asked if 'namespace="$namespace"' not in text or "$job" not in text] == []


def test_no_panel_covers_another() -> None:
    found = dashboard()["panels"]
    places = [(x, y) for panel in found for x, y in cells(panel["gridPos"])]
    assert (len(places), len({panel["id"] for panel in found})) == (len(set(places)), len(found))
    assert max(x for x, _ in places) == 23


def cells(place: dict[str, int]) -> Iterator[tuple[int, int]]:
    for x in range(place["x"], place["x"] + place["w"]):
        for y in range(place["y"], place["y"] + place["h"]):
            yield x, y
