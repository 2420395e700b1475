"""A folder of the cache is complete or not there."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest
from tests.integration import waiting
from tools import folders, once

KILLED = """
import os, signal, sys
from pathlib import Path
from tools import once

def fill(folder, lock):
    (folder / "half").write_text("")
    os.kill(os.getpid(), signal.SIGKILL)

once.folder(Path(sys.argv[1]), fill)
"""
# Its child holds the lock for a moment longer than it lives itself, and then writes.
ORPHANED = """
import os, signal, subprocess, sys
from pathlib import Path
from tools import once

def fill(folder, lock):
    subprocess.Popen(["sh", "-c", f"read line; touch {folder}/late"], stdin=sys.stdin, pass_fds=[lock])
    os.kill(os.getpid(), signal.SIGKILL)

once.folder(Path(sys.argv[1]), fill)
"""


def filled(folder: Path, _: int) -> None:
    (folder / "whole").write_text("")


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.name.endswith(".lock"))


def test_it_is_filled_once(tmp_path: Path) -> None:
    once.folder(tmp_path / "made", filled)

    def again(_: Path, __: int) -> None:
        raise AssertionError("filled a second time")

    assert names(once.folder(tmp_path / "made", again)) == ["whole"]


def test_a_failed_maker_leaves_nothing(tmp_path: Path) -> None:
    def failing(folder: Path, _: int) -> None:
        filled(folder, _)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        once.folder(tmp_path / "made", failing)
    assert names(tmp_path) == []


def test_a_killed_maker_leaves_nothing_that_counts(tmp_path: Path) -> None:
    killed = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path / "made")], cwd=folders.ROOT)
    assert killed.returncode == -9
    assert not (tmp_path / "made").exists()
    once.folder(tmp_path / "made", filled)
    assert names(tmp_path) == ["made"]
    assert names(tmp_path / "made") == ["whole"]


def test_the_child_of_a_killed_maker_is_waited_for(tmp_path: Path) -> None:
    target = tmp_path / "made"
    with subprocess.Popen(
        [sys.executable, "-c", ORPHANED, str(target)], cwd=folders.ROOT, stdin=subprocess.PIPE, text=True
    ) as killed:
        assert killed.wait(30) == -9
        maker = threading.Thread(target=once.folder, args=(target, filled))
        maker.start()
        maker.join(0.3)
        assert maker.is_alive()
        killed.communicate("now\n")
        maker.join(30)
    assert names(target) == ["whole"]


def test_two_makers_fill_it_once(tmp_path: Path) -> None:
    calls, go_on = [], threading.Event()

    def slow(folder: Path, _: int) -> None:
        calls.append(folder)
        go_on.wait(30)

    makers = [threading.Thread(target=once.folder, args=(tmp_path / "made", slow)) for _ in range(2)]
    for maker in makers:
        maker.start()
    waiting.until(lambda: calls)
    go_on.set()
    for maker in makers:
        maker.join(30)
    assert len(calls) == 1
