"""What the clients of seeds 000 and 004 send, as events."""

from __future__ import annotations

import codecs
import contextlib
import re
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from sluice import errors, events
from sluice.errors import InvalidEvent
from sluice.events import Event, Rules
from sluice.parsing import batches
from sluice.parsing.batches import Item
from sluice.parsing.timestamps import Timestamps

MAX_NAME = 255
# Of one request to /log. A shipper fills a body by its bytes and drops one that is refused, so MAX_BATCH_SIZE does not count.
MAX_LOGS = 10_000
SHAPE = "send a JSON object, an array of objects, or one object a line"
# What msgspec says where a value is whole and something follows.
AFTER_FIRST = "trailing characters"
# Escapes that stand for no character which can be stored: half a surrogate pair (a text that was cut within one, RFC 8259 section
# 8.2) and U+0000.
NUL = rb"\u0000"
HEX = "[0-9a-fA-F]{2}"
FIRST, SECOND = rf"[dD][89abAB]{HEX}", rf"[dD][c-fC-F]{HEX}"
NO_CHARACTER = re.compile(rf"\\u(?:0000|{FIRST}(?!\\u{SECOND})|(?<!\\u{FIRST}\\u){SECOND})".encode())
LogReader = Callable[[bytes | msgspec.Raw], Event]
Filled = Annotated[str, Meta(min_length=1)]


class ErrorReport(msgspec.Struct):
    """Seed 000's error report; fields beside these are not read, and null is absent. service and endpoint are needed."""

    service: Filled | None = None
    endpoint: Filled | None = None
    error: str | None = None
    traceback: str | None = None


decode_report = msgspec.json.Decoder(ErrorReport).decode
decode_document = msgspec.json.Decoder(dict[str, Any], float_hook=events.number).decode


def error_report(body: bytes, max_event_bytes: int) -> Event:
    """An error event: `source` is the service, `event_name` the endpoint, everything stays in `properties`.

    The report is worth more than its form: what is too long for its field, or for an event, is cut, what is no character is
    U+FFFD, and `properties.truncated` names these fields.
    """
    whole = storable(body)
    try:
        report = decode_report(whole)
    except errors.NOT_JSON as error:
        raise batches.refused(body, events.explain(error)) from error
    for name in ("service", "endpoint"):
        if getattr(report, name) is None:
            missing = InvalidEvent("this field is required", pointer=f"/{name}", reason="missing_field")
            raise batches.refused(body, missing)
    texts: dict[str, str] = {name: value or "" for name, value in msgspec.structs.asdict(report).items()}
    cut = {name for name in ("service", "endpoint") if len(texts[name]) > MAX_NAME}
    if whole != body:
        cut |= {name for name, text in texts.items() if "\ufffd" in text}
    event = Event(event_type="error", event_name=texts["endpoint"][:MAX_NAME], source=texts["service"][:MAX_NAME])
    for name in ("traceback", "error", "endpoint", "service"):
        while True:
            event.properties = {**texts, "truncated": sorted(cut)} if cut else texts
            if len(msgspec.json.encode(event)) <= max_event_bytes or len(texts[name]) < 64:
                break
            # Of a traceback the end says what happened, and the beginning where.
            kept = len(texts[name]) // 4
            texts = {**texts, name: f"{texts[name][:kept]}\n[...]\n{texts[name][-kept:]}"}
            cut.add(name)
    return event


def storable(body: bytes) -> bytes:
    """`body` in UTF-8, with U+FFFD for what is no character: what is logged is worth more than its form."""
    text = body.decode(errors="replace").encode()
    if rb"\u" not in text:
        return text
    # An escaped backslash begins no escape. Meanwhile a byte stands for it that is in no UTF-8.
    return NO_CHARACTER.sub(rb"\\ufffd", text.replace(rb"\\", b"\xff")).replace(b"\xff", rb"\\")


def log_object(body: bytes, now: datetime, rules: Rules) -> Event:
    """A log event whose `properties` equal the posted object, but for what is no character."""
    try:
        return kept(body, log_reader(now, rules))
    except errors.NOT_JSON as error:
        raise batches.refused(body, events.explain(error), SHAPE) from error


def logs(body: bytes, now: datetime, rules: Rules) -> Sequence[Item]:
    """As log_object; or an event of each object of an array or of lines, as log shippers send them."""
    log_of = log_reader(now, rules)
    if body.lstrip()[:1] == b"[":
        found = batches.raw_items(body, True, MAX_LOGS, SHAPE)
    elif are_lines(body, log_of):
        found = batches.bounded(batches.lines_of(body), MAX_LOGS)
    else:
        return [log_object(body, now, rules)]
    return [item_of(raw, log_of) for raw in found]


def are_lines(body: bytes, log_of: LogReader) -> bool:
    """Whether the first line is whole and others follow: an object that is written over several lines has no such one."""
    first, _, others = body.lstrip().partition(b"\n")
    if not others or others.isspace():
        return False
    try:
        kept(first.removeprefix(codecs.BOM_UTF8), log_of)
    except errors.NOT_JSON as error:
        return AFTER_FIRST in events.explain(error).detail
    return True


def item_of(raw: bytes | msgspec.Raw, log_of: LogReader) -> Item:
    try:
        return kept(bytes(raw), log_of)
    except errors.NOT_JSON as error:
        return events.explain(error)


def kept(data: bytes, log_of: LogReader) -> Event:
    """The event of `data`, as it is or, where that cannot be stored, as `storable` makes it: hardly any needs that.

    Logs hold NULs and bytes that are no text, and who sends them drops what is refused.
    """
    if NUL not in data:
        with contextlib.suppress(*errors.NOT_JSON):
            return log_of(data)
    return log_of(storable(data))


def log_reader(now: datetime, rules: Rules) -> LogReader:
    """Makes log events, of the time that their object carries; without one that an event may have now, that of receipt counts."""
    times, (first, last) = Timestamps(None, now=now), events.window(now, rules)

    def log_of(data: bytes | msgspec.Raw) -> Event:
        properties = decode_document(data)
        time = times.of_record(properties)
        usable = time is not None and first <= events.instant(time) <= last
        return Event(event_type="log", event_name="log", properties=properties, timestamp=time if usable else None)

    return log_of
