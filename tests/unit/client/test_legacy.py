"""What release 0.1 imported is not stored a second time. The rules of its ids and events are written out here once more."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from tests.unit.client.keeper import Keeper, Run, counts

NAMESPACE = uuid.UUID("5f0c2a3e-7d84-4b1a-9c56-2e8f1d6b4a90")
# A log, and the timestamps that 0.1 found in its lines.
LOGS: dict[str, list[tuple[str, str | None]]] = {
    "iso": [("2025-06-24 14:36:25 one", "2025-06-24T14:36:25Z"), ("2025-06-24 14:36:26 two", "2025-06-24T14:36:26Z")],
    "access": [('10.0.0.1 - - [28/Nov/2026:10:00:00 +0000] "GET /"', None)] * 3,
    "syslog": [("Nov 28 10:00:00 host app[1]: x", None), ("Nov 28 10:00:01 host app[1]: y", None)],
    "cri": [("2026-11-28T10:00:00.1Z stderr F text", "2026-11-28T10:00:00.100000Z")],
    "traceback": [("Traceback (most recent call last):", None), ('  File "x.py", line 1, in f', None), ("KeyError: 1", None)],
    "logfmt": [('time="2026-11-28T10:00:00Z" msg=x', None)],
}
RECORDS: dict[str, tuple[dict[str, Any], str | None]] = {
    "journal": ({"MESSAGE": "x", "__REALTIME_TIMESTAMP": "1700000000000000"}, None),
    "docker": ({"log": "x\n", "stream": "stdout", "time": "2026-11-28T10:00:00Z"}, "2026-11-28T10:00:00Z"),
    "milliseconds": ({"time": 1700000000123, "msg": "x"}, None),
    "exception": (
        {"timestamp": "2026-11-28T10:00:00Z", "exc_info": "Traceback (most recent call last):\n  x\nE: 1"},
        "2026-11-28T10:00:00Z",
    ),
}  # fmt: skip


def kept(keeper: Keeper, source: str, name: str, properties: dict[str, Any], timestamp: str | None, seen: Counter[str]) -> None:
    """What 0.1 sent of a line or record, in the service."""
    event = {"event_type": "log", "event_name": name, "source": source, "properties": properties}
    event |= {"timestamp": timestamp} if timestamp else {}
    digest = hashlib.sha256(json.dumps(event, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
    seen[digest] += 1
    event_id = str(uuid.uuid5(NAMESPACE, f"{digest}:{seen[digest]}:{source}"))
    keeper.events[event_id] = event | {"event_id": event_id}


def imported_by_0_1(keeper: Keeper, kind: str, source: str = "app.log") -> str:
    """The text of a log whose events are in the service."""
    seen: Counter[str] = Counter()
    if kind in RECORDS:
        record, timestamp = RECORDS[kind]
        kept(keeper, source, "log_record", record, timestamp, seen)
        return json.dumps(record) + "\n"
    for line, timestamp in LOGS[kind]:
        kept(keeper, source, "log_line", {"line": line}, timestamp, seen)
    return "".join(f"{line}\n" for line, _ in LOGS[kind])


@pytest.mark.parametrize("kind", [*LOGS, *RECORDS])
def test_a_file_that_0_1_imported_is_all_duplicates_and_goes_on(run: Run, keeper: Keeper, tmp_path: Path, kind: str) -> None:
    log = tmp_path / "app.log"
    log.write_text(imported_by_0_1(keeper, kind))
    before = len(keeper.events)
    assert counts(run(log))[:3] == [0, before, 0]
    log.write_text(log.read_text() + log.read_text())
    assert counts(run(log.rename(tmp_path / "app.log.1")))[:3] == [before, before, 0]


def test_a_rotated_file_that_0_1_imported_under_that_name_is_found(run: Run, keeper: Keeper, tmp_path: Path) -> None:
    (tmp_path / "app.log.1").write_text(imported_by_0_1(keeper, "iso", "app.log.1"))
    assert counts(run(tmp_path / "app.log.1"))[:2] == [0, 2]


def test_of_two_files_that_0_1_took_for_one_the_second_is_stored_now(run: Run, keeper: Keeper, tmp_path: Path) -> None:
    text = imported_by_0_1(keeper, "iso", "0.log")
    for pod in ("podA", "podB"):
        (tmp_path / pod).mkdir()
        (tmp_path / pod / "0.log").write_text(text)
    assert counts(run(tmp_path / "podA" / "0.log", tmp_path / "podB" / "0.log"))[:2] == [2, 2]


def test_what_was_named_by_a_source_or_piped_has_the_same_ids_as_ever(run: Run, keeper: Keeper, tmp_path: Path) -> None:
    (tmp_path / "x").write_text(imported_by_0_1(keeper, "iso", "web"))
    assert counts(run(tmp_path / "x", "--source", "web"))[:2] == [0, 2]
    assert counts(run("-", stdin=imported_by_0_1(keeper, "iso", "stdin").encode()))[:2] == [0, 2]


def test_a_key_that_may_not_read_cannot_tell(run: Run, keeper: Keeper, tmp_path: Path) -> None:
    (tmp_path / "app.log").write_text(imported_by_0_1(keeper, "iso"))
    keeper.reading = 403
    assert counts(run(tmp_path / "app.log"))[:2] == [2, 0]


@pytest.mark.parametrize("status", [302, 500, 503])
def test_a_service_that_is_away_or_behind_a_sign_in_is_not_taken_for_one_without_the_file(
    run: Run, keeper: Keeper, tmp_path: Path, status: int
) -> None:
    (tmp_path / "app.log").write_text(imported_by_0_1(keeper, "iso"))
    keeper.reading = status
    result = run(tmp_path / "app.log", "--retry-for", "0")
    assert (result.exit_code, f"answers {status}" in result.stderr, len(keeper.events)) == (1, True, 2)
