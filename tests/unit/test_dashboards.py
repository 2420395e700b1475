"""The dashboards as code: their files are what it makes, and what seed 001 had is there."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from tests.chart import promql
from tests.conftest import ROOT
from tools.dashboards import made
from tools.dashboards.panels import Dashboard

# Of seed 001's two dashboards: its panels, and what they are called here.
ANALYTICS = {
    "Total Logs": "Total events",
    "Logs Last Hour": "Events in the last hour",
    "Active Users (Last Hour)": "Active users (last hour)",
    "Active Sessions (30 min)": "Active sessions (30 min)",
    "Event Types Distribution": "Event types distribution",
    "Priority Distribution": "Priority distribution",
    "Log Volume by Event Type": "Log volume by event type",
    "Top Event Names": "Top event names",
    "App Versions": "App versions",
    "Provider Distribution": "Provider distribution",
    "Provider Metrics (Recent)": "Provider metrics (recent)",
    "System Activity Overview": "System activity overview",
    "Real-Time System Metrics": "Real-time system metrics",
}
SERVER = {
    "Request Rate": "Request rate",
    "95th Percentile Latency": "95th percentile latency",
    "Error Rate": "Error rate",
    "Logs Ingested/sec": "Events ingested/s",
    "Request Rate by Endpoint": "Request rate by endpoint",
    "Response Time Percentiles": "Response time percentiles",
    "Log Ingestion Rate by Type": "Ingestion rate by type",
    "Validation Errors Rate": "Validation errors rate",
    "Batch Size Distribution": "Batch size distribution",
}
# One client's requests in five minutes: nine of ten succeed.
REQUESTS = 'flask_http_request_duration_seconds_count{namespace="x", job="x", route="/api/v1/ingest", method="POST", status="%s"}'
SEED = "sum by (status) (rate(%s[5m])) / sum by (status) (rate(%s[5m]))"

each_dashboard = pytest.mark.parametrize("dashboard", made.DASHBOARDS, ids=lambda dashboard: dashboard.file)


@each_dashboard
def test_a_file_is_what_the_code_makes(dashboard: Dashboard) -> None:
    assert (made.FOLDER / dashboard.file).read_text(encoding="utf-8") == made.text_of(dashboard), "run python -m tools.dashboards"


def test_there_is_no_file_that_no_code_makes() -> None:
    assert {file.name for file in made.FOLDER.iterdir()} == {dashboard.file for dashboard in made.DASHBOARDS}


def test_the_document_has_every_panel() -> None:
    text = made.DOCS.read_text(encoding="utf-8")
    assert made.documented(text) == text, "run python -m tools.dashboards"


@pytest.mark.parametrize(("file", "seed"), [("analytics.json", ANALYTICS), ("server.json", SERVER)])
def test_every_panel_of_seed_001_is_there(file: str, seed: dict[str, str]) -> None:
    titles = [panel["title"] for panel in panels(file)]
    assert [title for title in seed.values() if titles.count(title) != 1] == []


def test_the_analytics_overview_reads_postgresql_and_nothing_else() -> None:
    assert {panel["datasource"]["uid"] for panel in panels("analytics.json")} == {"${database}"}
    assert len(panels("analytics.json")) == len(ANALYTICS) == 13


def panels(file: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((made.FOLDER / file).read_text(encoding="utf-8"))["panels"]
    return [panel for panel in found if panel["type"] != "row"]


def test_the_panels_that_runbooks_name_are_there() -> None:
    text = "".join(file.read_text(encoding="utf-8") for file in (ROOT / "docs/runbooks").glob("*.md"))
    named = set(re.findall(r'[Pp]anel\s+"([^"]+)"', text))
    assert len(named) >= 3
    assert named <= {panel["title"] for dashboard in made.DASHBOARDS for panel in panels(dashboard.file)}


@pytest.mark.parametrize(("failed", "share"), [({"500": 4, "503": 6}, 0.1), ({}, 0)])
def test_the_error_rate_is_the_share_of_all_requests(failed: dict[str, int], share: float, tmp_path: Path) -> None:
    """Seed 001's panel divided each series by itself, which is 1 for every status."""
    series = {"201": 100 - sum(failed.values()), **failed}
    ours = promql.without_grafana(
        next(panel for panel in panels("server.json") if panel["title"] == "Error rate")["targets"][0]["expr"]
    )
    name = REQUESTS.partition("{")[0]
    of_seed = [{"labels": f'{{status="{status}"}}', "value": 1} for status in series]
    test = {
        "interval": "1m",
        "input_series": [{"series": REQUESTS % status, "values": f"0+{count}x10"} for status, count in series.items()],
        "promql_expr_test": [
            {"expr": ours, "eval_time": "10m", "exp_samples": [{"labels": "{}", "value": share}]},
            {"expr": SEED % (name, name), "eval_time": "10m", "exp_samples": of_seed},
        ],
    }
    done = promql.promtool(tmp_path, "test", {"rule_files": [], "evaluation_interval": "1m", "tests": [test]})
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_error_rate_is_the_same_in_both_of_its_panels() -> None:
    assert len(error_rates()) == 2
    assert len(set(error_rates())) == 1


def error_rates() -> list[str]:
    titles = ("Error rate", "Share of requests that fail")
    return [panel["targets"][0]["expr"] for panel in panels("server.json") if panel["title"] in titles]
