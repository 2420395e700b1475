"""Filters for stores whose engine has no words for them: what a log's fields are, and whether a condition holds for one.

A log is the dict that becomes the JSON object of responses; its times are texts of one width, so that they compare as times do.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import msgspec

from sluice.events import RULE, Record, encode_as_sent
from sluice.filters import Match

decode_json = msgspec.json.decode


@functools.lru_cache(64)  # All events of a batch have two of their three times in common.
def stamp(moment: datetime) -> str:
    """RFC 3339 in UTC, always with microseconds; the last one that there is for a moment of the year 10000 in UTC."""
    try:
        return moment.astimezone(UTC).isoformat(timespec="microseconds")
    except OverflowError:
        return datetime.max.replace(tzinfo=UTC).isoformat(timespec="microseconds")


def id_of(event_id: str) -> int:
    """The `id` of an event in a store without a sequence: 53 bits (exact in every JSON reader) of the SHA-256 of its event_id."""
    return int.from_bytes(hashlib.sha256(event_id.encode()).digest()[:7], "big") >> 3


def digest_of(record: Record) -> bytes:
    """The digest of a record with its rule's number before it, as a byte."""
    return bytes((RULE,)) + record.digest


def log_of(record: Record, at: datetime, now: datetime) -> dict[str, Any]:
    """The log of a record, with the defaults filled in; `properties` and `device_info` are JSON text. `now`: processed_at."""
    event, created_at = record.event, record.accepted or at
    return {
        "id": id_of(record.event_id),
        "event_id": record.event_id,
        "timestamp": stamp(record.timestamp or created_at),
        "event_type": event.event_type,
        "event_name": event.event_name,
        "properties": encode_as_sent(event.properties or {}).decode(),
        "user_id": event.user_id,
        "session_id": event.session_id,
        "app_version": event.app_version,
        "device_info": encode_as_sent(event.device_info or {}).decode(),
        "source": event.source,
        "sequence_number": event.sequence_number,
        "priority": event.priority or "normal",
        "key_id": record.key_id,
        "fingerprint": record.fingerprint,
        "created_at": stamp(created_at),
        "processed_at": stamp(now),
    }


def encoded(log: dict[str, Any]) -> bytes:
    """A log as one JSON object."""
    documents = {name: msgspec.Raw(log[name].encode()) for name in ("properties", "device_info")}
    return msgspec.json.encode({**log, **documents})


def holds(log: dict[str, Any], matches: Iterable[Match]) -> bool:
    """Whether all conditions hold."""
    return all(holds_one(log, match) for match in matches)


def holds_one(log: dict[str, Any], match: Match) -> bool:
    found: Any = text_at(decode_json(log[match.column]), match.path) if match.path else log[match.column]
    value: Any = stamp(match.value) if isinstance(match.value, datetime) else match.value
    if found is None:
        return False
    if match.operator == "=":
        return bool(found == value)
    return bool(found >= value if match.operator == ">=" else found <= value)


def text_at(value: Any, path: Iterable[str]) -> str | None:
    """As PostgreSQL's `#>>`: the text at a path, of a number, true and false as JSON writes it; None for null and for nothing."""
    for step in path:
        if isinstance(value, list) and step.lstrip("-").isdecimal() and -len(value) <= int(step) < len(value):
            value = value[int(step)]
        elif isinstance(value, dict):
            value = value.get(step)
        else:
            return None
    return value if value is None or isinstance(value, str) else json.dumps(value, ensure_ascii=False)
