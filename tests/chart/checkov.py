"""checkov in an environment of its own: it pins libraries to versions that the tests' own environment can not share."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.conftest import ROOT
from tools import folders, once

PINS = ROOT / "tools" / "checkov.txt"


def program() -> Path:
    """Installed once for each content of PINS and each Python, in the tools' cache."""
    key = hashlib.sha256(PINS.read_bytes() + sys.version.encode()).hexdigest()[:16]
    return once.folder(folders.programs() / f"checkov-{key}", install) / "bin" / "checkov"


def install(folder: Path, lock: int) -> None:
    """Relocatable, for the folder gets its name when it is complete."""
    uv = Path(sys.executable).with_name("uv")
    python = ["--python", str(folder / "bin" / "python")]
    for command in (
        ["venv", "--quiet", "--relocatable", "--allow-existing", "--python", sys.executable, str(folder)],
        ["pip", "sync", "--quiet", *python, "--require-hashes", str(PINS)],
    ):
        subprocess.run([uv, *command], check=True, pass_fds=[lock])


def judge(folder: Path) -> dict[str, Any]:
    """checkov's report of all manifests in a folder, without a call to anyone: passed, failed and skipped checks."""
    command = [
        str(program()),
        "--directory",
        str(folder),
        "--framework",
        "kubernetes",
        "--skip-download",
        "--compact",
        "--output",
        "json",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    report: dict[str, Any] = json.loads(done.stdout)
    return report
