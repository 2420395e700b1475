"""Python programs in environments of their own: they pin libraries to versions that the tests' environment can not have."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from functools import partial
from pathlib import Path

from tools import folders, once


def program(name: str, pins: Path) -> Path:
    """Installed once for each content of `pins` (a hashed lock file) and each Python, in the tools' cache."""
    key = hashlib.sha256(pins.read_bytes() + sys.version.encode()).hexdigest()[:16]
    return once.folder(folders.programs() / f"{name}-{key}", partial(install, pins)) / "bin" / name


def install(pins: Path, folder: Path, lock: int) -> None:
    """Relocatable, for the folder gets its name when it is complete."""
    uv = Path(sys.executable).with_name("uv")
    python = ["--python", str(folder / "bin" / "python")]
    for command in (
        ["venv", "--quiet", "--relocatable", "--allow-existing", "--python", sys.executable, str(folder)],
        ["pip", "sync", "--quiet", *python, "--require-hashes", str(pins)],
    ):
        subprocess.run([uv, *command], check=True, pass_fds=[lock])
