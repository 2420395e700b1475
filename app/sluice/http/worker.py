"""gunicorn's threaded worker with four promises more: a read ends at a deadline, a client that does not read its answer
is let go, while the service drains every answer carries `Connection: close`, and a worker that is to be replaced (MAX_REQUESTS)
goes only when no client counts on a connection to it any more.

What the application uses are the functions `set_deadline`, `read_some`, `readable`, `close_after` and `stopping`. Outside of
gunicorn (the test client) they fall back to `wsgi.input`. Written against gunicorn 27.0: workers/gthread.py and http/body.py.
"""

from __future__ import annotations

import errno
import functools
import io
import math
import secrets
import select
import selectors
import socket
import struct
import sys
import threading
import time
from collections.abc import Mapping
from concurrent.futures import Future
from typing import Any

import msgspec
import structlog
from gunicorn import util
from gunicorn.http.body import Body, ChunkedReader, LengthReader
from gunicorn.http.errors import NoMoreData, ParseException
from gunicorn.http.message import Request
from gunicorn.http.unreader import SocketUnreader, Unreader
from gunicorn.workers import gthread
from structlog.contextvars import clear_contextvars

from sluice import errors
from sluice.board import Board

log = structlog.get_logger()

# What one recv() asks for: each gives the GIL away, and with busy threads beside it is a while until it comes back.
RECV_BYTES = 64 << 10
# How long one send() may make no progress, in seconds.
SEND_TIMEOUT = 30


class BrokenBody(errors.SluiceError):
    """The client left, or broke HTTP's framing, before its body was complete."""


class Process:
    """`worker`: the one that this process is, under gunicorn."""

    worker: SluiceWorker | None = None


class Here(threading.local):
    """What this thread works on. `until`: time.monotonic() at which a read gives up; `request`: None while headers are read."""

    until: float = math.inf
    request: Request | None = None


here = Here()


def set_deadline(seconds: float) -> None:
    """From now on a read in this thread raises TimeoutError when nothing came until `seconds` from now."""
    here.until = time.monotonic() + seconds


def stopping() -> bool:
    """Whether this worker takes no more requests: a drain, or it is about to be replaced (MAX_REQUESTS). It waits for what is in
    flight for GRACEFUL_TIMEOUT seconds."""
    return Process.worker is not None and not Process.worker.alive


def close_after(environ: Mapping[str, Any]) -> None:
    """Answer this request with `Connection: close`: what is left of its body will not be read."""
    if here.request is not None and here.request.body is environ.get("wsgi.input"):
        here.request.force_close()


def read_some(environ: Mapping[str, Any]) -> bytes:
    """What is there of the body; waits only when nothing is. b"" at its end.

    Raises TimeoutError at the deadline, and BrokenBody when the end can not come any more; the connection then closes.
    """
    body = environ["wsgi.input"]
    if not isinstance(body, Body):
        return bytes(body.read(RECV_BYTES))
    try:
        return taken(body) or piece(body.reader)
    except TimeoutError:
        fail(environ, body)
        raise
    except (OSError, ParseException) as error:
        fail(environ, body)
        raise BrokenBody(type(error).__name__) from error


def readable(environ: Mapping[str, Any], timeout: float) -> bool:
    """Whether `read_some` has something to tell (data, the end, a broken body) now or within `timeout` seconds."""
    body = environ["wsgi.input"]
    if not isinstance(body, Body) or body.buf.tell():
        return True
    reader = body.reader
    if isinstance(reader, Chunked):
        try:
            return reader.readable(timeout)
        except OSError:
            # The client reset the connection: `read_some` meets its end, and tells it in our words.
            return True
    if isinstance(reader, LengthReader) and reader.length and not reader.unreader.buf.tell():
        return wait(environ["gunicorn.socket"], timeout)
    return True


def taken(body: Body) -> bytes:
    """What `wsgi.input.readline()` and its like read ahead."""
    data: bytes = body.buf.getvalue()
    if data:
        body.buf = io.BytesIO()
    return data


def piece(reader: LengthReader | ChunkedReader) -> bytes:
    if isinstance(reader, LengthReader):
        return piece_of_length(reader)
    return reader.pieces() if isinstance(reader, Chunked) else piece_of_chunks(reader)


def piece_of_length(reader: LengthReader) -> bytes:
    """As LengthReader.read, but no wait for more than is there, and an end that comes too early is told."""
    if reader.length == 0:
        return b""
    data: bytes = reader.unreader.read(None, read_ahead=reader.length)
    if not data:
        raise NoMoreData()
    if len(data) > reader.length:
        # The next request of a client that does not wait for answers.
        reader.unreader.unread(data[reader.length :])
        data = data[: reader.length]
    reader.length -= len(data)
    return data


def piece_of_chunks(reader: ChunkedReader) -> bytes:
    """The next piece of a chunk; reads chunk sizes and trailers on the way."""
    data: bytes = reader.buf.getvalue()
    if data:
        reader.buf = io.BytesIO()
        return data
    if reader.parser:
        for data in reader.parser:
            if data:
                return data
        reader.parser = None
    return b""


def fail(environ: Mapping[str, Any], body: Body) -> None:
    """Where the next request would start is unknown."""
    body.failed = True
    close_after(environ)


def wait(sock: socket.socket, seconds: float) -> bool:
    """Whether there is something to read (or the end) within `seconds`."""
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    return bool(poll.poll(None if math.isinf(seconds) else max(0, math.ceil(seconds * 1000))))


class DeadlineUnreader(SocketUnreader):  # type: ignore[misc]
    """Reads the socket until this thread's deadline."""

    def __init__(self, sock: socket.socket) -> None:
        super().__init__(sock, max_chunk=RECV_BYTES)

    def chunk(self, size_hint: int | None = None) -> bytes:
        size = min(max(size_hint or 0, RECV_BYTES), self.max_body_chunk)
        while True:
            try:
                # Most of the time something is there, and this is all.
                return bytes(self.sock.recv(size, socket.MSG_DONTWAIT))
            except BlockingIOError:
                self._await()

    def _await(self) -> None:
        if wait(self.sock, here.until - time.monotonic()):
            return
        if here.request is None:
            # In the headers there is nobody to tell: to gunicorn the client has left.
            raise NoMoreData()
        raise TimeoutError("the client sent nothing until the deadline")


class Frames(Unreader):  # type: ignore[misc]
    """Hands a ChunkedReader one line or one chunk at a time.

    What came beyond stays here, where `readable` can see it, and is not copied again for each chunk.
    """

    def __init__(self, source: DeadlineUnreader) -> None:
        super().__init__()
        self._source = source
        self._held = b""
        self._at = 0

    def read(self, size: int | None = None, read_ahead: int | None = None) -> bytes:
        """`read_ahead`: what is left of the chunk; without it up to the end of a line. (ChunkedReader never gives a size.)"""
        if self._at >= len(self._held):
            self._held, self._at = self._source.read(None, read_ahead), 0
        start = self._at
        line = 0 if read_ahead else self._held.find(b"\n", start) + 1
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

    def __init__(self, req: Request, source: DeadlineUnreader) -> None:
        self._frames = Frames(source)
        super().__init__(req, self._frames)

    def pieces(self) -> bytes:
        """As piece_of_chunks, with every chunk that is there already: many a client sends one for each line."""
        found = [piece_of_chunks(self)]
        size = len(found[0])
        while 0 < size < RECV_BYTES and self._frames.holds_chunk():
            found.append(piece_of_chunks(self))
            size += len(found[-1])
        return b"".join(found)

    def readable(self, timeout: float) -> bool:
        return self.parser is None or bool(self.buf.tell()) or self._frames.more(timeout)


class Connection(gthread.TConn):  # type: ignore[misc]
    """A connection whose reads end at a deadline, and whose writes end when the client does not read."""

    def init(self) -> None:
        if not self.initialized:
            super().init()
            self.parser.unreader = DeadlineUnreader(self.sock)
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", SEND_TIMEOUT, 0))

    def finished(self) -> bool:
        """Whether the client has nothing on the way to us: a close then can not destroy the answer (RFC 9112, section 9.6)."""
        reader = here.request.body.reader if here.request is not None else None
        if reader is None or self.parser.unreader.buf.tell():
            return False
        return not reader.length if isinstance(reader, LengthReader) else not reader.parser

    def close(self, graceful: bool = False) -> None:
        """At once: gunicorn lingers here, on the thread that accepts, where one client would hold up all others for 2 s.
        The threads that serve did it before (SluiceWorker.handle)."""
        util.close(self.sock)


def write_problem(sock: socket.socket, status: int, reason: str, _message: str) -> None:
    """gunicorn's own refusals (not HTTP, too long a line) as problem details too (RFC 9457), without a word of the client's."""
    problem = {
        "type": "urn:sluice:problem:invalid_request",
        "title": reason,
        "status": status,
        "detail": "this is not HTTP as it can be taken here",
        "error": "invalid_request",
        "request_id": secrets.token_hex(16),
    }
    body = msgspec.json.encode(problem)
    head = f"HTTP/1.1 {status} {reason}\r\nConnection: close\r\nContent-Type: application/problem+json\r\n"
    util.write_nonblock(sock, head.encode("latin1") + b"Content-Length: %d\r\n\r\n%b" % (len(body), body))


class SluiceWorker(gthread.ThreadWorker):  # type: ignore[misc]
    """`board` and `header_timeout` (seconds) are set after the fork, by gunicorn_conf.post_fork."""

    board: Board | None = None
    header_timeout: float = 10.0
    alive: bool
    max_requests: int

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # gunicorn would end it two seconds after that request, and close what clients keep for longer.
        self._enough = self.max_requests
        self.max_requests = sys.maxsize
        self._leaves_at = math.inf
        # Connections with a request under way that has not been told `Connection: close`.
        self._kept: set[gthread.TConn] = set()

    @property
    def leaving(self) -> bool:
        """Whether it has had its MAX_REQUESTS: every answer says `Connection: close` until no connection is kept."""
        return self._leaves_at < math.inf

    def notify(self) -> None:
        """Called by the main loop after each event, and once a second."""
        super().notify()
        if self.alive and self.leaving and self._is_free():
            log.info("worker.replaced")
            self.alive = False

    def _is_free(self) -> bool:
        """Whether no client counts on a connection, or none that does can any more."""
        return not (self._kept or self.keepalived_conns) or time.monotonic() > self._leaves_at

    def init_process(self) -> None:
        Process.worker = self
        super().init_process()

    def accept(self, listener: socket.socket) -> None:
        """As gunicorn's, but a connection gets a thread only when it says something: there each may wait 5 s in one."""
        try:
            sock, address = listener.accept()
        except OSError as error:
            if error.errno not in (errno.EAGAIN, errno.ECONNABORTED, errno.EWOULDBLOCK):
                raise
            return
        self.nr_conns += 1
        conn = Connection(self.cfg, sock, address, listener.getsockname())
        conn.data_ready = wait(sock, 0)
        if conn.data_ready:
            self.enqueue_req(conn)
            return
        conn.set_timeout()
        self.pending_conns.append(conn)
        self.poller.register(sock, selectors.EVENT_READ, functools.partial(self.on_pending_socket_readable, conn))

    def handle(self, conn: Connection) -> object:
        here.request = None
        # What gunicorn logs before our application sees the request would carry the ids of this thread's last one.
        clear_contextvars()
        set_deadline(self.header_timeout)
        self._kept.add(conn)
        result = super().handle(conn)
        if result is False and not conn.finished():
            util.close_graceful(conn.sock)
        here.request = None
        return result

    def finish_request(self, conn: Connection, fs: Future[object]) -> None:
        super().finish_request(conn, fs)
        self._kept.discard(conn)

    def handle_request(self, req: Request, conn: Connection) -> object:
        here.request = req
        if isinstance(req.body.reader, ChunkedReader):
            req.body = Body(Chunked(req, conn.parser.unreader))
        if self.nr + 1 >= self._enough and not self.leaving:
            # Whoever says nothing for so long finds the connection closed anyway.
            self._leaves_at = time.monotonic() + self.cfg.keepalive + 1
            log.info("worker.to_be_replaced", requests=self._enough, within_seconds=self.cfg.keepalive + 1)
        if self.leaving or (self.board is not None and self.board.draining):
            # No room for idle connections is what makes gunicorn say `Connection: close`; the application's own it drops.
            self.max_keepalived = -1
            self._kept.discard(conn)
        try:
            return super().handle_request(req, conn)
        except BlockingIOError as error:
            # SO_SNDTIMEO. To gunicorn it looks like a client that left, which is nothing to log.
            raise ConnectionResetError(errno.ECONNRESET, "the client does not read its answer") from error
