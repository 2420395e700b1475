"""`sluice import`: a file into the service, with progress, and what was not stored."""

from __future__ import annotations

import io
import itertools
from collections.abc import Iterable
from datetime import UTC, tzinfo
from typing import IO, cast
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import click

from sluice.client import importer
from sluice.client.importer import Importer, Input, Item, Refused
from sluice.commands import peer as peers
from sluice.commands.peer import Peer
from sluice.commands.progress import Meter, Tally, send

RESUME = "Run the same command again to go on: what is stored already counts as duplicate then."


def zone_named(_context: click.Context, _parameter: click.Parameter, value: str) -> tzinfo:
    # UTC needs no time zone database, which slim images do not have.
    if value.upper() == "UTC":
        return UTC
    try:
        return ZoneInfo(value)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise click.BadParameter(f"no time zone {value!r}; use a name such as Europe/Berlin") from error


@click.command(
    "import",
    epilog="""\b
Examples:
  sluice import /var/log/dpkg.log
  sluice import events.ndjson.gz --errors refused.ndjson
  journalctl -o json | sluice import - --source journal
  sluice import app.log --timezone Europe/Berlin --dry-run""",
)
@click.argument("file", type=click.Path(exists=True, dir_okay=False, allow_dash=True))
@peers.peer_options
@peers.batch_size_option
@click.option(
    "--format", default="auto", show_default=True, type=click.Choice(["auto", *importer.FORMATS]), help="How FILE is written."
)
@click.option("--source", help="Source of events that name none. Default: the name of FILE, or stdin.")
@click.option(
    "--timezone", "zone", default="UTC", show_default=True, callback=zone_named, help="Zone of timestamps without offset."
)
@click.option("--errors", "errors_to", type=click.File("wb", lazy=False), help="Write what was not stored, and why, as NDJSON.")
@click.option("--dry-run", is_flag=True, help="Print the first events instead of sending any.")
@click.option("--first", default=10, show_default=True, type=click.IntRange(min=1), help="How many --dry-run prints.")
def import_file(
    file: str,
    peer: Peer,
    batch_size: int,
    format: str,
    source: str | None,
    zone: tzinfo,
    errors_to: IO[bytes] | None,
    dry_run: bool,
    first: int,
) -> None:
    """Send the events in FILE (- is stdin): NDJSON, a JSON array or log lines, gzip or not.

    Stopped halfway or in doubt, run it again: each event has an id made of its content, its place among equal ones and its
    source, so what is stored already counts as duplicate. Exits with 1 when anything was not stored.
    """
    with click.open_file(file, "rb") as opened:
        given = Input(cast(io.BufferedIOBase, opened))
        kind = given.format if format == "auto" else cast(importer.Format, format)
        reader = Importer(importer.storable(source) if source else importer.source_of(file), zone)
        entries = reader.read(given.stream, kind)
        tally = Tally(errors_to)
        if dry_run:
            preview(itertools.islice(entries, first), tally)
        else:
            batches = importer.batches(entries, batch_size, tally.refuse)
            send(batches, peer, tally, Meter(given.size, lambda: given.position), RESUME)
    click.echo(f"read as {kind}" + (f", {reader.blank:,} blank lines passed over" if reader.blank else ""), err=True)
    raise SystemExit(1 if tally.not_stored else 0)


def preview(entries: Iterable[Item | Refused], tally: Tally) -> None:
    for entry in entries:
        if isinstance(entry, Refused):
            tally.refuse(entry)
        else:
            click.echo(entry.json.decode())
