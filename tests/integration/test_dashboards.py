"""Every query of every panel, on a real Prometheus and a real PostgreSQL that have something to tell."""

from __future__ import annotations

import json
import math
import os
import subprocess
import time
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict
from tests.conftest import ROOT
from tests.integration import grafana, monitored
from tests.integration.conftest import migrated
from tests.integration.grafana import Shown
from tests.integration.monitored import Monitored
from tests.integration.postgres import Database, connect, wheel_server
from tests.integration.prometheus import Series
from tools.dashboards.made import DASHBOARDS, text_of

pytestmark = pytest.mark.needs("embedded PostgreSQL")

MADE = {dashboard.file: json.loads(text_of(dashboard)) for dashboard in DASHBOARDS}
PANELS = [(file, panel) for file, made in MADE.items() for panel in grafana.panels(made)]
PASSWORD = "reader-s password"
# Nothing went wrong while it was used: for these that is a plausible answer.
MAY_BE_ZERO = {
    "Errors not added up yet",
    "Error rate",
    "Share of requests that fail",
    "Events unaccounted for",
    "Refused by a rate limit",
    "Container restarts",
    "Late sources",
    "Waiting to be looked at",
}
each_panel = pytest.mark.parametrize(("file", "panel"), PANELS, ids=[f"{file}-{panel['title']}" for file, panel in PANELS])


class Seen:
    """What somebody sees who opens the dashboards."""

    def __init__(self, stage: Monitored, reader: psycopg.Connection[tuple[Any, ...]]) -> None:
        self.stage = stage
        self.reader = reader
        self.end = time.time()

    @cached_property
    def chosen(self) -> dict[str, dict[str, str | list[str]]]:
        """By file: the values of its variables, each asked as Grafana asks them; of one that takes several, all."""
        return {file: self._values(made["templating"]["list"]) for file, made in MADE.items()}

    def _values(self, variables: list[dict[str, Any]]) -> dict[str, str | list[str]]:
        chosen: dict[str, str | list[str]] = {}
        for variable in variables:
            options = self._options(variable, self._shown(chosen))
            if variable["type"] != "datasource":
                chosen[variable["name"]] = options if variable["multi"] else only(options, variable["name"])
        return chosen

    def _options(self, variable: dict[str, Any], shown: Shown) -> list[str]:
        if variable["type"] != "query":
            return str(variable["query"]).split(",")
        if grafana.is_sql(variable):
            return [str(value) for (value,) in self.reader.execute(shown.sql(variable["query"]))]
        found = grafana.LABEL_VALUES.fullmatch(variable["query"]["query"])
        assert found is not None
        return self.stage.prometheus.values(found[2], shown.promql(found[1]))

    def _shown(self, chosen: dict[str, str | list[str]]) -> Shown:
        return Shown(self.stage.begin - 60, self.end, 1, monitored.SCRAPE_SECONDS, chosen)

    def series(self, file: str, query: dict[str, Any]) -> list[Series]:
        shown = self._shown(self.chosen[file])
        text = shown.promql(query["expr"])
        assert "$" not in text
        return self.stage.prometheus.now(text) if query["instant"] else self.stage.prometheus.over(text, shown.begin, shown.end)

    def rows(self, file: str, query: dict[str, Any]) -> tuple[list[str], list[tuple[Any, ...]]]:
        """Names of columns, and rows."""
        text = self._shown(self.chosen[file]).sql(query["rawSql"])
        assert "$" not in text
        cursor = self.reader.execute(text)
        return [column.name for column in cursor.description or ()], cursor.fetchall()


def only(options: list[str], name: str) -> str:
    assert len(options) == 1, f"{name}: {options}"
    return options[0]


database = pytest.fixture(migrated, scope="module")


@pytest.fixture(scope="module")
def reader_url(database: Database) -> str:
    """Of the role that compose/grafana/reader.sql makes, run twice by psql as compose.yaml does it."""
    login = conninfo_to_dict(database.owner_url)
    given = {"PGHOST": login["host"], "PGPORT": login["port"], "PGUSER": login["user"], "PGDATABASE": database.name}
    psql = wheel_server(Path("."), None).bin_path / "psql"
    for _ in range(2):
        subprocess.run(
            [psql, "--no-psqlrc", "--quiet", f"--file={ROOT}/compose/grafana/reader.sql"],
            env={"PATH": os.environ["PATH"], "READER_PASSWORD": PASSWORD, **{name: str(value) for name, value in given.items()}},
            check=True,
        )
    return database.server.url_of(database.name, "sluice_reader", PASSWORD)


@pytest.fixture(scope="module")
def seen(database: Database, reader_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seen]:
    folder = tmp_path_factory.mktemp("monitored")
    with monitored.running(database, folder) as stage, connect(reader_url) as reader:
        yield Seen(stage, reader)


@each_panel
def test_no_panel_is_empty_and_each_shows_something_plausible(seen: Seen, file: str, panel: dict[str, Any]) -> None:
    numbers: list[float] = []
    for query in panel["targets"]:
        found = numbers_of_rows(*seen.rows(file, query), query) if grafana.is_sql(query) else numbers_of(seen.series(file, query))
        assert found, f"empty: {query}"
        numbers += found
    assert not [number for number in numbers if number < 0 or math.isinf(number)]
    assert panel["type"] == "table" or max(numbers) > 0 or panel["title"] in MAY_BE_ZERO


def numbers_of(series: list[Series]) -> list[float]:
    """NaN is a gap in a picture: nothing was measured then."""
    return [value for _, points in series for _, value in points if not math.isnan(value)]


def numbers_of_rows(columns: list[str], rows: list[tuple[Any, ...]], query: dict[str, Any]) -> list[float]:
    if query["format"] == "time_series":
        times = [row[columns.index("time")] for row in rows]
        assert times == sorted(times)
        # One text names the line.
        assert all(sum(isinstance(value, str) for value in row) <= 1 for row in rows)
    return [float(value) for row in rows for value in row if isinstance(value, int | float) and not isinstance(value, bool)]


def test_panels_of_a_time_range_show_nothing_of_another_one(seen: Seen) -> None:
    """Seed 001's panels `last 24 h` counted all events there were."""
    made = MADE["analytics.json"]
    ranged = [query for panel in grafana.panels(made) for query in panel["targets"] if "$__timeFilter" in query["rawSql"]]
    assert len(ranged) == 8
    earlier = Shown(seen.stage.begin - 7_200, seen.stage.begin - 3_600, 60, 1, seen.chosen["analytics.json"])
    assert [seen.reader.execute(earlier.sql(query["rawSql"])).fetchall() for query in ranged] == [[]] * 8


def test_all_events_are_in_the_picture_of_their_types(seen: Seen) -> None:
    (panel,) = [each for each in grafana.panels(MADE["analytics.json"]) if each["title"] == "Event types distribution"]
    _, rows = seen.rows("analytics.json", panel["targets"][0])
    until_then = """SELECT event_type, count(*) FROM sluice.events WHERE "timestamp" <= to_timestamp(%s) GROUP BY 1"""
    stored = seen.stage.database.execute(until_then, [seen.end])
    assert dict(rows) == dict(stored)
    assert {"error", "telemetry", "behavioral", "record"} <= dict(rows).keys()


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT content FROM sluice.events",
        "SELECT key_id FROM sluice.events",
        "SELECT secret FROM sluice.cursor_secret",
        "SELECT * FROM sluice.idempotency_keys",
        "SELECT url, definition FROM sluice.sources",
        "SELECT content FROM sluice.source_records",
        "SELECT * FROM sluice.tasks",
        "SELECT * FROM sluice.error_users",
        "SET transaction_read_only = off; DELETE FROM sluice.events",
        "SET transaction_read_only = off; UPDATE sluice.error_groups SET status = 'resolved'",
        "SET transaction_read_only = off; CREATE TABLE sluice.mine (id int)",
    ],
)
def test_the_reader_may_do_nothing_that_no_panel_needs(reader_url: str, statement: str) -> None:
    with connect(reader_url) as reader, pytest.raises(psycopg.errors.InsufficientPrivilege):
        reader.execute(statement)


def test_the_reader_takes_few_connections_and_gives_up_in_time(reader_url: str) -> None:
    asked = ("current_setting('statement_timeout')", "current_setting('transaction_read_only')", "rolconnlimit")
    with connect(reader_url) as reader:
        found = reader.execute(f"SELECT {', '.join(asked)} FROM pg_roles WHERE rolname = current_user").fetchall()
    assert found == [("15s", "on", 5)]
