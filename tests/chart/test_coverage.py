"""The counter of branches, on a chart of a few lines."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests.chart import coverage
from tests.chart.coverage import Render
from tests.chart.render import Refused, template

TEMPLATES = {
    "_helpers.tpl": '{{- define "word" -}}{{- if .loud }}LOUD{{ else if .soft }}soft{{ end }}{{- end }}',
    "map.yaml": """\
apiVersion: v1
kind: ConfigMap
metadata: {name: it}
data:
  {{- /* an {{ if }} in a comment is none */}}
  word: {{ include "word" .Values | quote }}
  brace: '{{ "}}" }}'
  {{- range .Values.list }}
  item-{{ . }}: "1"
  {{- else }}
  none: "1"
  {{- end }}
  {{- with .Values.refused }}
  {{- fail "no such thing" }}
  {{- end }}
""",
}


@pytest.fixture
def chart(tmp_path: Path) -> Path:
    (tmp_path / "templates").mkdir()
    (tmp_path / "Chart.yaml").write_text("apiVersion: v2\nname: tiny\nversion: 1.0.0\n")
    for name, text in TEMPLATES.items():
        (tmp_path / "templates" / name).write_text(text)
    return tmp_path


def renders(*values: dict[str, Any]) -> list[Render]:
    return [partial(rendered, one) for one in values]


def rendered(values: dict[str, Any], chart: Path) -> str:
    return template(values, chart=chart)


def untaken(chart: Path, *values: dict[str, Any]) -> dict[str, int]:
    return {arm.name: arm.line for arm in coverage.untaken(chart, renders(*values))}


def test_one_render_leaves_what_it_did_not_take(chart: Path) -> None:
    assert untaken(chart, {"loud": True}) == {
        "_helpers.tpl: else if .soft: taken": 1,
        "_helpers.tpl: if .loud: not taken": 1,
        "map.yaml: range .Values.list: taken": 8,
        "map.yaml: with .Values.refused: taken": 13,
    }


def test_an_else_if_that_is_false_is_seen_at_the_end_of_its_chain(chart: Path) -> None:
    assert untaken(chart, {}, {"soft": True}, {"list": [1]}, {"refused": 1}) == {"_helpers.tpl: if .loud: taken": 1}


def test_enough_renders_leave_nothing(chart: Path) -> None:
    assert untaken(chart, {"loud": True}, {"soft": True}, {}, {"list": [1]}, {"refused": 1}) == {}


def test_what_is_rendered_is_not_changed(chart: Path) -> None:
    values = {"soft": True, "list": [1, 2]}
    plain = template(values, chart=chart)
    untaken(chart, values)
    assert template(values, chart=chart) == plain


def test_a_refusal_of_the_chart_s_own_ends_a_render(chart: Path) -> None:
    with pytest.raises(Refused, match="no such thing"):
        template({"refused": 1}, chart=chart)
    assert "map.yaml: with .Values.refused: taken" not in untaken(chart, {"refused": 1})
