"""Outcomes of stores that take each event for itself: what holds an id now, compared with a record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from sluice import errors, outcomes
from sluice.events import Record
from sluice.outcomes import Outcome
from sluice.stores import matching


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
