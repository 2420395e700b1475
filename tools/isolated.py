"""Python programs in environments of their own: they pin libraries to versions that the tests' environment cannot have."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from functools import partial
from pathlib import Path

from tools import folders, not_installed, once
from tools.images import host

# Program -> its hashed lock file.
PINS = {
    "checkov": folders.ROOT / "tools/checkov.txt",
    "cyclonedx-py": folders.ROOT / "tools/cyclonedx.txt",
    "parliament": folders.ROOT / "tests/platform/parliament.txt",
    "zizmor": folders.ROOT / "tools/zizmor.txt",
}

# pip's options as variables of uv.
AS_UV = {
    "index-url": "UV_DEFAULT_INDEX",
    "extra-index-url": "UV_INDEX",
    "trusted-host": "UV_INSECURE_HOST",
    "cert": "SSL_CERT_FILE",
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
        subprocess.run([uv, *command], check=True, env={**as_pip(), **os.environ, **folders.environment()}, pass_fds=[lock])


def as_pip() -> dict[str, str]:
    """uv reads none of pip's settings: where packages come from, as variables of its own."""
    found = host.pip_options().items()
    return {AS_UV[name]: " ".join(value.split()) for name, value in found if name in AS_UV}
