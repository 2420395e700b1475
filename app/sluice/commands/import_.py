"""`sluice import`: files into the service, with progress, and what was not stored."""

from __future__ import annotations

import contextlib
import functools
import itertools
import math
import os
import re
import sqlite3
import time
from collections.abc import Iterator
from datetime import UTC, tzinfo
from fnmatch import fnmatch
from pathlib import Path
from typing import IO, cast
from urllib.parse import quote
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import click

from sluice.client import files
from sluice.client.delivery import IngestClient
from sluice.client.identity import Memory
from sluice.client.importer import Multiline
from sluice.client.job import STDIN, Job, Options
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


def names_of(_context: click.Context, _parameter: click.Parameter, values: tuple[str, ...]) -> list[str]:
    """The files that `values` name: as they are, or as patterns that the shell left alone. Each once.

    What is no file keeps no other from being read, as in `/var/log/*`: the report says so.
    """
    names: list[str] = []
    problems = []
    for value in values:
        found = [value] if value == STDIN or os.path.lexists(value) else matching(value)
        if not found:
            problems.append(f"there is no file {value}")
        elif value != STDIN and Path(value).is_dir():
            problems.append(f"{value} is a folder; name the files in it, as in '{value.rstrip('/')}/*.log'")
        names += found or [value]
    if len(problems) == len(values):
        raise click.BadParameter(problems[0])
    return list(dict.fromkeys(names))


def matching(pattern: str) -> list[str]:
    """The files that `pattern` names, as the shell has it: `**` follows no link to a folder, which may lead in circles."""
    anchor = Path(pattern).anchor
    parts = Path(pattern).parts[bool(anchor) :]
    if parts[-1:] == ("**",):
        parts += ("*",)
    try:
        found = sorted(each for each in Path(anchor).glob(str(Path(*parts))) if each.is_file()) if parts else []
    except ValueError:
        return []
    hidden = [part for part in parts if part.startswith(".")]

    def wanted(path: Path) -> bool:
        return all(not part.startswith(".") or any(fnmatch(part, each) for each in hidden) for part in path.parts)

    return [str(each) for each in found if wanted(each)]


def multiline_of(_context: click.Context, _parameter: click.Parameter, value: str) -> Multiline:
    if value in ("auto", "off"):
        return cast(Multiline, value)
    try:
        return re.compile(value)
    except re.error as error:
        raise click.BadParameter(f"auto, off, or a pattern of the first line of each event; {error}") from error


@click.command(
    "import",
    epilog="""\b
Examples:
  sluice import /var/log/dpkg.log
  sluice import /var/log/app/*.log* --errors refused.ndjson
  journalctl -o json | sluice import - --source journal
  sluice import app.log --timezone Europe/Berlin --dry-run
  sluice import app.log --time-format '%d.%m.%Y %H:%M:%S' --multiline '^\\d'
  sluice import --follow /var/log/app.log""",
)
@click.argument("names", metavar="FILE...", nargs=-1, required=True, callback=names_of)
@peers.peer_options
@peers.batch_size_option
@click.option(
    "--format", default="auto", show_default=True, type=click.Choice(["auto", *files.FORMATS]), help="How the files are written."
)
@click.option(
    "--source", help="Source of events that name none, and the identity of what is read. Default: each file by name, or stdin."
)
@click.option(
    "--timezone", "zone", default="UTC", show_default=True, callback=zone_named, help="Zone of timestamps without offset."
)
@click.option("--time-field", help="Field that holds the time: of a JSON record (a.b for b in a), or NAME=VALUE in a line.")
@click.option("--time-format", help="How the time is written, as strptime takes it, anywhere in a line.")
@click.option(
    "--multiline",
    default="auto",
    show_default=True,
    metavar="auto|off|PATTERN",
    callback=multiline_of,
    help="What makes lines one event: tracebacks, nothing, or that only lines with PATTERN begin one.",
)
@click.option("--follow", is_flag=True, help="Go on reading one file as it grows, is rotated or truncated, until stopped.")
@click.option("--force", is_flag=True, help="Read also what looks binary.")
@click.option("--errors", "errors_to", type=click.File("wb", lazy=False), help="Write what was not stored, and why, as NDJSON.")
@click.option(
    "--state-dir",
    envvar="XDG_STATE_HOME",
    default=Path("~/.local/state"),
    show_default=True,
    show_envvar=True,
    type=click.Path(path_type=Path),
    help="Where to remember which files were imported, in sluice/imports.sqlite.",
)
@click.option("--dry-run", is_flag=True, help="Print the first events instead of sending any.")
@click.option("--first", default=10, show_default=True, type=click.IntRange(min=1), help="How many --dry-run prints.")
def import_file(
    names: list[str],
    peer: Peer,
    batch_size: int,
    format: str,
    source: str | None,
    zone: tzinfo,
    time_field: str | None,
    time_format: str | None,
    multiline: Multiline,
    follow: bool,
    force: bool,
    errors_to: IO[bytes] | None,
    state_dir: Path,
    dry_run: bool,
    first: int,
) -> None:
    """Send the events in each FILE (- is stdin): log lines, NDJSON or a JSON array, plain, compressed or in a zip archive.

    Stopped halfway or in doubt, run it again: each event has an id made of its content, its place among equal ones and its file,
    so what is stored already counts as duplicate. A file that grew, was rotated, renamed or compressed is still the same file.
    Exits with 1 when anything was not stored.
    """
    kind = None if format == "auto" else cast(files.Format, format)
    options = Options(kind, source, zone, time_field, time_format, multiline, force)
    check(options, names, follow, dry_run)
    tally = Tally(errors_to)
    with contextlib.ExitStack() as stack:
        memory = None if dry_run or source else stack.enter_context(remembered(state_dir, peer.url.rstrip("/")))
        job = Job(names, options, memory, tally.refuse, lambda event_id: is_stored(peer, event_id))
        try:
            if dry_run:
                for item in itertools.islice((item for batch in job.batches(1) for item in batch.items), first):
                    click.echo(item.json.decode())
            elif follow:
                go_on_for_ever(job, names[0], peer, tally, batch_size)
            else:
                send(job.batches(batch_size), peer, tally, Meter(job.total, lambda: job.position), RESUME)
        finally:
            job.finish()
            tell(job)
    raise SystemExit(1 if tally.not_stored or any(report.problem for report in job.reports) else 0)


def check(options: Options, names: list[str], follow: bool, dry_run: bool) -> None:
    """Refuse options that do not go together or cannot be read."""
    try:
        options.times()
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--time-format") from error
    if follow and (len(names) != 1 or not Path(names[0]).is_file() or dry_run):
        raise click.BadParameter("it takes one file, no pipe and no --dry-run", param_hint="--follow")


@contextlib.contextmanager
def remembered(state_dir: Path, service: str) -> Iterator[Memory | None]:
    """The memory of what was imported before; None, and a word about it, when there can be none."""
    file = state_dir / "sluice" / "imports.sqlite"
    try:
        memory = Memory(file.expanduser(), service)
    except (OSError, sqlite3.Error, RuntimeError) as error:
        click.echo(f"{file} cannot be written ({error}): a file that was renamed is not recognised; set --state-dir", err=True)
        yield None
        return
    with contextlib.closing(memory):
        yield memory


@functools.cache
def reader_of(peer: Peer) -> IngestClient:
    return peer.client(lambda _why, _seconds: None)


def is_stored(peer: Peer, event_id: str) -> bool:
    """Whether the service has the event; no for a key that may not read."""
    service = reader_of(peer)
    answer = service.request("GET", f"/api/v1/events/{quote(event_id, safe='')}", None, service.deadline())
    if answer.status == 200:
        answer.data(dict)
        return True
    if answer.status not in (403, 404) or not answer.ours:
        raise service.refusal(answer)
    return False


def go_on_for_ever(job: Job, name: str, peer: Peer, tally: Tally, batch_size: int) -> None:
    """Follow the file until SIGINT or SIGTERM. However long the service is away, the file holds what comes meanwhile."""

    if click.get_current_context().get_parameter_source("retry_for") is click.core.ParameterSource.DEFAULT:
        peer = peer.patient(math.inf)
    meter = Meter(None, lambda: 0)
    send(job.follow(name, batch_size, time.sleep, meter.say), peer, tally, meter, RESUME)


def tell(job: Job) -> None:
    # What could not be read comes last, where it is seen.
    for report in sorted(job.reports, key=lambda report: bool(report.problem)):
        click.echo(str(report), err=True)
        if report.only_duplicates:
            click.echo(
                f"warning: all of {report.name} is stored already: imported before, or is it a copy of another file?", err=True
            )
