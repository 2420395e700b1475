"""From parsed items to outcomes: defaults, rules, one commit, and counts that must balance."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from datetime import UTC, datetime

from sluice import errors, outcomes
from sluice.errors import InvalidEvent
from sluice.events import Record, Rules, prepare
from sluice.ingest.sinks import Sink
from sluice.metrics import Format, Metrics
from sluice.outcomes import Outcome
from sluice.parsing.batches import Item
from sluice.stores import Claim, Kept, require

# What is new by these is counted by its type.
NEW = ("created", "queued")
event_type = operator.attrgetter("event.event_type")


def utc_now() -> datetime:
    return datetime.now(UTC)


class Pipeline:
    """One worker's way in. Thread-safe; `clock` gives the time of receipt (aware, UTC)."""

    def __init__(self, sink: Sink, rules: Rules, metrics: Metrics) -> None:
        self.sink = sink
        self.clock = utc_now
        self.rules = rules
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
            taken = take(records, at) if records else []
        except BaseException:
            self._metrics.count(format, received=len(items), invalid=len(items) - len(records), failed=len(records))
            self._metrics.invalid(outcome.reason for outcome in found if outcome)
            raise
        self.count(format, records, taken, found)
        return outcomes.merged(found, taken)

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
            taken = [outcome for outcome, refused in zip(kept.outcomes, found, strict=True) if refused is None]
            self.count(format, records, taken, found)
        return kept

    def count(
        self, format: Format, records: Sequence[Record], taken: Sequence[Outcome], found: Sequence[Outcome | None] = ()
    ) -> None:
        """Count what became of each event. `taken`: of each record; `found`: as by `prepared`.

        Received and what became of it together, so that no crash comes between the two.
        """
        every = taken if len(found) in (0, len(records)) else [*filter(None, found), *taken]
        counts = outcomes.count(every)
        self._metrics.count(format, received=len(every), **counts)
        if counts["invalid"]:
            self._metrics.invalid(outcome.reason for outcome in every if outcome.status == "invalid")
        if counts["created"] + counts["queued"] == len(records):
            # Nearly always, and then C counts.
            self._metrics.accepted(map(event_type, records))
        else:
            new = (record for record, outcome in zip(records, taken, strict=True) if outcome.status in NEW)
            self._metrics.accepted(map(event_type, new))

    def prepared(self, items: Sequence[Item], key_id: str, at: datetime) -> tuple[list[Record], list[Outcome | None]]:
        """The records of valid items, and per item its outcome when it is not valid."""
        records: list[Record] = []
        found: list[Outcome | None] = []
        rules = self.rules
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
        rolled_back = [outcomes.rolled_back(record.event_id) for record in records]
        self.count(format, records, rolled_back, found)
        return outcomes.merged(found, rolled_back)
