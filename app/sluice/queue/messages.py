"""What a message holds: the events of one chunk as they were parsed, and what the store needs beside them."""

from __future__ import annotations

import hashlib
import itertools
import sys
from collections.abc import Iterator, Sequence
from datetime import datetime

import msgspec

from sluice import errors, events
from sluice.errors import InvalidEvent
from sluice.events import Event, Record, Rules
from sluice.parsing import legacy
from sluice.queue.link import Message

# The version of the format is part of its media type. A version that only adds fields keeps the number.
FAMILY = "application/vnd.sluice.events."
CONTENT_TYPE = f"{FAMILY}v1+json"
# RabbitMQ 4 refuses messages above 16 MiB (max_message_size), and one event may have 16 MiB by itself.
MAX_BYTES = 4 << 20
MAX_EVENTS = 1_000
# Of messages that no Sluice published: nobody's key.
UNKNOWN_KEY = "queue"
# What a worker holds: of all messages in hand together, unless one of ours weighs more.
MAX_WEIGHT = 16 << 20
# They were judged when they were accepted.
ACCEPTED = Rules(max_event_bytes=sys.maxsize)


class Part(msgspec.Struct, omit_defaults=True):
    """Events of one key and request. `ids`: of each, when the service assigned them."""

    key_id: str
    events: list[Event]
    ids: list[str] = []
    traceparent: str | None = None


class Content(msgspec.Struct):
    """One message. `accepted`: when the answer `queued` was decided on."""

    accepted: datetime
    parts: list[Part]


class Undecodable(errors.SluiceError):
    """A message from which no event can be made. `reason`: undecodable, unknown_format or invalid."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


encode = msgspec.json.Encoder(enc_hook=events.as_sent).encode
decode = msgspec.json.Decoder(Content, float_hook=events.number).decode


def packed(records: Sequence[Record], at: datetime, max_bytes: int = MAX_BYTES) -> Iterator[tuple[bytes, int]]:
    """The bodies of as few messages as hold `records` in their order, and how many of them each holds."""
    start = size = 0
    for place, record in enumerate(records):
        size += len(record.canonical)
        if place > start and (size > max_bytes or place - start == MAX_EVENTS):
            yield body(records[start:place], at), place - start
            start, size = place, len(record.canonical)
    if records:
        yield body(records[start:], at), len(records) - start


def body(records: Sequence[Record], at: datetime) -> bytes:
    """One message's body; a record that says itself when it was accepted is a dead letter and alone."""
    parts = []
    for (key_id, traceparent, assigned), group in itertools.groupby(records, key=origin):
        several = list(group)
        ids = [record.event_id for record in several] if assigned else []
        parts.append(Part(key_id, [record.event for record in several], ids, traceparent))
    return encode(Content(records[0].accepted or at, parts))


def origin(record: Record) -> tuple[str, str | None, bool]:
    return record.key_id, record.traceparent, record.event.event_id is None


def unpacked(message: Message, now: datetime, rules: Rules) -> list[Record]:
    """The records of a message; raises Undecodable.

    What seed 004's API published, any JSON object, is taken as POST /log takes it. `now`, `rules`: for messages that no Sluice
    has judged. By its id such a message is known when it is delivered again.
    """
    content_type, body = message.content_type, message.body
    try:
        if content_type == CONTENT_TYPE:
            return list(accepted(decode(body)))
        if content_type is not None and content_type.startswith(FAMILY):
            raise Undecodable("unknown_format", "a later version of Sluice published this; upgrade the worker and replay it")
        if message.weight > MAX_WEIGHT:
            raise Undecodable("invalid", "it is larger than 16 MiB, or of too many small values; send less at a time")
        # With its content: other publishers may number their messages, and begin again.
        named = message.message_id
        known = named and hashlib.sha256(b"\0".join((named.encode(errors="replace"), body))).hexdigest()[:32]
        new_id = (lambda: known) if known else None
        record = events.prepare(legacy.log_object(body, now, rules), now=now, key_id=UNKNOWN_KEY, rules=rules, new_id=new_id)
        record.accepted, record.timestamp = now, record.timestamp or now
        return [record]
    except InvalidEvent as error:
        raise Undecodable("invalid", error.detail) from error
    except errors.BadRequest as error:
        raise Undecodable("undecodable", error.detail) from error
    except (*errors.NOT_JSON, IndexError) as error:
        raise Undecodable("undecodable", "this is not what its content type says") from error


def accepted(content: Content) -> Iterator[Record]:
    at = content.accepted
    for part in content.parts:
        for place, event in enumerate(part.events):
            record = events.prepare(event, now=at, key_id=part.key_id, rules=ACCEPTED, new_id=lambda: part.ids[place])  # noqa: B023
            record.accepted, record.traceparent = at, part.traceparent
            record.timestamp = record.timestamp or at
            yield record
