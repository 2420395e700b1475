"""Cuts a stream of bytes into lines, or into the items of JSON, in bounded memory."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Iterator
from typing import cast

# Of one line or array item, as much as a service can be set to take of an event (MAX_EVENT_BYTES): each knows its own limit.
MAX_RAW_BYTES = 16 << 20
READ_BYTES = 64 << 10
# What a file has before the next line where it was truncated under a writer that does not append: no part of that line.
HOLE = bytes(512)

# A string swallowed whole or, without its last quote, up to the end of the chunk; or a sign between strings.
TOKEN = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*("?)|[\[\]{},]', re.DOTALL)
# What cloud providers write: one object for a file, with its records in it.
ENVELOPE = re.compile(rb'\{\s*"[Rr]ecords"\s*:\s*')
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
    return cast(Iterator[bytes], lines_of_pieces(iter(lambda: stream.read1(READ_BYTES), b"")))


class Splitter:
    """Cuts pieces of a stream into lines, as `lines` does. `rest`: of the last one, which has no end yet."""

    rest = b""

    def feed(self, piece: bytes) -> Iterator[bytes]:
        if len(self.rest) > MAX_RAW_BYTES:
            # Nothing more of this line is kept, nor looked at.
            if (end := piece.find(b"\n")) < 0:
                return
            piece = piece[end:]
        *whole, self.rest = (self.rest + piece).split(b"\n")
        for line in map(without_hole, whole):
            yield line.removesuffix(b"\r") if len(line) <= MAX_RAW_BYTES else TooLong(line[:MAX_RAW_BYTES])
        # What is beyond is not kept; TooLong comes when the line ends.
        self.rest = self.rest[: MAX_RAW_BYTES + 1]
        if self.rest.startswith(HOLE):
            self.rest = HOLE + self.rest.lstrip(b"\0")


def lines_of_pieces(pieces: Iterable[bytes | None]) -> Iterator[bytes | None]:
    """The lines in `pieces`; None, a pause, is passed on."""
    splitter = Splitter()
    for piece in pieces:
        if piece is None:
            yield None
        else:
            yield from splitter.feed(piece)
    rest = without_hole(splitter.rest)
    if len(rest) > MAX_RAW_BYTES:
        yield TooLong(rest)
    elif rest:
        yield Unfinished(rest.removesuffix(b"\r"))


def without_hole(line: bytes) -> bytes:
    return line.lstrip(b"\0") if line.startswith(HOLE) else line


def elements(stream: io.BufferedIOBase) -> Iterator[bytes]:
    """The items of the JSON in `stream`, as text: of an array, of an envelope's array, and objects that come one after the other.

    Of one beyond MAX_RAW_BYTES only the beginning, as TooLong. Raises Unreadable where the text is none of these, or no longer.
    """
    framer = Framer()
    while chunk := stream.read1(READ_BYTES):
        yield from framer.feed(chunk)
    framer.end()


class Framer:
    """Cuts JSON into its items by brackets, commas and quotes, and leaves each item to the JSON parser.

    Not a streaming parser, on purpose: with ijson 3.6 one broken item loses all that follow, `\\ud800` silently becomes `?`,
    and 100 kB of `[` take all memory of the machine.
    """

    def __init__(self) -> None:
        self._begun = self._any = False
        self._depth = 0
        # The depth between the items: 1 in an array, 2 in that of an envelope, 0 where objects are items themselves.
        self._within = 0
        self._quoted = self._escaped = False
        self._item = bytearray()

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """The items that end in `chunk`."""
        start = 0
        for at, sign in self._signs(chunk):
            self._depth += (sign in b"[{") - (sign in b"]}")
            if self._within:
                if self._depth < self._within or (self._depth == self._within and sign == b","):
                    self._keep(chunk[start:at])
                    start = at + 1
                    yield from self._finished(last=self._depth < self._within)
            elif self._depth == 1 and sign in b"[{":
                self._between(chunk[start:at])
                self._begun = True
                start = at + self._array(1, sign == b"[")
            elif self._depth == 2 and sign == b"[" and self._is_envelope(chunk[start:at]):
                start = at + self._array(2, True)
            elif self._depth == 0 and sign != b",":
                self._keep(chunk[start : at + 1])
                start = at + 1
                yield from self._object()
            elif self._depth < 0:
                self._between(chunk[start : at + 1])
        self._keep(chunk[start:])

    def end(self) -> None:
        """Raise Unreadable unless all that was opened was closed."""
        if self._depth == 0 and not self._quoted:
            self._between(b"")
        if not self._begun or self._depth or self._quoted:
            raise Unreadable("truncated", "the JSON does not end: the last item is cut off, or a bracket or quote is missing")

    def _between(self, text: bytes) -> None:
        self._keep(text)
        if self._item.strip():
            raise Unreadable("not_json", "there is text that is no array and no object, which is not read; is --format right?")
        self._item.clear()

    def _array(self, depth: int, begins: bool) -> bool:
        if begins:
            self._within, self._any = depth, False
            self._item.clear()
        return begins

    def _is_envelope(self, text: bytes) -> bool:
        return len(self._item) + len(text) < 64 and ENVELOPE.fullmatch(self._item + text) is not None

    def _object(self) -> Iterator[bytes]:
        item = bytes(self._item).strip()
        # What an envelope has beside its array.
        if not item.startswith(b"{"):
            item = b"{" + item.removeprefix(b",")
        if item != b"{}" or self._item.lstrip().startswith(b"{"):
            yield TooLong(item) if len(item) > MAX_RAW_BYTES else item
        self._item.clear()

    def _signs(self, chunk: bytes) -> Iterator[tuple[int, bytes]]:
        """Where brackets and commas stand that are not in a string."""
        start = 0
        if self._quoted and chunk:
            match = REST_OF_STRING.match(chunk, int(self._escaped))
            start = self._after(match, chunk) if match else 0
        for match in TOKEN.finditer(chunk, start):
            if match[1] is None:
                yield match.start(), match[0]
            else:
                self._after(match, chunk)

    def _after(self, string: re.Match[bytes], chunk: bytes) -> int:
        """Note whether `string` goes on in the next chunk, and whether that begins with an escaped character."""
        self._quoted = not string[1]
        self._escaped = self._quoted and string.end() < len(chunk)
        return len(chunk) if self._quoted else string.end()

    def _keep(self, text: bytes) -> None:
        self._item += text[: MAX_RAW_BYTES + 1 - len(self._item)]

    def _finished(self, *, last: bool) -> Iterator[bytes]:
        if last:
            self._within = 0
        # What stands between the brackets of [] is no item; nothing after a comma is one, and no JSON.
        if self._any or not last or self._item.strip():
            yield (TooLong if len(self._item) > MAX_RAW_BYTES else bytes)(self._item)
        self._any = True
        self._item.clear()
