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
[ ! -L "$0" ] || case "$*" in "-m venv"*) exit 1 ;; *realpath*) exec readlink -f "$0" ;; esac
case "$*" in
*ensurepip*) exit "${BARE:-0}" ;;
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
    "PYTHONSAFEPATH": "1",
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


def make(clone: Path, python: str = "python", **more: str) -> subprocess.CompletedProcess[str]:
    """By PYTHON, or where that is called otherwise by the one that make finds; there is no other of a version that fits."""
    folder = program(clone.parent / "bin" / python, PYTHON).parent
    for name in {"python3", "python3.14", "python3.13", "python3.12", "python3.11"} - {python}:
        program(folder / name, "#!/bin/sh\nexit 1\n")
    path = os.pathsep.join((str(folder), os.environ["PATH"]))
    environment = {"PATH": path, "LOG": str(clone.parent / "log"), **OF_THE_SHELL, **more}
    command = ["make", ".venv/.run", *([f"PYTHON={folder}/{python}"] if python == "python" else [])]
    return subprocess.run(command, cwd=clone, env=environment, capture_output=True, text=True, timeout=60)


def program(file: Path, text: str) -> Path:
    file.parent.mkdir(exist_ok=True)
    file.write_text(text)
    file.chmod(0o755)
    return file


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


def test_the_first_python_that_fits_is_taken(clone: Path) -> None:
    assert make(clone, "python3.13").returncode == 0
    assert (clone / ".venv" / ".made").exists()


def test_without_one_that_fits_the_versions_are_named(clone: Path) -> None:
    refused = make(clone, "python3.10")
    assert refused.returncode == 2
    assert "Python 3.11 to 3.14" in refused.stderr
    assert not (clone / ".venv").exists()


def test_without_its_venv_module_the_package_of_that_python_is_named(clone: Path) -> None:
    assert "apt-get install python3.12-venv" in make(clone, "python3.12", BARE="1").stderr


def test_a_python_that_makes_no_environment_by_a_link_makes_it_by_its_own_name(clone: Path) -> None:
    """As those of uv (astral-sh/python-build-standalone#380)."""
    own = program(clone.parent / "own", PYTHON)
    (clone.parent / "bin").mkdir()
    (clone.parent / "bin" / "python").symlink_to(own)
    assert installs(made(clone))


def test_without_packages_the_way_to_them_is_named_and_the_next_run_goes_on(clone: Path) -> None:
    refused = make(clone, STATUS="1")
    assert refused.returncode == 2
    assert "requirements/run.txt are not installed" in refused.stderr
    assert "a mirror by PIP_INDEX_URL or a proxy by HTTPS_PROXY, and by PIP_CERT the CA" in refused.stderr
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


@pytest.fixture
def busy(tmp_path: Path) -> list[str]:
    """The command that makes an environment in this folder."""
    for name in ("Makefile", "pyproject.toml", "requirements", "tools"):
        (tmp_path / name).symlink_to(ROOT / name)
    return ["make", "--silent", f"PYTHON={program(tmp_path / 'python', BUSY)}", ".venv/.dev"]


def test_one_make_with_many_jobs_installs_one_by_one_also_without_flock(tmp_path: Path, busy: list[str]) -> None:
    program(tmp_path / "bin" / "flock", '#!/bin/sh\nshift\nexec "$@"\n')
    path = os.pathsep.join((str(tmp_path / "bin"), os.environ["PATH"]))
    done = subprocess.run([*busy, ".venv/.run", "-j8"], cwd=tmp_path, env={**os.environ, "PATH": path}, stdout=subprocess.DEVNULL)
    assert done.returncode == 0


@pytest.mark.skipif(shutil.which("flock") is None, reason="flock is missing; to get it: install util-linux")
def test_two_makes_install_once_and_never_at_the_same_time(tmp_path: Path, busy: list[str]) -> None:
    both = [subprocess.Popen(busy, cwd=tmp_path, stdout=subprocess.DEVNULL) for _ in range(2)]
    assert [process.wait(60) for process in both] == [0, 0]
    calls = (tmp_path / "calls").read_text().splitlines()
    assert len([call for call in calls if "venv --clear .venv" in call]) == 1
    assert len(calls) == len(set(calls))
