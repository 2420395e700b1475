"""Concurrent single events share a commit: whoever comes first leads, whoever comes meanwhile goes along with the next one.

No thread of its own and no timer: a lone event is committed at once, and under load the group grows by itself with the time a
commit takes.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence

from sluice.events import Row
from sluice.outcomes import Outcome

Insert = Callable[[Sequence[Row]], list[Outcome]]


class Ride:
    """One caller's rows on their way. The lock is held until the caller has something to do."""

    __slots__ = ("error", "found", "rows", "wake")

    def __init__(self, rows: Sequence[Row]) -> None:
        self.rows = rows
        self.found: list[Outcome] | None = None
        self.error: BaseException | None = None
        self.wake = threading.Lock()
        self.wake.acquire()

    @property
    def done(self) -> bool:
        return self.found is not None or self.error is not None

    def result(self) -> list[Outcome]:
        if self.error is not None:
            raise self.error
        return self.found or []


class Committer:
    """Groups the rows of concurrent callers into one call of `insert`, at most `max_rows` rows each."""

    def __init__(self, insert: Insert, max_rows: int = 1_000) -> None:
        self._insert = insert
        self._max_rows = max_rows
        self._lock = threading.Lock()
        self._waiting: deque[Ride] = deque()
        self._led = False

    def submit(self, rows: Sequence[Row]) -> list[Outcome]:
        """Return the outcomes of `rows` after their commit; raises what `insert` raised for the group."""
        ride = Ride(rows)
        with self._lock:
            self._waiting.append(ride)
            leads = not self._led
            self._led = True
        if not leads:
            ride.wake.acquire()
        if not ride.done:
            self._lead()
        return ride.result()

    def _lead(self) -> None:
        group = self._take()
        try:
            self._commit(group)
        finally:
            self._hand_over()

    def _take(self) -> list[Ride]:
        """The leader's own ride, which is the oldest, and as many behind it as fit."""
        group: list[Ride] = []
        rows = 0
        with self._lock:
            while self._waiting and (not group or rows + len(self._waiting[0].rows) <= self._max_rows):
                group.append(self._waiting.popleft())
                rows += len(group[-1].rows)
        return group

    def _commit(self, group: list[Ride]) -> None:
        try:
            found = self._insert([row for ride in group for row in ride.rows])
        except BaseException as error:
            for ride in group:
                ride.error = error
        else:
            start = 0
            for ride in group:
                ride.found = found[start : start + len(ride.rows)]
                start += len(ride.rows)
        for ride in group[1:]:
            ride.wake.release()

    def _hand_over(self) -> None:
        """Wake the oldest that waits to lead; it finds itself not done."""
        with self._lock:
            if self._waiting:
                self._waiting[0].wake.release()
            else:
                self._led = False
