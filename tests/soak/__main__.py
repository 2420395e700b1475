"""`python -m tests.soak`: the long forms of what tests do shortly, written into docs/reliability.md."""

from __future__ import annotations

import contextlib
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from tests import docs
from tests.conftest import ROOT
from tests.operator import soak as operator
from tests.platform import soak as platform
from tests.soak import chaos, cluster, kept, load, queue
from tests.soak.chaos import Arena, Books, Kill, Run

REPORT = ROOT / "docs" / "reliability.md"
KEPT = Path(tempfile.gettempdir()) / "sluice-soak"
HEAD = ("killed", "times", "back after, median", "back after, slowest")


@click.group()
def main() -> None:
    """What takes minutes to hours. Loads this machine; an interrupted run goes on when it is started again."""


@main.command("chaos")
@click.option("--kills", default=50, show_default=True, type=click.IntRange(1), help="How many in all.")
@click.option("--at-most", type=click.IntRange(1), help="Stop after so many; the same command goes on from there.")
@click.option("--seed", default=1, show_default=True, help="Decides what is killed when.")
@click.option(
    "--folder", default=KEPT, show_default=True, type=click.Path(path_type=Path), help="Where a run is kept until its end."
)
@click.option("--write/--no-write", default=True, show_default=True, help="Write docs/reliability.md.")
def kill_parts(kills: int, at_most: int | None, seed: int, folder: Path, write: bool) -> None:
    """Kill parts of a service under load, then compare what was acknowledged with what is stored.

    Interrupted, it goes on with the same database when it is started again with the same options.
    """
    run = resumed(folder, Run(seed=seed, total=kills))
    with chaos.arena(folder, run) as arena:
        fought(arena, run.plan()[len(run.kills) :][:at_most], lambda: kept.keep(folder, run))
        books = arena.books()
        found = [*books.missing, *books.doubled, *books.strangers, *load.failures(arena.clients)]
    text = "\n".join(report(run, books))
    click.echo(text)
    if found:
        raise click.ClickException(f"the books are wrong ({folder} is kept): {found[:10]}")
    if len(run.kills) < run.total:
        click.echo(f"{len(run.kills)} of {run.total} kills; the same command goes on")
        return
    if write:
        docs.put(REPORT, "chaos", text)
    shutil.rmtree(folder)


def resumed(folder: Path, run: Run) -> Run:
    """The run that `folder` keeps when it has the same seed and length, else `run` in an empty folder."""
    before = kept.found(folder, Run)
    if before is not None and (before.seed, before.total) == (run.seed, run.total):
        return before
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return run


@contextlib.contextmanager
def shown(total: int, completed: int = 0) -> Iterator[Callable[[Kill], None]]:
    """A bar that advances with each kill that is reported to it."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task("begins", total=total, completed=completed)
        yield lambda kill: progress.update(task, advance=1, description=f"{kill.part:10} back after {kill.recovery:.1f} s")


def fought(arena: Arena, parts: list[str], keep: Callable[[], None]) -> None:
    with shown(arena.run.total, len(arena.run.kills)) as told:
        try:
            chaos.fight(arena, parts, told)
        finally:
            keep()


def table(parts: Sequence[str], kills: Sequence[Kill]) -> list[str]:
    rows = [(part, [kill.recovery for kill in kills if kill.part == part]) for part in parts]
    return [
        f"| {' | '.join(HEAD)} |",
        "|" + "---|" * len(HEAD),
        *(f"| {part} | {len(took)} | {statistics.median(took):.1f} s | {max(took):.1f} s |" for part, took in rows if took),
    ]


def report(run: Run, books: Books) -> list[str]:
    answers = ", ".join(f"{number:,} x {status}" for status, number in sorted(run.answers.items()))
    return [
        docs.header("tests.soak"),
        "",
        *table(chaos.PARTS, run.kills),
        "",
        f"{len(run.kills)} kills in {run.seconds:.0f} s under load: {chaos.CLIENTS} clients, single posts, batches, streams.",
        f"Acknowledged: {sum(run.positions.values()):,} events; stored: {books.stored:,}.",
        f"Acknowledged, not stored: {len(books.missing)}. Stored twice: {len(books.doubled)}. Not sent: {len(books.strangers)}.",
        f"Answers: {answers} (none: refused or broken off).",
        f"{run.replayed:,} events were committed before, their answer lost, and were answered as duplicates.",
    ]


@main.command("queue")
@click.option("--kills", default=52, show_default=True, type=click.IntRange(1), help="How many in all.")
@click.option("--write/--no-write", default=True, show_default=True, help="Write docs/reliability.md.")
def kill_queue(kills: int, write: bool) -> None:
    """Kill worker, service, RabbitMQ and PostgreSQL in turn under load in queue mode. About twenty minutes."""
    with queue.bed() as (broker, server, database), shown(kills) as told:
        found = queue.fight(broker, server, database, kills, told)
    books = found.books
    text = "\n".join(
        [
            docs.header("tests.soak"),
            "",
            *table(queue.PARTS, found.kills),
            "",
            f"{len(found.kills)} kills under load: {queue.CLIENTS} clients, single posts, batches, streams.",
            f"Answered `queued`: {found.queued:,} events; stored: {books.stored:,}.",
            f"Answered `queued`, not stored: {len(books.missing)}. Stored twice: {len(books.doubled)}.",
            f"Not sent: {len(books.strangers)}. Dead letters: {found.dead}.",
        ]
    )
    click.echo(text)
    if books.missing or books.doubled or books.strangers or found.dead:
        raise click.ClickException(f"the books are wrong: {books.missing[:10]}")
    if write:
        docs.put(REPORT, "queue", text)


def run_tests(*arguments: str, **environment: str) -> None:
    """In a process of its own: pytest rewrites what it imports, and this one has imported much of it."""
    command = [sys.executable, "-m", "pytest", *arguments]
    sys.exit(subprocess.run(command, cwd=ROOT, env={**os.environ, **environment}, check=False).returncode)


@main.command("stores")
def use_stores() -> None:
    """What `make test-stores` does, with the servers that take minutes to build."""
    run_tests("-q", "-m", "not slow", "tests/stores")


@main.command("image")
def build_twice() -> None:
    """Build the image twice from nothing and compare every byte. About two minutes."""
    run_tests("-q", "-m", "slow", "tests/image")


@main.command("sandbox")
def break_node() -> None:
    """What takes minutes on the tests' own Kubernetes node: an ALB that learns late of pods, and kills of the node's parts."""
    run_tests("-q", "-m", "slow", "tests/cluster")


@main.command("gitops")
def watch_argo() -> None:
    """The whole story of tests/gitops/node, with ten minutes in which Argo CD has nothing to write. About twenty minutes."""
    run_tests("-v", "tests/gitops/node", SOAK_QUIET_SECONDS="600")


main.add_command(cluster.main)
main.add_command(operator.main)
main.add_command(platform.main, "platform")

if __name__ == "__main__":
    main()
