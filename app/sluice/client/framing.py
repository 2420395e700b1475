"""Cuts a stream of bytes into lines, or into the items of a JSON array, in bounded memory."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator

from sluice import events

MAX_EVENT_BYTES = events.Rules().max_event_bytes
# What one line or array item may take before it is parsed: JSON with much white space or many escapes shrinks.
MAX_RAW_BYTES = 4 * MAX_EVENT_BYTES
READ_BYTES = 64 << 10

# A string swallowed whole or, without its last quote, up to the end of the chunk; or a sign between strings.
TOKEN = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*("?)|[\[\]{},]', re.DOTALL)
REST_OF_STRING = re.compile(rb'[^"\\]*(?:\\.[^"\\]*)*("?)', re.DOTALL)


class TooLong(bytes):
    """The beginning of a line or item that is longer than MAX_RAW_BYTES."""


class Unfinished(bytes):
    """The last line of the input, which has no end."""


class Unreadable(Exception):
    """Nothing can be read after this place of the input."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


def lines(stream: io.BufferedIOBase) -> Iterator[bytes]:
    """The lines of `stream` without their ends; of one beyond MAX_RAW_BYTES only the beginning is kept, as TooLong.

    A last line that has no end is Unfinished.
    """
    while piece := stream.readline(MAX_RAW_BYTES + 1):
        if len(piece) > MAX_RAW_BYTES and not piece.endswith(b"\n"):
            skip_line(stream)
            yield TooLong(piece)
        elif piece.endswith(b"\n"):
            yield piece[:-1].removesuffix(b"\r")
        else:
            yield Unfinished(piece.removesuffix(b"\r"))


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
