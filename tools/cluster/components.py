"""The programs that make up the cluster: started with a log file, watched, ended."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

PAUSE = 0.05
TAIL = 15


class Failed(Exception):
    """The cluster can not go on; the text says why, with the last lines of the log that tells more."""


@dataclass
class Component:
    name: str
    command: Sequence[str | Path]
    log: Path
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)

    def stop(self) -> None:
        """At once, as a crash would: this is a throwaway cluster, and tests want it rough."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def died(self) -> bool:
        """Ended without having been stopped."""
        return self.process is not None and self.process.poll() is not None

    def end(self) -> str:
        code = self.process.returncode if self.process else 0
        how = f"was killed by signal {-code}" if code < 0 else f"ended with code {code}"
        return f"{self.name} {how}; the end of its log ({self.log}):\n{tail(self.log)}"


class Components:
    """All that were started, by name."""

    def __init__(self, logs: Path) -> None:
        self.logs = logs
        self.by_name: dict[str, Component] = {}

    def start(self, name: str, *command: str | Path) -> None:
        self.by_name[name] = Component(name, command, self.logs / f"{name}.log")
        self.by_name[name].start()

    def check(self) -> None:
        """Raise Failed when one ended by itself."""
        for component in self.by_name.values():
            if component.died():
                raise Failed(component.end())

    def until(self, ready: Callable[[], bool], what: str, log: str, seconds: float = 120) -> None:
        """Wait for `ready` to be True; a Failed of its own means not yet.

        Raises Failed when a component ends, or when time is over: with the last reason and the end of the log of `log`.
        """
        give_up, reason = time.monotonic() + seconds, ""
        while True:
            try:
                if ready():
                    return
            except Failed as problem:
                reason = f"\n{problem}"
            self.check()
            if time.monotonic() > give_up:
                end = tail(self.logs / f"{log}.log")
                raise Failed(f"waited {seconds:g} s in vain for {what}{reason}\nthe end of {log}'s log:\n{end}")
            time.sleep(PAUSE)


def call(*command: str | Path, stdin: str | None = None, seconds: float = 60) -> str:
    """The output of a program that has to succeed; raises Failed with what it said."""
    try:
        done = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=seconds, check=False)
    except subprocess.TimeoutExpired:
        raise Failed(f"{shown(command)} did not end within {seconds:g} s") from None
    if done.returncode:
        raise Failed(f"{shown(command)} ended with code {done.returncode}:\n{done.stderr}{done.stdout}")
    return done.stdout


def shown(command: Sequence[str | Path]) -> str:
    return " ".join(os.fspath(word) for word in command)


def tail(log: Path, lines: int = TAIL) -> str:
    text = log.read_text(errors="replace") if log.exists() else ""
    return "\n".join(text.splitlines()[-lines:])
