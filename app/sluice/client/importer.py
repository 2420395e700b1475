"""Events out of lines and JSON: plain log lines, NDJSON, JSON arrays, and what container runtimes and syslog wrap around them.

The events of a file are a function of its bytes, its identity and the options alone. So a second import is all duplicates, and
one that was broken off is resumed by starting it again.
"""

from __future__ import annotations

import codecs
import hashlib
import io
import re
import uuid
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, tzinfo
from typing import Any, Literal

import msgspec

from sluice import errors, events
from sluice.client import framing, multiline
from sluice.client.files import UNREADABLE, Format, Growth
from sluice.client.framing import MAX_RAW_BYTES, TooLong, Unfinished, Unreadable
from sluice.client.multiline import Group, Grouper, Line
from sluice.parsing.timestamps import Timestamps

Multiline = Literal["auto", "off"] | re.Pattern[str]

# Far below the service's 10 MiB for a body, and small enough to hold a handful at a time.
MAX_BATCH_BYTES = 4 << 20
EXCERPT = 200
# Lines of as many streams (programs in a syslog, outputs of a container) are put together side by side.
MAX_STREAMS = 64

# Ours for ever: another namespace would give every event imported so far a second id.
NAMESPACE = uuid.UUID("5f0c2a3e-7d84-4b1a-9c56-2e8f1d6b4a90")

# U+0000 as msgspec writes it, and not the harmless text "\\u0000".
NUL = re.compile(rb"(?<!\\)((?:\\\\)*)\\u0000")
# A container's log as the kubelet keeps it (CRI), and with F or P: the line is full, or its rest is in the next one.
CRI = re.compile(r"(\d{4}-\d\d-\d\dT\S+) (stdout|stderr) ([FP])(?::\S*)?(?: (.*))?$", re.DOTALL)
# What syslogd and journalctl write (RFC 3164, or with an ISO time), and RFC 5424: the host and program, and the message.
SYSLOG = (
    re.compile(
        r"(?:<\d{1,3}>)?(?:[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d\S*|\d{4}-\d\d-\d\dT\S+) (\S+ [^\s:\[]+(?:\[\d+\])?): (.*)$",
        re.DOTALL,
    ),
    re.compile(r"<\d{1,3}>1 \S+ (\S+ \S+ \S+) \S+ (?:-|(?:\[(?:[^\]\\]|\\.)*\])+) (.*)$", re.DOTALL),
)
# What `kubectl logs --timestamps` and `docker logs -t` put before each line.
STAMPED = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6,9}Z (.*)$", re.DOTALL)
COLOUR = re.compile(r"\x1b\[[0-9;]*m")
# Where loggers that write JSON put a traceback.
TRACEBACKS = (
    "traceback", "exc_info", "exception", "stack", "stack_trace", "stacktrace", "error.stack_trace", "Exception", "thrown",
    "exception.stacktrace", "full_message", "err", "error", "message", "MESSAGE", "msg", "text",
)  # fmt: skip
STACKS = ("stack", "stack_trace", "stacktrace", "extendedStackTrace")

encode = msgspec.json.Encoder(order="deterministic").encode


@dataclass(frozen=True, slots=True)
class Item:
    """One event ready to be sent. `number` counts lines or array items from 1."""

    number: int
    json: bytes


@dataclass(frozen=True, slots=True)
class Refused:
    """What cannot become an event; `text` is where it can be recognised by, at most 200 characters."""

    number: int
    reason: str
    detail: str
    text: str = ""


class Importer:
    """Reads one input. `zone` is for timestamps without offset, unless `times` reads them; `ids` may be shared by several inputs.

    `lines`: what makes lines one event; `plain`: nothing that wraps a line is taken off. `growth()` says whether somebody still
    writes to it: what is not whole at its end is left then, and counted in `left`. `blank` counts lines that held nothing and
    became nothing, `untimed` events without a time of their own.
    """

    def __init__(
        self,
        source: str,
        zone: tzinfo = UTC,
        *,
        ids: Ids | None = None,
        times: Timestamps | None = None,
        lines: Multiline = "auto",
        growth: Callable[[], Growth] = lambda: "",
        plain: bool = False,
    ) -> None:
        self._source = source
        self._ids = ids or Ids(source)
        self._times = times or Timestamps(zone)
        self._multiline = lines
        self._growth = growth
        self._plainly = plain
        self._groupers: dict[str, Grouper] = {}
        self._partial: dict[str, Line] = {}
        self.blank = self.untimed = self.left = 0

    def read(self, stream: io.BufferedIOBase, format: Format) -> Iterator[Item | Refused]:
        """Everything in `stream`: each event becomes an Item, what can be none a Refused."""
        pieces = framing.elements(stream) if format == "json" else framing.lines(stream)
        return (entry for entry in self.entries(pieces, format) if entry is not None)

    def entries(self, pieces: Iterable[bytes | None], format: Format) -> Iterator[Item | Refused | None]:
        """As `read`, of lines or array items. None is a pause, and passed on; a second one ends what lines are put together."""
        number = 0
        quiet = False
        broken = None
        try:
            for piece in pieces:
                if piece is None:
                    if quiet:
                        yield from self._flush()
                    quiet = True
                    yield None
                    continue
                number += 1
                quiet = False
                if isinstance(piece, Unfinished) and not (format == "ndjson" and is_json(piece)) and self._growth():
                    self.left += 1
                    break
                yield from self._piece(number, piece, format)
        except Unreadable as error:
            broken = Refused(number + 1, error.reason, error.detail)
        except UNREADABLE as error:
            broken = Refused(number + 1, "unreadable", f"nothing more can be read from here on: {error}")
        begun = [grouper for grouper in self._groupers.values() if grouper.open]
        if (begun or self._partial) and self._growth() == "open":
            self.left += len(self._partial) + sum(grouper.drop() for grouper in begun)
            self._partial.clear()
        yield from self._flush()
        if broken is not None:
            yield broken

    def _piece(self, number: int, piece: bytes, format: Format) -> Iterator[Item | Refused]:
        if isinstance(piece, TooLong):
            yield from self._flush()
            yield refused(number, "too_large", f"longer than {MAX_RAW_BYTES} bytes", piece)
        elif format == "lines":
            text = piece.decode("utf-8", "backslashreplace")
            if not self._plainly and (cri := CRI.match(text)):
                time, stream, tag, rest = cri.groups()
                yield from self._container(number, rest or "", stream, time, whole=tag == "F")
            else:
                yield from self._plain(number, text)
        elif format == "ndjson" and not piece.strip():
            self.blank += 1
        else:
            yield from self._json(number, piece)

    def _plain(self, number: int, text: str) -> Iterator[Item | Refused]:
        clean = COLOUR.sub("", text) if "\x1b" in text and not self._plainly else text
        time = self._times.of_line(clean)
        if time is None:
            yield from self._line("", Line(number, clean, raw=text))
        elif syslog := SYSLOG[0].match(clean) or SYSLOG[1].match(clean):
            program, message = syslog.groups()
            yield from self._line(program, Line(number, message, time=time, raw=text))
        elif stamped := STAMPED.match(clean):
            yield from self._line("", Line(number, stamped[1], time=time, raw=text))
        else:
            yield from self._line("", Line(number, clean, timed=True, time=time, raw=text))

    def _container(self, number: int, text: str, stream: str, time: str, *, whole: bool) -> Iterator[Item | Refused]:
        """A line of a container's output, or a part of one: a runtime cuts what is long."""
        stamp = self._times.of_value(time)
        if before := self._partial.pop(stream, None):
            text = before.raw + text
        if not whole and len(text) < MAX_RAW_BYTES:
            self._partial[stream] = Line(number, text, time=stamp, raw=text, stream=stream)
            return
        if text.startswith("{") and text.endswith("}"):
            try:
                record = msgspec.json.decode(text)
            except errors.NOT_JSON:
                record = None
            if isinstance(record, dict):
                yield from self._entry(number, text.encode(), lambda: self._of_record({"stream": stream} | record, stamp))
                return
        timed = self._times.of_line(text) is not None
        yield from self._line(stream, Line(number, text, timed=timed, time=stamp, raw=text, stream=stream))

    def _line(self, stream: str, line: Line) -> Iterator[Item | Refused]:
        grouper = self._groupers.get(stream)
        if grouper is None:
            if len(self._groupers) >= MAX_STREAMS:
                yield from self._groups(self._groupers.pop(next(iter(self._groupers))).flush())
            pattern = self._multiline if isinstance(self._multiline, re.Pattern) else None
            grouper = self._groupers[stream] = Grouper(pattern, off=self._multiline == "off")
        yield from self._groups(grouper.feed(line))

    def _flush(self) -> Iterator[Item | Refused]:
        while self._partial:
            yield from self._line(*self._partial.popitem())
        for grouper in self._groupers.values():
            yield from self._groups(grouper.flush())

    def _groups(self, found: Iterable[Group | Line]) -> Iterator[Item | Refused]:
        for each in found:
            if isinstance(each, Line):
                self.blank += 1
            else:
                yield from self._entry(each.lines[0].number, each.text.encode(), lambda group=each: self._of_group(group))  # type: ignore[misc]

    def _json(self, number: int, piece: bytes) -> Iterator[Item | Refused]:
        try:
            value = msgspec.json.decode(piece.decode("utf-8", ESCAPE_IN_JSON))
        except errors.NOT_JSON as error:
            problem = events.explain(error)
            yield refused(number, problem.reason, problem.detail, piece)
            return
        if not isinstance(value, dict):
            yield refused(number, "not_an_object", "not a JSON object", piece)
        elif self._plainly:
            yield from self._entry(number, piece, lambda: self._of_record(value, None))
        elif is_docker(value):
            text = value["log"]
            yield from self._container(number, text.removesuffix("\n"), value["stream"], value["time"], whole=text.endswith("\n"))
        elif isinstance(message := value.get("MESSAGE"), str) and "__REALTIME_TIMESTAMP" in value:
            # The journal has a record for each line that a program wrote.
            program = f"{value.get('SYSLOG_IDENTIFIER')}[{value.get('_PID')}]"
            timed = self._times.of_line(message) is not None
            line = Line(number, message, timed=timed, time=self._times.of_record(value), record=value)
            if message.strip() and "\n" not in message:
                yield from self._line(program, line)
            else:
                yield from self._entry(number, piece, lambda: self._of_record(value, line.time))
        else:
            yield from self._entry(number, piece, lambda: self._of_record(value, None))

    def _entry(self, number: int, text: bytes, make: Callable[[], dict[str, Any]]) -> Iterator[Item | Refused]:
        try:
            event = make()
            json = self._ids.identified(event)
        except errors.InvalidEvent as problem:
            yield refused(number, problem.reason, problem.detail, text)
            return
        self.untimed += event.get("timestamp") is None
        yield Item(number, json)

    def _of_group(self, group: Group) -> dict[str, Any]:
        first = group.lines[0]
        time = next((line.time for line in group.lines if line.time), None)
        stream = {"stream": first.stream} if first.stream else {}
        if error := multiline.error_in(group):
            return self._error(error, (first.record or stream) | {"traceback": group.text}, time)
        if first.record is not None and len(group.lines) == 1:
            return self._of_record(first.record, time)
        line = first.raw if len(group.lines) == 1 else group.text
        return self._log("log_line", {"line": line} | stream, time)

    def _of_record(self, record: dict[str, Any], time: str | None) -> dict[str, Any]:
        """An object that looks like an event stays as it is; any other becomes the properties of one."""
        if "event_type" in record and "event_name" in record:
            return record
        time = time or self._times.of_record(record)
        if self._multiline != "off":
            for name in TRACEBACKS:
                text = record.get(name)
                if isinstance(text, dict):
                    text = next((text[name] for name in STACKS if name in text), None)
                if isinstance(text, str) and "\n" in text and (error := multiline.error_in_text(text)):
                    return self._error(error, {"traceback": text} | record, time)
        return self._log("log_record", record, time)

    def _log(self, name: str, properties: dict[str, Any], timestamp: str | None) -> dict[str, Any]:
        event = {"event_type": "log", "event_name": name, "source": self._source, "properties": properties}
        return event if timestamp is None else event | {"timestamp": timestamp}

    def _error(self, error: multiline.Error, properties: dict[str, Any], timestamp: str | None) -> dict[str, Any]:
        """With the parts that an error report (`POST /`) has."""
        parts = {"service": self._source, "endpoint": error.endpoint, "error": error.error} | properties
        return self._log(error.type or "error", parts, timestamp) | {"event_type": "error"}


def is_json(piece: bytes) -> bool:
    """Whether it is whole: a JSON object that is cut off is none."""
    try:
        msgspec.json.decode(piece)
    except errors.NOT_JSON:
        return False
    return piece.lstrip().startswith(b"{")


def is_docker(value: dict[str, Any]) -> bool:
    """A line as Docker's json-file driver writes it."""
    return (
        value.keys() <= {"log", "stream", "time", "attrs"}
        and value.get("stream") in ("stdout", "stderr")
        and isinstance(value.get("log"), str)
        and isinstance(value.get("time"), str)
    )


class Ids:
    """Gives each event without one an id: UUIDv5 of its content, how often that content came before, `source` and the file.

    Without `identity` the source alone names the file, as in releases up to 0.1.

    Remembers 64 bits of a digest for each distinct event: about 100 bytes of memory each, 1 GB for ten million. Two contents
    that share those bits still get different ids, for an id is made of the whole digest.
    """

    def __init__(self, source: str, identity: str = "") -> None:
        self._name = f"{source}:{identity}" if identity else source
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
        return str(uuid.uuid5(NAMESPACE, f"{digest.hexdigest()}:{occurrence}:{self._name}"))


def batches(entries: Iterable[Item | Refused | None], size: int, refuse: Callable[[Refused], None]) -> Iterator[list[Item]]:
    """Lists of up to `size` items and 4 MiB; a Refused goes to `refuse`. None, a pause, ends a list, even an empty one."""
    batch: list[Item] = []
    held = 0
    for entry in entries:
        if isinstance(entry, Refused):
            refuse(entry)
            continue
        if entry is None:
            yield batch
            batch, held = [], 0
            continue
        if batch and (len(batch) == size or held + len(entry.json) > MAX_BATCH_BYTES):
            yield batch
            batch, held = [], 0
        batch.append(entry)
        held += len(entry.json)
    if batch:
        yield batch


def refused(number: int, reason: str, detail: str, piece: bytes) -> Refused:
    return Refused(number, reason, detail, piece[:EXCERPT].decode("utf-8", "backslashreplace").replace("\0", "\\x00"))


def escape_in_json(error: UnicodeError) -> tuple[str, int]:
    """As backslashreplace, for text inside a JSON string: the backslash is itself escaped."""
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return "".join(f"\\\\x{byte:02x}" for byte in error.object[error.start : error.end]), error.end


ESCAPE_IN_JSON = "sluice.escape_in_json"
codecs.register_error(ESCAPE_IN_JSON, escape_in_json)
