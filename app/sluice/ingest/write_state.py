"""Whether the store takes writes, by the last one of any worker: reads may go on while the disk is full."""

from __future__ import annotations

import struct
import time
from collections.abc import Callable

# time.monotonic() of the last failure, and its reason in ASCII; a time of 0: the last write succeeded.
FAILURE = struct.Struct("<d40s")
SIZE = FAILURE.size
# Without another failure for so long nobody writes, and nobody knows.
FORGET_SECONDS = 60.0


class WriteState:
    """`memory`: SIZE bytes, which the workers of one `serve` share. No lock: the last word counts."""

    def __init__(self, memory: memoryview | bytearray, clock: Callable[[], float] = time.monotonic) -> None:
        self._memory = memory
        self._clock = clock

    def succeeded(self) -> None:
        if bytes(self._memory[:8]) != bytes(8):
            self._memory[:8] = bytes(8)

    def failed(self, reason: str) -> None:
        FAILURE.pack_into(self._memory, 0, self._clock(), reason.encode())

    @property
    def fault(self) -> str | None:
        """The reason of the last write when it failed, lately; else None."""
        at, reason = FAILURE.unpack_from(self._memory)
        return reason.rstrip(b"\0").decode() if at and self._clock() - at < FORGET_SECONDS else None
