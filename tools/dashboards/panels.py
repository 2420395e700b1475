"""The kinds of panels that the dashboards have, and how panels become a dashboard. Each kind is the SDK's, with our defaults."""

from __future__ import annotations

import string
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from grafana_foundation_sdk.builders import bargauge, common, piechart, stat, table, timeseries
from grafana_foundation_sdk.builders import dashboard as sdk
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models.common import (
    BarGaugeDisplayMode,
    BigValueColorMode,
    BigValueGraphMode,
    LegendDisplayMode,
    LegendPlacement,
    StackingMode,
    TooltipDisplayMode,
    VisibilityMode,
    VizOrientation,
)
from grafana_foundation_sdk.models.piechart import PieChartLegendValues, PieChartType

from tools.dashboards.queries import POSTGRESQL, PROMETHEUS, Prometheus, Query, Sql, mean, quantile, quantiles, rate, total

# Of a variable that takes several values: all of them.
ALL = models.VariableOption(selected=True, text=["All"], value=["$__all"])
# The grid of Grafana.
WIDTH = 24
TAG = "sluice"

Panel = Builder[models.Panel]
P = TypeVar("P", stat.Panel, timeseries.Panel, table.Panel, piechart.Panel, bargauge.Panel)


def described(panel: P, title: str, about: str, unit: str, queries: Sequence[Query]) -> P:
    source = POSTGRESQL if isinstance(queries[0], Sql) else PROMETHEUS
    panel.title(title).description(about).unit(unit).datasource(source)
    panel.targets([query.ref_id(name) for query, name in zip(queries, string.ascii_uppercase, strict=False)])
    return panel


def value(title: str, about: str, unit: str, *queries: Query, steps: Sequence[tuple[str, float | None]] = ()) -> stat.Panel:
    """The newest value in large. `steps`: colours, and from which value on each holds (the first from None)."""
    panel = described(stat.Panel(), title, about, unit, queries)
    panel.color_mode(BigValueColorMode.VALUE).graph_mode(BigValueGraphMode.AREA).reduce_options(newest())
    if steps:
        thresholds = [models.Threshold(least, color) for color, least in steps]
        panel.thresholds(sdk.ThresholdsConfig().mode(models.ThresholdsMode.ABSOLUTE).steps(thresholds))
        panel.color_scheme(sdk.FieldColor().mode(models.FieldColorModeId.THRESHOLDS))
    return panel


def lines(title: str, about: str, unit: str, *queries: Query) -> timeseries.Panel:
    panel = described(timeseries.Panel(), title, about, unit, queries)
    panel.min(0).line_width(1).fill_opacity(10).show_points(VisibilityMode.NEVER)
    panel.legend(common.VizLegendOptions().display_mode(LegendDisplayMode.LIST).placement(LegendPlacement.BOTTOM))
    return panel.tooltip(common.VizTooltipOptions().mode(TooltipDisplayMode.MULTI))


def stacked(title: str, about: str, unit: str, *queries: Query) -> timeseries.Panel:
    """Lines whose sum means something."""
    stacking = common.StackingConfig().mode(StackingMode.NORMAL).group("A")
    return lines(title, about, unit, *queries).fill_opacity(40).stacking(stacking)


def commits(prefix: str, measured: str, shared: str) -> list[Panel]:
    """Of what service and worker both measure, under `prefix`. `measured`, `shared`: what the first two panels say."""
    return [
        lines("Time of a commit", measured, "s", *quantiles(f"{prefix}_commit_seconds")),
        lines("Commits a second", shared, "ops", Prometheus(total(rate(f"{prefix}_commit_seconds_count"), "pod"), "{{pod}}")),
        lines(
            "Events in a commit",
            "The more, the less a commit costs each of them.",
            "none",
            Prometheus(mean(f"{prefix}_batch_events"), "mean"),
            Prometheus(quantile(0.95, f"{prefix}_batch_events"), "p95"),
        ),
    ]


def rows(title: str, about: str, *queries: Query) -> table.Panel:
    return described(table.Panel(), title, about, "none", queries).show_header(True)


def shares(title: str, about: str, query: Sql) -> piechart.Panel:
    """Of a column of names and one of numbers, each row as a share of all."""
    panel = described(piechart.Panel(), title, about, "none", [query])
    legend = piechart.PieChartLegendOptions().show_legend(True).placement(LegendPlacement.RIGHT)
    legend.display_mode(LegendDisplayMode.TABLE).values([PieChartLegendValues.VALUE, PieChartLegendValues.PERCENT])
    return panel.pie_type(PieChartType.DONUT).reduce_options(every()).legend(legend)


def bars(title: str, about: str, query: Query) -> bargauge.Panel:
    """The same as bars, largest first as the query sorts them; of Prometheus one bar for each series."""
    panel = described(bargauge.Panel(), title, about, "none", [query]).display_mode(BarGaugeDisplayMode.GRADIENT).min(0)
    return panel.orientation(VizOrientation.HORIZONTAL).reduce_options(every() if isinstance(query, Sql) else newest())


def newest() -> common.ReduceDataOptions:
    return common.ReduceDataOptions().calcs(["lastNotNull"]).fields("").values(False)


def every() -> common.ReduceDataOptions:
    return common.ReduceDataOptions().calcs([]).fields("").values(True).limit(25)


@dataclass(frozen=True)
class Row:
    """A heading, and lines of panels below it; those of a line share its width."""

    title: str
    lines: tuple[Sequence[Panel], ...]


def row(title: str, *lines: Sequence[Panel]) -> Row:
    return Row(title, lines)


@dataclass(frozen=True)
class Dashboard:
    """`uid` is its address in Grafana (/d/UID) and must stay; `hours` is the time that it shows at first."""

    file: str
    uid: str
    title: str
    about: str
    variables: Sequence[Builder[models.VariableModel]]
    rows: Sequence[Row]
    hours: int = 3

    def build(self) -> models.Dashboard:
        links = sdk.DashboardLink("Sluice").type(models.DashboardLinkType.DASHBOARDS).tags([TAG]).as_dropdown(True)
        builder = sdk.Dashboard(self.title).uid(self.uid).description(self.about).tags([TAG]).editable()
        builder.tooltip(models.DashboardCursorSync.CROSSHAIR).refresh("30s").time(f"now-{self.hours}h", "now").timezone("browser")
        builder.variables(list(self.variables)).link(links.keep_time(True).include_vars(True))
        made = builder.build()
        made.panels = list(placed(self.rows))
        return made


def placed(rows: Sequence[Row]) -> Iterator[models.Panel | models.RowPanel]:
    """Every panel with its place and its number. (The SDK's own rule sets no number, and lets a line run over.)"""
    number, y = 0, 0
    for each in rows:
        number += 1
        heading = sdk.Row(each.title).id(number).build()
        heading.grid_pos = models.GridPos(h=1, w=WIDTH, x=0, y=y)
        yield heading
        y += 1
        for line in each.lines:
            panels = [panel.build() for panel in line]
            height = 4 if all(panel.type_val == "stat" for panel in panels) else 8
            for place, panel in enumerate(panels):
                number += 1
                panel.id_val = number
                begin, end = (WIDTH * at // len(panels) for at in (place, place + 1))
                panel.grid_pos = models.GridPos(h=height, w=end - begin, x=begin, y=y)
                yield panel
            y += height


# variables


def source(name: str, label: str, reference: models.DataSourceRef) -> sdk.DatasourceVariable:
    return sdk.DatasourceVariable(name).label(label).type(str(reference.type_val))


def prometheus_variables(metric: str) -> list[Builder[models.VariableModel]]:
    """Data source, namespace and release, of those that tell `metric`."""
    return [
        source("datasource", "Prometheus", PROMETHEUS),
        label_values("namespace", "Namespace", metric, "namespace"),
        label_values("job", "Release", f'{metric}{{namespace="$namespace"}}', "job"),
    ]


def label_values(name: str, label: str, series: str, wanted: str) -> sdk.QueryVariable:
    asked: dict[str, Any] = {"qryType": 1, "query": f"label_values({series}, {wanted})", "refId": name}
    return asking(name, label, PROMETHEUS).query(asked)


def rows_of(name: str, label: str, text: str) -> sdk.QueryVariable:
    """The rows of an SQL query, of which any number may be chosen; all at first."""
    return asking(name, label, POSTGRESQL).query(text).multi(True).include_all(True).current(ALL)


def asking(name: str, label: str, reference: models.DataSourceRef) -> sdk.QueryVariable:
    variable = sdk.QueryVariable(name).label(label).datasource(reference)
    return variable.refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED).sort(models.VariableSort.ALPHABETICAL_ASC)


def choice(name: str, label: str, values: Sequence[str]) -> sdk.CustomVariable:
    """Any number of these, all at first."""
    return sdk.CustomVariable(name).label(label).values(",".join(values)).multi(True).include_all(True).current(ALL)
