"""Which branches of a chart's templates a list of renders takes.

A template can not count, and one that printed marks would change what it renders. So every arm of every branch that is not yet
known to be taken starts with a `fail` that names it. A render stops at the first one it meets: that arm is taken, its mark goes,
and the render is done again until it meets none. That needs as many renders as there are arms and sets of values together.

An arm is the body of an `if`, `with` or `range`, of each `else if`, and the `else`, which is added where there is none: with all
arms taken, every condition was seen both true and false.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.chart.render import Refused

OPENS = ("if", "with", "range")
BLOCKS = ("define", "block")
MARK = re.compile(r"@@(\d+)@@")
# An action: strings may hold braces, a comment may hold anything.
STRING = r'"(?:\\.|[^"\\])*"|`[^`]*`'
ACTION = re.compile(
    rf"\{{\{{(?P<trim>-?)\s*(?:/\*.*?\*/\s*|(?P<word>[a-zA-Z]*)(?P<rest>(?:{STRING}|[^\"`])*?))-?\}}\}}", re.DOTALL
)

Render = Callable[[Path], object]


@dataclass(frozen=True)
class Arm:
    """A way through a branch."""

    name: str  # file: condition, and whether it is taken
    line: int
    at: int  # where its mark goes in the text
    around: str = "%s"  # what is written with the mark


@dataclass(frozen=True)
class Template:
    file: Path
    text: str
    arms: list[Arm]

    def write(self, marks: dict[Arm, int]) -> None:
        """The text with the number of each arm that is in `marks`."""
        text = self.text
        for arm in sorted(self.arms, key=lambda arm: arm.at, reverse=True):
            if arm in marks:
                text = text[: arm.at] + arm.around % f'{{{{ fail "@@{marks[arm]}@@" }}}}' + text[arm.at :]
        self.file.write_text(text, encoding="utf-8")


@dataclass
class Branch:
    """What is open while a template is read; a block has no arms of its own."""

    condition: str
    arms: bool
    has_else: bool = field(default=False)


def arms(file: str, text: str) -> Iterator[Arm]:
    """The arms of a template's text, in its order."""
    branches: list[Branch] = []
    for action in ACTION.finditer(text):
        word, condition = action["word"], f"{action['word']} {(action['rest'] or '').strip()}".strip()
        line = text.count("\n", 0, action.start()) + 1
        if word in (*OPENS, *BLOCKS):
            branches.append(Branch(condition, arms=word in OPENS))
        if word in OPENS or condition.startswith("else "):
            yield Arm(f"{file}: {condition}: taken", line, action.end())
        elif word == "else":
            branches[-1].has_else = True
            yield Arm(f"{file}: {branches[-1].condition}: not taken", line, action.end())
        elif word == "end":
            branch = branches.pop()
            if branch.arms and not branch.has_else:
                around = f"{{{{{action['trim']} else }}}}%s"
                yield Arm(f"{file}: {branch.condition}: not taken", line, action.start(), around)


def templates(chart: Path) -> list[Template]:
    folder = chart / "templates"
    files = [file for file in sorted(folder.rglob("*")) if file.suffix in (".yaml", ".tpl", ".txt")]
    texts = {file: file.read_text(encoding="utf-8") for file in files}
    return [Template(file, text, list(arms(file.relative_to(folder).as_posix(), text))) for file, text in texts.items()]


def untaken(chart: Path, renders: Iterable[Render]) -> list[Arm]:
    """The arms of `chart`, a copy that is changed, that none of `renders` takes; a render may raise Refused."""
    found = templates(chart)
    home = {arm: one for one in found for arm in one.arms}
    every = list(home)
    marks = {arm: number for number, arm in enumerate(every)}
    for one in found:
        one.write(marks)
    for render in renders:
        while (number := stopped_at(render, chart)) is not None:
            del marks[every[number]]
            home[every[number]].write(marks)
    return list(marks)


def stopped_at(render: Render, chart: Path) -> int | None:
    try:
        render(chart)
    except Refused as refused:
        mark = MARK.search(str(refused))
        return int(mark[1]) if mark else None
    return None
