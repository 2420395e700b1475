"""Records as PostgreSQL's binary arrays, one for each column: the server spends a quarter less on them than on one JSON document.

The format is that of `array_send` (src/backend/utils/adt/arrayfuncs.c), with the elements' own binary formats. An event passes
through here eighteen times, so what can be done for a whole column by one call in C is: joins, and `map` over methods.
"""

from __future__ import annotations

import itertools
import struct
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import msgspec
import psycopg
from psycopg import pq
from psycopg.adapt import Dumper

from sluice.events import RULE, Record, as_sent

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
    "created_at": "timestamptz",
}
# Of pg_type, for ever the same.
OIDS = {"text": 25, "timestamptz": 1184, "jsonb": 3802, "int8": 20, "int4": 23, "bytea": 17}
HEAD = struct.Struct(">iiIii").pack
LENGTH = struct.Struct(">i").pack
NULL = LENGTH(-1)
# jsonb's binary format is its version and the text.
JSONB = b"\x01"
VERSION = bytes((RULE,))
EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
TEXTS_OF_EVENT = ("event_type", "event_name", "user_id", "session_id", "app_version", "source")
TEXTS_OF_RECORD = ("event_id", "key_id", "fingerprint")
# In no order, for jsonb has its own.
encode = msgspec.json.Encoder(enc_hook=as_sent).encode
flat = itertools.chain.from_iterable


class Lengths(dict[int, bytes]):
    """The length word of an element."""

    def __missing__(self, length: int) -> bytes:
        return LENGTH(length)


LENGTHS = Lengths({length: LENGTH(length) for length in range(1_024)})
# The same before ASCII text, as text of its own.
ASCII_LENGTHS = {length: LENGTH(length).decode() for length in range(128)}


class Array(bytes):
    """An array in its binary format, sent as it is; the statement's cast says of what."""


class ArrayDumper(Dumper):
    format = pq.Format.BINARY

    def dump(self, obj: Array) -> bytes:
        return obj


psycopg.adapters.register_dumper(Array, ArrayDumper)


def of(records: Sequence[Record], places: Sequence[int], at: datetime) -> dict[str, Array]:
    """The columns of `records` (at least one) by name, and `ord`: `places`. `at`: when those were accepted that do not say it,
    and the timestamp of those that have none."""
    of_record = fields(records)
    of_event, digests, digests_1 = fields(of_record["event"]), of_record["digest"], of_record["digest_1"]
    columns = {
        **{name: of_texts(of_event[name]) for name in TEXTS_OF_EVENT},
        **{name: of_texts(of_record[name]) for name in TEXTS_OF_RECORD},
        "priority": of_texts([priority or "normal" for priority in of_event["priority"]]),
        "ord": of_integers("i", places),
        "timestamp": of_integers("q", [((time or at) - EPOCH) // MICROSECOND for time in of_record["timestamp"]]),
        "created_at": of_times(of_record["accepted"], at),
        "sequence_number": of_integers("q", of_event["sequence_number"]),
        "properties": of_bytes([JSONB + encode(value or {}) for value in of_event["properties"]]),
        "device_info": of_bytes([JSONB + encode(value or {}) for value in of_event["device_info"]]),
        "content": of_bytes(digests_1),
        # Only where today's rule and rule 1 differ: most events cost no column more.
        "digest": of_bytes([None if new is old else versioned(new) for new, old in zip(digests, digests_1, strict=True)]),
    }
    return {name: array(TYPES.get(name, "int4"), len(records), elements) for name, elements in columns.items()}


def fields(of: Sequence[msgspec.Struct]) -> dict[str, Sequence[Any]]:
    """The values of structs of one type (at least one) by the names of their fields."""
    return dict(zip(of[0].__struct_fields__, zip(*map(msgspec.structs.astuple, of), strict=True), strict=True))


def array(kind: str, count: int, elements: bytes) -> Array:
    return Array(HEAD(1, 1, OIDS[kind], count, 1) + elements)


def of_texts(values: Sequence[str | None]) -> bytes:
    """The elements of a column of text; None is NULL, here and below."""
    if values.count(values[0]) == len(values):
        return element(values[0] if values[0] is None else values[0].encode()) * len(values)
    try:
        joined = "".join(flat(zip(map(ASCII_LENGTHS.__getitem__, map(len, values)), values, strict=True)))  # type: ignore[arg-type]
        if joined.isascii():
            return joined.encode()
    except (KeyError, TypeError):
        # Longer than 127, or NULL.
        pass
    return of_bytes([None if value is None else value.encode() for value in values])


def of_bytes(values: Sequence[bytes | None]) -> bytes:
    """The elements of a column whose values are in their binary format."""
    if values.count(values[0]) == len(values):
        return element(values[0]) * len(values)
    if None in values:
        return b"".join(map(element, values))
    return b"".join(flat(zip(map(LENGTHS.__getitem__, map(len, values)), values, strict=True)))  # type: ignore[arg-type]


def of_integers(format: Literal["i", "q"], values: Sequence[int | None]) -> bytes:
    """The elements of a column of integers: `i` of four bytes, `q` of eight."""
    packer = struct.Struct(f">{format}")
    if None in values:
        return of_bytes([None if value is None else packer.pack(value) for value in values])
    return struct.pack(">" + f"i{format}" * len(values), *flat(zip(itertools.repeat(packer.size), values)))


def of_times(values: Sequence[datetime | None], default: datetime) -> bytes:
    """The elements of a column of times."""
    if values.count(values[0]) == len(values):
        return element(struct.pack(">q", ((values[0] or default) - EPOCH) // MICROSECOND)) * len(values)
    return of_integers("q", [((value or default) - EPOCH) // MICROSECOND for value in values])


def element(value: bytes | None) -> bytes:
    return NULL if value is None else LENGTHS[len(value)] + value


def any_value(array: Array, count: int) -> bool:
    """Whether an array of `count` elements holds anything but NULL, which is one word; the head has five."""
    return len(array) > (5 + count) * len(NULL)


def versioned(digest: bytes) -> bytes:
    """A digest as it is stored: one byte with the number of its rule before it."""
    return VERSION + digest
