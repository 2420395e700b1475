"""checkov in an environment of its own: it pins libraries to versions that the tests' own environment cannot share."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from tools import isolated


def judge(folder: Path) -> dict[str, Any]:
    """checkov's report of all manifests in a folder, without a call to anyone: passed, failed and skipped checks."""
    command = [
        str(isolated.program("checkov")),
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
