"""What Terraform tells while it works (its documentation, "Machine-readable UI"), as records."""

from __future__ import annotations

import json
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

Told = Callable[[dict[str, Any]], None]


class Failed(AssertionError):
    """A command that had to work did not; the text is what Terraform told."""


@dataclass(frozen=True)
class Change:
    """A planned change of one resource; `action` as Terraform names it: create, update, delete, replace."""

    address: str
    kind: str
    action: str


@dataclass
class Run:
    """One command: its exit code, its planned changes, its errors and how long it took; `done`: how often it did which action."""

    code: int
    seconds: float
    changes: list[Change] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    completed: list[str] = field(default_factory=list)
    done: Counter[str] = field(default_factory=Counter)

    @property
    def surprises(self) -> list[str]:
        """Warnings, but for the one that comes with time: it is for the one who runs this, and no fault of the code."""
        return [text for text in self.warnings if "Standard support of Kubernetes" not in text]

    def actions(self, action: str) -> set[str]:
        """The kinds of resources that it plans to `action`."""
        return {change.kind for change in self.changes if change.action == action}


@dataclass
class Verdict:
    """One `terraform test`: how many runs, and what those that failed told."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0
    seconds: float = 0
    errors: list[str] = field(default_factory=list)


def collected(process: subprocess.Popen[str], told: Told | None = None) -> Run:
    """What a command tells by `-json`, until it ends."""
    began = time.monotonic()
    run = Run(0, 0)
    assert process.stdout is not None
    with process.stdout as lines:
        for line in lines:
            message = parsed(line)
            keep(run, message)
            if told is not None:
                told(message)
    run.code, run.seconds = process.wait(), time.monotonic() - began
    return run


def parsed(line: str) -> dict[str, Any]:
    """A line that is no JSON is an error that came too early for it."""
    try:
        message: dict[str, Any] = json.loads(line)
    except ValueError:
        return {"type": "text", "@message": line.rstrip()}
    return message


def completed(message: dict[str, Any]) -> bool:
    """Whether it tells that a resource was made, changed or deleted; reads of data are reported likewise."""
    return bool(message["type"] == "apply_complete" and message["hook"]["action"] != "read")


def keep(run: Run, message: dict[str, Any]) -> None:
    match message["type"]:
        case "planned_change":
            change = message["change"]
            run.changes.append(Change(change["resource"]["addr"], change["resource"]["resource_type"], change["action"]))
        case "apply_complete" if completed(message):
            run.completed.append(message["hook"]["resource"]["addr"])
            run.done[message["hook"]["action"]] += 1
        case "diagnostic":
            diagnostic = message["diagnostic"]
            text = f"{diagnostic['summary']}: {diagnostic.get('detail', '')} ({diagnostic.get('address', '')})"
            (run.errors if diagnostic["severity"] == "error" else run.warnings).append(text)
        case "text" if message["@message"]:
            run.errors.append(message["@message"])


def judge(verdict: Verdict, message: dict[str, Any]) -> None:
    """The status of each run: pass, fail, error or skip."""
    run = message.get("test_run", {})
    match run.get("status") if run.get("progress", "complete") == "complete" else None:
        case "pass":
            verdict.passed += 1
        case "skip":
            verdict.skipped += 1
        case "fail" | "error":
            verdict.failed += 1
            verdict.errors.append(f"{run['path']}: {run['run']}")


def must(done: subprocess.CompletedProcess[str]) -> str:
    if done.returncode:
        raise Failed(f"{' '.join(done.args)}\n{done.stdout[-4_000:]}{done.stderr[-4_000:]}")
    return done.stdout


def worked(run: Run) -> Run:
    """`run` itself when it ended well; else its errors are raised."""
    if run.code:
        raise Failed("\n".join(run.errors) or f"exit code {run.code}")
    return run
