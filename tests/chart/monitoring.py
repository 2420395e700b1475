"""What the chart renders for Prometheus and Grafana."""

from __future__ import annotations

import json
import re
from typing import Any

from tests.chart import alerts, promql
from tests.chart.manifests import Object, only
from tests.chart.render import CHART, render

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
    """Every expression of the dashboards, their variables' too."""
    return [text for dashboard in dashboards().values() for text in asked(dashboard)]


def asked(dashboard: dict[str, Any]) -> list[str]:
    targets = [target["expr"] for panel in panels(dashboard) for target in panel["targets"]]
    lists = [variable["definition"] for variable in dashboard["templating"]["list"] if variable["type"] == "query"]
    selected = [re.sub(r"^label_values\((.*), \w+\)$", r"\1", text) for text in lists]
    return [promql.without_grafana(text) for text in (*targets, *selected)]


def expressions() -> list[str]:
    return [*(rule["expr"] for kind in ("record", "alert") for rule in rules(kind)), *queries()]
