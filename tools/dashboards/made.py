"""All dashboards as files, and as a table for people."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator

from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Panel

from tools.dashboards.analytics import ANALYTICS
from tools.dashboards.errors import ERRORS
from tools.dashboards.operator import OPERATOR
from tools.dashboards.panels import Dashboard
from tools.dashboards.queries import POSTGRESQL
from tools.dashboards.queue import QUEUE
from tools.dashboards.server import SERVER
from tools.dashboards.sources import SOURCES
from tools.folders import ROOT

DASHBOARDS = (ANALYTICS, SERVER, ERRORS, QUEUE, SOURCES, OPERATOR)
FOLDER = ROOT / "charts/sluice/dashboards"
DOCS = ROOT / "docs/dashboards.md"
BEGIN, END = "<!-- panels: python -m tools.dashboards -->\n", "<!-- end of panels -->\n"


def text_of(dashboard: Dashboard) -> str:
    return json.dumps(dashboard.build(), cls=JSONEncoder, indent=1, ensure_ascii=False) + "\n"


def tables() -> str:
    return "\n".join(line for dashboard in DASHBOARDS for line in table(dashboard))


def table(dashboard: Dashboard) -> Iterator[str]:
    about = textwrap.fill(
        f"{dashboard.about} File `{dashboard.file}`, address `/d/{dashboard.uid}`.", 120, break_on_hyphens=False
    )
    yield f"\n### {dashboard.title}\n\n{about}\n"
    yield "| panel | what it shows | of |\n|---|---|---|"
    for panel in dashboard.build().panels or ():
        if isinstance(panel, Panel):
            of = "PostgreSQL" if panel.datasource == POSTGRESQL else "Prometheus"
            yield f"| {panel.title} | {panel.description} | {of} |"


def documented(text: str) -> str:
    """docs/dashboards.md with the tables of now."""
    before, _, rest = text.partition(BEGIN)
    return before + BEGIN + tables() + "\n\n" + END + rest.partition(END)[2]


def write() -> None:
    for dashboard in DASHBOARDS:
        (FOLDER / dashboard.file).write_text(text_of(dashboard), encoding="utf-8")
    DOCS.write_text(documented(DOCS.read_text(encoding="utf-8")), encoding="utf-8")
