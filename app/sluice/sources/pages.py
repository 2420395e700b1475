"""What is in a page, and which one comes next. Pure: bytes in, records and a URL out."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Container, Mapping, Sequence
from datetime import datetime
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import msgspec

from sluice import errors, events
from sluice.events import Event, Rules
from sluice.sources.definitions import Source
from sluice.sources.failures import Failed

# RFC 8288 section 3: `<target>; rel="next"`, several with commas between.
LINK = re.compile(r'<([^<>]*)>((?:\s*;\s*[\w!#$&+.^`|~*-]+\s*(?:=\s*(?:"(?:[^"\\]|\\.)*"|[^\s;,"]+))?)*)')
PARAMETER = re.compile(r';\s*([\w!#$&+.^`|~*-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s;,"]+))')
# Numbers are compared and kept as those of events are.
decode_record = msgspec.json.Decoder(dict[str, Any], float_hook=events.number).decode
# A number goes back as it came.
decode_cursor = msgspec.json.Decoder(float_hook=str).decode


class Found(msgspec.Struct):
    """A record that can be stored. `content`: as JSON. `digest`: equal for contents that are equal by value."""

    id: str
    content: bytes
    digest: bytes


def first_url(source: Source) -> str:
    asked = source.pagination
    parameters: dict[str, object] = {}
    if asked.type in ("page", "offset") and asked.parameter:
        parameters[asked.parameter] = start_of(source)
    return with_parameters(source.url, parameters | size_of(source))


def next_url(
    source: Source, headers: Mapping[str, str], body: bytes, count: int, number: int, seen: int, most: int
) -> str | None:
    """The reference of the page after page `number` (from 1) with `count` records; None after the last one.

    `seen`: records of this run so far, those of the page included. `most`: of the largest page before this one: a server may give
    less than `size` on every page, so a page ends the list only when it is shorter than one before it, or empty. Raises Failed.
    """
    asked = source.pagination
    match asked.type:
        case "link":
            return link_next(headers.get("Link", ""))
        case "cursor":
            cursor = cursor_in(body, asked.path)
            if not cursor or asked.parameter is None:
                return cursor or None
            return with_parameters(source.url, {asked.parameter: cursor} | size_of(source))
        case "page" | "offset" if count >= max(1, min(asked.size or 1, most)) and asked.parameter:
            place = start_of(source) + (number if asked.type == "page" else seen)
            return with_parameters(source.url, {asked.parameter: place} | size_of(source))
    return None


def start_of(source: Source) -> int:
    asked = source.pagination
    return asked.start if asked.start is not None else 1 if asked.type == "page" else 0


def size_of(source: Source) -> dict[str, object]:
    asked = source.pagination
    return {asked.size_parameter: asked.size} if asked.size_parameter and asked.size else {}


def with_parameters(url: str, parameters: Mapping[str, object]) -> str:
    """`url` with these query parameters, in the place of those of the same names; as it is without any."""
    if not parameters:
        return url
    parts = urlsplit(url)
    kept = [(name, value) for name, value in parse_qsl(parts.query, keep_blank_values=True) if name not in parameters]
    return urlunsplit(parts._replace(query=urlencode([*kept, *parameters.items()])))


def link_next(header: str) -> str | None:
    """The target of rel=next in a Link header."""
    for target, parameters in LINK.findall(header_text(header[:8_192])):
        for name, quoted, bare in PARAMETER.findall(parameters):
            if name.lower() == "rel" and "next" in (quoted or bare).lower().split():
                return str(target)
    return None


def header_text(header: str) -> str:
    """A header as UTF-8, other bytes as surrogates: http.client reads it as Latin-1."""
    return header.encode("latin-1").decode(errors="surrogateescape")


def cursor_in(body: bytes, path: Sequence[str]) -> str:
    """The text or number at `path`; empty when it is null, false or absent, for then there is no next page. Raises Failed."""
    try:
        value = decode_cursor(at(body, path))
    except KeyError:
        return ""
    except errors.NOT_JSON:
        value = read_leniently(body, path, str)
    if value is True or not isinstance(value, str | int | None):
        raise Failed("pagination", f"what stands at {'.'.join(path)} is neither text nor a number")
    return "" if value is None or value is False else str(value)


def records_of(body: bytes, path: Sequence[str]) -> list[msgspec.Raw]:
    """The list at `path`, its items not looked at; raises Failed."""
    where = f"has no list at {'.'.join(path)}" if path else "is not a list"
    try:
        return msgspec.json.decode(at(body, path), type=list[msgspec.Raw])
    except (KeyError, msgspec.ValidationError):
        found = None
    except errors.NOT_JSON:
        found = read_leniently(body, path)
    if not isinstance(found, list):
        raise Failed("no_list", f"the answer {where}")
    return [msgspec.Raw(json.dumps(item).encode()) for item in found]


def at(body: bytes | msgspec.Raw, path: Sequence[str]) -> bytes | msgspec.Raw:
    """The value at `path`; raises KeyError or DecodeError."""
    while path:
        found = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
        name, path = step(path, found)
        body = found[name]
    return body


def value_at(value: Any, path: Sequence[str]) -> Any:
    """The value at `path`, None when there is none."""
    while path:
        if not isinstance(value, dict):
            return None
        name, path = step(path, value)
        value = value.get(name)
    return value


def step(path: Sequence[str], there: Container[str]) -> tuple[str, Sequence[str]]:
    """The first name of `path` in an object, and the rest: a name that is there may have dots itself (`@odata.nextLink`)."""
    joined = ((".".join(path[:end]), path[end:]) for end in range(len(path), 0, -1))
    return next((each for each in joined if each[0] in there), (path[0], path[1:]))


def read_leniently(body: bytes, path: Sequence[str], number: Callable[[str], Any] = float) -> Any:
    """The value at `path`, None when there is none, of JSON in which NaN or half a surrogate pair stands, as Python writes it.

    So it spoils the record that it is in, and not the page (as in parsing.batches). Raises Failed.
    """
    try:
        value = json.loads(body.decode(errors="surrogateescape"), parse_float=number)
    except (ValueError, RecursionError):
        raise Failed("not_json", "the answer is not JSON") from None
    return value_at(value, path)


def found_in(raw: msgspec.Raw, source: Source, now: datetime, rules: Rules) -> Found:
    """One record; raises InvalidEvent for what cannot be stored: a record must do as the properties of an event."""
    try:
        content = decode_record(raw)
    except errors.NOT_JSON as error:
        raise events.explain(error) from None
    identity = value_at(content, source.id)
    if isinstance(identity, events.Integral):
        identity = int(identity.sent)  # 1.0 is the number 1, as some programs write it
    if isinstance(identity, bool) or not isinstance(identity, str | int):
        raise errors.InvalidEvent(f"the id at {'.'.join(source.id)} must be text or a whole number", reason="missing_field")
    text = str(identity)
    if not 1 <= len(text) <= 255 or "\0" in text:
        raise errors.InvalidEvent("the id must have 1 to 255 characters, none of them U+0000")
    event = Event(event_type="record", event_name=source.name, properties=content)
    events.prepare(event, now=now, key_id="", rules=rules, new_id=str)
    return Found(text, events.encode_as_sent(content), hashlib.sha256(events.encode_by_value(content)).digest())


def event_of(source: Source, found: Found, version: int) -> Event:
    """The event of one version of a record; its id is a function of these, so that it is never stored twice."""
    event_id = f"{source.name}:{found.id}:{version}"
    if len(event_id) > 255:
        event_id = f"{source.name}:{hashlib.sha256(found.id.encode()).hexdigest()}:{version}"
    return Event(
        event_type="record",
        event_name=source.name,
        event_id=event_id,
        properties=decode_record(found.content),
        source=source.name,
        sequence_number=version,
    )
