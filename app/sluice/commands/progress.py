"""What the commands that send events show: progress, the reason of a pause, and a table of what was stored."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from types import FrameType, TracebackType
from typing import IO, Any, Self

import click
import msgspec
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Column, Table

from sluice import outcomes
from sluice.client import delivery
from sluice.client.delivery import BatchResult
from sluice.client.http import ClientError, encode
from sluice.client.importer import Refused
from sluice.client.job import Batch, Report
from sluice.commands.peer import INTERRUPTED, Peer, Waits

# Seconds between two plain lines of progress, where no bar can be drawn.
LINE_EVERY = 5.0
SHOWN_REFUSALS = 5
# The bar has hidden it.
SHOW_CURSOR = b"\x1b[?25h"


def send(batches: Iterable[Batch], peer: Peer, tally: Tally, meter: Meter, again: str) -> None:
    """Send all of `batches`, several at a time, and show how far it came; `again` says what a second run does."""

    def send_one(batch: Batch) -> BatchResult:
        return service.send_batch([msgspec.Raw(item.json) for item in batch.items]) if batch.items else BatchResult()

    with shown(tally, again), meter:
        service = peer.client(meter.say)
        with contextlib.closing(service.deliver(send_one, batches)) as delivered:
            for batch, result in delivered:
                batch.report.counts.update(result.counts)
                tally.book(batch, result)
                meter.show(tally.counts.total())


@contextlib.contextmanager
def shown(tally: Tally, again: str) -> Iterator[None]:
    """However the sending ends, the table of what came of it is the last word on stdout.

    The first SIGINT or SIGTERM ends it in order, the second at once.
    """
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number, handler in before.items():
        # A job of the background ignores SIGINT.
        if handler is not signal.SIG_IGN:
            signal.signal(number, stop)
    try:
        yield
    except ClientError as error:
        tally.show()
        raise click.ClickException(f"{error.detail}\n{again}") from error
    except KeyboardInterrupt:
        tally.show()
        click.echo(f"stopped. {again}", err=True)
        raise SystemExit(INTERRUPTED) from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    tally.show()


def stop(_number: int, _frame: FrameType | None) -> None:
    signal.signal(signal.SIGINT, stop_at_once)
    signal.signal(signal.SIGTERM, stop_at_once)
    with contextlib.suppress(OSError):
        os.write(2, b"stopping, when the requests under way are answered; once more stops at once\n")
    raise KeyboardInterrupt


def stop_at_once(_number: int, _frame: FrameType | None) -> None:
    if os.isatty(2):
        os.write(2, SHOW_CURSOR)
    os._exit(INTERRUPTED)


class Tally:
    """Counts by status. Reports what was not stored: all of it to `sink`, or the first few to stderr."""

    def __init__(self, sink: IO[bytes] | None = None) -> None:
        self.counts: Counter[str] = Counter()
        self._sink = sink
        self._reported = 0

    @property
    def not_stored(self) -> int:
        return sum(self.counts[status] for status in delivery.NOT_STORED)

    def refuse(self, report: Report, entry: Refused) -> None:
        self.counts["invalid"] += 1
        self._report({"file": report.name, "status": "invalid", **dataclasses.asdict(entry)})

    def book(self, batch: Batch, result: BatchResult) -> None:
        self.counts.update(result.counts)
        for refusal in result.refused:
            item = batch.items[refusal.index]
            why = {
                name: value for name, value in msgspec.structs.asdict(refusal).items() if value is not None and name != "index"
            }
            self._report({"file": batch.report.name, "number": item.number, **why, "event": msgspec.Raw(item.json)})

    def _report(self, record: dict[str, Any]) -> None:
        self._reported += 1
        if self._sink is not None:
            try:
                self._sink.write(encode(record) + b"\n")
                # click closes it at the end without a word of what fails then.
                self._sink.flush()
            except OSError as error:
                raise ClientError(f"{self._sink.name} cannot be written: {error.strerror}", "name another file") from error
        elif self._reported <= SHOWN_REFUSALS:
            # As JSON: an escape sequence in somebody's log must not reach the terminal as one.
            click.echo(f"not stored: {encode(record)[:500].decode(errors='replace')}", err=True)
        elif self._reported == SHOWN_REFUSALS + 1:
            click.echo("not stored: more than these; use --errors FILE to get all of them", err=True)

    def show(self) -> None:
        # Only a service with a queue has any that are queued.
        shown = [status for status in outcomes.STATUSES if status != "queued" or self.counts[status]]
        # Folded where a terminal is narrow: a number that is cut is another number.
        table = Table(*(Column(status, overflow="fold") for status in shown))
        table.add_row(*(f"{self.counts[status]:,}" for status in shown))
        Console().print(table)


class Meter(Waits):
    """Progress on stderr: a bar with rate and time left on a terminal, elsewhere a plain line now and then.

    `position()` of `total` (None: unknown) tells how much is done, in any unit.
    """

    def __init__(self, total: int | None, position: Callable[[], int], clock: Callable[[], float] = time.monotonic) -> None:
        self._total = total
        self._position = position
        self._clock = clock
        self._start = self._last_line = clock()
        self._events = self._told = 0
        console = Console(stderr=True)
        rate = TextColumn("{task.description}")
        self._bar = Progress(
            rate, BarColumn(), TaskProgressColumn(), TimeRemainingColumn(), console=console, disable=not console.is_terminal
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
        # A file that is followed may be quiet for days.
        if events != self._told and self._bar.disable and self._clock() - self._last_line >= LINE_EVERY:
            self._last_line, self._told = self._clock(), events
            click.echo(self._rate() + self._left(), err=True)

    def _rate(self) -> str:
        elapsed = self._clock() - self._start
        return f"{self._events:,} events, {self._events / elapsed if elapsed else 0:,.0f}/s"

    def _left(self) -> str:
        if not self._total or not (share := self._position() / self._total):
            return ""
        return f", {share:.0%}, {(self._clock() - self._start) * (1 / share - 1):.0f} s left"
