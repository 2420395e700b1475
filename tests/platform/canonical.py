"""Reads Terraform's own code, in the layout that `terraform fmt` gives it (test_code.py holds the code to that layout).

No library: the one for Python takes ten seconds for a file of 800 lines, and Terraform itself prints no variables.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.platform.terraform import FOLDER

# A block opens at the margin and closes there; an attribute or inner block of it stands two spaces in.
BLOCK = re.compile(r'^(\w+)((?: "[^"]*")*) \{\n(.*?)^\}$', re.MULTILINE | re.DOTALL)
INNER = re.compile(r'^(\w+)((?: "[^"]*")*) \{\n(.*?)^\}$', re.MULTILINE | re.DOTALL)
ATTRIBUTE = r"^{name} += (.*?)(?=^\w|^#|\Z)"


@dataclass(frozen=True)
class Block:
    """`variable "region" { ... }`: kind, labels, and the body without its indentation."""

    kind: str
    labels: tuple[str, ...]
    body: str

    @property
    def name(self) -> str:
        return self.labels[-1] if self.labels else ""

    def attribute(self, name: str) -> str | None:
        """The expression as it is written; None when there is none."""
        found = re.search(ATTRIBUTE.format(name=name), self.outer(), re.MULTILINE | re.DOTALL)
        return found[1].strip() if found else None

    def text(self, name: str) -> str:
        """An attribute that is a plain string."""
        found = self.attribute(name) or ""
        assert found[:1] == found[-1:] == '"', f"{self.kind} {self.name}: {name} is a string"
        return found[1:-1].replace('\\"', '"')

    def inner(self, kind: str) -> list[Block]:
        return [one for one in blocks(self.body) if one.kind == kind]

    def outer(self) -> str:
        """The body without its inner blocks, whose attributes have names of their own."""
        return INNER.sub("", self.body)


def blocks(text: str) -> Iterator[Block]:
    for kind, labels, body in BLOCK.findall(text):
        yield Block(kind, tuple(re.findall(r'"([^"]*)"', labels)), textwrap.dedent(body))


def of_file(path: Path) -> list[Block]:
    return list(blocks(path.read_text(encoding="utf-8")))


def of_folder(folder: Path = FOLDER) -> list[Block]:
    """All of a module, without the modules in it."""
    return [one for file in sorted(folder.glob("*.tf")) for one in of_file(file)]


def of_kind(kind: str, folder: Path = FOLDER) -> list[Block]:
    return [one for one in of_folder(folder) if one.kind == kind]
