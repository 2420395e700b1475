"""How many bytes of request bodies one worker holds at a time."""

from __future__ import annotations

import threading
from types import TracebackType

from sluice import errors


class Inflight:
    """A budget of `limit` bytes for all requests of this process together."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.used = 0
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
            self.used += size

    def give(self, size: int) -> None:
        with self._lock:
            self.used -= size

    def share(self) -> Share:
        """What one request holds; given back when the block ends."""
        return Share(self)


class Share:
    """One request's part of the budget: grows by `take`, and is given back as a whole."""

    def __init__(self, inflight: Inflight) -> None:
        self._inflight = inflight
        self.held = 0

    def take(self, size: int) -> None:
        self._inflight.take(size)
        self.held += size

    def __enter__(self) -> Share:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._inflight.give(self.held)
        self.held = 0
