"""A thread that takes whatever waits, so that what is handed over one by one is worked on together."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

import structlog

log = structlog.get_logger()
T = TypeVar("T")


class BatchThread(Generic[T]):
    """Calls `work` with up to `size` items, in the order in which they came. `work` must not raise."""

    def __init__(self, name: str, work: Callable[[Sequence[T]], object], size: int = 1_000) -> None:
        self._work = work
        self._size = size
        self._queue: queue.SimpleQueue[T] = queue.SimpleQueue()
        threading.Thread(target=self._run, name=name, daemon=True).start()

    def put(self, item: T) -> None:
        """Never waits."""
        self._queue.put(item)

    def waiting(self) -> int:
        return self._queue.qsize()

    def _run(self) -> None:
        while True:
            batch = [self._queue.get()]
            try:
                while len(batch) < self._size:
                    batch.append(self._queue.get_nowait())
            except queue.Empty:
                pass
            try:
                self._work(batch)
            except Exception:
                log.exception("batch_thread.failed", thread=threading.current_thread().name)
