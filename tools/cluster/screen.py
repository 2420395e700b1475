"""What the commands show: a line for what is done, a moving one with the time so far for what is being done."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console

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
