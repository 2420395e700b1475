"""Where the tools keep what can be made again."""

from __future__ import annotations

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def cache() -> Path:
    """`$XDG_CACHE_HOME/sluice`, else `~/.cache/sluice` (XDG base directory specification)."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sluice"


def programs() -> Path:
    """One folder per built module or unpacked wheel, named by its version."""
    folder = cache() / "tools"
    folder.mkdir(parents=True, exist_ok=True)
    return folder
