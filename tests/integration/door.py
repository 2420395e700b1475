"""A way to a server that can close on those who come in."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

BLOCK = 65_536


class Door:
    """A port on loopback that leads to `target`; the first `closed` who come are put out after their first bytes."""

    def __init__(self, target: int, closed: int) -> None:
        self._target, self._closed = target, closed
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.came = 0

    def serve(self) -> None:
        """Until the listener is shut down."""
        while True:
            try:
                caller, _ = self._listener.accept()
            except OSError:
                return
            self.came += 1
            if self.came <= self._closed:
                caller.recv(BLOCK)
                caller.close()
            else:
                server = socket.create_connection(("127.0.0.1", self._target))
                for ends in ((caller, server), (server, caller)):
                    threading.Thread(target=carry, args=ends, daemon=True).start()

    def shut(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


def carry(source: socket.socket, sink: socket.socket) -> None:
    """Bytes of one direction, until either side ends; then both are told."""
    with source, sink, suppress(OSError):
        while block := source.recv(BLOCK):
            sink.sendall(block)
        # Closing alone does not wake the thread of the other direction.
        sink.shutdown(socket.SHUT_RDWR)


@contextmanager
def door(target: int, closed: int) -> Iterator[Door]:
    """A `Door` that is served by a thread."""
    made = Door(target, closed)
    thread = threading.Thread(target=made.serve)
    thread.start()
    try:
        yield made
    finally:
        made.shut()
        thread.join()
