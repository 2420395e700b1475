"""checkov in an environment of its own: it pins libraries to versions that the tests' own environment can not share."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from tests.conftest import ROOT
from tools import isolated

PINS = ROOT / "tools" / "checkov.txt"


def program() -> Path:
    return isolated.program("checkov", PINS)


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
