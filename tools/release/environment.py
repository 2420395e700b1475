"""What an environment runs, as its folder in git tells: one line of values.yaml, and pin.yaml while updates are held. Pure.

The line is `  digest: sha256:<hex> # build 412, commit <40 hex digits>`. After a rollback `, not 413` follows: the highest build
that must not come back by itself. It all stands in the line, because a squash merge keeps lines and loses trailers.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import yaml

LINE = re.compile(
    r'^(?P<head> +digest: )(?:""|"?(?P<digest>sha256:[0-9a-f]{64})"?)'
    r"(?: # build (?P<build>\d+), commit (?P<commit>[0-9a-f]{40})(?:, not (?P<refused>\d+))?)?[ \t]*(?=\r?$)",
    re.MULTILINE,
)
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
COMMIT = re.compile(r"[0-9a-f]{40}")


class Malformed(Exception):
    """A file of an environment cannot be read; the text says which and what it should hold."""


@dataclass(frozen=True)
class Release:
    """An image and where it comes from. `build` grows with each build of the branch."""

    digest: str
    build: int
    commit: str

    def __str__(self) -> str:
        return f"build {self.build} ({self.digest[:19]}, commit {self.commit[:12]})"


@dataclass(frozen=True)
class Pin:
    """No update before `until`, because of `reason`."""

    until: datetime
    reason: str

    def text(self) -> str:
        head = "# Written by `python -m tools.release rollback`: no update before this time. `unpin` removes it.\n"
        return head + yaml.safe_dump({"until": self.until.isoformat(timespec="seconds"), "reason": self.reason}, sort_keys=False)


@dataclass(frozen=True)
class State:
    """`release` is None before the first one. `refused`: builds up to this one were rolled back."""

    release: Release | None
    refused: int = 0
    pin: Pin | None = None


def read(values: str, pin: str | None, where: str) -> State:
    """`values` and `pin`: the texts of values.yaml and pin.yaml. `where`: their folder. Raises Malformed."""
    found = list(LINE.finditer(values))
    if len(found) != 1:
        raise Malformed(f"{where}/values.yaml must have exactly one line `  digest: sha256:...`, it has {len(found)}")
    digest, build, commit, refused = found[0].group("digest", "build", "commit", "refused")
    if digest and not build:
        raise Malformed(f"{where}/values.yaml: the line of the digest must end in `# build N, commit <40 hex digits>`")
    release = Release(digest, int(build), commit) if digest else None
    return State(release, int(refused or 0), read_pin(pin, where) if pin else None)


def read_pin(text: str, where: str) -> Pin:
    try:
        content = yaml.safe_load(text)
        until = datetime.fromisoformat(content["until"])
        return Pin(until if until.tzinfo else until.replace(tzinfo=UTC), str(content["reason"]))
    except (yaml.YAMLError, LookupError, TypeError, ValueError) as error:
        raise Malformed(f"{where}/pin.yaml must have `until` (a time) and `reason`: {error}") from error


def write(values: str, release: Release, refused: int = 0) -> str:
    """`values` with another line for the digest, and every other byte as it was."""
    note = f"build {release.build}, commit {release.commit}" + (f", not {refused}" if refused > release.build else "")
    return LINE.sub(lambda match: f"{match['head']}{release.digest} # {note}", values)


def hindrance(state: State, wanted: Release, now: datetime) -> str | None:
    """Why an update to `wanted` is left out, or None. The rule that every updater follows."""
    if state.release is not None and wanted.digest == state.release.digest:
        return f"{wanted} is there already"
    if state.pin is not None and now < state.pin.until:
        return f"pinned until {state.pin.until.isoformat(timespec='seconds')}: {state.pin.reason}"
    if state.release is not None and wanted.build <= state.release.build:
        return f"{wanted} is not newer than build {state.release.build}, which is there"
    if wanted.build <= state.refused:
        return f"{wanted} is not newer than build {state.refused}, which was rolled back"
    return None


def rolled_back(state: State, target: Release, pin: Pin) -> State:
    bad = max(state.refused, state.release.build if state.release else 0)
    return replace(state, release=target, refused=bad, pin=pin)
