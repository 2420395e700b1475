"""The worker whose poller serves plain single posts itself (sluice.http.fast_path); all else goes to a thread, as it always did.

A thread for each request costs ten times what Flask does: the hand-over there and back, and the wait for the GIL. A connection
stays registered with the poller while its request is committed, and has one such request at a time. Written against gunicorn
27.0: workers/gthread.py.
"""

from __future__ import annotations

import functools
import selectors
import socket
import time
from collections import deque
from collections.abc import Sequence
from typing import Any

from gunicorn import util
from prometheus_client import CollectorRegistry

from sluice.http import plain_request
from sluice.http.fast_path import ROUTE, Exchange, FastPath
from sluice.http.services import Services
from sluice.keyring import LastKey
from sluice.metrics import RequestMetrics, SlowReason
from sluice.server.worker import Connection, Process, SluiceWorker

# How long the poller waits for the rest of a request before a thread does, in seconds.
REST_TIMEOUT = 0.25
# A plain request fits; what comes behind one waits here, once for each connection.
RECV_BYTES = plain_request.MAX_HEAD + plain_request.MAX_BODY


class FastConnection(Connection):
    """`received`: bytes that nobody has read yet. `busy`: its request is being committed. `served`: the poller has served it,
    so that it stands in `keepalived_conns`. `polled`: it is registered with the poller. `active`: when it was last served;
    `rest_until`: when the rest of a request is waited for no longer, 0 without one (both time.monotonic())."""

    received = b""
    busy = False
    served = False
    polled = False
    active = 0.0
    rest_until = 0.0

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.last_key = LastKey()

    def init(self) -> None:
        super().init()
        if self.received:
            self.parser.unreader.unread(self.received)
            self.received = b""


class FastWorker(SluiceWorker):
    """`fast_path` is set when the application is loaded; without it this is a SluiceWorker."""

    connection = FastConnection
    fast_path: FastPath | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # Connections that wait for the rest of a request, by `rest_until`; one that has it by now has another `rest_until`.
        self._rests: deque[tuple[float, FastConnection]] = deque()

    def use(self, fast_path: FastPath) -> None:
        fast_path.deliver = functools.partial(self.method_queue.defer, self._finish, fast_path)
        self.fast_path = fast_path

    def on_accepted(self, conn: FastConnection) -> None:
        self.await_first(conn)
        self._poll(conn)

    def wait_for_and_dispatch_events(self, timeout: float) -> None:
        if self._rests:
            timeout = min(timeout, max(0.0, self._rests[0][0] - time.monotonic()))
        super().wait_for_and_dispatch_events(timeout)
        while self._rests and self._rests[0][0] <= time.monotonic():
            until, conn = self._rests.popleft()
            if conn.rest_until == until:
                self._to_thread(conn, "incomplete")

    def on_pending_socket_readable(self, conn: FastConnection, client: socket.socket) -> None:
        self._readable(conn)

    def on_client_socket_readable(self, conn: FastConnection, client: socket.socket) -> None:
        self._readable(conn)

    def finish_request(self, conn: FastConnection, fs: Any) -> None:
        super().finish_request(conn, fs)
        # gunicorn registers it again when the client may send another request.
        conn.polled = conn.served = bool(self.keepalived_conns) and self.keepalived_conns[-1] is conn

    def murder_keepalived(self, force: bool = False) -> None:
        """As gunicorn's, but a connection that the poller serves keeps its place in the queue, and is looked at when its time
        has come: then it may be busy, or have been served meanwhile."""
        now = time.monotonic()
        while self.keepalived_conns and (force or self.keepalived_conns[0].timeout <= now):
            conn = self.keepalived_conns[0]
            idle_until = conn.active + self.cfg.keepalive if self.alive else 0.0
            if (conn.busy or idle_until > now) and not force:
                conn.timeout = max(idle_until, now + 1)
                self.keepalived_conns.rotate(-1)
            else:
                self._time_out(conn, force)

    def murder_pending(self) -> None:
        """As gunicorn's, which knows nothing of what a FastConnection stands in."""
        now = time.monotonic()
        while self.pending_conns and self.pending_conns[0].timeout <= now:
            self._time_out(self.pending_conns[0])

    def _time_out(self, conn: FastConnection, force: bool = False) -> None:
        """Its client said nothing for long enough; one that has begun a request since is waited for by a thread."""
        if conn.rest_until and not force:
            self._to_thread(conn, "incomplete")
        else:
            self._drop(conn)

    def _poll(self, conn: FastConnection) -> None:
        self.poller.register(conn.sock, selectors.EVENT_READ, functools.partial(self.on_client_socket_readable, conn))
        conn.polled = True

    def _readable(self, conn: FastConnection) -> None:
        if not conn.polled:
            # It was taken away by what else this round of the poller brought.
            return
        if conn.busy:
            # The next request of a client that does not wait, or the end: neither is read before this response is sent.
            self.poller.unregister(conn.sock)
            conn.polled = False
            return
        try:
            data = conn.sock.recv(RECV_BYTES)
        except BlockingIOError:
            return
        except OSError:
            self._drop(conn)
            return
        conn.received += data
        if not conn.received:
            self._drop(conn)
        elif self.fast_path is None or self.closing:
            self._to_thread(conn, "closing")
        elif not data:
            self._to_thread(conn, "incomplete")
        else:
            self._serve(conn, self.fast_path)

    def _serve(self, conn: FastConnection, fast_path: FastPath) -> None:
        """Begin with what was received, as long as that is plain requests."""
        while conn.received and not conn.busy:
            found = plain_request.parse(conn.received, fast_path.max_body)
            if found is None:
                if not conn.rest_until:
                    conn.rest_until = time.monotonic() + REST_TIMEOUT
                    self._rests.append((conn.rest_until, conn))
                return
            conn.rest_until = 0.0
            if isinstance(found, str):
                self._to_thread(conn, found)
                return
            conn.received = conn.received[found.size :]
            self.nr += 1
            if self.nr >= self._enough:
                self.begin_leaving(fast_path.log)
            if not conn.served:
                self.pending_conns.remove(conn)
                conn.served = True
                conn.set_timeout()
                self.keepalived_conns.append(conn)
            exchange = fast_path.begin(conn, found)
            if exchange.record is not None:
                conn.busy = True
                fast_path.commit(exchange)
            elif not self._respond(exchange, fast_path):
                return

    def _finish(self, fast_path: FastPath, exchanges: Sequence[Exchange]) -> None:
        for exchange in exchanges:
            conn = exchange.client
            conn.busy = False
            if self._respond(exchange, fast_path) and conn.received:
                self._serve(conn, fast_path)

    def _respond(self, exchange: Exchange, fast_path: FastPath) -> bool:
        """Send the response; whether the connection is still the poller's."""
        conn: FastConnection = exchange.client
        close = not exchange.keep_alive or self.closing or len(self.keepalived_conns) > self.max_keepalived
        data = fast_path.finish(exchange, close=close)
        conn.active = time.monotonic()
        try:
            sent = conn.sock.send(data)
        except BlockingIOError:
            sent = 0
        except OSError:
            self._drop(conn)
            return False
        if sent < len(data) or (close and (conn.received or not conn.polled)):
            # The client does not read, or a close would destroy what it has not read yet: a thread has the patience.
            self._take(conn)
            self._kept.add(conn)
            future = self.tpool.submit(self._send_rest, conn, data[sent:], close)
            future.add_done_callback(functools.partial(self.method_queue.defer, self.finish_request, conn))
            return False
        if close:
            self._drop(conn)
            return False
        if not conn.polled:
            self._poll(conn)
        return True

    def _send_rest(self, conn: FastConnection, data: bytes, close: bool) -> bool:
        """Whether the connection can serve another request."""
        try:
            conn.sock.setblocking(True)
            conn.begin(self.header_timeout)
            conn.init()
            conn.sock.sendall(data)
        except OSError:
            return False
        if close:
            self.linger(conn)
        return not close

    def _to_thread(self, conn: FastConnection, reason: SlowReason) -> None:
        if self.fast_path is not None:
            self.fast_path.left(reason)
        self._take(conn)
        conn.data_ready = True
        self.enqueue_req(conn)

    def _drop(self, conn: FastConnection) -> None:
        self._take(conn)
        self.nr_conns -= 1
        util.close(conn.sock)

    def _take(self, conn: FastConnection) -> None:
        """Take a connection from the poller and from whatever it stands in."""
        if conn.polled:
            self.poller.unregister(conn.sock)
        (self.keepalived_conns if conn.served else self.pending_conns).remove(conn)
        conn.polled = conn.served = False
        conn.rest_until = 0.0


def serve(parts: Services, registry: CollectorRegistry) -> None:
    """Open the fast path of this process, if its worker has one, when the application is loaded."""
    worker = Process.worker
    if isinstance(worker, FastWorker):
        worker.use(FastPath(parts, RequestMetrics(registry, "POST", ROUTE)))
