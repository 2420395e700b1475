"""parliament, a linter of IAM policies, in an environment of its own: it needs a setuptools that nothing else here may have."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.platform.iam.policy import Document
from tools import folders, once

PINS = Path(__file__).with_name("parliament.txt")


def program() -> Path:
    """Installed once for each content of PINS and each Python, in the tools' cache."""
    key = hashlib.sha256(PINS.read_bytes() + sys.version.encode()).hexdigest()[:16]
    return once.folder(folders.programs() / f"parliament-{key}", install) / "bin" / "parliament"


def install(folder: Path, lock: int) -> None:
    """Relocatable, for the folder gets its name when it is complete."""
    uv = Path(sys.executable).with_name("uv")
    python = ["--python", str(folder / "bin" / "python")]
    for command in (
        ["venv", "--quiet", "--relocatable", "--allow-existing", "--python", sys.executable, str(folder)],
        ["pip", "sync", "--quiet", *python, "--require-hashes", str(PINS)],
    ):
        subprocess.run([uv, *command], check=True, pass_fds=[lock])


def findings(documents: Mapping[str, Document]) -> list[dict[str, Any]]:
    """What it finds in policies of identities, by their names; it knows none of resources and of trust."""
    with tempfile.TemporaryDirectory() as folder:
        for name, document in documents.items():
            Path(folder, f"{name}.json").write_text(json.dumps(document), encoding="utf-8")
        command = [str(program()), "--directory", folder, "--include_policy_extension", "json", "--json"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1), done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]
