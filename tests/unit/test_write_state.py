"""What every worker knows of the last write of any of them."""

from __future__ import annotations

from pathlib import Path

from sluice.ingest import write_state
from sluice.ingest.write_state import WriteState
from sluice.server.worker_state import SharedState


def test_a_failure_is_known_to_other_processes_until_a_write_succeeds(tmp_path: Path) -> None:
    mine, other = SharedState(tmp_path).writes, SharedState(tmp_path).writes
    assert other.fault is None
    mine.failed("database_full")
    assert other.fault == "database_full"
    mine.failed("database_read_only")
    other.succeeded()
    assert mine.fault is None


def test_a_failure_changes_no_readiness(tmp_path: Path) -> None:
    shared = SharedState(tmp_path)
    shared.set_reason("ready")
    shared.writes.failed("database_full")
    assert (shared.ready, shared.draining) == (True, False)


def test_where_nobody_writes_any_more_a_failure_is_forgotten() -> None:
    now = 5.0
    writes = WriteState(bytearray(write_state.SIZE), lambda: now)
    writes.failed("database_full")
    now += write_state.FORGET_SECONDS
    assert writes.fault is None
