"""One tail: what waits for its client, within bounds, as Server-Sent Events (HTML Living Standard, section 9.2). Pure."""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import Iterable

import msgspec

from sluice.filters import Match
from sluice.keys import KeyEntry
from sluice.stores import Fresh

# Lines and their number.
Block = tuple[bytes, int]
# Bytes of lines that wait for one client, and of those on their way to it.
MAX_QUEUED = 128 << 10
MAX_SENT = 64 << 10
# Of lines that all tails of a filter share.
MAX_BLOCK = 16 << 10
# The browser waits so long, in milliseconds, before it opens a tail that ended again.
OPENING = b"retry: 2000\n\n"
HEARTBEAT = b":\n\n"
LAST_CHUNK = b"0\r\n\r\n"


def line(event: Fresh) -> bytes:
    """The frame of an event: JSON text has no line ends."""
    return f"id: {event.position}\ndata: {event.log}\n\n".encode()


def place(position: str) -> bytes:
    """An id without an event, which no reader shows: one that is cut off before the next event goes on behind it."""
    return f"id: {position}\n\n".encode()


def blocks_of(frames: Iterable[bytes]) -> list[Block]:
    """Lines one after the other, joined once for all tails that get them."""
    blocks: list[Block] = []
    joined: list[bytes] = []
    size = 0
    for frame in frames:
        if joined and size + len(frame) > MAX_BLOCK:
            blocks.append((b"".join(joined), len(joined)))
            joined, size = [], 0
        joined.append(frame)
        size += len(frame)
    return [*blocks, (b"".join(joined), len(joined))] if joined else blocks


def notice(kind: str, **data: object) -> bytes:
    return b"event: %s\ndata: %s\n\n" % (kind.encode(), msgspec.json.encode(data))


class Tail:
    """`position`: behind which event it goes on, until it has caught up. `place`: the position behind all that was put since, ""
    before the first poll. `socket`: None until the response has begun.

    `chunked`: whether the response is (HTTP/1.1). `closing`: it ends when what waits is sent.
    `received`: bytes that its client sent after the request. The hub's lock guards it.
    """

    def __init__(self, entry: KeyEntry, matches: tuple[Match, ...], position: str | None) -> None:
        self.entry = entry
        self.matches = matches
        self.position = position
        self.place = ""
        self.socket: socket.socket | None = None
        self.chunked = True
        self.closing = False
        self.active = 0.0
        self.received = 0
        self._frames: deque[bytes] = deque()
        self._queued = 0
        self._lost = 0
        self._out = memoryview(b"")

    @property
    def waiting(self) -> bool:
        """Whether there is something to send."""
        return bool(self._out or self._frames or self._lost)

    def put(self, frame: bytes, lines: int = 1) -> None:
        """Queue a block of `lines`; one that does not fit is counted, and the client is sent their number in its place."""
        if self._frames and self._queued + len(frame) > MAX_QUEUED:
            self._lost += lines
            return
        self._tell_lost()
        self._append(frame)

    def lose(self, count: int | None) -> None:
        """`count` lines are not sent; None: nobody knows how many."""
        if count is None:
            self._append(notice("lost", lost=None))
        else:
            self._lost += count

    def end(self, reason: str) -> None:
        """Send what waits and the reason, then end."""
        if not self.closing:
            self._tell_lost()
            self._append(notice("end", reason=reason))
            self.closing = True

    def outgoing(self) -> memoryview:
        """The next bytes to send; what `sent` does not take comes again."""
        if not self._out:
            if not self._frames:
                self._tell_lost()
            taken: list[bytes] = []
            size = 0
            while self._frames and (not taken or size + len(self._frames[0]) <= MAX_SENT):
                size += len(self._frames[0])
                taken.append(self._frames.popleft())
            self._queued -= size
            data = b"".join(taken)
            if self.chunked and data:
                data = b"%x\r\n%s\r\n%s" % (size, data, LAST_CHUNK if self.closing and not self._frames else b"")
            self._out = memoryview(data)
        return self._out

    def sent(self, count: int) -> None:
        self._out = self._out[count:]

    def _tell_lost(self) -> None:
        if self._lost:
            lost, self._lost = self._lost, 0
            self._append(notice("lost", lost=lost))

    def _append(self, frame: bytes) -> None:
        self._frames.append(frame)
        self._queued += len(frame)
