"""Files as events: NDJSON, a JSON array or plain log lines, gzip or not, read once from front to back.

The events of a file are a function of its bytes, `source` and `zone` alone. So a second import is all duplicates, and one that
was broken off is resumed by starting it again.
"""

from __future__ import annotations

import codecs
import gzip
import hashlib
import io
import os
import re
import stat
import uuid
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from pathlib import PurePath
from typing import Any, Literal

import msgspec

from sluice import errors, events

Format = Literal["ndjson", "json", "lines"]
FORMATS: tuple[Format, ...] = ("ndjson", "json", "lines")

MAX_EVENT_BYTES = events.Rules().max_event_bytes
# What one line or array item may take before it is parsed: JSON with much white space or many escapes shrinks.
MAX_RAW_BYTES = 4 * MAX_EVENT_BYTES
# Far below the service's 10 MiB for a body, and small enough to hold a handful at a time.
MAX_BATCH_BYTES = 4 << 20
READ_BYTES = 64 << 10
SNIFF_BYTES = 4096
EXCERPT = 200

# Ours for ever: another namespace would give every event imported so far a second id.
NAMESPACE = uuid.UUID("5f0c2a3e-7d84-4b1a-9c56-2e8f1d6b4a90")

GZIP_MAGIC = b"\x1f\x8b"
# A `[` alone is no sign of JSON: the kernel's and many programs' lines begin with one.
LOOKS_LIKE_ARRAY = re.compile(rb"\s*\[\s*(?:\{|\]\s*\Z)")
LOOKS_LIKE_OBJECT = re.compile(rb'\s*\{\s*["}]')
# A string swallowed whole or, without its last quote, up to the end of the chunk; or a sign between strings.
TOKEN = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*("?)|[\[\]{},]', re.DOTALL)
REST_OF_STRING = re.compile(rb'[^"\\]*(?:\\.[^"\\]*)*("?)', re.DOTALL)
# U+0000 as msgspec writes it, and not the harmless text "\\u0000".
NUL = re.compile(rb"(?<!\\)((?:\\\\)*)\\u0000")
UNREADABLE = (EOFError, OSError, zlib.error)
NOT_JSON = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)

# RFC 3339, ISO 8601 and what dpkg, PostgreSQL or Python's logging write: a space for the T, a comma for the point, no offset.
TIMESTAMP = re.compile(
    r"\[?(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:\d\d)(?:[.,](\d{1,9}))?(?: ?(Z|z|UTC|GMT|[+-]\d\d:?\d\d))?(?![\w:])", re.ASCII
)
TIME_FIELDS = ("timestamp", "@timestamp", "time")

encode = msgspec.json.Encoder(order="deterministic").encode


@dataclass(frozen=True, slots=True)
class Item:
    """One event ready to be sent. `number` counts lines or array items from 1."""

    number: int
    json: bytes


@dataclass(frozen=True, slots=True)
class Refused:
    """What can not become an event; `text` is where it can be recognised by, at most 200 characters."""

    number: int
    reason: str
    detail: str
    text: str = ""


class TooLong(bytes):
    """The beginning of a line or item that is longer than MAX_RAW_BYTES."""


class Unreadable(Exception):
    """Nothing can be read after this place of the input."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


class Peeked(io.RawIOBase):
    """A stream whose first bytes can be looked at before they are read, however few a pipe gives at a time.

    `taken`: bytes read from below so far. An error met while looking is raised when reading gets there.
    """

    def __init__(self, below: io.BufferedIOBase) -> None:
        self._below = below
        self._head = b""
        self._broken: Exception | None = None
        self.taken = 0

    def look(self, size: int) -> bytes:
        try:
            while len(self._head) < size and (chunk := self._take(size - len(self._head))):
                self._head += chunk
        except UNREADABLE as error:
            self._broken = error
        return self._head

    def skip(self, prefix: bytes) -> None:
        self._head = self._head.removeprefix(prefix)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        chunk = self._head[: len(buffer)]
        self._head = self._head[len(chunk) :]
        if not chunk:
            if self._broken:
                raise self._broken
            chunk = self._take(len(buffer))
        buffer[: len(chunk)] = chunk
        return len(chunk)

    def _take(self, size: int) -> bytes:
        chunk = self._below.read1(size)  # read() would lose what comes before an error
        self.taken += len(chunk)
        return chunk


class Input:
    """The bytes of a file or pipe, inflated when they are gzip.

    `size`: bytes to read in all, None for a pipe; `position`: how many of them were read (compressed ones, where they are).
    """

    def __init__(self, file: io.BufferedIOBase) -> None:
        self._raw = Peeked(file)
        self.size = size_of(file)
        text = self._raw
        if self._raw.look(len(GZIP_MAGIC)).startswith(GZIP_MAGIC):
            text = Peeked(gzip.GzipFile(fileobj=io.BufferedReader(self._raw)))
        head = text.look(SNIFF_BYTES)
        text.skip(codecs.BOM_UTF8)
        self.format = sniff(head.removeprefix(codecs.BOM_UTF8))
        self.stream = io.BufferedReader(text, READ_BYTES)

    @property
    def position(self) -> int:
        return self._raw.taken


def size_of(file: io.BufferedIOBase) -> int | None:
    try:
        status = os.fstat(file.fileno())
    except OSError:
        return None
    return status.st_size if stat.S_ISREG(status.st_mode) else None


def sniff(head: bytes) -> Format:
    """The format that text beginning with `head` is in."""
    if LOOKS_LIKE_ARRAY.match(head):
        return "json"
    return "ndjson" if LOOKS_LIKE_OBJECT.match(head) else "lines"


def source_of(name: str) -> str:
    """What events of the file `name` have as source: its last part, the same before and after it was compressed."""
    return storable("stdin" if name == "-" else PurePath(name).name.removesuffix(".gz"))


def storable(text: str) -> str:
    """`text` as the service can take it: a name that is not UTF-8 reaches Python with lone surrogates; 255 characters."""
    return text.encode("utf-8", "backslashreplace").decode()[-255:]


class Importer:
    """Reads one input. `zone` is for timestamps without offset. `blank` counts lines that held nothing and became nothing."""

    def __init__(self, source: str, zone: tzinfo = UTC) -> None:
        self._source = source
        self._zone = zone
        self._ids = Ids(source)
        self.blank = 0

    def read(self, stream: io.BufferedIOBase, format: Format) -> Iterator[Item | Refused]:
        """Everything in `stream`: each line or array item becomes an Item or a Refused."""
        pieces = elements(stream) if format == "json" else lines(stream)
        number = 0
        try:
            for piece in pieces:
                number += 1
                if format != "json" and not piece.strip():
                    self.blank += 1
                else:
                    yield self._entry(number, piece, format)
        except Unreadable as error:
            yield Refused(number + 1, error.reason, error.detail)
        except UNREADABLE as error:
            yield Refused(number + 1, "unreadable", f"nothing more can be read from here on: {error}")

    def _entry(self, number: int, piece: bytes, format: Format) -> Item | Refused:
        if isinstance(piece, TooLong):
            return refused(number, "too_large", f"longer than {MAX_RAW_BYTES} bytes", piece)
        try:
            event = self._of_line(piece) if format == "lines" else self._of_json(piece)
            json = self._ids.identified(event)
        except errors.InvalidEvent as problem:
            return refused(number, problem.reason, problem.detail, piece)
        if len(json) > MAX_EVENT_BYTES:
            detail = f"the event has {len(json)} bytes; at most {MAX_EVENT_BYTES} are taken"
            return refused(number, "too_large", detail, piece)
        return Item(number, json)

    def _of_line(self, piece: bytes) -> dict[str, Any]:
        line = piece.decode("utf-8", "backslashreplace")
        return self._log("log_line", {"line": line}, timestamp_of(line, self._zone))

    def _of_json(self, piece: bytes) -> dict[str, Any]:
        """An object that looks like an event stays as it is; any other becomes the properties of one. Raises InvalidEvent."""
        try:
            value = msgspec.json.decode(piece.decode("utf-8", ESCAPE_IN_JSON))
        except NOT_JSON as error:
            raise events.explain(error) from error
        if not isinstance(value, dict):
            raise errors.InvalidEvent("not a JSON object", reason="not_an_object")
        if "event_type" in value and "event_name" in value:
            return value
        times = (timestamp_of(value[name], self._zone) for name in TIME_FIELDS if isinstance(value.get(name), str))
        return self._log("log_record", value, next(filter(None, times), None))

    def _log(self, name: str, properties: dict[str, Any], timestamp: str | None) -> dict[str, Any]:
        event = {"event_type": "log", "event_name": name, "source": self._source, "properties": properties}
        return event if timestamp is None else event | {"timestamp": timestamp}


class Ids:
    """Gives each event without one an id: UUIDv5 of its content, of how often that content came before, and of `source`.

    Remembers 64 bits of a digest for each distinct event: about 100 bytes of memory each, 1 GB for ten million. Two contents
    that share those bits still get different ids, for an id is made of the whole digest.
    """

    def __init__(self, source: str) -> None:
        self._source = source
        self._seen: dict[int, int] = {}

    def identified(self, event: dict[str, Any]) -> bytes:
        """The canonical JSON of `event` with an id; NUL characters, which no store can hold, become the text \\x00.

        Raises errors.InvalidEvent for what has no JSON the service could read (nesting without end, numbers beyond 64 bits).
        """
        wants_id = event.get("event_id") is None
        if wants_id:
            event.pop("event_id", None)
        try:
            json = encode(event)
        except (RecursionError, OverflowError, ValueError) as error:
            raise errors.InvalidEvent(
                str(error), reason="too_deep" if isinstance(error, RecursionError) else "invalid_value"
            ) from error
        if b"\\u0000" in json:
            json = NUL.sub(rb"\1\\\\x00", json)
        return b'{"event_id":"%b",%b' % (self._next(json).encode(), json[1:]) if wants_id else json

    def _next(self, content: bytes) -> str:
        digest = hashlib.sha256(content)
        short = int.from_bytes(digest.digest()[:8], "big")
        occurrence = self._seen.get(short, 0) + 1
        self._seen[short] = occurrence
        return str(uuid.uuid5(NAMESPACE, f"{digest.hexdigest()}:{occurrence}:{self._source}"))


def batches(entries: Iterable[Item | Refused], size: int, refuse: Callable[[Refused], None]) -> Iterator[list[Item]]:
    """Lists of up to `size` items and 4 MiB; whatever is no item goes to `refuse` on the way."""
    batch: list[Item] = []
    held = 0
    for entry in entries:
        if isinstance(entry, Refused):
            refuse(entry)
            continue
        if batch and (len(batch) == size or held + len(entry.json) > MAX_BATCH_BYTES):
            yield batch
            batch, held = [], 0
        batch.append(entry)
        held += len(entry.json)
    if batch:
        yield batch


def lines(stream: io.BufferedIOBase) -> Iterator[bytes]:
    """The lines of `stream` without their ends; of one beyond MAX_RAW_BYTES only the beginning is kept, as TooLong."""
    while piece := stream.readline(MAX_RAW_BYTES + 1):
        if len(piece) > MAX_RAW_BYTES and not piece.endswith(b"\n"):
            skip_line(stream)
            yield TooLong(piece)
        else:
            yield piece.removesuffix(b"\n").removesuffix(b"\r")


def skip_line(stream: io.BufferedIOBase) -> None:
    while (piece := stream.readline(READ_BYTES)) and not piece.endswith(b"\n"):
        pass


def elements(stream: io.BufferedIOBase) -> Iterator[bytes]:
    """The items of the JSON array in `stream`, as text; of one beyond MAX_RAW_BYTES only the beginning, as TooLong.

    Raises Unreadable where the text is no array, or no longer one.
    """
    framer = Framer()
    while chunk := stream.read1(READ_BYTES):
        yield from framer.feed(chunk)
    framer.end()


class Framer:
    """Cuts a JSON array into its items by brackets, commas and quotes, and leaves each item to the JSON parser.

    Not a streaming parser, on purpose: with ijson 3.6 one broken item loses all that follow, `\\ud800` silently becomes `?`,
    and 100 kB of `[` take all memory of the machine.
    """

    def __init__(self) -> None:
        self._opened = self._closed = self._any = False
        self._depth = 1
        self._quoted = self._escaped = False
        self._item = bytearray()

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """The items that end in `chunk`."""
        chunk = chunk if self._opened else self._open(chunk)
        start = 0
        for at, sign in self._signs(chunk):
            self._depth += (sign in b"[{") - (sign in b"]}")
            if self._depth == 0 or (self._depth == 1 and sign == b","):
                self._keep(chunk[start:at])
                start = at + 1
                yield from self._finished(last=self._depth == 0)
        if not self._closed:
            self._keep(chunk[start:])
        elif chunk[start:].strip():
            raise Unreadable("not_an_array", "there is text after the end of the array, which is not read")

    def end(self) -> None:
        """Raise Unreadable unless the array was closed."""
        if not self._closed:
            raise Unreadable("truncated", "the array does not end: the last item is cut off, or a bracket or quote is missing")

    def _open(self, chunk: bytes) -> bytes:
        text = chunk.lstrip()
        if text and not text.startswith(b"["):
            raise Unreadable("not_an_array", "the text is no JSON array; use --format ndjson for one object a line")
        self._opened = bool(text)
        return text[1:]

    def _signs(self, chunk: bytes) -> Iterator[tuple[int, bytes]]:
        """Where brackets and commas stand that are not in a string, up to the end of the array."""
        start = 0
        if self._quoted and chunk:
            match = REST_OF_STRING.match(chunk, int(self._escaped))
            start = self._after(match, chunk) if match else 0
        for match in TOKEN.finditer(chunk, start):
            if match[1] is None:
                yield match.start(), match[0]
            else:
                self._after(match, chunk)
            if self._closed:
                return

    def _after(self, string: re.Match[bytes], chunk: bytes) -> int:
        """Note whether `string` goes on in the next chunk, and whether that begins with an escaped character."""
        self._quoted = not string[1]
        self._escaped = self._quoted and string.end() < len(chunk)
        return len(chunk) if self._quoted else string.end()

    def _keep(self, text: bytes) -> None:
        self._item += text[: MAX_RAW_BYTES + 1 - len(self._item)]

    def _finished(self, *, last: bool) -> Iterator[bytes]:
        self._closed = last
        # What stands between the brackets of [] is no item; nothing after a comma is one, and no JSON.
        if self._any or not last or self._item.strip():
            yield (TooLong if len(self._item) > MAX_RAW_BYTES else bytes)(self._item)
        self._any = True
        self._item.clear()


def timestamp_of(text: str, zone: tzinfo = UTC) -> str | None:
    """The time that `text` begins with, as RFC 3339 in UTC; one without offset is in `zone`.

    None when there is none, it is no time of the calendar, or it has no year, as in syslog's `May  1 12:00:00`: we do not guess.
    """
    match = TIMESTAMP.match(text)
    if match is None:
        return None
    date, time, fraction, offset = match.groups()
    offset = "+00:00" if offset in ("Z", "z", "UTC", "GMT") else offset or ""
    try:
        moment = datetime.fromisoformat(f"{date}T{time}.{(fraction or '0')[:6].ljust(6, '0')}{offset}")
        aware = moment if moment.tzinfo else moment.replace(tzinfo=zone)
        # RFC 3339 knows no offset with seconds, which local times of the 19th century have; UTC always has a form.
        return aware.astimezone(UTC).isoformat().replace("+00:00", "Z")
    except (ValueError, OverflowError):
        return None


def refused(number: int, reason: str, detail: str, piece: bytes) -> Refused:
    return Refused(number, reason, detail, piece[:EXCERPT].decode("utf-8", "backslashreplace").replace("\0", "\\x00"))


def escape_in_json(error: UnicodeError) -> tuple[str, int]:
    """As backslashreplace, for text inside a JSON string: the backslash is itself escaped."""
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return "".join(f"\\\\x{byte:02x}" for byte in error.object[error.start : error.end]), error.end


ESCAPE_IN_JSON = "sluice.escape_in_json"
codecs.register_error(ESCAPE_IN_JSON, escape_in_json)
