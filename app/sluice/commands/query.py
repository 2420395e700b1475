"""`sluice query`: stored events as a table, JSON or CSV."""

from __future__ import annotations

import contextlib
import csv
import io
import itertools
import sys
from collections.abc import Callable, Iterator

import click
import msgspec
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from sluice import filters as rules
from sluice.client.reading import MAX_PAGE, Log, Parameters, ReadClient, compact, moment, safe
from sluice.commands import filters as options
from sluice.commands import peer as peers
from sluice.commands.peer import Peer, Waits
from sluice.commands.progress import Meter

# Characters of a cell at most.
MOST = 200
SHOWN = ("timestamp", "event_type", "source", "event_name", "user_id", "properties")
ALWAYS = ("timestamp", "event_type", "event_name")
COLUMNS = (
    "id", "event_id", "timestamp", "event_type", "event_name", "properties", "user_id", "session_id", "app_version",
    "device_info", "source", "sequence_number", "priority", "key_id", "fingerprint", "created_at", "processed_at",
)  # fmt: skip


@click.command(
    epilog="""\b
Examples:
  sluice query
  sluice query event_type=error source=checkout --since 2h
  sluice query user_id=user-42 --all --format csv >user-42.csv
  sluice query 'properties["http.route"]=/pay' --format json --limit 500 | jq .event_id"""
)
@peers.peer_options
@options.argument
@click.option("--since", type=options.MomentType(), help="From this timestamp on: 15m, 2h, 7d ago, or RFC 3339.")
@click.option("--until", type=options.MomentType(), help="Up to this timestamp.")
@click.option("--limit", default=50, show_default=True, type=click.IntRange(min=1), help="How many at most.")
@click.option("--all", "everything", is_flag=True, help="As many as there are.")
@click.option("--sort-by", type=click.Choice(rules.SORTS), default="created_at", show_default=True)
@click.option("--asc/--desc", "ascending", default=False, help="Oldest first, or newest first (the default).")
@click.option("--format", "kind", type=click.Choice(["table", "json", "csv"]), default="table", show_default=True)
def query(
    peer: Peer,
    filters: tuple[tuple[str, str], ...],
    since: str | None,
    until: str | None,
    limit: int,
    everything: bool,
    sort_by: str,
    ascending: bool,
    kind: str,
) -> None:
    """Show stored events, newest first.

    A filter is NAME=VALUE as in a query of the service: event_type, event_name, source, user_id, properties.PATH and so on; all
    must hold. JSON is one event a line. CSV has every field, objects as JSON.
    """
    order = [("sort_by", sort_by), ("sort_order", "asc" if ascending else "desc")]
    parameters = [*options.given(filters, since, until), *order]
    shown = 0
    shows = Meter(None, lambda: shown) if everything or limit > MAX_PAGE else contextlib.nullcontext()
    with peers.printing(), shows as meter:
        found = read(peer.client_of(ReadClient, (meter or Waits()).say), parameters, None if everything else limit)

        def counted() -> Iterator[msgspec.Raw]:
            nonlocal shown
            for shown, log in enumerate(found, start=1):
                yield log
                if meter is not None and shown % MAX_PAGE == 0:
                    meter.show(shown)
            if meter is not None:
                meter.show(shown)

        FORMATS[kind](counted())


def read(client: ReadClient, parameters: Parameters, limit: int | None) -> Iterator[msgspec.Raw]:
    """Up to `limit` events, None for all; asks for no page more than that takes."""
    size = MAX_PAGE if limit is None else min(limit, MAX_PAGE)
    logs = itertools.chain.from_iterable(page.logs for page in client.pages(parameters, size))
    return itertools.islice(logs, limit)


def as_table(logs: Iterator[msgspec.Raw]) -> None:
    rows = [cells(msgspec.json.decode(raw, type=Log)) for raw in logs]
    if not rows:
        click.echo("no event is like that", err=True)
        return
    console = Console()
    # A file or a pipe has no width, and rich would take 80.
    console.width = console.width if console.is_terminal else sum(map(len, SHOWN)) + len(SHOWN) * MOST
    table = Table(box=None, header_style="bold", padding=(0, 1, 0, 0))
    used = [number for number, name in enumerate(SHOWN) if name in ALWAYS or any(row[number] for row in rows)]
    for number in used:
        table.add_column(SHOWN[number])
    narrowed = fitted([[row[number] for number in used] for row in rows], [SHOWN[number] for number in used], console.width)
    for row in narrowed:
        table.add_row(*row)
    console.print(table)


def cells(log: Log) -> list[str]:
    log["timestamp"] = moment(log)
    return [safe(compact(log[name] or None))[:MOST] for name in SHOWN]


def fitted(rows: list[list[str]], names: list[str], width: int) -> list[list[Text]]:
    """`rows` with the longest columns shortened until a row has `width` characters; time and type, the first two, stay whole."""
    widths = [max(map(cell_len, column)) for column in zip(names, *rows, strict=True)]
    while sum(widths) + len(widths) > width and (wide := [n for n in range(2, len(widths)) if widths[n] > len(names[n])]):
        widths[max(wide, key=widths.__getitem__)] -= 1
    table = [[Text(cell, no_wrap=True) for cell in row] for row in rows]
    for row in table:
        for cell, most in zip(row, widths, strict=True):
            cell.truncate(most, overflow="ellipsis")
    return table


def as_json(logs: Iterator[msgspec.Raw]) -> None:
    for raw in logs:
        click.echo(safe(bytes(raw).decode()))


def as_csv(logs: Iterator[msgspec.Raw]) -> None:
    if isinstance(sys.stdout, io.TextIOWrapper):
        # For a program, whatever this terminal shows.
        sys.stdout.reconfigure(encoding="utf-8")
    # A terminal would obey what a client wrote.
    shown = safe if sys.stdout.isatty() else str
    writer = csv.writer(sys.stdout)
    writer.writerow(COLUMNS)
    for raw in logs:
        log = msgspec.json.decode(raw, type=Log)
        writer.writerow([shown(compact(log[name])) for name in COLUMNS])


FORMATS: dict[str, Callable[[Iterator[msgspec.Raw]], None]] = {"table": as_table, "json": as_json, "csv": as_csv}
