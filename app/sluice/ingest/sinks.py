"""Where valid records go: straight to the store here, to a broker in queue mode (sluice.queue.sink)."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Protocol

from sluice import errors
from sluice.events import Record
from sluice.ingest.group_commit import GroupCommit
from sluice.ingest.write_state import WriteState
from sluice.metrics import Metrics
from sluice.outcomes import Outcome
from sluice.stores import Capability, Claim, Kept, Store

# Up to this many records share a commit with other requests; more are worth one of their own.
SHARED_RECORDS = 100


class Sink(Protocol):
    """Takes records and returns what became of each, in order. Raises errors.StoreUnavailable when it can take none now.

    `capabilities`: those of the store that hold for what goes this way; the caller looks at them first.
    """

    @property
    def capabilities(self) -> frozenset[Capability]: ...

    def accept(self, records: Sequence[Record], at: datetime) -> list[Outcome]:
        """Each record for itself. `at`: time of receipt."""

    def accept_all(self, records: Sequence[Record], at: datetime) -> list[Outcome]:
        """All of them, or none when any is a conflict."""

    def accept_once(
        self, claim: Claim, records: Sequence[Record], found: Sequence[Outcome | None], at: datetime, *, atomic: bool
    ) -> Kept:
        """As `accept` (or `accept_all`), with the outcomes kept for `claim`. `found`: see stores.IdempotencyStore."""


class DirectSink:
    """Commits before it returns; few records share a commit with those of other requests."""

    def __init__(self, store: Store, metrics: Metrics, writes: WriteState) -> None:
        self._store = store
        self._metrics = metrics
        self._writes = writes
        self.group_commit = GroupCommit(self.insert)

    @property
    def capabilities(self) -> frozenset[Capability]:
        return self._store.capabilities

    def accept(self, records: Sequence[Record], at: datetime) -> list[Outcome]:
        return (self.group_commit.submit if len(records) <= SHARED_RECORDS else self.insert)(records, at)

    def accept_all(self, records: Sequence[Record], at: datetime) -> list[Outcome]:
        with self._measured(records):
            return self._store.insert_all(records, at)

    def accept_once(
        self, claim: Claim, records: Sequence[Record], found: Sequence[Outcome | None], at: datetime, *, atomic: bool
    ) -> Kept:
        with self._measured(records):
            return self._store.insert_once(claim, records, found, at, atomic=atomic)

    def insert(self, records: Sequence[Record], at: datetime) -> list[Outcome]:
        """One commit, measured."""
        with self._measured(records):
            return self._store.insert(records, at)

    @contextlib.contextmanager
    def _measured(self, records: Sequence[Record]) -> Iterator[None]:
        self._metrics.batch_events.observe(len(records))
        try:
            with self._metrics.commit_seconds.time():
                yield
        except errors.StoreUnavailable as error:
            self._writes.failed(error.reason)
            raise
        self._writes.succeeded()
