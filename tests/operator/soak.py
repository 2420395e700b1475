"""`python -m tests.soak operator`: the long figures of the operator on a real node, written into docs/reliability.md.

Its parts are done one after the other and kept: an interrupted run goes on with the part that it was in.
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import click
import httpx
import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from tests import docs
from tests.cluster.kube import Refused
from tests.conftest import ROOT
from tests.integration.waiting import until, without_error
from tests.operator import drifts, trials
from tests.operator.faults import Faults
from tests.operator.figures import Figure, most, seconds, table
from tests.operator.operators import Operator
from tests.operator.place import WITHOUT_KEYS, Place, place
from tests.operator.processes import Clients, Proxy
from tests.operator.stand import KEYSET
from tests.soak import kept
from tools import Missing

REPORT = ROOT / "docs" / "reliability.md"
KEPT = Path(tempfile.gettempdir()) / "sluice-soak-operator"
QUICK = {"overlap": "4s", "maxOverlap": "4s", "retirePolicy": "Retire"}
CREATED, REVOKED = 60, 30
REQUESTS, RATE, ROTATED, ROUNDS = 200_000, 90, 4, 8
KEYS, STILL_SECONDS = 1_000, 600
MIB = 1 << 20


def created(at: Place) -> list[Figure]:
    """The client Secret is made after every worker of every Pod said that it accepts the key."""
    at.operator()
    times = []
    for number in range(CREATED):
        name, began = f"created-{number}", time.monotonic()
        at.hand.key(name)
        until(lambda name=name: at.stand.reader.get("secret", name), 60, "it is handed out")  # type: ignore[misc]
        times.append(time.monotonic() - began)
    return [seconds("ApiKey created until it is accepted by every worker of every Pod and handed out", times, 0.95, 3)]


def revoked(at: Place) -> list[Figure]:
    """Clients that go on with the key tell when it was last accepted anywhere."""
    at.operator()
    names = [f"revoked-{number}" for number in range(REVOKED)]
    for name in names:
        at.hand.key(name)
    for name in names:
        at.stand.active(name, seconds=120)
    times = [last_accepted(at, name) for name in names]
    return [seconds("ApiKey revoked until it was last accepted anywhere", times, 0.99, 3)]


def last_accepted(at: Place, name: str) -> float:
    """Seconds after the revocation; 0 when it was never accepted again."""
    key = at.stand.plaintext(name)
    under = Clients(at.stand.space.name, name, at.stand.target.url, RATE, "--pinned")
    until(lambda: set(at.stand.answers(key)) == {200}, 30)
    began = time.time()
    at.hand.revoke(name)
    until(lambda: set(at.stand.answers(key)) == {401}, 60, "it is refused everywhere")
    under.stop()
    last: float = under.result["last"]["200"]
    return max(0.0, last - began)


def rotated(at: Place) -> list[Figure]:
    """Rotation after rotation under clients that follow their Secrets, while everything fails now and then."""
    operator = at.operator()
    names = [f"rotated-{number}" for number in range(ROTATED)]
    for name in names:
        at.hand.key(name, rotation=QUICK)
        at.stand.active(name)
    faults = Faults(at.stand, operator, seed=1)
    crowd: list[tuple[str, Clients]] = []
    faults.begin()
    # How many that are depends on the machine, and on how often it was restarted.
    while answered(crowd)["200"] < REQUESTS:
        crowd += stint(at, names)
    faults.end()
    return judged(crowd, faults)


def stint(at: Place, names: list[str]) -> list[tuple[str, Clients]]:
    """What a client of each key counted while all keys were rotated ROUNDS times."""
    crowd = [(name, Clients(at.stand.space.name, name, at.stand.target.url, RATE)) for name in names]
    for _ in range(ROUNDS):
        for name in names:
            without_error(lambda name=name: at.hand.rotate(name), httpx.HTTPError, seconds=60)  # type: ignore[misc]
        without_error(lambda: settled(at, names), httpx.HTTPError, AssertionError, seconds=300)
    for _, clients in crowd:
        clients.stop()
    return crowd


def settled(at: Place, names: list[str]) -> None:
    """Until no rotation is on its way."""
    until(lambda: all(at.stand.condition(name, "Rotating")[1] == "Idle" for name in names), 60, "the overlaps have ended")


def answered(crowd: list[tuple[str, Clients]]) -> Counter[str]:
    return sum((Counter(clients.answers) for _, clients in crowd), Counter[str]())


def judged(crowd: list[tuple[str, Clients]], faults: Faults) -> list[Figure]:
    answers = answered(crowd)
    highest = {name: max(clients.versions) for name, clients in crowd}
    versions = sum(highest.values())
    rejected = answers["401"] + answers["403"]
    others = sorted(answers.keys() - {"200", "401", "403"})
    broken = ", ".join(f"{answers[answer]:,} x {answer}" for answer in others)
    injected = ", ".join(f"{count} x {name}" for name, count in sorted(faults.count.items()))
    return [
        Figure(
            f"requests of valid keys during {versions:,} versions of {len(highest)} keys",
            f"{answers.total():,}: {answers['200']:,} accepted, {rejected} rejected, not answered: {broken or 'none'}",
            f"0 rejected of >= {REQUESTS:,}",
            rejected == 0 and answers["200"] >= REQUESTS,
        ),
        Figure("injected meanwhile", injected, "each kind", len(faults.count) == len(faults.kinds())),
    ]


def many(at: Place) -> list[Figure]:
    """A thousand keys: what a new process does with them, and what it does when nothing happens."""
    proxy = Proxy()
    operator = at.operator(server=proxy.server)
    began = time.monotonic()
    for number in range(KEYS):
        at.hand.key(f"many-{number:04}")
    until(lambda: at.stand.reader.get("keyset", KEYSET)["status"].get("keys") == KEYS, 1200, "all are taken in")
    until(lambda: len(at.stand.secrets()) == 2 * KEYS + WITHOUT_KEYS, 1200, "all are handed out")
    made = time.monotonic() - began
    still(proxy)
    operator.stop()
    proxy.tell("reset")
    began = time.monotonic()
    operator.start()
    until(lambda: looked(operator), 120, "it has looked at all")
    swept, writes = time.monotonic() - began, len(proxy.writes)
    proxy.tell("reset")
    time.sleep(STILL_SECONDS)
    figures = [
        Figure(f"{KEYS:,} ApiKeys made one after the other until the last is handed out", f"{made:.0f} s"),
        most(f"a new process with {KEYS:,} ApiKeys: from its start until it has looked at all", swept, 15, "s"),
        most("and its writes", writes, 5, ""),
        most(f"writes but for the Lease in {STILL_SECONDS / 60:.0f} minutes in which nothing happens", len(proxy.writes), 0, ""),
        most(f"resident memory with {KEYS:,} ApiKeys", operator.memory() / MIB, 150, "MiB"),
    ]
    operator.kill()
    proxy.stop()
    return figures


def still(proxy: Proxy) -> None:
    """Until nothing is written for ten seconds."""

    def quiet() -> bool:
        before = len(proxy.writes)
        time.sleep(10)
        return len(proxy.writes) == before

    until(quiet, 600, "it is quiet")


def looked(operator: Operator) -> bool:
    """Whether the process that runs now has worked through the queue once."""
    with contextlib.suppress(StopIteration):
        return 'reconcile_total{result="ok"}' in operator.ask("/metrics")
    return False


def drifted(at: Place) -> list[Figure]:
    """What others do to our objects, and how long it takes until all is as it was."""
    at.operator()
    return [drifts.repaired(at.stand, at.hand, drift) for drift in drifts.DRIFTS]


PARTS: dict[str, Callable[[Place], list[Figure]]] = {
    "created": created,
    "revoked": revoked,
    "drifted": drifted,
    "hindered": trials.hindered,
    "skewed": trials.skewed,
    "crashed": trials.crashed,
    "doubled": trials.doubled,
    "renewed": trials.renewed,
    "forsaken": trials.forsaken,
    "rotated": rotated,
    "many": many,
}


class Run(msgspec.Struct):
    figures: dict[str, list[Figure]] = {}


@click.command("operator")
@click.option("--only", multiple=True, type=click.Choice(list(PARTS)), help="Only this part, anew; may be given again.")
@click.option(
    "--folder", default=KEPT, show_default=True, type=click.Path(path_type=Path), help="Where a run is kept until its end."
)
@click.option("--write/--no-write", default=True, show_default=True, help="Write docs/reliability.md.")
def main(only: tuple[str, ...], folder: Path, write: bool) -> None:
    """Rotate, revoke and repair keys on a real node while all of it fails now and then. About 35 minutes on two cores.

    Needs what tests/operator needs.
    """
    run = kept.found(folder, Run) or Run()
    for name in only:
        run.figures.pop(name, None)
    work(run, [name for name in only or PARTS if name not in run.figures], folder)
    if len(run.figures) < len(PARTS):
        click.echo(f"{len(run.figures)} of {len(PARTS)} parts; the same command goes on")
        return
    figures = [figure for name in PARTS for figure in run.figures[name]]
    text = "\n".join([docs.header("tests.soak"), "", *table(figures)])
    click.echo(text)
    if write:
        docs.put(REPORT, "operator", text)
    missed = [figure.what for figure in figures if not figure.holds]
    if missed:
        raise click.ClickException(f"what was promised does not hold ({folder} is kept): {'; '.join(missed)}")
    shutil.rmtree(folder)


def work(run: Run, left: list[str], folder: Path) -> None:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress, contextlib.ExitStack() as stack:
        task = progress.add_task("begins", total=len(PARTS), completed=len(PARTS) - len(left))
        try:
            at = stack.enter_context(place()) if left else None
        except (Missing, Refused) as error:
            raise click.ClickException(str(error)) from error
        for name in left:
            assert at is not None
            progress.update(task, description=f"{name:8}")
            run.figures[name] = PARTS[name](at)
            at.clear()
            kept.keep(folder, run)
            progress.advance(task)
