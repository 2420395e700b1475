"""A page for each alert, with commands that kubectl understands and names that the chart has."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.chart import alerts
from tests.chart.alerts import CASES
from tests.chart.manifests import of_kind
from tests.chart.monitoring import BASE_URL, objects, rule_spec, rules
from tests.chart.render import values_of
from tests.conftest import ROOT
from tools import kubectl

RUNBOOKS = ROOT / "docs" / "runbooks"


def pages() -> dict[str, str]:
    return {page.stem: page.read_text(encoding="utf-8") for page in sorted(RUNBOOKS.glob("*.md"))}


def test_every_alert_leads_to_its_page_and_no_page_is_left_over() -> None:
    urls = {rule["alert"]: rule["annotations"]["runbook_url"] for rule in rules("alert")}
    assert urls == {alert: f"{BASE_URL}/{alert}.md" for alert in urls}
    assert set(pages()) == set(urls)


def test_every_page_that_another_names_is_there() -> None:
    linked = {name for text in pages().values() for name in re.findall(r"\]\(([^)]+)\)", text)}
    assert linked
    assert linked <= {f"{name}.md" for name in pages()}


@pytest.mark.parametrize("alert", CASES)
def test_a_page_says_what_it_means_how_to_see_it_and_what_to_do(alert: str) -> None:
    text = pages()[alert]
    assert re.findall(r"^#+ (.*)$", text, re.MULTILINE) == [alert, "What it means", "How to see it", "What to do"]
    assert len(commands(text)) > 0


def commands(text: str) -> list[str]:
    """The lines of a page's shell blocks, and what its sentences say to run."""
    blocks = re.findall(r"^```sh\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines() if line and not line.startswith("#")]
    return lines + re.findall(r"`(kubectl [^`]+)`", text)


@pytest.fixture
def program() -> Path:
    return kubectl.kubectl()


def test_kubectl_understands_every_line_of_the_pages(program: Path, tmp_path: Path) -> None:
    """It gets as far as the server, which is not there."""
    told = {line.partition(" | ")[0].removesuffix(" &") for text in pages().values() for line in commands(text)}
    lines = sorted(line for line in told if line.startswith("kubectl "))
    assert len(lines) > 20
    assert [line for line in lines if "127.0.0.1:1 was refused" not in shell(line, program, tmp_path)] == []


def test_kubectl_understands_every_line_of_the_operator_s_guide(program: Path, tmp_path: Path) -> None:
    """But for an apply, whose file the reader writes, and what asks no server."""
    text = (ROOT / "docs" / "operator.md").read_text(encoding="utf-8")
    lines = [line for line in commands(text) if re.match("kubectl (?!config )", line) and " apply " not in line]
    assert len(lines) > 10
    assert [line for line in lines if "127.0.0.1:1 was refused" not in shell(line, program, tmp_path)] == []


def of_the_operator() -> list[str]:
    """Pages of alerts on the operator and what it looks after; tests/operator runs their lines on a cluster."""
    groups = [group for group in rule_spec()["groups"] if group["name"].startswith(f"{alerts.NAME}-operator.")]
    return [rule["alert"] for group in groups for rule in group["rules"]]


def shell(line: str, program: Path, home: Path) -> str:
    """What a line tells on stderr without a cluster."""
    command = f"'{program}' --server=http://127.0.0.1:1 {line.removeprefix('kubectl ')}"
    names = {
        "NAMESPACE": "events",
        "NAME": alerts.NAME,
        "POD": "a",
        "JOB": "b",
        "KEY": "c",
        "KEYSET": "d",
        "DOCUMENT": "e",
        "HOME": str(home),
        "PATH": os.defpath,
    }
    done = subprocess.run(["sh", "-c", command], env=names, cwd=home, capture_output=True, text=True, check=False)
    return done.stderr


def test_the_pages_select_by_labels_of_the_chart_s_pods() -> None:
    templates = [one["spec"]["template"]["metadata"]["labels"] for one in of_kind(objects(), "Deployment")]
    asked = {pair for text in pages().values() for given in re.findall(r" -l (app[^\s`]+)", text) for pair in given.split(",")}
    assert asked
    assert asked <= {f"{name}={value}" for labels in templates for name, value in labels.items()}


def test_the_pages_name_values_that_the_chart_has() -> None:
    known = set(paths(values_of()))
    named = {name for text in pages().values() for name in re.findall(r"`((?:\w+\.)+\w+)`", text)}
    ours = {name for name in named if name.partition(".")[0] in values_of()}
    assert len(ours) > 8
    assert ours - known == set()


def paths(values: dict[str, Any], above: str = "") -> Iterator[str]:
    for name, value in values.items():
        yield above + name
        if isinstance(value, dict):
            yield from paths(value, f"{above}{name}.")
