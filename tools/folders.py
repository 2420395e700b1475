"""Where the tools keep what can be made again."""

from __future__ import annotations

import os
from pathlib import Path

from tools import Missing

ROOT = Path(__file__).resolve().parents[1]


def home() -> Path:
    """`$XDG_CACHE_HOME`, else `~/.cache` (XDG base directory specification); `.venv/cache` where that cannot be written."""
    given = os.environ.get("XDG_CACHE_HOME")
    usual = Path(given) if given else Path.home() / ".cache"
    return usual if given or writable(usual) else ROOT / ".venv" / "cache"


def writable(folder: Path) -> bool:
    there = next(path for path in (folder, *folder.parents) if path.exists())
    return os.access(there, os.W_OK | os.X_OK)


def cache() -> Path:
    return home() / "sluice"


def programs() -> Path:
    """One folder per built module or unpacked wheel, named by its version."""
    folder = cache() / "tools"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Missing(f"no folder for programs can be made ({error}); set XDG_CACHE_HOME to one that can be written") from None
    return folder


def environment() -> dict[str, str]:
    """Variables for Go and uv, whose caches are beside ours where the home cannot be written."""
    if home() == ROOT / ".venv" / "cache":
        return {"XDG_CACHE_HOME": str(home()), "GOPATH": str(home() / "go")}
    return {}
