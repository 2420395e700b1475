"""A client-side deadline for statements: a server that was stopped or cut off never runs its own statement_timeout."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections.abc import Iterator

TICK = 0.25


class Watchdog:
    """Shuts the socket of a connection whose statement outlives its deadline; the waiting call then fails at once."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._lock = threading.Lock()
        self._guarded: dict[int, float] = {}
        self._stop = threading.Event()
        threading.Thread(target=self._run, name="store-watchdog", daemon=True).start()

    @contextlib.contextmanager
    def guard(self, fd: int) -> Iterator[None]:
        """Guard the socket `fd` until the block ends."""
        self._guarded[fd] = time.monotonic() + self.seconds
        try:
            yield
        finally:
            # Under the lock: after this line the number may belong to another socket, which must not be shut.
            with self._lock:
                self._guarded.pop(fd, None)

    def go_on(self, fd: int) -> None:
        """Give what is guarded its time anew: it has come further."""
        with self._lock:
            if fd in self._guarded:
                self._guarded[fd] = time.monotonic() + self.seconds

    def close(self) -> None:
        self._stop.set()

    def _run(self) -> None:
        while not self._stop.wait(TICK):
            self._shut_expired(time.monotonic())

    def _shut_expired(self, now: float) -> None:
        with self._lock:
            for fd in [fd for fd, deadline in self._guarded.copy().items() if deadline < now]:
                del self._guarded[fd]
                shut(fd)


def shut(fd: int) -> None:
    with contextlib.suppress(OSError), socket.socket(fileno=os.dup(fd)) as duplicate:
        duplicate.shutdown(socket.SHUT_RDWR)
