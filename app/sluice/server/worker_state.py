"""How the processes of one `serve` meet: two flags that every request reads, and a report of each worker once a second.

The parent makes the folder (mode 0700) and hands its path down as SLUICE_RUN_DIR:

    state            mapped into every process: draining, why the service is not ready, and why the store takes no writes
    workers/PID.json the newest WorkerReport of that worker
    workers/gone     the KeyUse of workers that are no more
    last_good_keyset the key set document that a worker loaded last (sluice.keyring)
    metrics/         PROMETHEUS_MULTIPROC_DIR (sluice.metrics)
"""

from __future__ import annotations

import contextlib
import heapq
import mmap
import operator
import os
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Literal, get_args

import msgspec
import structlog

from sluice import keyring, values
from sluice.ingest import write_state
from sluice.ingest.write_state import WriteState
from sluice.keyring import KeyUse

log = structlog.get_logger()

Reason = Literal[
    "starting",
    "database_unreachable",
    "database_missing",
    "login_refused",
    "not_permitted",
    "password_file_missing",
    "tls_refused",
    "too_many_connections",
    "database_read_only",
    "schema_behind",
    "not_durable",
    "database_encoding",
    "database_too_old",
    "queue_unreachable",
    "queue_refused",
    "queue_not_durable",
    "keyset_missing",
    "workers_dead",
    "draining",
    "ready",
]
REASONS: tuple[Reason, ...] = get_args(Reason)
READY = REASONS.index("ready")
# Offsets in the state file. One byte each: written and read at once, so no lock.
DRAINING, REASON, WRITES = 0, 1, 2
SIZE = WRITES + write_state.SIZE
BEAT = 1.0
# Key versions whose use is remembered: some times what a key set holds. Those that are gone from it were used longest ago.
MOST_USES = 10_000


class WorkerReport(msgspec.Struct, frozen=True):
    """What a worker reports once a second. `beat`: time.monotonic(), the same clock in every process of a machine.

    `loaded`: every source of keys was read at least once. `last_used`, `last_refused`: RFC 3339 by `keyId/version`.
    """

    pid: int
    beat: float
    loaded: bool
    revision: str | None = None
    entries: int = 0
    loaded_at: str | None = None
    last_used: dict[str, str] = {}
    last_refused: dict[str, str] = {}


class SharedState:
    """`path`: the run dir; what is missing in it is made. `exists`: whether there is a process with that pid."""

    def __init__(self, path: Path, exists: Callable[[int], bool] = values.exists) -> None:
        self.path = path
        self._exists = exists
        self._reports = path / "workers"
        self._reports.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Shared by every process that maps it; made with zeros: not draining, starting.
        with (path / "state").open("ab") as file:
            file.truncate(SIZE)
        with (path / "state").open("r+b") as file:
            self._state = mmap.mmap(file.fileno(), SIZE)
        self.writes = WriteState(memoryview(self._state)[WRITES:])
        # Of workers that are gone. Only the parent asks for reports, by its monitor and by requests to the admin port.
        self._used: dict[str, str] = {}
        self._refused: dict[str, str] = {}
        self._lock = threading.Lock()

    @property
    def draining(self) -> bool:
        return self._state[DRAINING] != 0

    @property
    def ready(self) -> bool:
        return self._state[REASON] == READY and self._state[DRAINING] == 0

    @property
    def reason(self) -> Reason:
        return "draining" if self.draining else REASONS[self._state[REASON]]

    def drain(self) -> None:
        """From now on not ready, for good: whatever `set_reason` says later."""
        self._state[DRAINING] = 1

    def set_reason(self, reason: Reason) -> None:
        self._state[REASON] = REASONS.index(reason)

    def report(self, report: WorkerReport) -> None:
        """Replace this worker's report."""
        self._replace(f"{report.pid}.json", report)

    def _replace(self, name: str, content: msgspec.Struct) -> None:
        """In one step: a reader sees the old file or the new one."""
        new = (self._reports / name).with_suffix(".new")
        new.write_bytes(msgspec.json.encode(content))
        new.replace(self._reports / name)

    def key_use(self) -> KeyUse:
        """Of all workers of this pod, now and before: for any process."""
        found = []
        for path in (self._reports / "gone", *self._reports.glob("*.json")):
            with contextlib.suppress(FileNotFoundError):
                found.append(msgspec.json.decode(path.read_bytes(), type=KeyUse))
        return KeyUse(newest(use.last_used for use in found), newest(use.last_refused for use in found))

    def reports(self) -> list[WorkerReport]:
        """The newest report of each worker that is there, hung ones included: they may answer again. Only the parent asks."""
        living = []
        with self._lock:
            for path in sorted(self._reports.glob("*.json")):
                report = msgspec.json.decode(path.read_bytes(), type=WorkerReport)
                if self._exists(report.pid):
                    living.append(report)
                    continue
                self._used = newest([self._used, report.last_used])
                self._refused = newest([self._refused, report.last_refused])
                # Before the report goes, so that a reader finds one or the other.
                self._replace("gone", KeyUse(self._used, self._refused))
                for left in (path, path.with_suffix(".new")):
                    left.unlink(missing_ok=True)
        return living

    def last_used(self, reports: Iterable[WorkerReport]) -> dict[str, str]:
        """When each key version was last accepted: by workers that are gone, and by those of `reports`."""
        return newest([self._used, *(report.last_used for report in reports)])

    def last_refused(self, reports: Iterable[WorkerReport]) -> dict[str, str]:
        return newest([self._refused, *(report.last_refused for report in reports)])


def known(reason: str) -> Reason:
    """`reason` when it is one of ours, and database_unreachable for any other that a store may give."""
    return next((ours for ours in REASONS if ours == reason), "database_unreachable")


def live(reports: Iterable[WorkerReport], now: float, timeout: float) -> list[WorkerReport]:
    """The reports of workers whose heart beat in the last `timeout` seconds."""
    return [report for report in reports if now - report.beat <= timeout]


def newest(uses: Iterable[dict[str, str]]) -> dict[str, str]:
    """Of each name its latest time, of the MOST_USES used last; RFC 3339 in UTC to the second sorts as text."""
    merged: dict[str, str] = {}
    for use in uses:
        for name, at in use.items():
            merged[name] = max(at, merged.get(name, at))
    if len(merged) > MOST_USES:
        merged = dict(heapq.nlargest(MOST_USES, merged.items(), key=operator.itemgetter(1)))
    return merged


class Heartbeat:
    """A worker's thread that polls the key set and reports, once a second. Start it after the fork.

    `shared`: None under a gunicorn that no `serve` started, where nobody reads a report.
    """

    def __init__(self, shared: SharedState | None, keys: keyring.Keyring) -> None:
        self._shared = shared
        self._keys = keys
        self._stop = threading.Event()

    def start(self) -> None:
        """The first beat comes before this returns: no worker answers before it has reported what keys it knows."""
        self.beat()
        threading.Thread(target=self._run, name="heart", daemon=True).start()

    def stop(self) -> None:
        self._stop.set()

    def beat(self) -> None:
        """Nothing that goes wrong here ends the heart, and a key set that cannot be polled does not stop the report."""
        for duty in (self._keys.poll, self._report):
            try:
                duty()
            except Exception:
                log.exception("heart.failed", duty=duty.__name__)

    def _report(self) -> None:
        if self._shared is None:
            return
        keys, use = self._keys, self._keys.use()
        self._shared.report(
            WorkerReport(
                pid=os.getpid(),
                beat=time.monotonic(),
                loaded=keys.loaded,
                revision=keys.revision,
                entries=keys.entries,
                loaded_at=keyring.rfc3339(keys.loaded_at) if keys.loaded_at else None,
                last_used=use.last_used,
                last_refused=use.last_refused,
            )
        )

    def _run(self) -> None:
        while not self._stop.wait(BEAT):
            self.beat()
