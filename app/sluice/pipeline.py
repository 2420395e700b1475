"""From well-formed events to outcomes: defaults, rules, one commit, and the books that must balance."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime

from sluice import errors, outcomes
from sluice.committer import Committer
from sluice.events import Event, Invalid, Row, Rules, prepare
from sluice.intake.batches import Item
from sluice.metrics import Format, Metrics
from sluice.outcomes import Outcome
from sluice.stores import Answer, Claim, Store

# Up to this many rows share a commit with other requests; more are worth one of their own.
SHARED_ROWS = 100


def utc_now() -> datetime:
    return datetime.now(UTC)


class Pipeline:
    """One worker's way in. Thread-safe; `clock` gives the time of receipt (aware, UTC)."""

    def __init__(self, store: Store, rules: Rules, metrics: Metrics, clock: Callable[[], datetime] = utc_now) -> None:
        self.store = store
        self._rules = rules
        self._metrics = metrics
        self._clock = clock
        self._committer = Committer(self._insert)

    def one(self, event: Event, key_id: str, format: Format) -> Outcome:
        """Store one event; raises events.Invalid and errors.StoreUnavailable."""
        try:
            row = prepare(event, now=self._clock(), key_id=key_id, rules=self._rules)
        except Invalid:
            self._metrics.count(format, received=1, invalid=1)
            raise
        return self._booked([row], [], format, self._committer.submit)[0]

    def many(self, items: Sequence[Item], key_id: str, format: Format, *, atomic: bool = False) -> list[Outcome]:
        """Store what is valid; an outcome per item, in order. `atomic`: nothing at all unless everything can be stored."""
        rows, found = self._prepared(items, key_id)
        if atomic and len(rows) < len(items):
            return self._spoilt(rows, found, format)
        insert = self._insert_all if atomic else self._committer.submit if len(rows) <= SHARED_ROWS else self._insert
        return merged(found, self._booked(rows, found, format, insert))

    def once(
        self,
        claim: Claim,
        items: Sequence[Item],
        format: Format,
        *,
        atomic: bool = False,
        render: Callable[[list[Outcome]], tuple[int, bytes]],
    ) -> Answer:
        """As one and many, with the answer kept for `claim` in the same commit."""
        rows, found = self._prepared(items, claim.key_id)
        if atomic and len(rows) < len(items):
            return Answer(*render(self._spoilt(rows, found, format)))
        told: list[Outcome] = []

        def render_all(of_rows: list[Outcome]) -> tuple[int, bytes]:
            told[:] = merged(found, of_rows)
            return render(told)

        try:
            with self._measured(rows):
                answer = self.store.insert_once(claim, rows, self._clock(), atomic=atomic, render=render_all)
        except errors.StoreUnavailable:
            self._metrics.count(format, received=len(items), failed=len(items))
            raise
        except errors.ApiError:
            self._metrics.count(format, received=len(items), **outcomes.count(told))
            raise
        if not answer.replayed:
            self._metrics.count(format, received=len(items), **outcomes.count(told))
        return answer

    def _spoilt(self, rows: list[Row], found: list[Outcome | None], format: Format) -> list[Outcome]:
        """The outcomes of an atomic batch that holds an invalid event."""
        told = merged(found, [outcomes.rolled_back(row.event_id) for row in rows])
        self._metrics.count(format, received=len(told), **outcomes.count(told))
        return told

    def _prepared(self, items: Sequence[Item], key_id: str) -> tuple[list[Row], list[Outcome | None]]:
        """The rows of valid items, and per item its outcome when it is not valid."""
        rows: list[Row] = []
        found: list[Outcome | None] = []
        now, rules = self._clock(), self._rules
        for item in items:
            try:
                if isinstance(item, Invalid):
                    raise item
                rows.append(prepare(item, now=now, key_id=key_id, rules=rules))
                found.append(None)
            except Invalid as problem:
                found.append(outcomes.invalid(problem))
        return rows, found

    def _booked(
        self,
        rows: list[Row],
        found: Sequence[Outcome | None],
        format: Format,
        insert: Callable[[Sequence[Row]], list[Outcome]],
    ) -> list[Outcome]:
        """Insert, and count what was received together with what became of it, so that no crash comes between the two."""
        invalid = sum(outcome is not None for outcome in found)
        try:
            stored = insert(rows) if rows else []
        except BaseException:
            self._metrics.count(format, received=len(rows) + invalid, invalid=invalid, failed=len(rows))
            raise
        counts = outcomes.count(stored)
        counts["invalid"] += invalid
        self._metrics.count(format, received=len(rows) + invalid, **counts)
        return stored

    def _insert(self, rows: Sequence[Row]) -> list[Outcome]:
        with self._measured(rows):
            return self.store.insert(rows, self._clock())

    def _insert_all(self, rows: Sequence[Row]) -> list[Outcome]:
        with self._measured(rows):
            return self.store.insert_all(rows, self._clock())

    @contextlib.contextmanager
    def _measured(self, rows: Sequence[Row]) -> Iterator[None]:
        self._metrics.batch_events.observe(len(rows))
        with self._metrics.commit_seconds.time():
            yield


def merged(found: Sequence[Outcome | None], of_rows: Sequence[Outcome]) -> list[Outcome]:
    """The outcomes of all items in order: `of_rows` fill the places that are still None."""
    rest = iter(of_rows)
    return [outcome or next(rest) for outcome in found]
