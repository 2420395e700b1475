"""What stores that take each event for itself have in common: what they cannot do, and outcomes by what holds an id now."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

import msgspec

from sluice import errors, outcomes
from sluice.events import Record
from sluice.outcomes import Outcome
from sluice.stores import Claim, Figures, Kept, matching, not_supported


class EachForItself:
    """The calls of a Store that need a commit over several events, or a count of all."""

    def insert_all(self, records: Sequence[Record], at: datetime) -> list[Outcome]:
        raise not_supported("atomic")

    def insert_once(
        self, claim: Claim, records: Sequence[Record], found: Sequence[Outcome | None], at: datetime, *, atomic: bool
    ) -> Kept:
        raise not_supported("idempotency_keys")

    def figures(self, now: datetime) -> Figures:
        raise not_supported("figures")


class Stored(msgspec.Struct, frozen=True):
    """What holds an id: whether this call stored it, and its digest (matching.digest_of)."""

    created: bool
    digest: bytes


Result = Stored | errors.StoreError


def judged(records: Sequence[Record], first: Mapping[str, int], of_id: Mapping[str, Result]) -> list[Outcome]:
    """An outcome per record. `first`: of the records with one id, the place of the one that was to be stored.

    Raises StoreUnavailable when nothing is known of any id: the same call may work later.
    """
    problems = [result for result in of_id.values() if isinstance(result, errors.StoreUnavailable)]
    if problems and len(problems) == len(of_id):
        raise problems[0]
    return [outcome_of(each, of_id.get(each.event_id), first.get(each.event_id) == n) for n, each in enumerate(records)]


def outcome_of(record: Record, result: Result | None, first: bool) -> Outcome:
    if isinstance(result, errors.StoreUnavailable):
        return outcomes.failed(record.event_id, result.reason)
    if not isinstance(result, Stored):
        return outcomes.refused_by_store(record.event_id, "")
    if result.created and first:
        return outcomes.created(record.event_id, matching.id_of(record.event_id))
    if result.digest == matching.digest_of(record):
        return outcomes.duplicate(record.event_id, matching.id_of(record.event_id))
    return outcomes.conflict(record.event_id)
