"""What the chart renders for Prometheus and Grafana."""

from __future__ import annotations

import json
import re
from typing import Any

from tests.chart import alerts, promql
from tests.chart.manifests import Object, only
from tests.chart.render import CHART, render

LABEL_VALUES = re.compile(r"label_values\((.*), \w+\)")
BASE_URL = "https://runbooks.test/main"
EVERYTHING = {
    "config": {"workers": alerts.WORKERS},
    "operator": {"enabled": True},
    "pull": {"enabled": True, "sources": "sources: [{name: orders, url: https://x.example/, interval: 5m}]"},
    "broker": {"existingSecret": "broker"},
    "worker": {"enabled": True},
    "monitoring": {
        "serviceMonitor": {"enabled": True},
        "prometheusRule": {"enabled": True, "runbookBaseUrl": BASE_URL},
        "dashboard": {"enabled": True},
    },
}


def objects() -> list[Object]:
    return render("default", EVERYTHING)


def rule_spec() -> dict[str, Any]:
    spec: dict[str, Any] = only(objects(), "PrometheusRule")["spec"]
    return spec


def rules(kind: str) -> list[dict[str, Any]]:
    """The rules that `alert` or `record` something."""
    return [rule for group in rule_spec()["groups"] for rule in group["rules"] if kind in rule]


def rule_named(alert: str) -> dict[str, Any]:
    (found,) = [rule for rule in rules("alert") if rule["alert"] == alert]
    return found


def dashboards() -> dict[str, dict[str, Any]]:
    """By file name."""
    files = sorted((CHART / "dashboards").glob("*.json"))
    return {file.name: json.loads(file.read_text(encoding="utf-8")) for file in files}


def panels(dashboard: dict[str, Any]) -> list[dict[str, Any]]:
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


def queries() -> list[str]:
    """Every PromQL expression of the dashboards, their variables' too; tests/integration/test_dashboards.py has the SQL."""
    return [
        promql.without_grafana(text) for dashboard in dashboards().values() for text in (*exprs(dashboard), *lists(dashboard))
    ]


def exprs(dashboard: dict[str, Any]) -> list[str]:
    return [target["expr"] for panel in panels(dashboard) for target in panel["targets"] if "expr" in target]


def lists(dashboard: dict[str, Any]) -> list[str]:
    """The series whose labels are the values of variables."""
    asked = [variable["query"] for variable in dashboard["templating"]["list"] if variable["type"] == "query"]
    found = [LABEL_VALUES.fullmatch(query["query"]) for query in asked if isinstance(query, dict)]
    return [match[1] for match in found if match]


def expressions() -> list[str]:
    return [*(rule["expr"] for kind in ("record", "alert") for rule in rules(kind)), *queries()]
