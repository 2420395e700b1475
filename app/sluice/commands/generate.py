"""`sluice generate`: made-up events and real errors, to try a service out or to load it."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from random import Random

import click

from sluice.client import generator, importer
from sluice.client.http import encode
from sluice.client.job import Batch, Report
from sluice.commands import peer as peers
from sluice.commands.peer import Peer
from sluice.commands.progress import Meter, Tally, send, shown

AGAIN = "What was counted is stored; a second run sends events of its own."


@click.command(
    epilog="""\b
Examples:
  sluice generate --count 100
  sluice generate --count 60000 --rate 500 --errors-share 0.02
  sluice generate --as-reports --count 20
  sluice generate --stdout --seed 7 | head -3"""
)
@peers.peer_options
@peers.batch_size_option
@click.option("--count", default=1000, show_default=True, type=click.IntRange(min=1), help="How many in all.")
@click.option("--rate", default=0.0, type=click.FloatRange(min=0), help="How many a second; 0, the default: as fast as possible.")
@click.option(
    "--errors-share",
    default=0.1,
    show_default=True,
    type=click.FloatRange(0, 1),
    help="Share of errors among the events, 0 to 1.",
)
@click.option("--seed", type=int, help="Make the same events again, but for their times.")
@click.option("--as-reports", is_flag=True, help="Post nothing but error reports, one by one, to POST /.")
@click.option("--stdout", "to_stdout", is_flag=True, help="Print NDJSON instead of sending.")
def generate(
    peer: Peer,
    batch_size: int,
    count: int,
    rate: float,
    errors_share: float,
    seed: int | None,
    as_reports: bool,
    to_stdout: bool,
) -> None:
    """Send made-up events of a shop, with errors whose tracebacks come from code that really failed."""
    shop = generator.Shop(Random(seed), lambda: datetime.now(UTC), errors_share)  # noqa: S311 - made-up data, nothing secret
    numbers = generator.pace(range(count), rate, time.monotonic, time.sleep)
    tally, sent = Tally(), Meter(count, lambda: tally.counts.total())
    if to_stdout:
        print_all(shop, numbers, as_reports)
    elif as_reports:
        send_reports(shop.reports(numbers), peer, tally, sent)
    else:
        # At most about a second's worth, so that a slow rate is not seen as rare bursts.
        size = min(batch_size, max(1, round(rate))) if rate else batch_size
        report = Report("generated events")
        batches = importer.batches(shop.items(numbers), size, lambda refused: tally.refuse(report, refused))
        send((Batch(report, items) for items in batches), peer, tally, sent, AGAIN)
    raise SystemExit(1 if tally.not_stored else 0)


def print_all(shop: generator.Shop, numbers: Iterator[int], as_reports: bool) -> None:
    if as_reports:
        for report in shop.reports(numbers):
            click.echo(encode(report).decode())
    else:
        for item in shop.items(numbers):
            click.echo(item.json.decode())


def send_reports(reports: Iterator[dict[str, str]], peer: Peer, tally: Tally, meter: Meter) -> None:
    with shown(tally, AGAIN), meter:
        service = peer.client(meter.say)
        with contextlib.closing(service.deliver(service.send_report, reports)) as delivered:
            for _ in delivered:
                tally.counts["created"] += 1
                meter.show(tally.counts.total())
