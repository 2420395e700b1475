"""PromQL as a real parser reads it, and Prometheus' own promtool."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import promql_parser
import yaml
from promql_parser import MatchOp, VectorSelector
from tools import apt


def selectors(text: str) -> Iterator[tuple[str, dict[str, str]]]:
    """Each selector of an expression: the metric's name, and the labels that must have one value; raises ValueError."""
    found: list[VectorSelector] = []

    def visit(node: promql_parser.Expr) -> None:
        if isinstance(node, VectorSelector):
            found.append(node)

    promql_parser.walk(promql_parser.parse(text), visit)
    for selector in found:
        assert selector.name, f"a selector without a metric: {text}"
        yield selector.name, {each.name: each.value for each in selector.matchers.matchers if each.op == MatchOp.Equal}


def metrics(text: str) -> set[str]:
    return {name for name, _ in selectors(text)}


def without_grafana(text: str) -> str:
    """An expression of a dashboard with values in place of Grafana's variables."""
    return re.sub(r"\$\w+", "x", re.sub(r"\[\$__(rate_interval|range)\]", "[5m]", text))


def promtool(folder: Path, verb: str, content: object) -> subprocess.CompletedProcess[str]:
    """Run `promtool VERB rules` (check or test) on `content` as YAML; other files it names are in `folder`. Raises Missing."""
    file = folder / f"{verb}.yaml"
    file.write_text(yaml.safe_dump(content), encoding="utf-8")
    program = apt.program("promtool", "prometheus")
    return subprocess.run([program, verb, "rules", file], capture_output=True, text=True, check=False)
