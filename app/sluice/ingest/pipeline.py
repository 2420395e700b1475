"""From parsed items to outcomes: defaults, rules, one commit, and counts that must balance."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from sluice import errors, outcomes
from sluice.errors import InvalidEvent
from sluice.events import Record, Rules, prepare
from sluice.ingest.sinks import Sink
from sluice.metrics import Format, Metrics
from sluice.outcomes import Outcome
from sluice.parsing.batches import Item
from sluice.stores import Claim, Kept, require


def utc_now() -> datetime:
    return datetime.now(UTC)


class Pipeline:
    """One worker's way in. Thread-safe; `clock` gives the time of receipt (aware, UTC)."""

    def __init__(self, sink: Sink, rules: Rules, metrics: Metrics, clock: Callable[[], datetime] = utc_now) -> None:
        self.sink = sink
        self.clock = clock
        self._rules = rules
        self._metrics = metrics

    def accept(self, items: Sequence[Item], key_id: str, format: Format, *, atomic: bool = False) -> list[Outcome]:
        """Store what is valid; an outcome per item, in order. `atomic`: nothing at all unless everything can be stored.

        Raises errors.StoreUnavailable, and errors.NotSupported.
        """
        if atomic:
            require(self.sink, "atomic")
        at = self.clock()
        records, found = self.prepared(items, key_id, at)
        if atomic and len(records) < len(items):
            return self._rolled_back(records, found, format)
        take = self.sink.accept_all if atomic else self.sink.accept
        try:
            accepted = outcomes.merged(found, take(records, at) if records else [])
        except BaseException:
            self._metrics.count(format, received=len(items), invalid=len(items) - len(records), failed=len(records))
            raise
        # Received and what became of it together, so that no crash comes between the two.
        self._metrics.count(format, received=len(items), **outcomes.count(accepted))
        return accepted

    def accept_once(self, claim: Claim, items: Sequence[Item], format: Format, *, atomic: bool = False) -> Kept:
        """As accept, with the outcomes kept for `claim` in the same commit, and returned again for the same claim."""
        require(self.sink, "idempotency_keys")
        if atomic:
            require(self.sink, "atomic")
        at = self.clock()
        records, found = self.prepared(items, claim.key_id, at)
        if atomic and len(records) < len(items):
            return Kept(self._rolled_back(records, found, format))
        try:
            kept = self.sink.accept_once(claim, records, found, at, atomic=atomic)
        except errors.StoreUnavailable:
            self._metrics.count(format, received=len(items), failed=len(items))
            raise
        if not kept.replayed:
            self._metrics.count(format, received=len(items), **outcomes.count(kept.outcomes))
        return kept

    def prepared(self, items: Sequence[Item], key_id: str, at: datetime) -> tuple[list[Record], list[Outcome | None]]:
        """The records of valid items, and per item its outcome when it is not valid."""
        records: list[Record] = []
        found: list[Outcome | None] = []
        rules = self._rules
        for item in items:
            try:
                if isinstance(item, InvalidEvent):
                    raise item
                records.append(prepare(item, now=at, key_id=key_id, rules=rules))
                found.append(None)
            except InvalidEvent as problem:
                found.append(outcomes.invalid(problem))
        return records, found

    def _rolled_back(self, records: Sequence[Record], found: Sequence[Outcome | None], format: Format) -> list[Outcome]:
        """The outcomes of an atomic batch that holds an invalid event."""
        refused = outcomes.merged(found, [outcomes.rolled_back(record.event_id) for record in records])
        self._metrics.count(format, received=len(refused), **outcomes.count(refused))
        return refused
