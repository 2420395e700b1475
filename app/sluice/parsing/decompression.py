"""Compressed bodies, inflated piece by piece: what is too large is refused before it exists.

gzip and deflate (RFC 1950, and raw RFC 1951 as some clients send it), zstd (RFC 8878), br (RFC 7932).
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol

import brotli
import zstandard

from sluice import errors

# What one step of a decompressor may give. A bomb is noticed after at most this much beyond the limit.
STEP = 64 << 10
# 8 MiB is what RFC 9659 lets a zstd content coding ask for.
ZSTD_WINDOW = 8 << 20


class Inflater(Protocol):
    """One compressed stream. `feed` gives all that `data` holds in pieces of about STEP; `finished`: the stream is complete."""

    finished: bool

    def feed(self, data: bytes) -> Iterator[bytes]: ...


def slices(data: bytes, size: int) -> Iterator[bytes]:
    return (data[start : start + size] for start in range(0, len(data), size))


class Zlib:
    """gzip and deflate. Several gzip members after each other are one body (RFC 1952 section 2.2).

    Input goes in by slices, for the library copies what is behind a member: of a MiB, for each of 50,000 empty ones, that takes a
    second.

    deflate is zlib-wrapped as RFC 9110 says, or raw: of a zlib header's first byte the low four bits are 8.
    """

    SLICE = 16 << 10

    def __init__(self, window: int) -> None:
        self._window = window
        self._stream: Any = None
        self.finished = False

    def feed(self, data: bytes) -> Iterator[bytes]:
        if self._stream is None and data:
            if self._window == zlib.MAX_WBITS and data[0] & 0x0F != 8:
                self._window = -zlib.MAX_WBITS
            self._stream = zlib.decompressobj(self._window)
        for piece in slices(data, self.SLICE):
            while piece:
                if self._stream.eof:
                    self._stream = zlib.decompressobj(self._window)
                yield self._stream.decompress(piece, STEP)
                piece = self._stream.unconsumed_tail or self._stream.unused_data
        while not self._stream.eof and (rest := self._stream.decompress(b"", STEP)):
            yield rest
        self.finished = self._stream.eof


class Brotli:
    def __init__(self) -> None:
        self._stream = brotli.Decompressor()
        self.finished = False

    def feed(self, data: bytes) -> Iterator[bytes]:
        piece = self._stream.process(data, output_buffer_limit=STEP)
        yield piece
        # It takes all input long before it has given all output: a full piece says that there is more.
        while not self._stream.is_finished() and (len(piece) >= STEP or not self._stream.can_accept_more_data()):
            piece = self._stream.process(b"", output_buffer_limit=STEP)
            yield piece
        self.finished = self._stream.is_finished()


class Zstd:
    """Input goes in by small pieces, for the library does not bound its output: 4 bytes may give 128 KiB, so a slice 2 MiB."""

    SLICE = 64

    def __init__(self) -> None:
        self._new = zstandard.ZstdDecompressor(max_window_size=ZSTD_WINDOW).decompressobj
        self._stream = self._new()
        self.finished = False

    def feed(self, data: bytes) -> Iterator[bytes]:
        for piece in slices(data, self.SLICE):
            while piece:
                if self._stream.eof:
                    self._stream = self._new()
                inflated = self._stream.decompress(piece)
                yield inflated[:STEP]
                for at in range(STEP, len(inflated), STEP):
                    yield inflated[at : at + STEP]
                piece = self._stream.unused_data if self._stream.eof else b""
        self.finished = self._stream.eof


INFLATERS: dict[str, Callable[[], Inflater]] = {
    "gzip": lambda: Zlib(zlib.MAX_WBITS | 16),
    "deflate": lambda: Zlib(zlib.MAX_WBITS),
    "zstd": Zstd,
    "br": Brotli,
}
ENCODINGS = tuple(INFLATERS)
BROKEN = (zlib.error, brotli.error, zstandard.ZstdError)


def inflated(pieces: Iterable[bytes], encoding: str) -> Iterator[bytes]:
    """`pieces` without their content coding; raises UnsupportedMediaType, and BadRequest when they are broken or cut off.

    An empty body is empty in every coding. An empty piece, a reader's sign that time passes, is passed on.
    """
    name = encoding.strip().lower().removeprefix("x-")
    if name in ("", "identity"):
        yield from pieces
        return
    if name not in INFLATERS:
        raise errors.UnsupportedMediaType(
            f"the body is coded as {encoding[:100]}; it may be coded once, as one of {', '.join(ENCODINGS)}",
            error="unsupported_content_encoding",
            headers={"Accept-Encoding": ", ".join(ENCODINGS)},
        )
    inflater = INFLATERS[name]()
    finished = True
    try:
        for piece in pieces:
            if not piece:
                yield piece
                continue
            yield from inflater.feed(piece)
            finished = inflater.finished
    except BROKEN:
        finished = False
    if not finished:
        raise errors.BadRequest(f"the body is not complete {name}", error="invalid_body", reason="broken_encoding")
