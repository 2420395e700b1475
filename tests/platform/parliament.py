"""parliament, a linter of IAM policies, in an environment of its own: it needs a setuptools that nothing else here may have."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.platform.iam.policy import Document
from tools import isolated


def findings(documents: Mapping[str, Document]) -> list[dict[str, Any]]:
    """What it finds in policies of identities, by their names; it knows none of resources and of trust."""
    with tempfile.TemporaryDirectory() as folder:
        for name, document in documents.items():
            Path(folder, f"{name}.json").write_text(json.dumps(document), encoding="utf-8")
        command = [
            str(isolated.program("parliament")),
            "--directory",
            folder,
            "--include_policy_extension",
            "json",
            "--json",
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1), done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]
