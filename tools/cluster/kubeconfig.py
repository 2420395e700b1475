"""kubeconfig files with everything in them, so that they can be copied."""

from __future__ import annotations

import base64
import json
from pathlib import Path


def write(target: Path, certificates: Path, user: str, server: str) -> Path:
    """For `user`, whose certificate lies in `certificates`; JSON, which is YAML too."""
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "sluice",
        "contexts": [{"name": "sluice", "context": {"cluster": "sluice", "user": user}}],
        "clusters": [
            {"name": "sluice", "cluster": {"server": server, "certificate-authority-data": encoded(certificates / "ca.crt")}}
        ],
        "users": [
            {
                "name": user,
                "user": {
                    "client-certificate-data": encoded(certificates / f"{user}.crt"),
                    "client-key-data": encoded(certificates / f"{user}.key"),
                },
            }
        ],
    }
    target.touch(mode=0o600)
    target.write_text(json.dumps(document, indent=1))
    return target


def encoded(file: Path) -> str:
    return base64.b64encode(file.read_bytes()).decode()
