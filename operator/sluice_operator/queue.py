"""The KeySets that should be looked at, each by one worker at a time, and when.

A due time for each is all there is: a deadline, a delay after a failure and an event are all the same, and the earliest counts.
There are a few KeySets in a cluster, so the earliest is found by looking at all of them.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Callable, Coroutine

import structlog
from msgspec import Struct

from sluice_operator import telemetry

FIRST_DELAY, LONGEST_DELAY = 0.2, 30.0
# After an errand that failed.
ERRAND_SECONDS = 5.0

log = structlog.get_logger()


class Key(Struct, frozen=True, order=True):
    """One KeySet."""

    namespace: str
    keyset: str


class Queue:
    """`take` one, work on it, then `done`. What is added meanwhile comes up again after that."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._due: dict[Key, float] = {}
        self._active: set[Key] = set()
        self._failures: dict[Key, int] = {}
        self._changed = asyncio.Event()

    def add(self, key: Key, delay: float = 0.0) -> None:
        """Due in `delay` seconds, or earlier when it is due earlier already."""
        due = self._monotonic() + delay
        if due < self._due.get(key, float("inf")):
            self._due[key] = due
            self._changed.set()

    async def take(self) -> Key:
        """The next that is due and that nobody works on."""
        while True:
            now = self._monotonic()
            waiting = [(due, key) for key, due in self._due.items() if key not in self._active]
            telemetry.QUEUE_DEPTH.set(sum(due <= now for due, _ in waiting))
            if waiting and min(waiting)[0] <= now:
                _, key = min(waiting)
                del self._due[key]
                self._active.add(key)
                return key
            self._changed.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), min(waiting)[0] - now if waiting else None)

    def done(self, key: Key) -> None:
        self._active.discard(key)
        self._changed.set()

    def succeeded(self, key: Key) -> None:
        self._failures.pop(key, None)

    def failed(self, key: Key) -> float:
        """Add it again, later with each failure in a row, never twice at the same distance; the delay in seconds."""
        failures = self._failures[key] = self._failures.get(key, 0) + 1
        longest: float = min(LONGEST_DELAY, FIRST_DELAY * 2 ** min(failures - 1, 10))
        delay = longest * random.uniform(0.5, 1)  # noqa: S311 - jitter
        self.add(key, delay)
        return delay

    def is_due(self, key: Key) -> bool:
        return self._due.get(key, float("inf")) <= self._monotonic()


class Errands:
    """What takes its time: questions to Pods, and what may fail without holding a key up. No worker waits for one.

    Of one name each KeySet has one at a time. It ends with the seconds after which its KeySet is due; None: it changed nothing.
    """

    def __init__(self, queue: Queue) -> None:
        self._queue = queue
        self._running: dict[tuple[Key, str], asyncio.Task[None]] = {}

    def start(self, key: Key, name: str, work: Callable[[], Coroutine[None, None, float | None]]) -> None:
        if (key, name) not in self._running:
            self._running[key, name] = asyncio.create_task(self._run(key, name, work), name=name)

    async def _run(self, key: Key, name: str, work: Callable[[], Coroutine[None, None, float | None]]) -> None:
        try:
            # Made here and not before: one that is stopped before it began would be left without an await.
            due = await work()
        except Exception as error:  # logged; what it was for is tried again
            log.warning(
                "errand failed", namespace=key.namespace, keyset=key.keyset, errand=name, told=str(error) or type(error).__name__
            )
            due = ERRAND_SECONDS
        finally:
            del self._running[key, name]
        if due is not None:
            self._queue.add(key, due)

    def stop(self) -> None:
        for task in self._running.values():
            task.cancel()
