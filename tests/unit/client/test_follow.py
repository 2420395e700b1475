"""`sluice import --follow`: what is written arrives, through rotation and truncation, and once."""

from __future__ import annotations

import contextlib
import gzip
import itertools
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.integration.waiting import until
from tests.unit.client.keeper import Keeper, Run, counts
from tests.unit.client.script import SECRET

from sluice.client.follow import generations

Follow = Callable[[], "subprocess.Popen[str]"]


@pytest.fixture
def log(tmp_path: Path) -> Path:
    (tmp_path / "app.log").write_text("first\n")
    return tmp_path / "app.log"


@pytest.fixture
def follow(keeper: Keeper, log: Path, tmp_path: Path) -> Iterator[Follow]:
    """Starts the command and waits until it has sent the first line."""
    started: list[subprocess.Popen[str]] = []

    def follow() -> subprocess.Popen[str]:
        code = "from sluice.commands.import_ import import_file; import_file()"
        env = {
            "SLUICE_URL": f"http://127.0.0.1:{keeper.server_port}",
            "SLUICE_API_KEY": SECRET,
            "PYTHONPATH": ":".join(sys.path),
            "XDG_STATE_HOME": str(tmp_path / "state"),
        }
        command = [sys.executable, "-c", code, "--follow", str(log)]
        started.append(subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
        arrives(keeper, "first")
        return started[-1]

    yield follow
    for process in started:
        process.kill()
        process.communicate()


def lines(keeper: Keeper) -> list[str]:
    with keeper.lock:
        return [event["properties"].get("line", event["properties"].get("traceback")) for event in keeper.events.values()]


def arrives(keeper: Keeper, line: str) -> None:
    until(lambda: line in lines(keeper), seconds=60)


def is_open(path: Path) -> bool:
    """Whether a process has the file open."""
    there = path.stat()
    for descriptor in Path("/proc").glob("[0-9]*/fd/*"):
        with contextlib.suppress(OSError):
            if os.path.samestat(descriptor.stat(), there):
                return True
    return False


def append(path: Path, text: str) -> None:
    with path.open("a") as file:
        file.write(text)


def test_lines_arrive_as_they_are_written_and_halves_wait_for_their_ends(follow: Follow, keeper: Keeper, log: Path) -> None:
    follow()
    append(log, "second\nhal")
    arrives(keeper, "second")
    append(log, "f\n")
    arrives(keeper, "half")
    assert lines(keeper) == ["first", "second", "half"]


def test_a_rotated_file_is_read_to_its_end_and_then_the_new_one(follow: Follow, keeper: Keeper, log: Path, run: Run) -> None:
    follow()
    rotated = log.rename(log.with_name("app.log.1"))
    append(rotated, "late\n")
    append(log, "first\nnew\n")
    arrives(keeper, "new")
    assert sorted(lines(keeper)) == ["first", "first", "late", "new"]
    # A run over both files finds nothing that is not there.
    assert counts(run(log, rotated))[:2] == [0, 4]


def test_an_empty_file_may_be_rotated_before_its_first_line(follow: Follow, keeper: Keeper, log: Path, run: Run) -> None:
    follow()
    log.rename(log.with_name("app.log.2"))
    log.touch()
    # The second rotation comes when the empty file is read: no sooner than it is quiet for the first.
    other = log.with_name("seen")
    os.link(log, other)
    until(lambda: is_open(other), seconds=30)
    rotated = log.rename(log.with_name("app.log.1"))
    append(rotated, "late\n")
    arrives(keeper, "late")
    append(log, "new\n")
    arrives(keeper, "new")
    assert lines(keeper) == ["first", "late", "new"]
    assert counts(run(log, rotated))[:2] == [0, 2]


def test_files_that_are_rotated_away_while_the_one_before_is_waited_for_are_read_in_order(log: Path) -> None:
    looks = iter(range(30))

    def look(_seconds: float) -> None:
        if (number := next(looks)) < 5:
            log.rename(log.with_name(f"app.log.{9 - number}"))
            log.write_text(f"{number}\n")

    def waits(why: str, _seconds: float) -> None:
        pytest.fail(why)

    read = (line for generation in generations(log, look, waits) for line in generation.lines(look) if line)
    assert list(itertools.islice(read, 6)) == [b"first", b"0", b"1", b"2", b"3", b"4"]


@pytest.mark.parametrize("text", ["short\n", "longer than all that was there before\n"])
def test_a_truncated_file_is_read_from_its_beginning(follow: Follow, keeper: Keeper, log: Path, text: str) -> None:
    follow()
    append(log, "second\n")
    arrives(keeper, "second")
    log.write_text(text)
    arrives(keeper, text.strip())
    assert sorted(lines(keeper)) == sorted(["first", "second", text.strip()])


def test_what_was_copied_away_before_a_truncation_is_no_other_file(follow: Follow, keeper: Keeper, log: Path, run: Run) -> None:
    process = follow()
    append(log, "second\n")
    arrives(keeper, "second")
    copy = log.with_name("app.log.1")
    copy.write_bytes(log.read_bytes())
    log.write_text("new\n")
    arrives(keeper, "new")
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)
    assert counts(run(log, copy))[:2] == [0, 3]


def test_a_path_that_is_no_file_for_a_while_is_waited_for(follow: Follow, keeper: Keeper, log: Path) -> None:
    process = follow()
    log.unlink()
    log.mkdir()
    assert process.stderr is not None
    assert any("app.log cannot be read: Is a directory" in line for line in process.stderr)
    log.rmdir()
    append(log, "again\n")
    arrives(keeper, "again")


def test_a_mark_at_the_beginning_is_no_part_of_the_first_line(keeper: Keeper, log: Path, follow: Follow, run: Run) -> None:
    log.write_bytes(b"\xef\xbb\xbffirst\n")
    follow()
    assert counts(run(log))[:2] == [0, 1]


def test_a_restart_goes_on_where_it_was(follow: Follow, keeper: Keeper, log: Path) -> None:
    process = follow()
    process.send_signal(signal.SIGTERM)
    _, told = process.communicate(timeout=30)
    assert ("stopped." in told, "Traceback" in told, f"{log}: read as lines" in told) == (True, False, True)
    append(log, "while away\n")
    follow()
    arrives(keeper, "while away")
    assert lines(keeper) == ["first", "while away"]


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
def test_a_restart_knows_a_large_file_again(follow: Follow, keeper: Keeper, log: Path, end: signal.Signals) -> None:
    written = ["first", *(f"line {number:04}" for number in range(1000))]
    log.write_text("".join(f"{line}\n" for line in written))
    process = follow()
    arrives(keeper, written[-1])
    process.send_signal(end)
    process.communicate(timeout=30)
    append(log, "while away\n")
    follow()
    arrives(keeper, "while away")
    # Batches are sent at the same time.
    assert sorted(lines(keeper)) == sorted([*written, "while away"])


def test_a_traceback_is_one_event(follow: Follow, keeper: Keeper, log: Path) -> None:
    follow()
    trace = 'Traceback (most recent call last):\n  File "x.py", line 1, in f\nKeyError: 1'
    append(log, f"{trace}\n")
    arrives(keeper, trace)
    assert len(lines(keeper)) == 2


@pytest.mark.parametrize(
    "content",
    [gzip.compress(b"one\n"), "one\n".encode("utf-16"), b"\0" * 5000, b'[{"a": 1},\n', b"SQLite format 3\0"],
    ids=["gzip", "UTF-16", "binary", "array", "SQLite"],
)
def test_what_cannot_be_read_line_by_line_is_refused(run: Run, keeper: Keeper, log: Path, content: bytes) -> None:
    log.write_bytes(content)
    result = run("--follow", log)
    assert (result.exit_code, "can be followed" in result.stderr or "cannot be followed" in result.stderr) == (1, True)
    assert keeper.events == {}


def test_only_one_file_can_be_followed(run: Run, log: Path) -> None:
    os.mkfifo(log.parent / "pipe")
    for arguments in ([log, log.parent / "*"], ["-"], [log, "--dry-run"], [log.parent / "pipe"]):
        os.utime(log)
        append(log.parent / "other.log", "x\n")
        assert run("--follow", *arguments).exit_code == 2
