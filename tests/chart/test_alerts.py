"""Alerts that fire when they should, and only then: played by promtool."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from tests.chart import alerts, promql
from tests.chart.alerts import CASES
from tests.chart.manifests import only
from tests.chart.monitoring import expressions, queries, rule_named, rule_spec, rules
from tests.chart.render import NAMESPACE, render

SEVERITIES = {"critical", "warning", "info"}


def test_every_expression_is_promql() -> None:
    assert [len(promql.metrics(text)) > 0 for text in expressions()] == [True] * len(expressions())


def test_prometheus_itself_takes_the_rules_and_the_dashboard_s_queries(tmp_path: Path) -> None:
    asked = [{"record": f"query:{number}", "expr": text} for number, text in enumerate(queries())]
    done = promql.promtool(tmp_path, "check", {"groups": [*rule_spec()["groups"], {"name": "dashboard", "rules": asked}]})
    assert (done.returncode, f"SUCCESS: {len(expressions())} rules found" in done.stdout) == (0, True), done.stdout


@pytest.mark.parametrize("alert", CASES)
def test_an_alert_fires_when_it_should_and_only_then(alert: str, tmp_path: Path) -> None:
    case, rule = CASES[alert], rule_named(alert)
    records = [each for each in rules("record") if each["record"] in promql.metrics(rule["expr"])]
    play(tmp_path, [*records, rule], alerts.plays(alert, case, {**case.labels, **rule["labels"]}), case.every)


@pytest.mark.parametrize(("namespace", "fires"), [(NAMESPACE, True), ("shop", True), ("elsewhere", False)])
def test_an_operator_of_its_own_release_sees_keys_refused_by_the_services_it_looks_after(
    namespace: str, fires: bool, tmp_path: Path
) -> None:
    """As the chart's README installs them: the service is another release, and its job has another name."""
    own = {"enabled": True, "only": True, "watchNamespaces": ["shop"]}
    values = {"operator": own, "monitoring": {"prometheusRule": {"enabled": True, "runbookBaseUrl": "https://x.example"}}}
    groups = only(render("default", values), "PrometheusRule")["spec"]["groups"]
    alert = "SluiceKeysRefusedAfterRotation"
    (rule,) = [each for group in groups for each in group["rules"] if each["alert"] == alert]
    service = {"namespace": namespace, "job": "sluice"}
    refused = alerts.series("sluice_auth_total", "0+6x60 366+120x40", {**service, "pod": "a", "result": "unknown"})
    case = alerts.Case(
        fires=({**refused, **alerts.operator("rotations_total", "0x62 1x60", reason="Rotated")},) if fires else (),
        quiet=(refused,) if fires else ({**refused, **alerts.operator("rotations_total", "0x62 1x60", reason="Rotated")},),
        at="75m",
        labels=service,
    )
    play(tmp_path, [rule], alerts.plays(alert, case, {**service, **rule["labels"]}), case.every)


def test_nothing_fires_while_all_is_well(tmp_path: Path) -> None:
    test = alerts.played(alerts.WELL, "1m", [alerts.firing(None, "1h", None)])
    play(tmp_path, [*rules("record"), *rules("alert")], [test], "1m")


def play(folder: Path, played: list[dict[str, Any]], tests: list[dict[str, Any]], every: str) -> None:
    (folder / "rules.yaml").write_text(json.dumps({"groups": [{"name": "played", "rules": played}]}), encoding="utf-8")
    done = promql.promtool(folder, "test", {"rule_files": ["rules.yaml"], "evaluation_interval": every, "tests": tests})
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_has_its_case() -> None:
    assert {rule["alert"] for rule in rules("alert")} == set(CASES)


@pytest.mark.parametrize("alert", CASES)
def test_an_alert_says_how_bad_it_is_and_what_to_do(alert: str) -> None:
    rule = rule_named(alert)
    told = rule["annotations"]
    assert rule["labels"]["severity"] in SEVERITIES
    assert set(told) == {"summary", "description", "runbook_url"}
    assert len(told["summary"]) < 80
    assert 80 < len(told["description"]) < 400
    assert set(re.findall(r"\$labels\.(\w+)", told["description"])) <= set(CASES[alert].labels)


def test_every_recorded_series_is_used_by_an_alert() -> None:
    recorded = {rule["record"] for rule in rules("record")}
    used = {name for rule in rules("alert") for name in promql.metrics(rule["expr"])}
    assert recorded == {name for name in used if ":" in name}
