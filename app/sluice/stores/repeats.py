"""Which faults of a store were logged lately."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable


class Repeats:
    """Logs a fault that lasts only now and then: a store that waits for its schema asks twice a second."""

    def __init__(self, pause: float = 10.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._pause, self._clock = pause, clock
        self._logged: dict[str, float] = {}
        self._lock = threading.Lock()

    def news(self, what: str) -> bool:
        """Whether `what`, one of a closed list of words, was not logged in the last `pause` seconds."""
        now = self._clock()
        with self._lock:
            if now - self._logged.get(what, -self._pause) < self._pause:
                return False
            self._logged[what] = now
            return True
