"""Removes what is older than it may be, in small steps while events go on coming."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import datetime, timedelta

import structlog

from sluice import errors
from sluice.settings import Settings
from sluice.stores import CLAIM_AGE, RETENTION_GRACE, Retention

log = structlog.get_logger()
# Rows of one step: a commit of some tens of milliseconds, behind which an insert may wait.
STEP = 1_000
ROUND = 60.0


def of_error_groups(settings: Settings) -> timedelta | None:
    """How long after its newest event an error group is kept; None: for ever.

    Never less than its events: a group that went before them would come back with a count of a part of them.
    """
    if settings.retention_days is None:
        return None
    return timedelta(days=max(settings.retention_days, settings.error_group_retention_days)) + RETENTION_GRACE


class Sweeper:
    """Call `run` in a thread. Every pod has one; the store lets one of them work at a time."""

    def __init__(self, store: Retention, retention_days: int | None, clock: Callable[[], datetime]) -> None:
        self._store = store
        self._retention = None if retention_days is None else timedelta(days=retention_days)
        self._clock = clock

    def run(self, stop: threading.Event) -> None:
        """Sweep every minute until `stop`."""
        while not stop.wait(ROUND):
            try:
                removed = self.sweep(stop)
            except errors.StoreUnavailable as error:
                log.info("retention.waits", reason=error.reason)
            else:
                if removed:
                    log.info("retention.removed", events=removed)

    def sweep(self, stop: threading.Event) -> int:
        """Remove all that is due, step by step, until a step finds no more; how many events went.

        Between two steps it waits as long as the first one took, so that the store keeps half of that time for events.
        """
        total = 0
        while True:
            began = time.monotonic()
            now = self._clock()
            oldest = (
                datetime.min.replace(tzinfo=now.tzinfo) if self._retention is None else now - self._retention - RETENTION_GRACE
            )
            removed, claims = self._store.purge(oldest, now - CLAIM_AGE, STEP)
            total += removed
            if max(removed, claims) < STEP or stop.wait(time.monotonic() - began):
                return total
