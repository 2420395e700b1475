"""The faults of a store: as errors of ours, and in the log."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import structlog

from sluice import errors

log = structlog.get_logger()


class Repeats:
    """Logs a fault that lasts only now and then: a store that waits for its schema asks twice a second."""

    def __init__(self, pause: float = 10.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._pause, self._clock = pause, clock
        self._logged: dict[str, float] = {}
        self._lock = threading.Lock()

    def unavailable(self, cause: str, reason: str, **more: str | int | None) -> errors.StoreUnavailable:
        """The error with this reason, and a line about it. `cause`, `more`: what is known of it, each of a closed list."""
        if self.news(" ".join(map(str, (cause, *more.values())))):
            # Before the migration what is not there is no fault.
            write = log.info if reason == "schema_behind" else log.error
            write("store.error", cause=cause, reason=reason, **more)
        return errors.StoreUnavailable(reason)

    def news(self, what: str) -> bool:
        """Whether `what`, one of a closed list of words, was not logged in the last `pause` seconds."""
        now = self._clock()
        with self._lock:
            if now - self._logged.get(what, -self._pause) < self._pause:
                return False
            self._logged[what] = now
            return True
