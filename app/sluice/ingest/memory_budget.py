"""How many bytes of request bodies one worker holds at a time."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

from sluice import errors


class Reservation:
    """One request's part of the budget."""

    def __init__(self, budget: MemoryBudget) -> None:
        self._budget = budget
        self.held = 0

    def take(self, size: int) -> None:
        """Hold `size` bytes more."""
        self._budget.take(size)
        self.held += size

    def hold(self, size: int) -> None:
        """Hold `size` bytes, whatever it was before."""
        if size > self.held:
            self.take(size - self.held)
        else:
            self._budget.give(self.held - size)
            self.held = size


class MemoryBudget:
    """A budget of `limit` bytes for all requests of this process together, or a part of the budget `whole` for some of them."""

    def __init__(self, limit: int, whole: MemoryBudget | None = None) -> None:
        self.limit = limit
        self.used = 0
        self._whole = whole
        self._lock = threading.Lock()

    def take(self, size: int) -> None:
        """Take `size` bytes; raises ServiceUnavailable when that is more than is left."""
        with self._lock:
            if self.used + size > self.limit:
                raise errors.ServiceUnavailable(
                    "this worker holds as many request bodies as it may; send it again shortly",
                    error="overloaded",
                    reason="inflight_bytes",
                    headers={"Retry-After": "1"},
                )
            if self._whole is not None:
                self._whole.take(size)
            self.used += size

    def give(self, size: int) -> None:
        with self._lock:
            self.used -= size
        if self._whole is not None:
            self._whole.give(size)

    @contextlib.contextmanager
    def reservation(self) -> Iterator[Reservation]:
        """What one request holds; given back as a whole when the block ends."""
        reservation = Reservation(self)
        try:
            yield reservation
        finally:
            self.give(reservation.held)
            reservation.held = 0
