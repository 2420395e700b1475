"""How many streams may hold a thread of one worker: NDJSON that comes in, exports that go out. Both last as long as the client
likes, and each holds a thread meanwhile."""

from __future__ import annotations

import errno
import threading
from collections import Counter
from collections.abc import Callable, Iterator

import structlog

from sluice import errors

log = structlog.get_logger()


class StreamSlots:
    """Half of the threads for all streams, a quarter for those of one key: the rest is for requests that end."""

    def __init__(self, threads: int) -> None:
        self._all = max(1, threads // 2)
        self._each = max(1, threads // 4)
        self._taken: Counter[str] = Counter()
        self._lock = threading.Lock()

    def take(self, key_id: str) -> Callable[[], None]:
        """What gives the slot back, which is to be called once; raises ServiceUnavailable when there is none."""
        with self._lock:
            if self._taken[key_id] >= self._each or self._taken.total() >= self._all:
                raise errors.ServiceUnavailable(
                    f"this worker serves {self._all} streams at a time, {self._each} of one key; try again, or send batches",
                    error="overloaded",
                    reason="streams",
                    headers={"Retry-After": "5"},
                )
            self._taken[key_id] += 1
        return lambda: self._give(key_id)

    def _give(self, key_id: str) -> None:
        with self._lock:
            self._taken[key_id] -= 1
            if not self._taken[key_id]:
                del self._taken[key_id]


class Chunks(Iterator[bytes]):
    """The chunks of a response body; `close`, which the server calls at its end, and whatever ends it, calls `done`.

    An error in the middle closes the connection: the status is sent, and only a body without its end says that this is not all.
    """

    def __init__(self, chunks: Iterator[bytes], done: Callable[[], None]) -> None:
        self._chunks = chunks
        self.close = done

    def __next__(self) -> bytes:
        try:
            return next(self._chunks)
        except (errors.ApiError, errors.StoreError) as error:
            log.info("response.cut_short", cause=type(error).__name__, reason=getattr(error, "reason", None))
            # As for a client that left: the server writes no traceback.
            raise BrokenPipeError(errno.EPIPE, "the response was cut short") from error
