"""`sluice import`: a file into the service, with progress, and what was not stored.

SLUICE_URL, SLUICE_API_KEY and SLUICE_API_KEY_FILE are options of the client, read here by click. They are no settings of the
service, so sluice.settings does not know them.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import io
import itertools
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, tzinfo
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self, cast
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import click
import msgspec
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table

from sluice import client, importer, outcomes
from sluice.client import BatchResult, Client, ClientError
from sluice.importer import Importer, Input, Item, Refused

# Seconds between two plain lines of progress, where no bar can be drawn.
LINE_EVERY = 5.0
SHOWN_REFUSALS = 5
INTERRUPTED = 130
RESUME = "Run the same command again to go on: what is stored already counts as duplicate then."

encode = msgspec.json.Encoder().encode

# `queued` is for services with a queue, which this release has not.
SHOWN = tuple(status for status in outcomes.STATUSES if status != "queued")


@dataclasses.dataclass(frozen=True)
class Peer:
    """Where to send, and with which key."""

    url: str
    api_key: str | None = dataclasses.field(repr=False)
    key_file: Path | None
    data_dir: Path
    compress: bool
    retry_for: float

    def client(self, on_wait: Callable[[str, float], None]) -> Client:
        """Raises ClientError for an address or key that can not be used."""
        key = client.find_key(self.api_key, self.key_file, self.data_dir, self.url)
        return Client(self.url, key, compress=self.compress, deadline=self.retry_for, on_wait=on_wait)


def not_as_argument(context: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    """Takes the key from the environment only: every user of a machine can read the arguments of its processes."""
    if parameter.name and context.get_parameter_source(parameter.name) is click.core.ParameterSource.COMMANDLINE:
        raise click.BadParameter("a key on the command line can be read by others; set SLUICE_API_KEY instead")
    return value


PEER_OPTIONS = (
    click.option(
        "--url", envvar="SLUICE_URL", default="http://127.0.0.1:8080", show_default=True, show_envvar=True, help="The service."
    ),
    click.option("--api-key", envvar="SLUICE_API_KEY", hidden=True, callback=not_as_argument),
    click.option(
        "--api-key-file",
        "key_file",
        envvar="SLUICE_API_KEY_FILE",
        show_envvar=True,
        type=click.Path(path_type=Path),
        help="File that holds the key. Default: SLUICE_API_KEY, then DATA_DIR/first-run.key.",
    ),
    click.option("--data-dir", envvar="DATA_DIR", default=".sluice", hidden=True, type=click.Path(path_type=Path)),
    click.option("--gzip/--no-gzip", "compress", default=False, help="Compress what is sent; worth it beyond this machine."),
    click.option(
        "--retry-for",
        default=client.DEADLINE,
        show_default=True,
        type=click.FloatRange(min=0),
        help="Seconds to keep trying while the service is away or refuses for its limits.",
    ),
)


def peer_options(command: Callable[..., None]) -> Callable[..., None]:
    """Adds PEER_OPTIONS to `command`, which gets them as one argument `peer`."""

    @functools.wraps(command)
    def run(**given: Any) -> None:
        peer = Peer(**{each.name: given.pop(each.name) for each in dataclasses.fields(Peer)})
        command(peer=peer, **given)

    for option in reversed(PEER_OPTIONS):
        run = option(run)
    return run


batch_size_option = click.option(
    "--batch-size", default=500, show_default=True, type=click.IntRange(1, 1000), help="Events in one request."
)


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
@peer_options
@batch_size_option
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


def send(batches: Iterable[list[Item]], peer: Peer, tally: Tally, meter: Meter, again: str) -> None:
    """Send all of `batches`, several at a time, and show how far it came; `again` says what a second run does."""

    def send_one(batch: list[Item]) -> BatchResult:
        return service.send_batch([msgspec.Raw(item.json) for item in batch])

    with shown(tally, again), meter:
        service = peer.client(meter.say)
        with contextlib.closing(service.deliver(send_one, batches)) as delivered:
            for batch, result in delivered:
                tally.book(batch, result)
                meter.show(tally.counts.total())


@contextlib.contextmanager
def shown(tally: Tally, again: str) -> Iterator[None]:
    """However the sending ends, the table of what came of it is the last word on stdout."""
    try:
        yield
    except ClientError as error:
        tally.show()
        raise click.ClickException(f"{error.detail}\n{again}") from error
    except KeyboardInterrupt:
        tally.show()
        click.echo(f"stopped. {again}", err=True)
        raise SystemExit(INTERRUPTED) from None
    tally.show()


class Tally:
    """Counts by status, and the place where what was not stored is told: `sink`, or the first few on stderr."""

    def __init__(self, sink: IO[bytes] | None = None) -> None:
        self.counts: Counter[str] = Counter()
        self._sink = sink
        self._told = 0

    @property
    def not_stored(self) -> int:
        return sum(self.counts[status] for status in client.NOT_STORED)

    def refuse(self, entry: Refused) -> None:
        self.counts["invalid"] += 1
        self._tell({"status": "invalid", **dataclasses.asdict(entry)})

    def book(self, batch: Sequence[Item], result: BatchResult) -> None:
        self.counts.update(result.counts)
        for refusal in result.refused:
            item = batch[refusal.index]
            why = {
                name: value for name, value in msgspec.structs.asdict(refusal).items() if value is not None and name != "index"
            }
            self._tell({"number": item.number, **why, "event": msgspec.Raw(item.json)})

    def _tell(self, record: dict[str, Any]) -> None:
        self._told += 1
        if self._sink is not None:
            self._sink.write(encode(record) + b"\n")
        elif self._told <= SHOWN_REFUSALS:
            # As JSON: an escape sequence in somebody's log must not reach the terminal as one.
            click.echo(f"not stored: {encode(record)[:500].decode(errors='replace')}", err=True)
        elif self._told == SHOWN_REFUSALS + 1:
            click.echo("not stored: more than these; use --errors FILE to get all of them", err=True)

    def show(self) -> None:
        table = Table(*SHOWN)
        table.add_row(*(f"{self.counts[status]:,}" for status in SHOWN))
        Console().print(table)


class Meter:
    """Progress on stderr: a bar with rate and time left on a terminal, elsewhere a plain line now and then.

    `position()` of `total` (None: unknown) tells how much is done, in any unit.
    """

    def __init__(self, total: int | None, position: Callable[[], int], clock: Callable[[], float] = time.monotonic) -> None:
        self._total = total
        self._position = position
        self._clock = clock
        self._start = self._last_line = clock()
        self._events = 0
        self._said = ""
        console = Console(stderr=True)
        told = TextColumn("{task.description}")
        self._bar = Progress(
            told, BarColumn(), TaskProgressColumn(), TimeRemainingColumn(), console=console, disable=not console.is_terminal
        )
        self._task = self._bar.add_task("", total=total)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None) -> None:
        self._bar.stop()
        click.echo(f"{self._rate()} in {self._clock() - self._start:.1f} s", err=True)

    def show(self, events: int) -> None:
        """`events` are done in all."""
        self._events = events
        self._bar.update(self._task, completed=self._position(), description=self._rate())
        if self._bar.disable and self._clock() - self._last_line >= LINE_EVERY:
            self._last_line = self._clock()
            click.echo(self._rate() + self._left(), err=True)

    def say(self, why: str, seconds: float) -> None:
        """The reason of a pause, once; called by several threads."""
        if why != self._said:
            self._said = why
            click.echo(f"waiting {seconds:.1f} s and trying again: {why}", err=True)

    def _rate(self) -> str:
        elapsed = self._clock() - self._start
        return f"{self._events:,} events, {self._events / elapsed if elapsed else 0:,.0f}/s"

    def _left(self) -> str:
        if not self._total or not (share := self._position() / self._total):
            return ""
        return f", {share:.0%}, {(self._clock() - self._start) * (1 / share - 1):.0f} s left"
