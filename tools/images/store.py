"""buildah's storage of our own: layers that builds share, thrown away when they became many."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import IO

from tools import folders

# Bytes; the first build takes 1.2 GB, one of a changed app adds some 20 MB.
FULL = 4 << 30


def images() -> Path:
    """Where everything of this package is kept."""
    folder = folders.cache() / "images"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def buildah(*arguments: str) -> list[str]:
    return [*program(images() / "storage", driver()), *arguments]


def program(storage: Path, driver: str) -> list[str]:
    return ["buildah", f"--root={storage}", f"--runroot={storage}/run", f"--storage-driver={driver}"]


@cache
def driver() -> str:
    """overlay where the kernel and the file system below allow it; vfs, which copies every layer whole, works everywhere."""
    info = [*program(images() / "storage", "overlay"), "info"]
    return "overlay" if subprocess.run(info, capture_output=True, env=environment()).returncode == 0 else "vfs"


def environment() -> dict[str, str]:
    """With buildah's temporary files in our folder."""
    temporary = images() / "tmp"
    temporary.mkdir(exist_ok=True)
    return {**os.environ, "TMPDIR": str(temporary)}


@contextlib.contextmanager
def in_use() -> Iterator[None]:
    """While this lasts nobody tidies the storage."""
    with lock_file() as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)
        yield


def tidy() -> None:
    """Remove what killed builds left, and everything when that is much: buildah can not tell which layers are old."""
    with lock_file() as lock, contextlib.suppress(BlockingIOError):
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        remove: list[tuple[str, ...]] = [("rm", "--all")]
        if size(images() / "storage") > FULL:
            remove.append(("rmi", "--all", "--force"))
        for arguments in remove:
            subprocess.run(buildah(*arguments), check=True, capture_output=True, env=environment())


def size(folder: Path) -> int:
    """Bytes on the disk."""
    # Files come and go below us when another build runs.
    done = subprocess.run(
        ["du", "--summarize", "--one-file-system", "--block-size=1", str(folder)], capture_output=True, text=True
    )
    return int(done.stdout.split()[0]) if done.stdout else 0


def lock_file() -> IO[str]:
    return (images() / "storage.lock").open("w")


def keep_newest(folder: Path, count: int) -> None:
    """Remove all but the `count` folders in `folder` that were used last."""
    entries = [entry for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith(".")]
    for entry in sorted(entries, key=lambda entry: entry.stat().st_mtime, reverse=True)[count:]:
        # Another build may be removing it too.
        shutil.rmtree(entry, ignore_errors=True)
