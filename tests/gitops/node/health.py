"""What Argo CD says of an object's health, by the Lua of argocd/values.yaml."""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path

import yaml
from tests.cluster.kube import Document
from tests.gitops.node.argo import settings
from tools import binaries


def health(document: Document) -> tuple[str, str]:
    """Status and message, from the real program."""
    config_map = next(each for each in settings("") if each["metadata"]["name"] == "argocd-cm")
    with tempfile.TemporaryDirectory() as folder:
        files = {name: Path(folder, name) for name in ("cm.yaml", "object.yaml")}
        files["cm.yaml"].write_text(yaml.safe_dump({**config_map, "metadata": {**config_map["metadata"], "namespace": "argocd"}}))
        files["object.yaml"].write_text(yaml.safe_dump(document))
        words = ["admin", "settings", "resource-overrides", "health", str(files["object.yaml"])]
        done = subprocess.run(
            [binaries.path("argocd"), *words, f"--argocd-cm-path={files['cm.yaml']}"],
            env={**os.environ, "ARGOCD_BINARY_NAME": "argocd", "HOME": folder},
            capture_output=True,
            text=True,
            check=True,
        )
    told = dict(line.split(": ", 1) for line in done.stdout.splitlines() if line.startswith(("STATUS: ", "MESSAGE: ")))
    return told["STATUS"], told.get("MESSAGE", "")
