"""Concurrent single events share a commit: the first caller leads, those that come meanwhile share the next commit.

No thread of its own and no timer: a lone event is committed at once, and under load the group grows by itself with the time a
commit takes.
"""

from __future__ import annotations

import copy
import threading
from collections import deque
from collections.abc import Callable, Sequence
from datetime import datetime

from sluice.events import Record
from sluice.outcomes import Outcome

Insert = Callable[[Sequence[Record], datetime], list[Outcome]]


class Pending:
    """One caller's records on their way. The lock is held until the caller has something to do."""

    __slots__ = ("at", "error", "outcomes", "records", "wake")

    def __init__(self, records: Sequence[Record], at: datetime) -> None:
        self.records = records
        self.at = at
        self.outcomes: list[Outcome] | None = None
        self.error: BaseException | None = None
        self.wake = threading.Lock()
        self.wake.acquire()


class GroupCommit:
    """Groups the records of concurrent callers into one call of `insert`, at most `max_records` each."""

    def __init__(self, insert: Insert, max_records: int = 1_000) -> None:
        self._insert = insert
        self._max_records = max_records
        self._lock = threading.Lock()
        self._waiting: deque[Pending] = deque()
        self._led = False

    def submit(self, records: Sequence[Record], at: datetime) -> list[Outcome]:
        """Return the outcomes of `records` after their commit; raises what `insert` raised for the group.

        `at`: time of receipt; a group is stored with the latest of its members.
        """
        pending = Pending(records, at)
        with self._lock:
            self._waiting.append(pending)
            leads = not self._led
            self._led = True
        if not leads:
            pending.wake.acquire()
        if pending.outcomes is None and pending.error is None:
            try:
                self._commit(self._take())
            finally:
                # The oldest that waits leads next.
                with self._lock:
                    self._led = bool(self._waiting)
                    if self._led:
                        self._waiting[0].wake.release()
        if pending.error is not None:
            # A copy: raised in several threads, one object would collect the traceback and context of each.
            raise copy.copy(pending.error) from pending.error
        return pending.outcomes or []

    def _take(self) -> list[Pending]:
        """The leader's own, which is the oldest, and as many behind it as fit."""
        group: list[Pending] = []
        size = 0
        with self._lock:
            while self._waiting and (not group or size + len(self._waiting[0].records) <= self._max_records):
                group.append(self._waiting.popleft())
                size += len(group[-1].records)
        return group

    def _commit(self, group: list[Pending]) -> None:
        try:
            records = [record for pending in group for record in pending.records]
            outcomes = self._insert(records, max(pending.at for pending in group))
        except BaseException as error:
            for pending in group:
                pending.error = error
        else:
            start = 0
            for pending in group:
                pending.outcomes = outcomes[start : start + len(pending.records)]
                start += len(pending.records)
        for pending in group[1:]:
            pending.wake.release()
