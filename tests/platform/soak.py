"""`python -m tests.platform.soak`: every life of an environment, every run of `terraform test`, as a table.

Its parts are done one after the other and kept: an interrupted run goes on with the part that it was in.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import click
import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from tests import docs
from tests.conftest import ROOT
from tests.platform import account, lives
from tests.platform.lives import Life, Step
from tests.platform.runs import Failed, Told, completed
from tests.platform.tables import table
from tests.platform.terraform import FOLDER
from tests.soak import kept

KEPT = Path(tempfile.gettempdir()) / "sluice-soak-platform"
# Where what every run of CI does is, and every rule's refused sample.
RUNS, SAMPLES = "tests/short", "tests/soak"
HEAD = ("environment", "step", "seconds", "made", "changed", "replaced", "deleted")


class Run(msgspec.Struct):
    """`results`: the steps of a part by its name. `began`: ISO 8601. `commits`: of the code that parts were run with."""

    began: str
    results: dict[str, list[Step]] = {}
    commits: list[str] = []


Tell = Callable[[str], None]
Part = Callable[[Tell], list[Step]]


def live(life: Life, tell: Tell) -> list[Step]:
    """One life in an account of its own."""
    with account.folder() as work, account.opened(work, account.WHOLE) as opened:
        return list(life(opened, heard(tell)))


def heard(tell: Tell) -> Told:
    """Tells what Terraform has just made or destroyed."""

    def hear(message: dict[str, Any]) -> None:
        if completed(message):
            tell(message["hook"]["resource"]["addr"])
        elif run := message.get("test_run"):
            tell(run["run"])

    return hear


def trials(directory: str, file: str | None, tell: Tell) -> list[Step]:
    """The runs of a folder of `terraform test`, or of one file in it."""
    with account.folder() as work, account.opened(work) as opened:
        tested = opened.terraform.test(directory, heard(tell), file)
    if tested.errors or tested.failed or not tested.passed:
        raise Failed("\n".join(tested.errors) or "no run passed")
    return [Step(f"{tested.passed} runs passed, {tested.failed} failed", tested.seconds)]


def parts() -> dict[str, Part]:
    """By name, in their order."""
    found: dict[str, Part] = {name: partial(live, life) for name, life in lives.LIVES.items()}
    found["terraform test"] = partial(trials, RUNS, None)
    for file in sorted((FOLDER / SAMPLES).glob("*.tftest.hcl")):
        found[f"terraform test, samples of {file.name.removesuffix('.tftest.hcl')}"] = partial(trials, SAMPLES, file.name)
    return found


@click.command("platform")
@click.option("--at-most", type=click.IntRange(1), help="Stop after so many parts; the same command goes on from there.")
@click.option("--only", multiple=True, type=click.Choice(list(parts())), help="These parts; nothing is kept.")
@click.option(
    "--folder", default=KEPT, show_default=True, type=click.Path(path_type=Path), help="Where a run is kept until its end."
)
def main(at_most: int | None, only: tuple[str, ...], folder: Path) -> None:
    """Make and destroy every kind of environment in an emulated AWS, and run every run of `terraform test`.

    About an hour on two cores. Needs Terraform and its provider for AWS.
    """
    run = Run(now()) if only else resumed(folder)
    left = {name: part for name, part in parts().items() if name in only or (not only and name not in run.results)}
    try:
        work(run, dict(list(left.items())[:at_most]), (lambda: None) if only else lambda: kept.keep(folder, run))
    except (Failed, account.NoTerraform) as error:
        raise click.ClickException(str(error)) from error
    click.echo("\n".join(report(run)))
    if only:
        return
    if missing(run):
        click.echo("the same command goes on")
    else:
        shutil.rmtree(folder)


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="minutes")


def resumed(folder: Path) -> Run:
    """The run that `folder` keeps, else a new one."""
    return kept.found(folder, Run) or Run(now())


def work(run: Run, todo: dict[str, Part], keep: Callable[[], None]) -> None:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task("begins", total=len(run.results) + len(todo), completed=len(run.results))
        for name, part in todo.items():
            run.commits = list(dict.fromkeys([*run.commits, commit()]))
            run.results[name] = part(partial(describe, progress, task, name))
            keep()
            progress.advance(task)


def describe(progress: Progress, task: TaskID, part: str, words: str) -> None:
    progress.update(task, description=f"{part}: {words:60.60}")


def report(run: Run) -> list[str]:
    rows = [(name, *cells(step)) for name, steps in run.results.items() for step in steps]
    left = [f"Not run yet: {'; '.join(missing(run))}.", ""] if missing(run) else []
    return [header(run), "", *left, table(HEAD, rows)]


def missing(run: Run) -> list[str]:
    return [name for name in parts() if name not in run.results]


def commit() -> str:
    """Of this code; with a word when it is not what was committed."""
    words = ["git", "status", "--porcelain", "--", "terraform", ":!terraform/docs", "tests/platform"]
    changed = subprocess.run(words, cwd=ROOT, capture_output=True, text=True).stdout
    return f"{docs.commit()}{' with changes' if changed else ''}"


def cells(step: Step) -> tuple[str, ...]:
    counts = (step.made, step.changed, step.replaced, step.deleted)
    return (step.name, f"{step.seconds:.0f}", *(str(count) if count else "" for count in counts))


def header(run: Run) -> str:
    command = " ".join(["python -m tests.platform.soak", *sys.argv[1:]])
    commits = ", then ".join(run.commits) or commit()
    told = subprocess.run([str(account.program()), "version", "-json"], capture_output=True, text=True, check=True).stdout
    version = msgspec.json.decode(told)["terraform_version"]
    began = datetime.fromisoformat(run.began)
    return f"{began:%Y-%m-%d %H:%M} UTC, commit {commits}, Terraform {version}, {os.cpu_count()} cores, `{command}`:"


if __name__ == "__main__":
    main()
