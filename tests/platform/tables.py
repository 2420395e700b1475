"""The parts of terraform/README.md that are made from the code: `python -m tests.platform.tables` writes them."""

from __future__ import annotations

import re
from collections.abc import Iterable

from tests import docs
from tests.platform import architecture
from tests.platform.canonical import Block, of_kind
from tests.platform.terraform import FOLDER

README = FOLDER / "README.md"
LONG = 40


def inputs() -> str:
    """Every variable of the root, in the order of the file."""
    return table(("variable", "type", "default", "what"), (input_row(one) for one in of_kind("variable")))


def input_row(one: Block) -> tuple[str, ...]:
    default = one.attribute("default")
    return f"`{one.name}`", kind_of(one), "needed" if default is None else code(default), cell(one.text("description"))


def kind_of(one: Block) -> str:
    """A long type by its outermost part: its fields stand in variables.tf."""
    kind = flat(one.attribute("type") or "any")
    return f"`{kind}`" if len(kind) <= LONG else f"`{re.split('[({]', kind)[0]}(...)`"


def outputs() -> str:
    return table(("output", "what"), ((f"`{one.name}`", cell(one.text("description"))) for one in of_kind("output")))


def code(expression: str) -> str:
    short = flat(expression)
    return f"`{short}`" if len(short) <= LONG else "see `variables.tf`"


def flat(expression: str) -> str:
    """On one line, as HCL takes it too."""
    return re.sub(r",? ([)}\]])", r"\1", re.sub(r"([({\[]) ", r"\1", " ".join(expression.split())))


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    head = list(head)
    return "\n".join([f"| {' | '.join(head)} |", "|" + "---|" * len(head), *(f"| {' | '.join(row)} |" for row in rows)])


def cell(text: str) -> str:
    return text.replace("|", "\\|")


PARTS = {"architecture": architecture.picture, "inputs": inputs, "outputs": outputs}

if __name__ == "__main__":
    for name, part in PARTS.items():
        docs.put(README, name, f"\n{part()}\n")
