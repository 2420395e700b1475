"""A JSON body of one or many events. A bad item does not affect its neighbours."""

from __future__ import annotations

import codecs
import contextlib
import json
from collections.abc import Sequence
from typing import TypeVar

import msgspec

from sluice import errors, events
from sluice.errors import InvalidEvent
from sluice.events import Event

T = TypeVar("T")
Item = Event | InvalidEvent


class Batch(msgspec.Struct):
    """Seed 001's batch. Fields beside `logs` are not ours and not read."""

    logs: list[Event]


class RawBatch(msgspec.Struct):
    """The same with items that may not be events."""

    logs: list[msgspec.Raw]


decode_list = msgspec.json.Decoder(list[Event]).decode
decode_batch = msgspec.json.Decoder(Batch).decode
decode_raw_list = msgspec.json.Decoder(list[msgspec.Raw]).decode
decode_raw_batch = msgspec.json.Decoder(RawBatch).decode
decode_lines = msgspec.json.Decoder(Event).decode_lines

# What to send instead: clients post one event here, or lines under the type of JSON.
SHAPE = 'a batch is an array of events or {"logs": [...]}, or one event a line as application/x-ndjson'
SEVERAL = "here one event is taken, and many by POST /api/v1/batch-ingest"


def one(body: bytes) -> Event:
    """The event of `body`; raises BadRequest."""
    try:
        return events.parse(body)
    except InvalidEvent as problem:
        raise refused(body, problem, SEVERAL if body.lstrip()[:1] == b"[" else "") from problem


def many(body: bytes, max_items: int) -> Sequence[Item]:
    """The events of an array or of `{"logs": [...]}`; raises BadRequest for what is no batch."""
    is_array = body.lstrip()[:1] == b"["
    try:
        # Nearly every batch is well-formed, and then one call decodes all of it.
        items = decode_list(body) if is_array else decode_batch(body).logs
    except errors.NOT_JSON:
        return [one_of(raw) for raw in raw_items(body, is_array, max_items)]
    return bounded(items, max_items)


def bounded(items: Sequence[T], max_items: int) -> Sequence[T]:
    """`items`; raises BadRequest when there is none, or more than `max_items`.

    To be asked before each is parsed: a refusal is some hundred times as large as `{}`.
    """
    if not items:
        raise errors.BadRequest("the batch holds no event", error="empty_batch")
    if len(items) > max_items:
        raise errors.BadRequest(f"the batch holds {len(items)} events; at most {max_items} are taken", error="batch_too_large")
    return items


def raw_items(body: bytes, is_array: bool, max_items: int, shape: str = SHAPE) -> Sequence[msgspec.Raw | bytes]:
    """The items of a batch in which some are no events; raises BadRequest, which repeats `shape`.

    Where only NaN, Infinity or half a surrogate pair is wrong, as Python's own json writes them, the standard library reads
    what it wrote, so that such a value spoils its item and not the batch. The items are written as they were read, for the
    event's own decoder to refuse.
    """
    try:
        return bounded(decode_raw_list(body) if is_array else decode_raw_batch(body).logs, max_items)
    except errors.NOT_JSON as error:
        with contextlib.suppress(ValueError, RecursionError):
            batch = json.loads(body.decode(errors="surrogateescape"))
            items = batch.get("logs") if isinstance(batch, dict) else batch
            if isinstance(items, list):
                return [json.dumps(item).encode() for item in bounded(items, max_items)]
        raise refused(body, events.explain(error), shape) from error


def lines(chunk: bytes) -> Sequence[Item]:
    """The events of NDJSON text; blank lines are none. A line may begin with a byte order mark, as each of joined files does."""
    try:
        return decode_lines(chunk)
    except errors.NOT_JSON:
        return [one_of(line) for line in lines_of(chunk)]


def lines_of(text: bytes) -> list[bytes]:
    """Those that are not blank, without a byte order mark."""
    marked = (line.removeprefix(codecs.BOM_UTF8) for line in text.split(b"\n"))
    return [line for line in marked if line.strip()]


def one_of(raw: bytes | msgspec.Raw) -> Item:
    try:
        return events.parse(raw)
    except InvalidEvent as problem:
        return problem


def refused(body: bytes, problem: InvalidEvent, shape: str = "") -> errors.BadRequest:
    """Whole-body refusal: text that is no JSON is `invalid_json`, JSON of another shape `validation_error`.

    `shape`: what to send instead.
    """
    if not body.strip():
        return errors.BadRequest("the body is empty", error="invalid_json", reason="empty_body")
    is_json = problem.reason not in ("invalid_json", "not_utf8", "too_deep")
    detail = f"{problem.detail}; {shape}" if shape else problem.detail
    return errors.BadRequest(
        detail,
        error="validation_error" if is_json else "invalid_json",
        reason=problem.reason,
        errors=[{"pointer": problem.pointer, "detail": detail}],
    )
