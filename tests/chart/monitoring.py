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


def dashboard() -> dict[str, Any]:
    text = (CHART / "dashboards" / "sluice.json").read_text(encoding="utf-8")
    found: dict[str, Any] = json.loads(text)
    return found


def panels() -> list[dict[str, Any]]:
    return [panel for panel in dashboard()["panels"] if panel["type"] != "row"]


def queries() -> list[str]:
    """Every expression of the dashboard, its variables' too."""
    asked = [target["expr"] for panel in panels() for target in panel["targets"]]
    lists = [variable["definition"] for variable in dashboard()["templating"]["list"] if variable["type"] == "query"]
    selected = [re.sub(r"^label_values\((.*), \w+\)$", r"\1", text) for text in lists]
    return [promql.without_grafana(text) for text in (*asked, *selected)]


def expressions() -> list[str]:
    return [*(rule["expr"] for kind in ("record", "alert") for rule in rules(kind)), *queries()]
