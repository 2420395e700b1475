"""The environment that `make` makes: out of nothing but its folder, anew when that moved or its Python is gone, and once."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from tests.conftest import ROOT

# Stands for the Python of the machine, and as .venv/bin/python for that of the environment; writes its calls and variables down.
PYTHON = """#!/bin/sh
echo "$*" | head -1 >>"$LOG"
case "$*" in -m*) env >>"$LOG.env" ;; esac
case "$*" in
"-m venv"*) mkdir -p .venv/bin .venv/lib/python3.11/site-packages && cp "$0" .venv/bin/python ;;
*"-r requirements/run.txt"*) exit "${STATUS:-0}" ;;
*"-e .") echo "$PWD/app" >.venv/lib/python3.11/site-packages/_editable_impl_sluice.pth ;;
*compiler*) exit 1 ;;
esac
"""
# Stands for every Python: logs pip and venv, and fails when two of them run at once.
BUSY = """#!/bin/sh
case "$*" in *pip*install*|*venv\\ --clear*) ;; *) exit 0;; esac
mkdir busy || exit 1
echo "$*" >> calls
sleep 0.1
[ "$2" != venv ] || { mkdir -p .venv/bin .venv/lib/python3.11/site-packages; cp python .venv/bin/python; }
rmdir busy
"""
OF_THE_SHELL = {
    "PYTHONHOME": "/of/conda",
    "PYTHONINSPECT": "1",
    "PYTHONOPTIMIZE": "2",
    "PYTHONPATH": "/of/another/project",
    "PYTHONPLATLIBDIR": "lib64",
    "PYTHONWARNINGS": "error",
    "PIP_CONSTRAINT": "/of/another/project/constraints.txt",
    "PIP_PREFIX": "/opt",
    "PIP_REQUIRE_HASHES": "1",
    "PIP_TARGET": "/opt",
    "PIP_USER": "1",
    "PIP_INDEX_URL": "https://pypi.example.com/simple",
    "VIRTUAL_ENV": "/of/another/project/.venv",
}


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    folder = tmp_path / "my 'wörk'"
    (folder / "requirements").mkdir(parents=True)
    for name in ("Makefile", "pyproject.toml", "requirements/run.txt", "requirements/fast.txt"):
        shutil.copy(ROOT / name, folder / name)
    return folder


def make(clone: Path, **more: str) -> subprocess.CompletedProcess[str]:
    python = clone.parent / "python3"
    python.write_text(PYTHON)
    python.chmod(0o755)
    environment = {"PATH": os.environ["PATH"], "LOG": str(clone.parent / "log"), **OF_THE_SHELL, **more}
    command = ["make", ".venv/.run", f"PYTHON={python}"]
    return subprocess.run(command, cwd=clone, env=environment, capture_output=True, text=True, timeout=60)


def made(clone: Path) -> list[str]:
    """What Python was called for by `make .venv/.run`."""
    log = clone.parent / "log"
    log.write_text("")
    done = make(clone)
    assert done.returncode == 0, done.stdout + done.stderr
    return log.read_text().splitlines()


def installs(calls: list[str]) -> bool:
    return any("install" in call and "requirements/run.txt" in call for call in calls)


def test_an_environment_is_made_once(clone: Path) -> None:
    assert installs(made(clone))
    assert not installs(made(clone))


def test_variables_for_other_pythons_and_other_installs_change_nothing(clone: Path) -> None:
    made(clone)
    found = {line for line in (clone.parent / "log.env").read_text().splitlines() if re.match("PIP_|PYTHON[A-Z]", line)}
    assert found == {"PIP_USER=0", "PIP_INDEX_URL=https://pypi.example.com/simple"}


def test_without_packages_the_way_to_them_is_named_and_the_next_run_goes_on(clone: Path) -> None:
    refused = make(clone, STATUS="1")
    assert refused.returncode == 2
    assert "requirements/run.txt are not installed" in refused.stderr
    assert "a mirror by PIP_INDEX_URL or a proxy by HTTPS_PROXY" in refused.stderr
    assert installs(made(clone))


def test_the_environment_finds_the_code_whatever_the_encoding_of_its_path(clone: Path) -> None:
    made(clone)
    (file,) = clone.glob(".venv/lib/*/site-packages/*.pth")
    lines = file.read_text(encoding="ascii").splitlines()
    assert [(file.parent / line).resolve() for line in lines] == [clone / "app", clone / "operator"]


@pytest.mark.parametrize("away", ["mv", "cp -a"])
def test_an_environment_of_another_place_is_made_anew(clone: Path, away: str) -> None:
    made(clone)
    there = clone.with_name("there")
    subprocess.run([*away.split(), clone, there], check=True)
    assert installs(made(there))
    assert not installs(made(there))


def test_an_environment_whose_python_is_gone_is_made_anew(clone: Path) -> None:
    made(clone)
    (clone / ".venv" / "bin" / "python").unlink()
    assert installs(made(clone))
    assert not installs(made(clone))


@pytest.mark.skipif(shutil.which("flock") is None, reason="flock is missing; to get it: install util-linux")
def test_two_makes_install_once_and_never_at_the_same_time(tmp_path: Path) -> None:
    for name in ("Makefile", "pyproject.toml", "requirements", "tools"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / "python").write_text(BUSY)
    (tmp_path / "python").chmod(0o755)
    command = ["make", "--silent", f"PYTHON={tmp_path}/python", ".venv/.dev"]
    both = [subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL) for _ in range(2)]
    assert [process.wait(60) for process in both] == [0, 0]
    calls = (tmp_path / "calls").read_text().splitlines()
    assert len([call for call in calls if "venv --clear .venv" in call]) == 1
    assert len(calls) == len(set(calls))
