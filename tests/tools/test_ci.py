""".ci/run with a make that fails as a test says: what is tried again, and what the last lines are."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tests.conftest import ROOT

# Fails as often as there are lines in the target's file, whose line names the tests that failed.
MAKE = """#!/bin/sh
echo "$*" >> calls
[ -s "$1.fails" ] || exit 0
mkdir -p .pytest_cache/v/cache
names=$(head -1 "$1.fails")
sed 1d "$1.fails" >left
mv left "$1.fails"
[ "$names" = none ] || echo "$names" > .pytest_cache/v/cache/lastfailed
exit 2
"""
INSTALL = """
from types import SimpleNamespace as Part

BUILT = "built"
GROUPS = {BUILT: [Part(name="one", there=lambda: True), Part(name="other", there=lambda: False)]}
"""
STORES = ["== make test-stores: one was there: its tests ran", "other is not built: its tests were skipped"]
SLOW, LATE = "tests/cluster/test_late.py::test_one", "tests/unit/test_x.py::test_two[a b]"


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    (tmp_path / ".ci").mkdir()
    shutil.copy(ROOT / ".ci/run", tmp_path / ".ci/run")
    (tmp_path / ".venv/bin").mkdir(parents=True)
    (tmp_path / ".venv/bin/python").symlink_to(sys.executable)
    (tmp_path / "make").write_text(MAKE)
    (tmp_path / "make").chmod(0o755)
    (tmp_path / "tools").mkdir()
    (tmp_path / "tools/install.py").write_text(INSTALL)
    return tmp_path


def fails(clone: Path, target: str, *times: list[str] | None) -> None:
    """Each time with the tests that failed, or None: something else did."""
    lines = ["none" if tests is None else json.dumps(dict.fromkeys(tests, True)) for tests in times]
    (clone / f"{target}.fails").write_text("".join(f"{line}\n" for line in lines))


def ci(clone: Path) -> tuple[int, list[str], list[str]]:
    """Its exit code, its calls of make and the lines of its log, without the times."""
    environment = {**os.environ, "PATH": f"{clone}:{os.environ['PATH']}"}
    done = subprocess.run([clone / ".ci/run"], env=environment, capture_output=True, text=True, check=False)
    log = re.sub(r"^== \d+:\d\d ", "== ", done.stdout, flags=re.MULTILINE)
    return done.returncode, (clone / "calls").read_text().splitlines(), log.splitlines()


def test_everything_is_installed_before_the_first_test(clone: Path) -> None:
    code, calls, lines = ci(clone)
    before = ["test", "test-functions", "test-slow-path", "test-stores", "test-console"]
    tests = [*before, "test-cluster", "test-operator", "test-gitops", "test-terraform"]
    assert (code, calls) == (0, ["lint", "tools", *tests])
    assert lines[-4:] == ["== make test-terraform", "", *STORES]


def test_an_installation_that_fails_is_the_end(clone: Path) -> None:
    fails(clone, "tools", None)
    code, calls, _ = ci(clone)
    assert (code, calls) == (2, ["lint", "tools"])


def test_the_last_lines_name_every_test_that_passed_only_the_second_time(clone: Path) -> None:
    fails(clone, "test", [LATE])
    fails(clone, "test-cluster", [SLOW, LATE])
    code, calls, lines = ci(clone)
    assert code == 0
    again = [
        "test",
        "test ARGS=--last-failed",
        "test-functions",
        "test-slow-path",
        "test-stores",
        "test-console",
        "test-cluster",
        "test-cluster ARGS=--last-failed",
    ]
    assert calls[2:10] == again
    assert lines[-7:] == [*STORES, "", "== passed only the second time, which is a defect: see above", LATE, SLOW, LATE]


def test_a_test_that_fails_twice_is_the_end_and_the_late_ones_before_it_are_named(clone: Path) -> None:
    fails(clone, "test", [LATE])
    fails(clone, "test-cluster", [SLOW], [SLOW])
    code, calls, lines = ci(clone)
    assert (code, calls[-1]) == (2, "test-cluster ARGS=--last-failed")
    assert lines[-2:] == ["== passed only the second time, which is a defect: see above", LATE]


def test_what_fails_without_a_failed_test_is_not_tried_again(clone: Path) -> None:
    (clone / ".pytest_cache/v/cache").mkdir(parents=True)
    (clone / ".pytest_cache/v/cache/lastfailed").write_text(json.dumps({LATE: True}))
    fails(clone, "test", None)
    code, calls, _ = ci(clone)
    assert (code, calls) == (1, ["lint", "tools", "test"])
