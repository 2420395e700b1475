"""What the commands show: a line for what is done, a moving one with the time so far for what is being done."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from tools import binaries
from tools.cluster.progress import Step
from tools.cluster.run import Run

PROGRAM = ".venv/bin/python -m tools.cluster"
console = Console(highlight=False)


def say(text: str) -> None:
    console.print(text, markup=False, soft_wrap=True)


def show(steps: Iterable[Step]) -> None:
    """The steps of a start."""
    doing = None
    with console.status("starting") as status:
        for step in steps:
            if doing is not None:
                say(f"{doing.text}: {step.seconds - doing.seconds:.1f} s")
            doing = step
            status.update(step.text)
    if doing is not None:
        say(f"{doing.text} after {doing.seconds:.1f} s")


def entrances(here: Run) -> None:
    say(f"\nexport KUBECONFIG={here.kubeconfig}")
    say(f"{PROGRAM} enter -- COMMAND    to reach pods and Services from the node's network")
    say(f"{PROGRAM} down                to end it")


def build(names: Iterable[str]) -> None:
    """Those of the modules that are not in the cache."""
    for name in names:
        module = binaries.modules()[name]
        if module.cached().exists():
            continue
        say(f"building {name}: {', '.join(module.packages())} (minutes, the first time)")
        with Progress(
            SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn(), console=console, transient=True
        ) as bars:
            build_one(module, bars)


def build_one(module: binaries.Module, bars: Progress) -> None:
    """A line with the time so far for each program that is being built, a lasting one for each that is done."""
    tasks = {program: bars.add_task(program, total=None) for program in module.packages()}

    def built(program: str, seconds: float) -> None:
        bars.remove_task(tasks[program])
        say(f"{program} built in {seconds:.0f} s")

    binaries.build(module, built)
