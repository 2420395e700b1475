"""What an interrupted long run goes on from: its results, in a folder."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import msgspec

Run = TypeVar("Run", bound=msgspec.Struct)


def found(folder: Path, kind: type[Run]) -> Run | None:
    """The run that `folder` keeps; None: none."""
    state = folder / "run.json"
    return msgspec.json.decode(state.read_bytes(), type=kind) if state.is_file() else None


def keep(folder: Path, run: msgspec.Struct) -> None:
    """All of it or, when this is broken off, what was kept before."""
    folder.mkdir(parents=True, exist_ok=True)
    new = folder / "run.new"
    new.write_bytes(msgspec.json.encode(run))
    new.replace(folder / "run.json")
