"""`sluice tail` and `sluice query` on a real service."""

from __future__ import annotations

import csv
import io
import json
import select
import subprocess
import sys
from typing import Any

import click
import pytest
from click.shell_completion import BashComplete
from click.testing import CliRunner
from tests.integration.checks import Mine, send
from tests.integration.service import KEY, Service
from tests.integration.test_cli import sluice

from sluice.cli import main
from sluice.client import reading
from sluice.commands import query as table
from sluice.commands import tail as tailed

pytest_plugins = ["tests.integration.services"]
HOSTILE = "\u001b]0;owned\u0007\u009b31m\u202e"


def environment(service: Service) -> dict[str, str]:
    return {"SLUICE_URL": service.url, "SLUICE_API_KEY": KEY}


def query(service: Service, *words: str) -> str:
    done = sluice("query", *words, **environment(service))
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def tail(service: Service, mine: Mine) -> Any:
    """A `sluice tail --json` of this test's events, opened."""
    command = [sys.executable, "-m", "sluice", "tail", "--json", f"source={mine.id('s')}"]
    env = {"PYTHONPATH": "app", **environment(service)}
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        yield process
        process.kill()


def test_a_tail_shows_what_is_committed_until_its_reader_leaves(service: Service, mine: Mine, tail: Any) -> None:
    names: list[str] = []
    while not names:
        # Until the tail is open nothing comes.
        send(service, mine.event(f"{len(mine.names())}", source=mine.id("s"), properties={"x": HOSTILE}))
        if select.select([tail.stdout], [], [], 0.3)[0]:
            line = tail.stdout.readline()
            names.append(json.loads(line)["event_id"])
            assert (json.loads(line)["properties"]["x"], line[:-1].isprintable()) == (HOSTILE, True)
    assert names[0].startswith(mine.prefix)


def test_a_table_keeps_time_and_type_whole_and_fits_the_terminal() -> None:
    names = ["timestamp", "event_type", "event_name", "properties"]
    rows = [["2026-11-29T15:45:28.025", "observability", "a_rather_long_event_name" * 2, "☃" * 200]]
    for width in (80, 120):
        (cells,) = table.fitted(rows, names, width)
        assert [cell.plain for cell in cells[:2]] == rows[0][:2]
        assert sum(cell.cell_len + 1 for cell in cells) == width
    short = ["2026-11-29T15:45:28.025", "log", "x", "y"]
    (cells,) = table.fitted([short], names, 80)
    assert [cell.plain for cell in cells] == short


@pytest.mark.parametrize("second", ["28", "28.5", "28.123456"])
def test_a_time_is_shown_without_a_part_of_its_offset(second: str) -> None:
    for offset in ("+00:00", "Z"):
        log = dict.fromkeys(("source", "priority"), "") | {"event_type": "log", "event_name": "x", "properties": {}}
        log["timestamp"] = f"2026-11-29T15:45:{second}{offset}"
        assert tailed.line(log).startswith(click.style(f"15:45:{second[:6]}".ljust(12), dim=True))
        assert table.cells(log | {"user_id": None})[0] == f"2026-11-29T15:45:{second[:6]}"


def test_a_query_that_is_piped_cuts_no_column(service: Service, mine: Mine) -> None:
    send(service, mine.event("a", source=mine.id("s"), event_name="n" * 100, properties={"text": "t" * 100}))
    shown = query(service, f"source={mine.id('s')}")
    assert ("n" * 100 in shown, "t" * 100 in shown) == (True, True)


@pytest.mark.parametrize("kind", ["table", "json", "csv"])
def test_a_terminal_that_cannot_show_a_character_gets_an_escape_and_a_file_the_character(
    kind: str, service: Service, mine: Mine
) -> None:
    send(service, mine.event(event_name="Größe €", source=mine.id("s")))
    command = [sys.executable, "-m", "sluice", "query", f"source={mine.id('s')}", "--format", kind]
    env = {"PYTHONPATH": "app", "PYTHONIOENCODING": "ascii", "COLUMNS": "200", **environment(service)}
    done = subprocess.run(command, env=env, capture_output=True, timeout=30)
    assert done.returncode == 0, done.stderr
    shown = {"table": r"Gr\xf6\xdfe \u20ac", "json": "Größe €", "csv": "Größe €"}[kind]
    assert shown in (json.dumps(json.loads(done.stdout), ensure_ascii=False) if kind == "json" else done.stdout.decode())


def test_a_query_has_all_pages_as_json_and_every_field_as_csv(service: Service, mine: Mine) -> None:
    send(service, *[mine.event(f"{n:04}", source=mine.id("s"), properties={"n": n}) for n in range(900)])
    send(service, *[mine.event(f"{n:04}", source=mine.id("s"), properties={"n": n}) for n in range(900, 1100)])
    where = f"source={mine.id('s')}"
    found = [json.loads(line)["properties"]["n"] for line in query(service, where, "--all", "--format", "json").splitlines()]
    assert found == list(reversed(range(1100)))
    rows = list(csv.DictReader(io.StringIO(query(service, where, "--limit", "2", "--asc", "--format", "csv"))))
    assert [(row["event_id"], row["properties"]) for row in rows] == [(mine.id("0000"), '{"n":0}'), (mine.id("0001"), '{"n":1}')]
    assert query(service, where, "properties.n=7", "--since", "1h").count("\n") == 2, "a head and one row"


def test_a_terminal_shows_what_others_wrote_and_does_not_obey_it(service: Service, mine: Mine) -> None:
    send(service, mine.event("a", source=mine.id("s"), event_name=f"name{HOSTILE}"))
    assert "\u001b" not in query(service, f"source={mine.id('s')}").replace("\n", "")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["source"], "write NAME=VALUE"),
        (["event_type=x"], "must be one of behavioral"),
        (["nonsense=1"], "nonsense"),
        (["--since", "yesterday"], "write 15m, 2h or 7d"),
        (["--since", "999999d"], "write 15m, 2h or 7d"),
    ],
)
def test_a_filter_that_is_none_is_refused_before_anything_is_asked(words: list[str], says: str) -> None:
    done = CliRunner().invoke(main, ["query", *words])
    assert (done.exit_code, says in done.output) == (2, True), done.output


def test_a_refusal_says_what_to_do(service: Service) -> None:
    for command in ("tail", "query"):
        done = CliRunner(env={"SLUICE_URL": service.url, "SLUICE_API_KEY": "nobody-has-this-key"}).invoke(main, [command])
        assert (done.exit_code, "SLUICE_API_KEY" in done.stderr) == (1, True)


@pytest.mark.parametrize(
    ("typed", "offered"), [("event_t", "event_type="), ("priority=h", "priority=high"), ("--fo", "--format")]
)
def test_the_shell_completes_filters_and_options(typed: str, offered: str) -> None:
    found = BashComplete(main, {}, "sluice", "_SLUICE_COMPLETE").get_completions(["query"], typed)
    assert offered in [item.value for item in found]


def test_events_of_a_stream_are_read_however_it_is_cut() -> None:
    text = b'id: 1\r\ndata: {"a":\ndata: 1}\n\n:\n\nid: 2\n\nevent: lost\ndata: {"lost":3}\n\ndata: broken off\n'
    pieces = [text[i : i + 1] for i in range(len(text))]
    found = [(notice.kind, notice.id, notice.text) for notice in reading.notices(reading.lines(pieces))]
    assert found == [("message", "1", '{"a":\n1}'), ("message", "2", ""), ("lost", "", '{"lost":3}')]
