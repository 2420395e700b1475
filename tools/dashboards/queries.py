"""What panels ask Prometheus and PostgreSQL, in the few forms that most of them have."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from grafana_foundation_sdk.builders import prometheus
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.variants import Dataquery
from grafana_foundation_sdk.models.dashboard import DataSourceRef
from grafana_foundation_sdk.models.prometheus import PromQueryFormat, QueryEditorMode

PROMETHEUS = DataSourceRef("prometheus", "${datasource}")
# The id of Grafana's own plug-in since 10.2.3; before it was `postgres`.
POSTGRESQL = DataSourceRef("grafana-postgresql-datasource", "${database}")


def of(metric: str, *labels: str) -> str:
    """The series of the chosen release."""
    return metric + "{" + ", ".join(('namespace="$namespace"', 'job="$job"', *labels)) + "}"


def rate(metric: str, *labels: str) -> str:
    """A second, over as long as Grafana thinks right for the width of a panel and the scrape interval."""
    return f"rate({of(metric, *labels)}[$__rate_interval])"


def increase(metric: str, window: str = "$__rate_interval", *labels: str) -> str:
    return f"increase({of(metric, *labels)}[{window}])"


def total(series: str, *by: str) -> str:
    """The sum over pods, by these labels."""
    return f"sum by ({', '.join(by)}) ({series})" if by else f"sum({series})"


def quantile(share: float, metric: str, *labels: str, by: tuple[str, ...] = ()) -> str:
    """Of a histogram, over pods."""
    return f"histogram_quantile({share}, {total(rate(f'{metric}_bucket', *labels), 'le', *by)})"


def mean(metric: str) -> str:
    """Of a histogram, over pods."""
    return f"{total(rate(f'{metric}_sum'))} / {total(rate(f'{metric}_count'))}"


class Prometheus(prometheus.Dataquery):
    """A query over the time range that is shown; `legend` takes labels as {{label}}."""

    def __init__(self, expr: str, legend: str = "") -> None:
        super().__init__()
        self.datasource(PROMETHEUS).editor_mode(QueryEditorMode.CODE).expr(expr).legend_format(legend).range()

    def now(self) -> Prometheus:
        """As a table of the newest values."""
        return self.instant().format(PromQueryFormat.TABLE)

    def buckets(self) -> Prometheus:
        """Of a histogram by `le`, for Grafana to take each bucket's predecessor off."""
        return self.instant().format(PromQueryFormat.HEATMAP)


def quantiles(metric: str, *labels: str) -> list[Prometheus]:
    return [Prometheus(quantile(share, metric, *labels), name) for share, name in ((0.5, "p50"), (0.95, "p95"), (0.99, "p99"))]


@dataclass
class SqlQuery(Dataquery):
    """The SDK has none of its own for PostgreSQL."""

    text: str
    format: Literal["table", "time_series"]
    ref_id: str = ""

    def to_json(self) -> dict[str, object]:
        return {
            "datasource": POSTGRESQL,
            "editorMode": "code",
            "format": self.format,
            "rawQuery": True,
            "rawSql": self.text,
            "refId": self.ref_id,
        }


class Sql(Builder[Dataquery]):
    """A table; with `series` lines over time: column `time` in order, numbers, and at most one text that names the line."""

    def __init__(self, text: str, *, series: bool = False) -> None:
        self._query = SqlQuery(text.strip(), "time_series" if series else "table")

    def ref_id(self, ref_id: str) -> Sql:
        self._query.ref_id = ref_id
        return self

    def build(self) -> Dataquery:
        return self._query


Query = Prometheus | Sql
