"""What Grafana makes of a query before a data source gets it: variables and macros put in.

Of the documentation of Grafana 12: "Global variables", "Prometheus template variables" and "PostgreSQL macros". Grafana itself is
AGPL and is not started here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

# A macro's arguments end at the first closing bracket, as in Grafana.
MACRO = re.compile(r"\$__(\w+)\(([^)]*)\)")
VARIABLE = re.compile(r"\$\{?(\w+)\}?")
LABEL_VALUES = re.compile(r"label_values\((.*), (\w+)\)")


@dataclass(frozen=True)
class Shown:
    """What somebody looks at: from when to when (Unix time), points that are `interval` seconds apart, and chosen values."""

    begin: float
    end: float
    interval: int
    scrape_interval: float
    chosen: Mapping[str, str | list[str]]

    def promql(self, text: str) -> str:
        given = {
            "__rate_interval": f"{max(self.interval + self.scrape_interval, 4 * self.scrape_interval):g}s",
            "__range": f"{self.end - self.begin:.0f}s",
            "__interval": f"{self.interval}s",
        }
        return self._filled(text, given, lambda values: "(" + "|".join(map(re.escape, values)) + ")")

    def sql(self, text: str) -> str:
        filled = self._filled(text, {"__interval": f"{self.interval}s"}, lambda values: ",".join(map(quoted, values)))
        return MACRO.sub(self._macro, filled)

    def _filled(self, text: str, given: Mapping[str, str], several: Callable[[list[str]], str]) -> str:
        def value(found: re.Match[str]) -> str:
            name = found[1]
            if name.startswith("__") and name not in given:
                return found[0]
            chosen = given[name] if name in given else self.chosen[name]
            return chosen if isinstance(chosen, str) else several(chosen)

        return VARIABLE.sub(value, text)

    def _macro(self, found: re.Match[str]) -> str:
        name, arguments = found[1], [each.strip().strip("'") for each in found[2].split(",")]
        if name == "timeFilter":
            return f"{arguments[0]} BETWEEN {moment(self.begin)} AND {moment(self.end)}"
        if name in ("timeFrom", "timeTo"):
            return moment(self.begin if name == "timeFrom" else self.end)
        assert name == "timeGroupAlias", f"no macro of PostgreSQL: {name}"
        column, interval = arguments[0], int(arguments[1].removesuffix("s"))
        return f'floor(extract(epoch from {column})/{interval})*{interval} AS "time"'


def quoted(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def moment(at: float) -> str:
    return quoted(datetime.fromtimestamp(at, UTC).isoformat().replace("+00:00", "Z"))


def panels(dashboard: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


def is_sql(query: Mapping[str, Any]) -> bool:
    return bool(query["datasource"]["uid"] == "${database}")
