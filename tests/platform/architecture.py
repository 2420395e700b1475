"""A picture of the root: its modules, what each makes, and which hands values to which."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

from tests.platform.canonical import Block, of_kind
from tests.platform.terraform import FOLDER

# Grants and bindings would hide what they belong to.
MINOR = re.compile(
    r"iam_role_policy|_attachment$|_association$|_rule$|_policy$|^aws_route$|kms_alias|default_security_group|cloudwatch_log_group"
)
REFERENCE = re.compile(r"\bmodule\.(\w+)")


def picture() -> str:
    """Mermaid, which GitHub draws."""
    calls = of_kind("module")
    lines = [*(f"  {node(call)}" for call in calls), *(f"  {giver} --> {taker}" for giver, taker in edges(calls))]
    return "\n".join(["```mermaid", "flowchart LR", *lines, "```"])


def node(call: Block) -> str:
    made = [f"{count} x {kind}" if count > 1 else kind for kind, count in sorted(contents(call).items())]
    return f'{call.name}["<b>{call.name}</b>{"".join(f"<br/>{line}" for line in made)}"]'


def contents(call: Block) -> Counter[str]:
    """The kinds of resources that stand in a module's code, with those of the modules that it calls."""
    folder = FOLDER / call.text("source")
    own = Counter(kind.removeprefix("aws_") for kind in (one.labels[0] for one in of_kind("resource", folder)) if major(kind))
    called = [one.text("source").rpartition("/")[2] for one in of_kind("module", folder)]
    return own + Counter(name.replace("_", " ") for name in called)


def major(kind: str) -> bool:
    return kind.startswith("aws_") and not MINOR.search(kind)


def edges(calls: list[Block]) -> Iterator[tuple[str, str]]:
    for call in calls:
        for giver in sorted(set(REFERENCE.findall(call.body))):
            yield giver, call.name
