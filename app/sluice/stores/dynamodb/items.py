"""A record as an item, and an item as a log. Pure."""

from __future__ import annotations

import hashlib
from datetime import datetime
from typing import Any

from sluice.events import Record
from sluice.stores import matching
from sluice.stores.dynamodb.table import Item

PREFIX = "e:"
NUMBERS = ("id", "sequence_number")
# The key has another form than the field of that name, and the number is made of the event_id.
FIELDS = (
    "event_id", "timestamp", "event_type", "event_name", "properties", "user_id", "session_id", "app_version", "device_info",
    "source", "sequence_number", "priority", "key_id", "fingerprint", "created_at", "processed_at",
)  # fmt: skip


def of_record(record: Record, place: int, shards: int, at: datetime, now: datetime, expires_at: int | None) -> Item:
    """`place`: in its batch, whose order a page keeps. Null is absent."""
    log = matching.log_of(record, at, now)
    mark = hashlib.sha256(record.event_id.encode()).digest()
    shard = str(int.from_bytes(mark[:4], "big") % shards)
    item: Item = {name: {"N" if name in NUMBERS else "S": str(log[name])} for name in FIELDS if log[name] is not None}
    return {
        **item,
        "id": {"S": PREFIX + record.event_id},
        "shard": {"S": shard},
        "type_shard": {"S": type_shard(record.event.event_type, shard)},
        # The time of acceptance, and what keeps two events apart that were accepted at once.
        "at": {"S": f"{log['created_at']}#{place:05}#{mark[:8].hex()}"},
        "digest": {"B": matching.digest_of(record)},
        **({"expires_at": {"N": str(expires_at)}} if expires_at is not None else {}),
    }


def type_shard(event_type: str, shard: str) -> str:
    return f"{event_type}#{shard}"


def digest_in(item: Item) -> bytes:
    return bytes(item["digest"]["B"])


def log_of(item: Item) -> dict[str, Any]:
    values: dict[str, Any] = {name: next(iter(item[name].values())) if name in item else None for name in FIELDS}
    number = values["sequence_number"]
    return {"id": matching.id_of(values["event_id"]), **values, "sequence_number": None if number is None else int(number)}


def expired(item: Item, now: datetime) -> bool:
    return "expires_at" in item and int(item["expires_at"]["N"]) <= now.timestamp()
