"""The table of values in the chart's README, from its schema and defaults: `python -m tests.chart.values_table` writes it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from tests import docs
from tests.chart.mutation import Schema, resolved
from tests.chart.render import CHART, values_of

README = CHART / "README.md"
MARKS = "values"
LONG = 60


def schema() -> Schema:
    text = (CHART / "values.schema.json").read_text(encoding="utf-8")
    found: Schema = json.loads(text)
    return found


def table() -> str:
    """Every value by its path, in the schema's order, with its default and what it does."""
    root = schema()
    rows = ((f"`{path}`", told(default), cell(node["description"])) for path, node, default in leaves(root, root, values_of()))
    return "\n".join(["| value | default | what |", "|---|---|---|", *(f"| {' | '.join(row)} |" for row in rows)])


def leaves(node: Schema, root: Schema, default: Any, path: str = "") -> Iterator[tuple[str, Schema, Any]]:
    """What a user sets: everything but the mappings that only group others."""
    node = resolved(node, root)
    inner = node.get("properties")
    if not inner:
        yield path, node, default
        return
    for name, child in inner.items():
        below = default.get(name) if isinstance(default, dict) else None
        yield from leaves(child, root, below, f"{path}.{name}".lstrip("."))


def told(default: Any) -> str:
    if default is None or default == "":
        return "-"
    text = json.dumps(default) if not isinstance(default, str) else default
    return f"`{cell(text)}`" if len(text) <= LONG else "see `values.yaml`"


def cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())


if __name__ == "__main__":
    docs.put(README, MARKS, table())
