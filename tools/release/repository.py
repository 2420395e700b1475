"""The git repository that Argo CD reads: changed in a clone of its own, and pushed only as a fast-forward.

When somebody else was faster the change is decided again on what they left, not merged over it: so twenty at once lose nothing,
and an older build never lands on a newer one.
"""

from __future__ import annotations

import os
import random
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tools.release import environment
from tools.release.environment import Release, State

ENVIRONMENTS = "argocd/environments"
# Seconds that a change may take while others push.
PATIENCE = 120.0
AUTHOR = {"NAME": "sluice release", "EMAIL": "release@sluice.invalid"}
# Files are written as they were read: line ends of Windows and whatever else somebody put there stay.
ANY_BYTE = "surrogateescape"
LOST_RACE = ("[rejected]", "non-fast-forward", "fetch first", "cannot lock ref", "failed to update ref", "incorrect old value")


class GitFailed(Exception):
    """git failed; the text is what it said."""


@dataclass(frozen=True)
class Change:
    """What becomes of the files (None: removed) and why."""

    files: Mapping[str, str | None]
    message: str


class Clone:
    """`branch` of a repository, as it was fetched last."""

    def __init__(self, folder: Path, branch: str) -> None:
        self.folder = folder
        self.branch = branch

    def git(self, *words: str) -> str:
        return git(*words, folder=self.folder)

    def text(self, path: str, commit: str = "HEAD") -> str | None:
        """None when the file is not there."""
        if not self.git("ls-tree", commit, "--", path):
            return None
        return self.git("show", f"{commit}:{path}")

    def state(self, name: str) -> State:
        """Of an environment. Raises Malformed."""
        values = self.text(values_of(name))
        if values is None:
            raise environment.Malformed(f"there is no {values_of(name)} on {self.branch}")
        return environment.read(values, self.text(pin_of(name)), folder_of(name))

    def former(self, name: str, below: int) -> Iterator[tuple[str, Release]]:
        """Releases with a build below `below`, the last one first, each with the commit that left it."""
        for commit in self.git("log", "--first-parent", "--format=%H", "--", values_of(name)).split():
            try:
                release = environment.read(self.text(values_of(name), commit) or "", None, folder_of(name)).release
            except environment.Malformed:
                continue
            if release is not None and release.build < below:
                yield commit, release

    def commit(self, change: Change) -> None:
        for path, text in change.files.items():
            target = self.folder / path
            if text is None:
                target.unlink(missing_ok=True)
            else:
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_text(text, encoding="utf-8", errors=ANY_BYTE, newline="")
        self.git("add", "--all", "--", *change.files)
        self.git("commit", "--quiet", "--no-verify", f"--message={change.message}")

    def fresh(self) -> None:
        """What the others left."""
        self.git("fetch", "--quiet", "origin", self.branch)
        self.git("reset", "--quiet", "--hard", "FETCH_HEAD")


def folder_of(name: str) -> str:
    return f"{ENVIRONMENTS}/{name}"


def values_of(name: str) -> str:
    return f"{folder_of(name)}/values.yaml"


def pin_of(name: str) -> str:
    return f"{folder_of(name)}/pin.yaml"


@contextmanager
def clone(url: str, branch: str) -> Iterator[Clone]:
    with tempfile.TemporaryDirectory(prefix="sluice-release-") as folder:
        # By the protocol also from a path: a copy of the files fails while others push.
        git("clone", "--quiet", "--no-local", "--no-tags", "--single-branch", f"--branch={branch}", url, folder)
        yield Clone(Path(folder), branch)


def change(url: str, branch: str, decide: Callable[[Clone], Change | None], target: str | None = None) -> Change | None:
    """Commit and push what `decide` says about the newest state; None when it says that nothing is to be done.

    `target`: another branch, which is the proposal's own and replaced. Raises GitFailed.
    """
    give_up, attempt = time.monotonic() + PATIENCE, 0
    with clone(url, branch) as tree:
        while True:
            attempt += 1
            wanted = decide(tree)
            if wanted is None:
                return None
            tree.commit(wanted)
            try:
                tree.git("push", "--quiet", *(["--force"] if target else []), "origin", f"HEAD:refs/heads/{target or branch}")
            except GitFailed as error:
                if not any(words in str(error) for words in LOST_RACE) or time.monotonic() > give_up:
                    raise
                time.sleep(random.uniform(0, min(0.1 * attempt, 2)))  # noqa: S311 # so that two do not meet again
                tree.fresh()
                continue
            return wanted


def git(*words: str, folder: Path | None = None) -> str:
    environ = {**os.environ, "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}
    for part, value in AUTHOR.items():
        for who in ("AUTHOR", "COMMITTER"):
            environ.setdefault(f"GIT_{who}_{part}", value)
    done = subprocess.run(["git", *words], cwd=folder, env=environ, capture_output=True, check=False)
    if done.returncode:
        raise GitFailed(f"git {words[0]} failed: {done.stderr.decode(errors='replace').strip()}")
    return done.stdout.decode(errors=ANY_BYTE)


def origin() -> str:
    """The remote of the folder that this runs in."""
    return git("remote", "get-url", "origin").strip()
