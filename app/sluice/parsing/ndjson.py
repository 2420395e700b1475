"""NDJSON as it comes in: bytes to chunks of whole lines, each chunk one commit."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from sluice import errors
from sluice.parsing.weight import FACTOR, parsed

# A chunk is closed at this weight also when it has few lines, so that memory does not grow with what the lines hold.
CHUNK_BYTES = 4 << 20


class Chunker:
    """Collects bytes and cuts them at line ends. `due`: it holds `max_lines`, CHUNK_BYTES, or lines older than `max_age` s."""

    def __init__(self, max_lines: int, max_line_bytes: int, clock: Callable[[], float], max_age: float = 1.0) -> None:
        self._max_lines = max_lines
        self._max_line_bytes = max_line_bytes
        self._max_age = max_age
        self._clock = clock
        self._whole = bytearray()
        self._rest = bytearray()
        # What these take when they are parsed.
        self._whole_parsed = self._rest_parsed = 0
        self._lines = 0
        self._since = 0.0

    def add(self, data: bytes) -> None:
        """Take `data`; raises ContentTooLarge when a line has no end within the limits."""
        head, newline, tail = data.rpartition(b"\n")
        if not newline:
            self._rest += data
            self._rest_parsed += parsed(data)
        else:
            if not self._lines:
                self._since = self._clock()
            self._whole += self._rest + head + newline
            self._whole_parsed += self._rest_parsed + parsed(head)
            self._lines += head.count(b"\n") + 1
            self._rest = bytearray(tail)
            self._rest_parsed = parsed(tail)
        # A line may hold white space and escapes that its event's canonical form does not, hence the generous factor.
        if len(self._rest) > 8 * self._max_line_bytes:
            raise errors.ContentTooLarge(f"a line is longer than {8 * self._max_line_bytes} bytes", reason="line_too_long")
        # Commas and brackets the canonical form has too.
        if self._rest_parsed > 16 * self._max_line_bytes * FACTOR:
            raise errors.ContentTooLarge("a line has more values than an event may have", reason="too_many_values")

    def room(self, more: bytes) -> int:
        """What is needed of the memory with `more`: each byte twice, for a chunk becomes events, or what small values take."""
        size = len(self._whole) + len(self._rest) + len(more)
        return max(2 * size, (self._whole_parsed + self._rest_parsed + parsed(more)) // FACTOR)

    @property
    def due(self) -> bool:
        heavy = max(len(self._whole), self._whole_parsed // FACTOR) >= CHUNK_BYTES
        return self._lines >= self._max_lines or heavy or (self._lines > 0 and self.wait <= 0)

    @property
    def wait(self) -> float:
        """Seconds until the lines held are due; `max_age` when there are none."""
        return self._since + self._max_age - self._clock() if self._lines else self._max_age

    def take(self) -> Iterator[bytes]:
        """What is due, as texts of at most `max_lines` lines; full ones first, so that a fast stream makes full commits."""
        while self.due:
            yield self._cut()

    def finish(self) -> Iterator[bytes]:
        """All that is left in whole lines."""
        while self._lines:
            yield self._cut()

    def end(self) -> None:
        """The body came whole: a last line without a line end is a line too."""
        if self._rest.strip():
            self.add(b"\n")

    def _cut(self) -> bytes:
        if self._lines <= self._max_lines:
            text, self._whole = bytes(self._whole), bytearray()
            self._lines = self._whole_parsed = 0
            return text
        *head, rest = self._whole.split(b"\n", self._max_lines)
        self._whole = rest
        self._lines -= self._max_lines
        self._whole_parsed = parsed(rest)
        return b"\n".join(head)
