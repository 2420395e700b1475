"""The parts of terraform/README.md that are made from the code: `python -m tests.platform.tables` writes them."""

from __future__ import annotations

import itertools
import re
import textwrap
from collections.abc import Callable, Iterable
from pathlib import Path

from tests import docs
from tests.platform import architecture
from tests.platform.canonical import Block, of_kind
from tests.platform.terraform import FOLDER

README = FOLDER / "README.md"
MODULES = sorted((FOLDER / "modules").iterdir())
LONG = 40


def inputs(folder: Path = FOLDER) -> str:
    """Every variable of the root or of a module, in the order of its files."""
    return table(("variable", "type", "default", "what"), (input_row(one) for one in of_kind("variable", folder)))


def input_row(one: Block) -> tuple[str, ...]:
    default = one.attribute("default")
    return f"`{one.name}`", kind_of(one), "needed" if default is None else code(default), cell(one.text("description"))


def kind_of(one: Block) -> str:
    """A long type by its outermost part: its fields stand in the code."""
    kind = flat(one.attribute("type") or "any")
    return f"`{kind}`" if len(kind) <= LONG else f"`{re.split('[({]', kind)[0]}(...)`"


def outputs(folder: Path = FOLDER) -> str:
    return table(("output", "what"), ((f"`{one.name}`", cell(one.text("description"))) for one in of_kind("output", folder)))


def module(folder: Path) -> str:
    """README.md of a module: what main.tf says of itself, and its tables."""
    lines = itertools.takewhile(lambda line: line.startswith("#"), (folder / "main.tf").read_text(encoding="utf-8").splitlines())
    words = " ".join(line.removeprefix("# ") for line in lines)
    call = f'module "{folder.name}" {{\n  source = "git::https://github.com/OWNER/REPOSITORY.git//terraform/modules/{folder.name}?ref=TAG"\n}}'
    return "\n".join([
        f"# Module {folder.name}", "", *textwrap.wrap(words, 120, break_on_hyphens=False), "",
        "Written by `python -m tests.platform.tables`. ../../examples shows it among the others.", "",
        f"```hcl\n{call}\n```", "", "## Inputs", "", inputs(folder), "", "## Outputs", "", outputs(folder), "",
    ])  # fmt: skip


def code(expression: str) -> str:
    short = flat(expression)
    return f"`{short}`" if len(short) <= LONG else "see its file"


def flat(expression: str) -> str:
    """On one line, as HCL takes it too."""
    return re.sub(r",? ([)}\]])", r"\1", re.sub(r"([({\[]) ", r"\1", " ".join(expression.split())))


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    head = list(head)
    return "\n".join([f"| {' | '.join(head)} |", "|" + "---|" * len(head), *(f"| {' | '.join(row)} |" for row in rows)])


def cell(text: str) -> str:
    return text.replace("|", "\\|")


PARTS: dict[str, Callable[[], str]] = {"architecture": architecture.picture, "inputs": inputs, "outputs": outputs}

if __name__ == "__main__":
    for name, part in PARTS.items():
        docs.put(README, name, f"\n{part()}\n")
    for folder in MODULES:
        (folder / "README.md").write_text(module(folder), encoding="utf-8")
