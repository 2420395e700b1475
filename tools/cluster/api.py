"""Questions to the API server as its administrator, and to the health ports, from inside the sandbox."""

from __future__ import annotations

import json
from typing import Any

import urllib3

from tools.cluster.run import API_PORT, Run

URL = f"https://127.0.0.1:{API_PORT}"
SECONDS = 2


def get(run: Run, path: str) -> bytes | None:
    """The body of a 200, None for everything else."""
    keys = run.certificates
    with urllib3.PoolManager(
        ca_certs=str(keys / "ca.crt"), cert_file=str(keys / "admin.crt"), key_file=str(keys / "admin.key")
    ) as pool:
        return fetched(pool, f"{URL}{path}")


def fetched(pool: urllib3.PoolManager, url: str) -> bytes | None:
    try:
        answer = pool.request("GET", url, timeout=SECONDS, retries=False)
    except urllib3.exceptions.HTTPError:
        return None
    return answer.data if answer.status == 200 else None


def has_condition(run: Run, path: str, condition: str) -> bool:
    """Whether the object at `path` is there and its condition (Ready, Available) is True."""
    body = get(run, path)
    found: dict[str, Any] = json.loads(body) if body else {}
    conditions = found.get("status", {}).get("conditions", [])
    return any(one["type"] == condition and one["status"] == "True" for one in conditions)
