"""`python -m tests.soak cluster`: the long form of tests/cluster, with the chart's own times, written into docs/reliability.md.

Its parts are done one after the other and kept: an interrupted run goes on with the part that it was in.
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import click
import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from tests import docs
from tests.cluster import bed, controls, events
from tests.cluster.controls import Control
from tests.cluster.database import PostgreSQL
from tests.cluster.ingress import Traefik
from tests.cluster.kube import Cluster, Document
from tests.cluster.reaper import PRIVILEGED, Reaper
from tests.cluster.release import Release, through
from tests.cluster.siege import Aftermath, Siege, direct, routed, siege
from tests.conftest import ROOT
from tests.soak import kept
from tools import Missing

REPORT = ROOT / "docs" / "reliability.md"
KEPT = Path(tempfile.gettempdir()) / "sluice-soak-cluster"
OUTAGE = 60.0
# While the database is gone. Late: not sent, for each connection of the client still waited for its 503.
EXPECTED = {"status 503", "late"}
# The chart's defaults, but for what this is about (two pods, workers that are replaced all the time) and what two cores can hold.
VALUES: Document = {
    "replicaCount": 2,
    "config": {"maxRequests": 500},
    "resources": {"requests": {"cpu": "50m", "memory": "192Mi"}},
}
# Of these the database has enough.
SERVER: Document = {"database": {"maxConnections": 200}}


class Client(msgspec.Struct):
    """What one client met in one part. `sent` and `acknowledged` are requests, `stored` events; milliseconds."""

    sent: int
    acknowledged: int
    stored: int
    failed: dict[str, int]
    fixed: dict[str, int]
    lost: int
    doubled: int
    median: float
    slowest: float


class Happened(msgspec.Struct):
    """`failures`: requests that failed meanwhile, fixed or not."""

    name: str
    seconds: float
    failures: int


class Result(msgspec.Struct):
    events: list[Happened]
    clients: dict[str, Client]

    @classmethod
    def of(cls, aftermath: Aftermath) -> Result:
        happened = [Happened(event.name, event.seconds, len(aftermath.during(event))) for event in aftermath.events]
        return cls(happened, {name: client_of(aftermath, name) for name in aftermath.reports})

    def failures(self) -> int:
        return sum(sum(client.failed.values()) for client in self.clients.values())

    def wrong(self) -> int:
        """Events that were acknowledged and are not stored, or are stored more than once."""
        return sum(client.lost + client.doubled for client in self.clients.values())


def client_of(aftermath: Aftermath, name: str) -> Client:
    report, books = aftermath.reports[name], aftermath.books[name]
    latency = report.latency_ms or {"50": 0.0, "100": 0.0}
    return Client(
        sent=report.sent,
        acknowledged=report.acknowledged,
        stored=books.stored,
        failed=report.failures,
        fixed=report.fixed,
        lost=len(books.lost),
        doubled=len(books.doubled),
        median=latency["50"],
        slowest=latency["100"],
    )


class Place:
    """The bed, made as far as a part needs it."""

    def __init__(self, cluster: Cluster, stack: contextlib.ExitStack) -> None:
        self.cluster = cluster
        self.image = bed.load(cluster, bed.ONE)
        self.postgresql: PostgreSQL = stack.enter_context(bed.a_database(cluster))
        self.traefik: Traefik = stack.enter_context(bed.an_ingress_controller(cluster))

    @contextlib.contextmanager
    def release(self) -> Iterator[Release]:
        """A new one, not installed."""
        with self.cluster.namespace("soak") as space:
            made = Release(space, self.postgresql.database(space.name), VALUES, SERVER)
            made.values |= through(self.traefik.ingress_class, controls.host_of(made))
            yield made

    @contextlib.contextmanager
    def under_load(self, **crowd: tuple[str, ...]) -> Iterator[Siege]:
        """An installed release with clients: options by name, those of `ingress` come through the controller."""
        with self.release() as release:
            release.install(self.image)
            host = controls.host_of(release)
            ways = {
                name: routed(self.traefik, host, *options) if name == "ingress" else direct(release, *options)
                for name, options in crowd.items()
            }
            with siege(release, self.image, ways) as under:
                yield under


Part = Callable[[Place], Aftermath]

CROWD = {
    "service": ("--rate=100", "--connections=30", "--blind"),
    "fresh": ("--rate=20", "--connections=10", "--fresh"),
    "ingress": ("--rate=50", "--connections=30", "--body=batch"),
}
RETRYING = {name: (*options, "--retry") for name, options in CROWD.items()}


def planned(place: Place) -> Aftermath:
    second = bed.load(place.cluster, bed.TWO)
    with place.under_load(**CROWD) as under:
        for name, event in events.planned(under.release, second, events.GONE).items():
            under.happen(name, event)
            under.release.settle()
    return under.aftermath


def killed(place: Place) -> Aftermath:
    with place.cluster.namespace("reaper", PRIVILEGED) as space:
        reaper = Reaper(space, place.image)
        with place.under_load(**RETRYING) as under:
            under.happen("container killed", lambda: events.kill(under.release, reaper))
    return under.aftermath


def outage(place: Place) -> Aftermath:
    with place.under_load(**CROWD) as under:
        under.happen("database gone", lambda: events.outage(place.postgresql, OUTAGE))
        time.sleep(10)
    return under.aftermath


def controlled(control: Control, place: Place) -> Aftermath:
    with place.release() as release:
        return controls.show(control, release, place.traefik, place.image)


def parts(rounds: int) -> dict[str, Part]:
    """By name, in their order."""
    found: dict[str, Part] = {}
    for number in range(1, rounds + 1):
        found[f"planned {number}"] = planned
        found[f"killed {number}"] = killed
        for control in controls.CONTROLS:
            found[f"{control.name} {number}"] = partial(controlled, control)
    found["outage 1"] = outage
    for control in controls.CONTROLS:
        found[f"without {control.name} 1"] = partial(controlled, controls.without(control))
    return found


class Run(msgspec.Struct):
    rounds: int
    results: dict[str, Result] = {}

    def of(self, kind: str) -> list[Result]:
        """The results of every round of it."""
        return [result for name, result in self.results.items() if name.rpartition(" ")[0] == kind]


@click.command("cluster")
@click.option("--rounds", default=3, show_default=True, type=click.IntRange(1), help="How often each thing is done.")
@click.option("--at-most", type=click.IntRange(1), help="Stop after so many parts; the same command goes on from there.")
@click.option(
    "--folder", default=KEPT, show_default=True, type=click.Path(path_type=Path), help="Where a run is kept until its end."
)
@click.option("--write/--no-write", default=True, show_default=True, help="Write docs/reliability.md.")
def main(rounds: int, at_most: int | None, folder: Path, write: bool) -> None:
    """Do to the chart on a real node what happens in production, with its own times, and break each of its rules.

    About an hour on two cores. Needs what tests/cluster needs.
    """
    run = resumed(folder, rounds)
    left = {name: part for name, part in parts(rounds).items() if name not in run.results}
    try:
        with contextlib.ExitStack() as stack:
            place = Place(stack.enter_context(bed.any_cluster()), stack)
            work(place, run, dict(list(left.items())[:at_most]), lambda: kept.keep(folder, run))
    except Missing as missing:
        raise click.ClickException(str(missing)) from missing
    if len(run.results) < len(parts(rounds)):
        click.echo(f"{len(run.results)} of {len(parts(rounds))} parts; the same command goes on")
        return
    text = "\n".join(report(run))
    click.echo(text)
    if write:
        docs.put(REPORT, "cluster", text)
    found = problems(run)
    if found:
        raise click.ClickException(f"what must hold does not ({folder} is kept):\n" + "\n".join(found))
    shutil.rmtree(folder)


def resumed(folder: Path, rounds: int) -> Run:
    """The run that `folder` keeps when it has as many rounds, else a new one."""
    run = kept.found(folder, Run)
    if run is not None and run.rounds == rounds:
        return run
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return Run(rounds)


def work(place: Place, run: Run, todo: dict[str, Part], keep: Callable[[], None]) -> None:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task("begins", total=len(run.results) + len(todo), completed=len(run.results))
        for name, part in todo.items():
            progress.update(task, description=f"{name:26}")
            run.results[name] = Result.of(part(place))
            keep()
            progress.advance(task)


def problems(run: Run) -> list[str]:
    """Whatever must hold and does not, a line each."""
    found = [f"{name}: {result.wrong()} events lost or doubled" for name, result in run.results.items() if result.wrong()]
    for name, result in run.results.items():
        kind = name.rpartition(" ")[0]
        broken = {client: met.failed for client, met in result.clients.items() if met.failed}
        if kind in ("planned", "killed") or kind.startswith("without "):
            found += [f"{name}: {client} met {failed}" for client, failed in broken.items()]
        elif kind == "outage":
            found += [f"{name}: {client} met {failed}" for client, failed in broken.items() if set(failed) - EXPECTED]
        elif not broken:
            found.append(f"{name}: nobody met a failure")
    for control in controls.CONTROLS:
        found += [f"{control.name}: {client} met no failure in any round" for client in unharmed(run, control)]
    return found


def unharmed(run: Run, control: Control) -> set[str]:
    """The clients that met no failure in any round of a broken rule: about them it shows nothing."""
    results = run.of(control.name)
    harmed = {name for result in results for name, client in result.clients.items() if client.failed}
    return {name for result in results for name in result.clients} - harmed


def report(run: Run) -> list[str]:
    return [docs.header("tests.soak"), "", *planned_table(run), "", *sums(run), "", *outage_lines(run), "", *controls_table(run)]


def planned_table(run: Run) -> Iterator[str]:
    yield "| event | times | seconds, longest | failed requests |"
    yield "|---|---|---|---|"
    for name in (*events.PLANNED, "container killed"):
        found = [event for result in (*run.of("planned"), *run.of("killed")) for event in result.events if event.name == name]
        failures = sum(event.failures for event in found)
        word = f"{failures}, each fixed by a retry" if name == "container killed" else f"{failures}"
        yield f"| {name} | {len(found)} | {max(event.seconds for event in found):.0f} | {word} |"


def sums(run: Run) -> Iterator[str]:
    """A line for each client, over all rounds of planned events and kills."""
    for name in CROWD:
        met = [result.clients[name] for result in (*run.of("planned"), *run.of("killed"))]
        sent, stored = sum(client.sent for client in met), sum(client.stored for client in met)
        lost, doubled = sum(client.lost for client in met), sum(client.doubled for client in met)
        fixed = sum(map(Counter, (client.fixed for client in met)), Counter[str]())
        times = f"median {max(client.median for client in met):.0f} ms, slowest {max(client.slowest for client in met):.0f} ms"
        books = f"{stored:,} events stored, lost {lost}, doubled {doubled}"
        yield f"- `{name}`: {sent:,} requests, {books}; {times}; fixed by a retry: {told(fixed)}"


def outage_lines(run: Run) -> Iterator[str]:
    for result in run.of("outage"):
        for name, client in result.clients.items():
            books = f"{client.stored:,} events stored, lost {client.lost}, doubled {client.doubled}"
            requests = f"{client.acknowledged:,} of {client.sent:,} requests acknowledged"
            yield f"- database gone for {OUTAGE:.0f} s, `{name}`: {requests}, {books}; failed: {told(client.failed)}"


def controls_table(run: Run) -> Iterator[str]:
    yield f"| broken rule | client | failed of sent, in {run.rounds} runs | and when it is not broken |"
    yield "|---|---|---|---|"
    for control in controls.CONTROLS:
        results, whole = run.of(control.name), run.of(f"without {control.name}")
        for name in results[0].clients:
            runs = [result.clients[name] for result in results]
            failed = ", ".join(f"{sum(client.failed.values())} of {client.sent:,}" for client in runs)
            kinds = told(sum(map(Counter, (client.failed for client in runs)), Counter[str]()))
            good = ", ".join(f"{sum(r.clients[name].failed.values())} of {r.clients[name].sent:,}" for r in whole)
            yield f"| {control.summary} | {name} | {failed} ({kinds}) | {good} |"


def told(kinds: dict[str, int]) -> str:
    return ", ".join(f"{number:,} x {kind}" for kind, number in sorted(kinds.items())) or "nothing"
