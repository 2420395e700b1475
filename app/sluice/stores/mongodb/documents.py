"""A record as a document, and a document as a log. Pure.

_id      the event_id
at       created_at, the place in the request and a hash of the event_id: the order of pages, one value an event
digest   one byte with the number of its rule, and the digest

The other fields are named as in a log, times are text (BSON's dates know no microseconds), and null is absent. `properties` and
`device_info` are documents, or JSON text where BSON would not give back what was sent: integers beyond 64 bits, names with a dot
or a dollar in front.
"""

from __future__ import annotations

import hashlib
from datetime import datetime
from typing import Any

import bson
import msgspec
from bson.codec_options import CodecOptions, TypeRegistry
from bson.errors import BSONError
from bson.raw_bson import RawBSONDocument

from sluice import errors
from sluice.events import Integral, Record
from sluice.stores import matching

Document = dict[str, Any]
MAX_BYTES = 16 << 20
DOCUMENTS = ("properties", "device_info")
FIELDS = (
    "id", "timestamp", "event_type", "event_name", "properties", "user_id", "session_id", "app_version", "device_info", "source",
    "sequence_number", "priority", "key_id", "fingerprint", "created_at", "processed_at",
)  # fmt: skip
NOT_HELD = (BSONError, OverflowError, UnicodeEncodeError)
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
    event = record.event
    try:
        log = matching.log_of(record, at, now)
        fields = {name: log[name] for name in FIELDS if log[name] is not None}
        if not text:
            fields["properties"] = embedded(event.properties or {}, log["properties"])
            fields["device_info"] = embedded(event.device_info or {}, log["device_info"])
        position = f"{log['created_at']}#{place:05}#{hashlib.sha256(record.event_id.encode()).hexdigest()[:16]}"
        made = bson.encode({"_id": record.event_id, **fields, "at": position, "digest": matching.digest_of(record)})
    except NOT_HELD as error:
        raise errors.RecordsRefused(type(error).__name__) from error
    if len(made) <= MAX_BYTES:
        return made
    if text:
        raise errors.RecordsRefused("DocumentTooLarge")
    # A list of small numbers takes six times as much in BSON as in JSON.
    return of_record(record, place, at, now, text=True)


def embedded(value: Document, text: str) -> RawBSONDocument | str:
    """`value` as a document; `text` when that would not come back as it is, or not be taken by every server."""
    try:
        return RawBSONDocument(bson.encode(value, check_keys=True, codec_options=CODEC))
    except NOT_HELD:
        return text


def log_of(document: Document) -> dict[str, Any]:
    values: dict[str, Any] = {name: document.get(name) for name in FIELDS}
    for name in DOCUMENTS:
        if not isinstance(values[name], str):
            values[name] = encode(values[name]).decode()
    number = values["sequence_number"]
    return {**values, "event_id": document["_id"], "id": int(values["id"]), "sequence_number": number and int(number)}
