"""Rows to store, made the way the service makes them."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import msgspec

from sluice import events
from sluice.events import Event, Record, Rules
from sluice.outcomes import Outcome

# Receipt time of every row that says no other.
NOW = datetime(2024, 6, 1, 12, 0, tzinfo=UTC)


def row(event_id: str | None = None, *, now: datetime = NOW, key_id: str = "test", **fields: Any) -> Record:
    """One event as a row; `fields` are those of events.Event, a timestamp may be a datetime."""
    given = {"event_type": "log", "event_name": "test", **fields}
    if isinstance(given.get("timestamp"), datetime):
        given["timestamp"] = given["timestamp"].isoformat()
    return events.prepare(Event(event_id=event_id, **given), now=now, key_id=key_id, rules=Rules(retention_days=None))


def rows(count: int, prefix: str = "e", **fields: Any) -> list[Record]:
    """`count` events with the ids `<prefix>00000`, `<prefix>00001`, ..."""
    return [row(f"{prefix}{number:05}", **fields) for number in range(count)]


def poisoned(event_id: str) -> Record:
    """A row that our checks would never let through: PostgreSQL's jsonb cannot hold U+0000."""
    good = row(event_id)
    return msgspec.structs.replace(good, event=msgspec.structs.replace(good.event, properties={"text": "\0"}))


def statuses(found: Iterable[Outcome]) -> list[str]:
    return [outcome.status for outcome in found]
