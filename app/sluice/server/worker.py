"""gunicorn's threaded worker with four promises more: a read ends at a deadline, a client that does not read its response
is let go, while the service drains every response carries `Connection: close`, and a worker that is to be replaced (MAX_REQUESTS)
goes only when no client counts on a connection to it any more. Written against gunicorn 27.0: workers/gthread.py.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import math
import secrets
import selectors
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable
from concurrent import futures
from typing import Any

import structlog
from gunicorn import util
from gunicorn.arbiter import Arbiter
from gunicorn.http.errors import InvalidResponseHeader, InvalidResponseHeaderName, ParseException
from gunicorn.http.message import Request
from gunicorn.workers import gthread
from structlog.contextvars import clear_contextvars

from sluice import errors
from sluice.server import refusals
from sluice.server.body import DeadlineUnreader, GunicornBody, wait
from sluice.server.worker_state import SharedState

log = structlog.get_logger()

# How long one send() may make no progress, in seconds.
SEND_TIMEOUT = 30
# How long a connection is read on after its last response.
LINGER_SECONDS = 2.0
# How long a connection may say nothing at all before its first request, in seconds; KEEP_ALIVE counts after that.
FIRST_REQUEST_SECONDS = 75
# How long no connection is taken when the system gives none, in seconds.
ACCEPT_PAUSE = 1.0
# What a worker opens beside connections while it serves: to the store, to Redis, for metrics.
OTHER_FILES = 16


class Process:
    """`worker`: the one that this process is. `refused`: counts a request that gunicorn refused, by its reason."""

    worker: SluiceWorker | None = None
    refused: Callable[[str], object] = staticmethod(lambda reason: None)


def stopping() -> bool:
    """Whether this worker takes no more requests: a drain, or it is about to be replaced (MAX_REQUESTS). It waits for what is in
    flight for GRACEFUL_TIMEOUT seconds."""
    return Process.worker is not None and not Process.worker.alive


class Threads(futures.ThreadPoolExecutor):
    """Goes on with the threads that it has when the system gives no more: the worker would end, and all it has under way."""

    full = False

    def _adjust_thread_count(self) -> None:
        # Of the standard library's own, called when the work is in the queue already.
        try:
            super()._adjust_thread_count()
        except RuntimeError:
            if not self._threads:
                raise
            if not self.full:
                self.full = True
                log.error("worker.out_of_threads", threads=len(self._threads), fix=errors.MORE_THREADS)


class Connection(gthread.TConn):  # type: ignore[misc]
    """A connection whose reads end at a deadline, and whose writes end when the client does not read. `body`: of its request."""

    body: GunicornBody | None = None

    def init(self) -> None:
        if not self.initialized:
            super().init()
            self.parser.unreader = DeadlineUnreader(self.sock)
            self.parser.unreader.set_deadline(self.header_timeout)
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", SEND_TIMEOUT, 0))

    def begin(self, header_timeout: float) -> None:
        """Before the headers of a request are read, which may take `header_timeout` seconds."""
        self.header_timeout = header_timeout
        if self.initialized:
            self.parser.unreader.set_deadline(header_timeout)
            self.parser.unreader.in_body = False

    def close(self, graceful: bool = False) -> None:
        """At once: gunicorn lingers here, on the thread that accepts, where one client would hold up all others for 2 s.
        The threads that serve did it before (SluiceWorker.handle)."""
        util.close(self.sock)


class SluiceWorker(gthread.ThreadWorker):  # type: ignore[misc]
    """`shared` and `header_timeout` (seconds) are set after the fork, by gunicorn_conf.post_fork."""

    connection: type[Connection] = Connection
    shared: SharedState | None = None
    header_timeout: float = 10.0
    alive: bool
    max_requests: int
    max_keepalived: int

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # gunicorn would end it two seconds after that request, and close what clients keep for longer.
        self._enough = self.max_requests
        self.max_requests = sys.maxsize
        self._leaves_at = math.inf
        self._accepts_from = 0.0
        # Connections with a request under way that has not been told `Connection: close`.
        self._kept: set[gthread.TConn] = set()
        self._lingering = threading.Semaphore(max(1, self.cfg.threads // 4))
        DeadlineUnreader.patience = threading.Semaphore(max(1, self.cfg.threads // 2))

    @property
    def leaving(self) -> bool:
        """Whether it has had its MAX_REQUESTS: every response says `Connection: close` until no connection is kept."""
        return self._leaves_at < math.inf

    @property
    def closing(self) -> bool:
        """Whether every response is to say `Connection: close`."""
        return self.leaving or not self.alive or (self.shared is not None and self.shared.draining)

    def begin_leaving(self, write: Callable[[Callable[[], object]], object] = lambda line: line()) -> None:
        """`write` writes the line that tells of it."""
        if not self.leaving:
            # A client that sends nothing for so long finds the connection closed anyway.
            seconds = self.cfg.keepalive + 1
            self._leaves_at = time.monotonic() + seconds
            write(functools.partial(log.info, "worker.to_be_replaced", requests=self._enough, within_seconds=seconds))

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
        try:
            super().init_process()
        except RuntimeError as error:
            if str(error) != errors.NO_THREAD:
                raise
            log.critical("worker.out_of_threads", fix=errors.MORE_THREADS)
            sys.exit(Arbiter.WORKER_BOOT_ERROR)

    def get_thread_pool(self) -> futures.ThreadPoolExecutor:
        pool = Threads(self.cfg.threads)
        pool.submit(int).result()
        return pool

    def accept(self, listener: socket.socket) -> None:
        """As gunicorn's, but what comes next is up to `on_accepted`."""
        try:
            sock, address = listener.accept()
        except OSError as error:
            if error.errno == errno.EMFILE:
                self._take_fewer()
            elif error.errno not in (errno.EAGAIN, errno.ECONNABORTED, errno.EWOULDBLOCK):
                self._pause(error)
            return
        self.nr_conns += 1
        self.on_accepted(self.connection(self.cfg, sock, address, listener.getsockname()))

    def on_accepted(self, conn: Connection) -> None:
        """A connection gets a thread only when it says something: in gunicorn each may wait 5 s in one."""
        conn.data_ready = wait(conn.sock, 0)
        if conn.data_ready:
            self.enqueue_req(conn)
            return
        self.await_first(conn)
        self.poller.register(conn.sock, selectors.EVENT_READ, functools.partial(self.on_pending_socket_readable, conn))

    def await_first(self, conn: Connection) -> None:
        """Let `conn` wait for its first request; no longer, however long others are kept: who never asks takes up room."""
        conn.timeout = time.monotonic() + min(FIRST_REQUEST_SECONDS, self.cfg.keepalive)
        self.pending_conns.append(conn)

    def _take_fewer(self) -> None:
        """Others wait in the listener's queue. A worker that dies of it takes the requests of all its clients along."""
        self.worker_connections = max(1, self.nr_conns - OTHER_FILES)
        self.max_keepalived = min(self.max_keepalived, max(0, self.worker_connections - self.cfg.threads))
        log.error("worker.out_of_files", connections=self.worker_connections, fix="raise the limit of open files (ulimit -n)")

    def _pause(self, error: OSError) -> None:
        """The system gives no connection now: it is out of files or memory, or the network failed (accept(2))."""
        self.set_accept_enabled(False)
        self._accepts_from = time.monotonic() + ACCEPT_PAUSE
        log.error("worker.cannot_accept", reason=error.strerror, again_in_seconds=ACCEPT_PAUSE)

    def set_accept_enabled(self, enabled: bool) -> None:
        """Called by the main loop before it waits for events, for at most a second."""
        super().set_accept_enabled(enabled and time.monotonic() >= self._accepts_from)

    def _cap_keepalive(self, deadline: float) -> None:
        """Of a worker that stops: a connection on which nothing was sent yet holds it up no longer than one that is kept."""
        super()._cap_keepalive(deadline)
        for conn in self.pending_conns:
            conn.timeout = min(conn.timeout, deadline)

    def handle(self, conn: Connection) -> object:
        # What gunicorn logs before our application sees the request would carry the ids of this thread's last one.
        clear_contextvars()
        self._kept.add(conn)
        conn.begin(self.header_timeout)
        result = super().handle(conn)
        if result is False and not (conn.body and conn.body.finished()):
            self.linger(conn)
        conn.body = None
        return result

    def linger(self, conn: Connection) -> None:
        """The client reads the response before it is cut off. A few at a time: each waits for its client in a thread."""
        with_patience = self._lingering.acquire(blocking=False)
        util.close_graceful(conn.sock, timeout=LINGER_SECONDS if with_patience else 0.02)
        if with_patience:
            self._lingering.release()

    def handle_error(self, req: Request | None, client: socket.socket, addr: object, exc: Exception) -> None:
        """Answer what gunicorn could not read, or what went wrong outside of the application."""
        request_id = secrets.token_hex(16)
        if isinstance(exc, ParseException) and not isinstance(exc, InvalidResponseHeader | InvalidResponseHeaderName):
            refusal: errors.ApiError = refusals.of(exc, self.cfg)
            Process.refused(str(refusal.reason))
            # A stranger can cause it at will: no warning, and no word of the request, which may be a key.
            log.info(
                "Invalid request from a client",
                status=refusal.status,
                reason=refusal.reason,
                detail=refusal.detail,
                request_id=request_id,
            )
        else:
            log.error("request.failed", cause=type(exc).__name__, exc_info=exc, request_id=request_id)
            refusal = errors.InternalServerError("something here is broken; the log has the request id")
        with contextlib.suppress(OSError):
            refusals.send(client, refusal, request_id)

    def finish_request(self, conn: Connection, fs: futures.Future[object]) -> None:
        super().finish_request(conn, fs)
        self._kept.discard(conn)

    def handle_request(self, req: Request, conn: Connection) -> object:
        req.body = conn.body = GunicornBody(req, conn.parser.unreader, awaited=req._expected_100_continue)
        conn.parser.unreader.in_body = True
        # gunicorn would invite the body at once; a refusal is to come before it.
        req._expected_100_continue = False
        if self.nr + 1 >= self._enough:
            self.begin_leaving()
        if self.closing:
            # No room for idle connections is what makes gunicorn say `Connection: close`; the application's own it drops.
            self.max_keepalived = -1
            self._kept.discard(conn)
        try:
            return super().handle_request(req, conn)
        except BlockingIOError as error:
            # SO_SNDTIMEO. To gunicorn it looks like a client that left, which is nothing to log.
            raise ConnectionResetError(errno.ECONNRESET, "the client does not read its answer") from error
        except BrokenPipeError:
            if req.version < (1, 1):
                # Such a body ends with its connection: nothing but a reset says that this is not all of it.
                conn.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            raise
