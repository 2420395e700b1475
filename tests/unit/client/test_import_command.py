"""`sluice import` as people run it, against a service that keeps events by their id."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.unit.client.keeper import Keeper, Run, counts
from tests.unit.client.script import SECRET

from sluice.client import framing
from sluice.commands.progress import Meter


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "app.log"
    path.write_text("".join(f"2025-01-01 00:00:{number % 60:02} line {number % 900}\n" for number in range(2000)))
    return path


def test_stdin_is_read_with_its_source(run: Run, keeper: Keeper) -> None:
    assert counts(run("-", "--source", "journal", stdin=b'{"MESSAGE":"up"}\n'))[0] == 1
    assert [event["source"] for event in keeper.events.values()] == ["journal"]


def test_what_was_not_stored_is_written_with_its_reason_and_the_exit_code_is_1(run: Run, keeper: Keeper, tmp_path: Path) -> None:
    keeper.refuse = {"old"}
    (tmp_path / "x").write_bytes(b"new\nold\n" + b"x" * (framing.MAX_RAW_BYTES + 1) + b"\n")
    result = run(tmp_path / "x", "--errors", tmp_path / "refused")
    told = [json.loads(line) for line in (tmp_path / "refused").read_bytes().splitlines()]
    assert (counts(result), result.exit_code) == ([1, 0, 0, 2, 0], 1)
    assert sorted((each["number"], each["reason"]) for each in told) == [(2, "too_old"), (3, "too_large")]
    assert next(each for each in told if each["number"] == 2)["event"]["properties"] == {"line": "old"}


def test_what_a_queue_took_is_counted_as_queued(run: Run, keeper: Keeper, log: Path) -> None:
    keeper.new = "queued"
    result = run(log)
    assert (counts(result), result.exit_code) == ([0, 0, 0, 0, 0, 2000], 0)
    assert "app.log: read as lines, 0 created, 0 duplicate, 2,000 queued" in result.output


def test_without_an_errors_file_the_first_refusals_are_shown_with_escapes(run: Run) -> None:
    result = run("-", "--format", "ndjson", stdin=b'{"a":1}\n' + b"\x1b[2J\n" * 9)
    assert result.stderr.count("invalid_json") == 5
    assert "use --errors FILE" in result.stderr
    assert "\x1b" not in result.output
    assert (counts(result), result.exit_code) == ([1, 0, 0, 9, 0], 1)


def test_a_service_that_breaks_off_is_reported_with_the_way_to_go_on(run: Run, keeper: Keeper, log: Path) -> None:
    keeper.broken = True
    result = run(log)
    assert result.exit_code == 1
    assert "answers 400" in result.stderr
    assert "Run the same command again" in result.stderr


def test_a_slash_at_the_end_of_the_address_makes_no_other_service(run: Run, keeper: Keeper, log: Path) -> None:
    lines = len(log.read_text().splitlines())
    assert counts(run(log))[0] == lines
    moved = run(log.rename(log.with_name("other")), "--url", f"http://127.0.0.1:{keeper.server_port}/")
    assert (counts(moved)[:2], len(keeper.events)) == ([0, lines], lines)


def test_what_is_no_file_keeps_no_other_from_being_read(run: Run, keeper: Keeper, log: Path) -> None:
    folder, gone = log.with_name("folder"), log.with_name("gone.log")
    folder.mkdir()
    result = run(folder, gone, log)
    assert (result.exit_code, len(keeper.events), counts(result)[0]) == (1, len(log.read_text().splitlines()), len(keeper.events))
    assert [line.partition(":")[0] for line in result.stderr.splitlines()[-2:]] == [str(folder), str(gone)]
    assert (run(folder).exit_code, run(gone).exit_code, len(keeper.events)) == (2, 2, counts(result)[0])


def test_a_dry_run_prints_the_first_events_and_sends_none(run: Run, keeper: Keeper, log: Path) -> None:
    result = run(log, "--dry-run", "--first", "3")
    assert [json.loads(line)["properties"]["line"][-6:] for line in result.stdout.splitlines()] == ["line 0", "line 1", "line 2"]
    assert (keeper.events, result.exit_code) == ({}, 0)


def test_the_key_is_shown_nowhere_and_not_taken_as_an_argument(run: Run, log: Path) -> None:
    result = run(log, "--api-key", SECRET)
    assert (result.exit_code, "set SLUICE_API_KEY" in result.stderr) == (2, True)
    assert SECRET not in result.output + run(log).output + run("--help").output


@pytest.mark.parametrize("zone", ["Nowhere/Land", "../etc/passwd", "Europe", ""])
def test_an_unknown_zone_is_refused_with_an_example(run: Run, log: Path, zone: str) -> None:
    result = run(log, "--timezone", zone)
    assert (result.exit_code, "Europe/Berlin" in result.stderr) == (2, True)


def test_a_terminal_gets_a_bar_with_rate_and_share(run: Run, log: Path) -> None:
    result = run(log, TTY_COMPATIBLE="1", TERM="xterm", COLUMNS="120")
    assert "2,000 events" in result.stderr
    assert "100%" in result.stderr
    assert "━" in result.stderr


def test_elsewhere_progress_is_plain_lines_with_rate_and_time_left(capsys: pytest.CaptureFixture[str]) -> None:
    now = [0.0]
    with Meter(1000, lambda: 250, lambda: now[0]) as meter:
        now[0] = 4.0
        meter.show(100)
        now[0] = 10.0
        meter.show(500)
        now[0] = 20.0
        meter.show(500)
    assert capsys.readouterr().err.splitlines() == ["500 events, 50/s, 25%, 30 s left", "500 events, 25/s in 20.0 s"]


IMPORT = [sys.executable, "-c", "from sluice.cli import main; main()", "import"]


@pytest.fixture
def environment(keeper: Keeper, log: Path) -> dict[str, str]:
    env = {"SLUICE_URL": f"http://127.0.0.1:{keeper.server_port}", "SLUICE_API_KEY": SECRET, "PYTHONPATH": ":".join(sys.path)}
    return env | {"XDG_STATE_HOME": str(log.parent)}


@pytest.fixture
def hanging(keeper: Keeper, log: Path, environment: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    """An import whose service has not answered yet."""
    keeper.go_on.clear()
    with subprocess.Popen([*IMPORT, log], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert keeper.asked.wait(30)
        yield process
        keeper.go_on.set()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_with_the_answers_under_way_and_says_how_to_go_on(
    hanging: subprocess.Popen[str], keeper: Keeper, number: int
) -> None:
    hanging.send_signal(number)
    keeper.go_on.set()
    _, stderr = hanging.communicate(timeout=30)
    assert (hanging.returncode, "Run the same command again" in stderr, "Traceback" in stderr) == (130, True, False)


def test_a_second_signal_waits_for_no_answer(hanging: subprocess.Popen[str]) -> None:
    assert hanging.stderr is not None
    hanging.send_signal(signal.SIGINT)
    assert any("once more stops at once" in line for line in hanging.stderr)
    hanging.send_signal(signal.SIGINT)
    assert (hanging.wait(30), hanging.stderr.read()) == (130, "")


@pytest.mark.parametrize("options", [["--errors", "/dev/full"], [], ["--dry-run"]])
def test_a_full_disk_is_said_in_one_line(keeper: Keeper, log: Path, environment: dict[str, str], options: list[str]) -> None:
    keeper.refuse = {log.read_text().splitlines()[0]}
    with open("/dev/null" if "--errors" in options else "/dev/full", "wb") as stdout:
        done = subprocess.run([*IMPORT, log, *options], env=environment, stdout=stdout, stderr=subprocess.PIPE, check=False)
        stderr = done.stderr.decode()
    assert (done.returncode > 0, "No space left on device" in stderr, "Traceback" in stderr) == (True, True, False)
    assert "cannot be read" not in stderr


def test_a_closed_stdin_is_said_in_one_line(environment: dict[str, str]) -> None:
    command = ["sh", "-c", 'exec "$@" <&-', "sh", *IMPORT, "-"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, "-: cannot be read: " in done.stderr, "Traceback" in done.stderr) == (1, True, False)
