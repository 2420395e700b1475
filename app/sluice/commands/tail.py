"""`sluice tail`: events as they are committed."""

from __future__ import annotations

import sys

import click
import msgspec

from sluice.client.reading import Log, Notice, ReadClient, compact, moment, safe
from sluice.commands import filters as options
from sluice.commands import peer as peers
from sluice.commands.peer import Peer, Waits

# Characters of the properties in one line; --json has all.
MOST = 200
COLOURS = {"error": "red", "performance": "yellow", "observability": "cyan", "telemetry": "blue", "behavioral": "green"}


@click.command(
    epilog="""\b
Examples:
  sluice tail
  sluice tail event_type=error source=checkout
  sluice tail properties.code=502 'properties["http.route"]=/pay'
  sluice tail --json user_id=user-42 | jq .properties"""
)
@peers.peer_options
@options.argument
@click.option("--json", "as_json", is_flag=True, help="Print the events themselves, one a line.")
@click.option("--color/--no-color", default=None, envvar="SLUICE_COLOR", help="Default: on a terminal, unless NO_COLOR is set.")
@click.option("--no-color-variable", envvar="NO_COLOR", hidden=True)  # no-color.org: any text but an empty one
def tail(
    peer: Peer, filters: tuple[tuple[str, str], ...], as_json: bool, color: bool | None, no_color_variable: str | None
) -> None:
    """Show events as they are committed, until Ctrl-C.

    A filter is NAME=VALUE as in a query of the service: event_type, event_name, source, user_id, properties.PATH and so on; all
    must hold. A tail that breaks off is opened again behind the last event. stderr says what was lost.
    """

    if color is None and no_color_variable:
        color = False
    with peers.printing():
        for notice in peer.client_of(ReadClient, Waits().say).tail(options.given(filters)):
            show(notice, as_json, color)
            sys.stdout.flush()


def show(notice: Notice, as_json: bool, color: bool | None) -> None:
    if notice.kind == "lost":
        lost = msgspec.json.decode(notice.text, type=dict[str, int | None])["lost"]
        click.echo(f"({'some' if lost is None else f'{lost:,}'} events were left out; a filter makes them fewer)", err=True)
    elif notice.kind == "message":
        click.echo(safe(notice.text) if as_json else line(msgspec.json.decode(notice.text, type=Log)), color=color)


def line(log: Log) -> str:
    """One event: when, what kind, of whom, its name, and what it says."""
    kind = log["event_type"]
    first = [
        click.style(moment(log)[11:].ljust(12), dim=True),
        click.style(kind.ljust(13), fg=COLOURS.get(kind), bold=log["priority"] == "high"),
    ]
    says = safe(compact(log["properties"] or None))
    says = says if len(says) <= MOST else f"{says[:MOST]}..."
    return " ".join([*first, safe(log["source"] or "-"), click.style(safe(log["event_name"]), bold=True), says]).rstrip()
