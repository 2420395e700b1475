"""Run the samples against an API server with the CRDs: `python -m tests.operator_samples.check`, by kubectl and KUBECONFIG."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml
from msgspec import Struct

HERE = Path(__file__).parent
# Applies one object, and returns "" or what the API server said against it.
Apply = Callable[[dict[str, Any]], str]


class Case(Struct, frozen=True):
    """One rule. `accepted`, `refused`: objects in the order in which they are applied; of `refused` the last is refused."""

    kind: str
    says: str
    accepted: list[dict[str, Any]]
    refused: list[dict[str, Any]]


def cases() -> Iterator[Case]:
    for path in (HERE / "apikeys.yaml", HERE / "keysets.yaml"):
        held = yaml.safe_load(path.read_text(encoding="utf-8"))
        for case in held["cases"]:
            accepted, refused = (samples(held["base"], case[side]) for side in ("accepted", "refused"))
            yield Case(held["base"]["kind"], case["says"], accepted, refused)


def samples(base: dict[str, Any], given: Any) -> list[dict[str, Any]]:
    return [merge(base, patch) for patch in (given if isinstance(given, list) else [given])]


def merge(whole: Any, patch: Any) -> Any:
    """RFC 7396."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(whole) if isinstance(whole, dict) else {}
    for name, value in patch.items():
        merged[name] = merge(merged.get(name), value)
    return {name: value for name, value in merged.items() if value is not None}


def faults(apply: Apply, remove: Callable[[dict[str, Any]], None]) -> Iterator[str]:
    """What the API server did otherwise than the samples say."""
    for case in cases():
        for side, objects in (("accepted", case.accepted), ("refused", case.refused)):
            answers = [apply(each) for each in objects]
            remove(objects[0])
            if any(answers[:-1]):
                yield f"{case.says}: a step before the last was refused: {answers}"
            if side == "accepted" and answers[-1]:
                yield f"{case.says}: refused what it should accept: {answers[-1]}"
            if side == "refused" and case.says.lower() not in answers[-1].lower():
                yield f"{case.says}: accepted it, or refused it for another reason: {answers[-1]}"


def kubectl(program: str) -> tuple[Apply, Callable[[dict[str, Any]], None]]:
    """With `program`, in the namespace that KUBECONFIG says."""

    def apply(body: dict[str, Any]) -> str:
        command = [program, "apply", "--server-side", "--force-conflicts", "-f", "-"]
        done = subprocess.run(command, input=json.dumps(body), capture_output=True, text=True, timeout=60)
        return done.stderr if done.returncode else ""

    def remove(body: dict[str, Any]) -> None:
        name = body["metadata"]["name"]
        command = [program, "delete", body["kind"].lower(), name, "--ignore-not-found", "--wait=true"]
        subprocess.run(command, check=True, capture_output=True, timeout=60)

    return apply, remove


if __name__ == "__main__":
    from tools import kubectl as pinned

    found = list(faults(*kubectl(str(pinned.kubectl()))))
    print("\n".join(found) or f"{len(list(cases()))} rules hold")
    sys.exit(bool(found))
