"""Python programs in environments of their own: they pin libraries to versions that the tests' environment cannot have."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from functools import partial
from pathlib import Path

from tools import folders, not_installed, once

# Program -> its hashed lock file.
PINS = {
    "checkov": folders.ROOT / "tools/checkov.txt",
    "cyclonedx-py": folders.ROOT / "tools/cyclonedx.txt",
    "parliament": folders.ROOT / "tests/platform/parliament.txt",
    "zizmor": folders.ROOT / "tools/zizmor.txt",
}


def program(name: str) -> Path:
    """Raises Missing when it is not installed."""
    if not folder(name).exists():
        raise not_installed(name)
    return folder(name) / "bin" / name


def folder(name: str) -> Path:
    """Another one for each content of the lock file and each Python."""
    key = hashlib.sha256(PINS[name].read_bytes() + sys.version.encode()).hexdigest()[:16]
    return folders.programs() / f"{name}-{key}"


def install(name: str) -> None:
    once.folder(folder(name), partial(fill, PINS[name]))


def fill(pins: Path, folder: Path, lock: int) -> None:
    """Relocatable, for the folder gets its name when it is complete."""
    uv = Path(sys.executable).with_name("uv")
    python = ["--python", str(folder / "bin" / "python")]
    for command in (
        ["venv", "--quiet", "--relocatable", "--allow-existing", "--python", sys.executable, str(folder)],
        ["pip", "sync", "--quiet", *python, "--require-hashes", str(pins)],
    ):
        subprocess.run([uv, *command], check=True, env={**os.environ, **folders.environment()}, pass_fds=[lock])
