"""The shared: flags that cost nothing to read, and the reports of workers."""

from __future__ import annotations

import os
import subprocess
import timeit
from datetime import UTC, datetime
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from sluice import values
from sluice.keyring import Keyring, KeyUse
from sluice.server import worker_state
from sluice.server.worker_state import Heartbeat, SharedState, WorkerReport

NOBODY = 2**22 + 1  # above the highest pid that Linux gives


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    return tmp_path / "run"


def report(pid: int, beat: float = 0.0, last_used: dict[str, str] | None = None) -> WorkerReport:
    return WorkerReport(pid, beat, loaded=True, last_used=last_used or {})


def no_keys() -> Keyring:
    return Keyring(("a-plain-key-for-tests",), None, lambda: datetime.now(UTC))


def test_a_new_board_is_starting_and_not_draining(run_dir: Path) -> None:
    fresh = SharedState(run_dir)
    assert (fresh.draining, fresh.ready, fresh.reason) == (False, False, "starting")


@pytest.mark.parametrize("reason", worker_state.REASONS)
def test_what_one_process_reports_another_reads(run_dir: Path, reason: worker_state.Reason) -> None:
    mine, other = SharedState(run_dir), SharedState(run_dir)
    mine.set_reason(reason)
    assert (other.reason, other.ready) == (reason, reason == "ready")


def test_a_drain_is_for_good(run_dir: Path) -> None:
    mine, other = SharedState(run_dir), SharedState(run_dir)
    mine.drain()
    mine.set_reason("ready")
    assert (other.draining, other.ready, other.reason) == (True, False, "draining")


def test_another_board_in_the_same_folder_resets_nothing(run_dir: Path) -> None:
    SharedState(run_dir).drain()
    assert SharedState(run_dir).draining


def test_reading_a_flag_takes_less_than_a_microsecond(run_dir: Path) -> None:
    mine = SharedState(run_dir)
    assert min(timeit.repeat(lambda: mine.draining, number=10_000, repeat=20)) < 0.01


def test_a_reason_that_is_not_ours_becomes_database_unreachable() -> None:
    assert (worker_state.known("schema_behind"), worker_state.known("a text of the driver")) == (
        "schema_behind",
        "database_unreachable",
    )


def test_the_newest_report_of_each_worker_is_read(run_dir: Path) -> None:
    mine = SharedState(run_dir, exists=lambda _: True)
    for one in (report(1, 1.0), report(2, 1.0), report(1, 2.0)):
        mine.report(one)
    assert mine.reports() == [report(1, 2.0), report(2, 1.0)]


def test_only_a_heart_that_beat_lately_is_live() -> None:
    reports = [report(1, 10.0), report(2, 14.9), report(3, 15.0)]
    assert [found.pid for found in worker_state.live(reports, 20.0, 5.0)] == [3]


def test_a_dead_worker_leaves_its_uses_behind_and_nothing_else(run_dir: Path) -> None:
    mine, parents = SharedState(run_dir), SharedState(run_dir)
    mine.report(report(os.getpid(), 0.0, {"a/1": "2026-01-01T00:00:00Z", "b/1": "2026-01-03T00:00:00Z"}))
    mine.report(report(NOBODY, 0.0, {"a/1": "2026-01-02T00:00:00Z", "b/1": "2026-01-01T00:00:00Z"}))
    reports = parents.reports()
    assert [found.pid for found in reports] == [os.getpid()]
    assert parents.last_used(reports) == {"a/1": "2026-01-02T00:00:00Z", "b/1": "2026-01-03T00:00:00Z"}
    assert sorted(path.name for path in (run_dir / "workers").iterdir()) == [f"{os.getpid()}.json", "gone"]
    assert mine.key_use().last_used == parents.last_used(reports)


def test_of_versions_that_were_rotated_away_no_more_are_remembered_than_a_key_set_holds(
    run_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_state, "MOST_USES", 3)
    mine, parents = SharedState(run_dir), SharedState(run_dir)
    for version in range(1, 9):
        mine.report(report(NOBODY, 0.0, {f"a/{version}": f"2026-01-0{version}T00:00:00Z"}))
        assert parents.reports() == []
    assert set(parents.last_used([])) == set(mine.key_use().last_used) == {"a/6", "a/7", "a/8"}


def test_any_process_reads_the_use_of_keys_and_removes_nothing(run_dir: Path) -> None:
    mine, other = SharedState(run_dir), SharedState(run_dir)
    assert mine.key_use() == KeyUse()
    mine.report(report(NOBODY, 0.0, {"a/1": "2026-01-02T00:00:00Z"}))
    assert other.key_use() == other.key_use() == KeyUse({"a/1": "2026-01-02T00:00:00Z"})


def test_a_process_exists_until_it_was_fetched() -> None:
    child = subprocess.Popen(["sleep", "60"])
    assert values.exists(child.pid)
    child.kill()
    child.wait()
    assert not values.exists(child.pid)


def test_a_heart_reports_before_its_worker_answers_anyone(run_dir: Path) -> None:
    heart = Heartbeat(SharedState(run_dir), no_keys())
    heart.start()
    heart.stop()
    (told,) = SharedState(run_dir).reports()
    assert (told.pid, told.loaded, told.revision, told.entries) == (os.getpid(), True, None, 1)


def test_a_heart_beats_on_when_a_poll_fails(run_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = no_keys()
    monkeypatch.setattr(keys, "poll", lambda: 1 / 0)
    with capture_logs() as lines:
        Heartbeat(SharedState(run_dir), keys).beat()
    assert len(SharedState(run_dir).reports()) == 1
    assert [line["event"] for line in lines] == ["heart.failed"]
