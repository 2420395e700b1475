"""The chart's README tells its values as they are."""

from __future__ import annotations

import re

from tests import docs
from tests.chart import values_table
from tests.chart.mutation import nodes
from tests.chart.render import CHART


def test_the_table_of_values_is_the_schema_s() -> None:
    told = docs.section(values_table.README, values_table.MARKS)
    assert told == values_table.table(), "run `python -m tests.chart.values_table`"


def test_the_comments_of_the_default_values_are_the_schema_s_descriptions() -> None:
    lines = (CHART / "values.yaml").read_text(encoding="utf-8")
    comments = re.findall(r"^ *# -- (.*(?:\n *# (?!-- ).*)*)", lines, re.MULTILINE)
    told = [" ".join(re.sub(r"\n *# ", " ", comment).split()) for comment in comments]
    known = {node.get("description") for _, node in nodes(values_table.schema(), values_table.schema())}
    assert len(told) > 100
    assert [text for text in told if text not in known] == []
