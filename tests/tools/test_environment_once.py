"""Two makes on a fresh clone: one makes the environment, the other waits and finds it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from tests.conftest import ROOT

# Stands for every Python: logs pip and venv, and fails when two of them run at once.
PYTHON = """#!/bin/sh
case "$*" in *pip*install*|*venv\\ --clear*) ;; *) exit 0;; esac
mkdir busy || exit 1
echo "$*" >> calls
sleep 0.1
[ "$2" != venv ] || { mkdir -p .venv/bin; cp python .venv/bin/python; }
rmdir busy
"""


@pytest.mark.skipif(shutil.which("flock") is None, reason="flock is missing; to get it: install util-linux")
def test_two_makes_install_once_and_never_at_the_same_time(tmp_path: Path) -> None:
    for name in ("Makefile", "pyproject.toml", "requirements", "tools"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / "python").write_text(PYTHON)
    (tmp_path / "python").chmod(0o755)
    command = ["make", "--silent", f"PYTHON={tmp_path}/python", ".venv/.dev"]
    both = [subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL) for _ in range(2)]
    assert [process.wait(60) for process in both] == [0, 0]
    calls = (tmp_path / "calls").read_text().splitlines()
    assert len([call for call in calls if "venv --clear .venv" in call]) == 1
    assert len(calls) == len(set(calls))
