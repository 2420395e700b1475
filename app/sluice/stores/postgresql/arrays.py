"""Records as PostgreSQL's binary arrays, one for each column: the server spends a quarter less on them than on one JSON document.

The format is that of `array_send` (src/backend/utils/adt/arrayfuncs.c), with the elements' own binary formats.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import psycopg
from psycopg import pq
from psycopg.adapt import Dumper

from sluice.events import RULE, Event, Record, encode_as_sent

# The columns that a statement fills from arrays, with the type of each.
TYPES = {
    "event_id": "text",
    "timestamp": "timestamptz",
    "event_type": "text",
    "event_name": "text",
    "properties": "jsonb",
    "device_info": "jsonb",
    "user_id": "text",
    "session_id": "text",
    "app_version": "text",
    "source": "text",
    "sequence_number": "int8",
    "priority": "text",
    "key_id": "text",
    "fingerprint": "text",
    "content": "bytea",
    "digest": "bytea",
}
# Of pg_type, for ever the same.
OIDS = {"text": 25, "timestamptz": 1184, "jsonb": 3802, "int8": 20, "int4": 23, "bytea": 17}
HEAD = struct.Struct(">iiIii")
INT4, INT8 = struct.Struct(">i").pack, struct.Struct(">q").pack
NULL = INT4(-1)
# jsonb's binary format is its version and the text.
JSONB = b"\x01"
VERSION = bytes((RULE,))
EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)


class Lengths(dict[int, bytes]):
    """The length word of an element."""

    def __missing__(self, length: int) -> bytes:
        return INT4(length)


LENGTHS = Lengths({length: INT4(length) for length in range(1_024)})


class Array(bytes):
    """An array in its binary format, sent as it is; the statement's cast says of what."""


class ArrayDumper(Dumper):
    format = pq.Format.BINARY

    def dump(self, obj: Array) -> bytes:
        return obj


psycopg.adapters.register_dumper(Array, ArrayDumper)


def of(records: Sequence[Record], places: Sequence[int], at: datetime) -> dict[str, Array]:
    """The columns of `records` (at least one) by name, and `ord`: `places`. `at`: the timestamp of those that have none."""
    events = [record.event for record in records]
    columns: dict[str, list[bytes | None]] = {
        "ord": [INT4(place) for place in places],
        "timestamp": [INT8(((record.timestamp or at) - EPOCH) // MICROSECOND) for record in records],
        "properties": [JSONB + encode_as_sent(event.properties or {}) for event in events],
        "device_info": [JSONB + encode_as_sent(event.device_info or {}) for event in events],
        "sequence_number": [None if event.sequence_number is None else INT8(event.sequence_number) for event in events],
        "priority": [(event.priority or "normal").encode() for event in events],
        "content": [record.digest_1 for record in records],
        # Only where today's rule and rule 1 differ: most events cost no column more.
        "digest": [None if record.digest is record.digest_1 else versioned(record.digest) for record in records],
    }
    for name in TYPES.keys() - columns.keys():
        owners: Sequence[Record | Event] = records if name in ("event_id", "key_id", "fingerprint") else events
        texts = [getattr(owner, name) for owner in owners]
        columns[name] = [None if text is None else text.encode() for text in texts]
    return {name: packed(OIDS[TYPES.get(name, "int4")], column) for name, column in columns.items()}


def packed(oid: int, values: Sequence[bytes | None]) -> Array:
    """One dimension of elements of type `oid`; None is NULL."""
    parts = [NULL if value is None else LENGTHS[len(value)] + value for value in values]
    return Array(HEAD.pack(1, 1, oid, len(values), 1) + b"".join(parts))


def versioned(digest: bytes) -> bytes:
    """A digest as it is stored: one byte with the number of its rule before it."""
    return VERSION + digest
