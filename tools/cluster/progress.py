"""How far the sandbox is: lines of JSON that its supervisor writes and `up` reads."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class Step:
    """`state` is "doing", "ready" or "failed"; `seconds` counts from the sandbox's start."""

    state: str
    text: str
    seconds: float


def write(file: Path, step: Step) -> None:
    with file.open("a") as out:
        out.write(json.dumps(asdict(step)) + "\n")


def read(file: Path) -> list[Step]:
    text = file.read_text() if file.exists() else ""
    return [Step(**json.loads(line)) for line in text.splitlines(keepends=True) if line.endswith("\n")]
