"""README.md: the picture is made from code, and the three commands work as they stand there."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests import docs
from tests.conftest import ROOT
from tests.gitops import picture
from tests.gitops.bare import Bare, digest_of
from tools.release import repository


def test_the_picture_is_made_from_the_workflows_and_the_applications() -> None:
    assert docs.section(picture.README, picture.MARKS) == picture.picture(), "run `python -m tests.gitops.picture`"


def test_release_roll_back_and_promote_are_three_commands(tmp_path: Path) -> None:
    """With a former release, so that there is something to go back to, and the pin lifted before the next."""
    text = docs.section(ROOT / "README.md", "releases")
    commands = [line for line in text.splitlines() if line.startswith("python -m tools.release")]
    assert [line.split()[3] for line in commands] == ["bump", "rollback", "promote"]
    bare = Bare(tmp_path, "staging", "prod")
    work = tmp_path / "checkout"
    repository.git("clone", "--quiet", bare.url, str(work))
    for message in ("One", "Two"):
        repository.git("commit", "--quiet", "--allow-empty", f"--message={message}", folder=work)
    (work / "tools").symlink_to(ROOT / "tools")
    programs = tmp_path / "bin"
    programs.mkdir()
    bare.cosign.rename(programs / "cosign")
    former = repository.git("rev-parse", "HEAD^", folder=work).strip()
    commit = repository.git("rev-parse", "HEAD", folder=work).strip()

    def run(command: str, number: int, of: str) -> str:
        (work / "proof").unlink(missing_ok=True)
        (work / "proof").symlink_to(bare.proof(number, by="cosign.pub", commit=of))
        path = os.pathsep.join([str(programs), os.path.dirname(sys.executable), os.environ["PATH"]])
        environ = {**os.environ, "PATH": path, "DIGEST": digest_of(number), "COMMIT": of}
        done = subprocess.run(["sh", "-euc", command], cwd=work, env=environ, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    bump, rollback, promote = commands
    assert "Release build 2 to staging" in run(bump, 2, former)
    assert "Release build 3 to staging" in run(bump, 3, commit)
    assert "Roll staging back to build 2" in run(rollback, 3, commit)
    assert "proposed as branch release/prod-2" in run(promote, 2, former)


def test_a_first_image_is_written_by_hand_as_the_release_commands_read_it(tmp_path: Path) -> None:
    bare = Bare(tmp_path, "dev")
    work = tmp_path / "checkout"
    repository.git("clone", "--quiet", bare.url, str(work))
    script = docs.section(ROOT / "argocd" / "README.md", "first").strip("`").removeprefix("sh")
    who = {f"GIT_{role}_{part}": "tests" for role in ("AUTHOR", "COMMITTER") for part in ("NAME", "EMAIL")}
    environ = {**os.environ, **who, "DIGEST": digest_of(7)}
    done = subprocess.run(["sh", "-euc", script], cwd=work, env=environ, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
    assert bare.status("dev")["digest"] == digest_of(7)
