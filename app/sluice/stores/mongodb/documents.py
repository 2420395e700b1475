"""A record as a document, and a document as a log. Pure.

_id      the event_id
at       created_at, the place in the request and a hash of the event_id: the order of pages, one value an event
digest   one byte with the number of its rule, and the digest

The other fields are named as in a log, times are text (BSON's dates know no microseconds), and null is absent. `properties` and
`device_info` are documents, or JSON text where BSON would not give back what was sent: integers beyond 64 bits, names with a dot
or a dollar in front.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import bson
import msgspec
from bson.codec_options import CodecOptions, TypeRegistry
from bson.errors import BSONError

from sluice import errors
from sluice.events import Event, Integral, Record
from sluice.stores import matching

Document = dict[str, Any]
MAX_BYTES = 16 << 20
DOCUMENTS = ("properties", "device_info")
FIELDS = (
    "id", "timestamp", "event_type", "event_name", "properties", "user_id", "session_id", "app_version", "device_info", "source",
    "sequence_number", "priority", "key_id", "fingerprint", "created_at", "processed_at",
)  # fmt: skip
# bson's own integers are unknown to msgspec.
encode = msgspec.json.Encoder(enc_hook=int).encode


def as_sent(value: Any) -> float:
    """What bson does not know: integral floats, and integers beyond 64 bits."""
    if isinstance(value, Integral):
        return value.sent
    raise OverflowError


CODEC: CodecOptions[Document] = CodecOptions(type_registry=TypeRegistry(fallback_encoder=as_sent))


def of_record(record: Record, place: int, at: datetime, now: datetime, *, text: bool = False) -> bytes:
    """The document of a record, encoded; raises RecordsRefused when MongoDB cannot hold it.

    `place`: in its batch, whose order a page keeps. `text`: `properties` and `device_info` as JSON text in any case.
    """
    log = matching.log_of(record, at, now)
    document = {
        "_id": record.event_id,
        **{name: log[name] for name in FIELDS if log[name] is not None},
        "at": f"{log['created_at']}#{place:05}#{hashlib.sha256(record.event_id.encode()).hexdigest()[:16]}",
        "digest": matching.digest_of(record),
    }
    for embedded in [{}] if text else embeddings(record.event):
        with contextlib.suppress(BSONError, OverflowError, UnicodeEncodeError):
            # Of names with a dot or a dollar not every server makes the same.
            made = bson.encode({**document, **embedded}, check_keys=True, codec_options=CODEC)
            # A list of small numbers takes six times as much in BSON as in JSON.
            if len(made) <= MAX_BYTES:
                return made
    raise errors.RecordsRefused


def embeddings(event: Event) -> Iterator[Document]:
    """What may stand in the place of JSON text, the best first."""
    properties, device_info = {"properties": event.properties or {}}, {"device_info": event.device_info or {}}
    yield {**properties, **device_info}
    yield properties
    yield device_info
    yield {}


def log_of(document: Document) -> dict[str, Any]:
    values: dict[str, Any] = {name: document.get(name) for name in FIELDS}
    for name in DOCUMENTS:
        if not isinstance(values[name], str):
            values[name] = encode(values[name]).decode()
    number = values["sequence_number"]
    return {**values, "event_id": document["_id"], "id": int(values["id"]), "sequence_number": number and int(number)}
