"""A request's body as gunicorn's readers give it, with two promises more: a read ends at a deadline, and waits only when nothing
is there. Written against gunicorn 27.0: http/body.py and http/unreader.py.
"""

from __future__ import annotations

import io
import math
import select
import socket
import threading
import time
from collections.abc import Iterator

from gunicorn.http.body import Body, ChunkedReader, LengthReader
from gunicorn.http.errors import NoMoreData, ParseException
from gunicorn.http.message import Request
from gunicorn.http.unreader import SocketUnreader, Unreader

from sluice import errors

# What one recv() asks for: each gives the GIL away, and with busy threads beside it is a while until it comes back.
RECV_BYTES = 64 << 10
# How long the rest of a body that nobody wants is read, so that its connection can be kept, and how long its client may pause.
SKIP_SECONDS = 1.0
PAUSE_SECONDS = 0.02


def wait(sock: socket.socket, seconds: float) -> bool:
    """Whether there is something to read (or the end) within `seconds`."""
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    return bool(poll.poll(None if math.isinf(seconds) else max(0, math.ceil(seconds * 1000))))


class DeadlineUnreader(SocketUnreader):  # type: ignore[misc]
    """Reads the socket until `until`, a time of time.monotonic(). `in_body`: the headers of a request were read.

    `patience`: for how many clients at a time a thread waits while they send headers; others lose their connection. Nobody
    needs a key to send half a header.
    """

    patience = threading.Semaphore(8)

    def __init__(self, sock: socket.socket) -> None:
        super().__init__(sock, max_chunk=RECV_BYTES)
        self.until = math.inf
        self.in_body = False

    def set_deadline(self, seconds: float) -> None:
        self.until = time.monotonic() + seconds

    def chunk(self, size_hint: int | None = None) -> bytes:
        size = min(max(size_hint or 0, RECV_BYTES), self.max_body_chunk)
        while True:
            try:
                # Most of the time something is there, and this is all.
                return bytes(self.sock.recv(size, socket.MSG_DONTWAIT))
            except BlockingIOError:
                if self._wait():
                    continue
            if self.in_body:
                raise TimeoutError("the client sent nothing until the deadline")
            # In the headers there is nobody to answer: to gunicorn the client has left.
            raise NoMoreData()

    def _wait(self) -> bool:
        if self.in_body:
            return wait(self.sock, self.until - time.monotonic())
        if not self.patience.acquire(blocking=False):
            return False
        try:
            return wait(self.sock, self.until - time.monotonic())
        finally:
            self.patience.release()


class Frames(Unreader):  # type: ignore[misc]
    """Hands a ChunkedReader one line or one chunk at a time.

    What came beyond stays here, where `readable` can see it, and is not copied again for each chunk.
    """

    def __init__(self, source: DeadlineUnreader) -> None:
        super().__init__()
        self._source = source
        # Not in the trailers: gunicorn looks at all of them again with each read, and 800 KiB of short ones would take minutes.
        self.by_line = True
        self._held = b""
        self._at = 0

    def read(self, size: int | None = None, read_ahead: int | None = None) -> bytes:
        """`read_ahead`: what is left of the chunk; without it up to the end of a line. (ChunkedReader never gives a size.)"""
        if self._at >= len(self._held):
            self._held, self._at = self._source.read(None, read_ahead), 0
        start = self._at
        line = 0 if read_ahead or not self.by_line else self._held.find(b"\n", start) + 1
        self._at = line or min(len(self._held), start + (read_ahead or len(self._held)))
        return self._held[start : self._at]

    def unread(self, data: bytes) -> None:
        """The end of the body: what is left belongs to the next request."""
        self._source.unread(data + self._held[self._at :])
        self._held, self._at = b"", 0

    def holds_chunk(self) -> bool:
        """Whether the size of another chunk and some of its data are here; the last chunk, of size 0, has none."""
        start = self._at + 2 * self._held.startswith(b"\r\n", self._at)
        end = self._held.find(b"\n", start) + 1
        return 0 < end < len(self._held) and not self._held.startswith(b"0", start)

    def more(self, timeout: float) -> bool:
        """Whether more than the line end of the last chunk comes within `timeout` seconds, or the end of the connection."""
        until = time.monotonic() + timeout
        while self._held[self._at :] in (b"", b"\r", b"\r\n"):
            if not self._source.buf.tell() and not wait(self._source.sock, until - time.monotonic()):
                return False
            data = self._source.read()
            if not data:
                return True
            self._held, self._at = self._held[self._at :] + data, 0
        return True


class Chunked(ChunkedReader):  # type: ignore[misc]
    """gunicorn's reader of chunked bodies over Frames."""

    buf: io.BytesIO
    parser: Iterator[bytes] | None

    def __init__(self, req: Request, source: DeadlineUnreader) -> None:
        self._frames = Frames(source)
        super().__init__(req, self._frames)

    def parse_trailers(self, unreader: Frames, data: bytes) -> None:
        unreader.by_line = False
        super().parse_trailers(unreader, data)

    def piece(self) -> bytes:
        """The next piece of a chunk; reads chunk sizes and trailers on the way."""
        data: bytes = self.buf.getvalue()
        if data:
            self.buf = io.BytesIO()
            return data
        if self.parser:
            for data in self.parser:
                if data:
                    return data
            self.parser = None
        return b""

    def pieces(self) -> bytes:
        """As `piece`, with every chunk that is there already: many a client sends one for each line."""
        found = [self.piece()]
        size = len(found[0])
        while 0 < size < RECV_BYTES and self._frames.holds_chunk():
            found.append(self.piece())
            size += len(found[-1])
        return b"".join(found)

    def readable(self, timeout: float) -> bool:
        return self.parser is None or bool(self.buf.tell()) or self._frames.more(timeout)


class GunicornBody(Body):  # type: ignore[misc]
    """`wsgi.input` of a request, and its http.bodies.RequestBody. `awaited`: it comes after a 100 (RFC 9110, 10.1.1)."""

    buf: io.BytesIO

    def __init__(self, req: Request, unreader: DeadlineUnreader, *, awaited: bool = False) -> None:
        reader = req.body.reader
        super().__init__(Chunked(req, unreader) if isinstance(reader, ChunkedReader) else reader)
        self._req = req
        self._unreader = unreader
        self._closing = False
        self._awaited = awaited

    def set_deadline(self, seconds: float) -> None:
        self._unreader.set_deadline(seconds)

    def close_connection(self) -> None:
        self._closing = True
        self._req.force_close()

    def read_some(self) -> bytes:
        try:
            self._invite()
            # First what `readline()` and its like read ahead.
            data: bytes = self.buf.getvalue()
            if data:
                self.buf = io.BytesIO()
                return data
            return self._piece_of_length() if isinstance(self.reader, LengthReader) else self.reader.pieces()
        except TimeoutError:
            self._fail()
            raise
        except (OSError, ParseException) as error:
            self._fail()
            raise errors.IncompleteBody(type(error).__name__) from error

    def readable(self, timeout: float) -> bool:
        reader = self.reader
        if self.buf.tell():
            return True
        try:
            self._invite()
            if isinstance(reader, Chunked):
                return reader.readable(timeout)
        except OSError:
            # The client reset the connection: `read_some` meets its end, and reports it in our words.
            return True
        return not reader.length or bool(self._unreader.buf.tell()) or wait(self._unreader.sock, timeout)

    def _invite(self) -> None:
        if self._awaited:
            self._awaited = False
            self._unreader.sock.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")

    def skip_rest(self) -> None:
        if self._awaited:
            self.close_connection()
            return
        until = time.monotonic() + SKIP_SECONDS
        # The rest of what comes in pieces, too, ends here.
        self._unreader.set_deadline(SKIP_SECONDS)
        try:
            while not self._closing and time.monotonic() < until and self.readable(PAUSE_SECONDS):
                if not self.read_some():
                    return
        except (TimeoutError, errors.IncompleteBody):
            pass
        self.close_connection()

    def finished(self) -> bool:
        """Whether the client has nothing on the way to us: a close then cannot destroy the response (RFC 9112, section 9.6)."""
        if self._unreader.buf.tell():
            return False
        return not self.reader.length if isinstance(self.reader, LengthReader) else not self.reader.parser

    def _piece_of_length(self) -> bytes:
        """As LengthReader.read, but without a wait for more than is there, and an end that comes too early is an error."""
        reader = self.reader
        if reader.length == 0:
            return b""
        data: bytes = self._unreader.read(None, read_ahead=reader.length)
        if not data:
            raise NoMoreData()
        if len(data) > reader.length:
            # The next request of a client that does not wait for responses.
            self._unreader.unread(data[reader.length :])
            data = data[: reader.length]
        reader.length -= len(data)
        return data

    def _fail(self) -> None:
        """Where the next request would start is unknown."""
        self.failed = True
        self.close_connection()
