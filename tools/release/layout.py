#!/usr/bin/env python3
"""Print the digest of the one image in an OCI layout: `layout.py FOLDER`."""

import json
import sys
from pathlib import Path


def digest(layout: Path) -> str:
    manifests = json.loads((layout / "index.json").read_text())["manifests"]
    if len(manifests) != 1:
        raise SystemExit(f"{layout} holds {len(manifests)} images, not one")
    return str(manifests[0]["digest"])


if __name__ == "__main__":
    sys.stdout.write(f"{digest(Path(sys.argv[1]))}\n")
