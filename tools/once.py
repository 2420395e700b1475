"""A folder that is either complete or not there, however its maker ended."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path


def folder(target: Path, fill: Callable[[Path, int], None]) -> Path:
    """`target`, filled by `fill(partial, lock)` unless it is there already.

    `fill` writes into a folder beside `target`, which gets its name when `fill` is done. The next maker waits for the lock
    and removes what a killed one left. `fill` hands `lock`, a file descriptor, to its child processes: one that outlives
    a killed maker still writes, and keeps the lock until it ends.
    """
    if target.exists():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with (target.parent / f".{target.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not target.exists():
            make(target, fill, lock.fileno())
    return target


def make(target: Path, fill: Callable[[Path, int], None], lock: int) -> None:
    for left in target.parent.glob(f".{target.name}.*.partial"):
        shutil.rmtree(left)
    partial = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".partial", dir=target.parent))
    try:
        fill(partial, lock)
        partial.chmod(0o755)
        os.replace(partial, target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
