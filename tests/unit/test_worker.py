"""What the worker's main loop does with connections, on sockets of one process and without requests."""

from __future__ import annotations

import contextlib
import errno
import os
import selectors
import socket
import time
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
from gunicorn.config import Config
from gunicorn.glogging import Logger
from structlog.testing import capture_logs

from sluice.server import fast_worker
from sluice.server.fast_worker import FastWorker
from sluice.server.worker import FIRST_REQUEST_SECONDS, Connection, SluiceWorker


class Listener:
    """Gives the connections that it is given, and raises the errors."""

    def __init__(self, *gives: socket.socket | OSError) -> None:
        self.ours, self.theirs = socket.socketpair()
        self.theirs.send(b"somebody waits")
        self._gives = list(gives)

    def accept(self) -> tuple[socket.socket, str]:
        given = self._gives.pop(0)
        if isinstance(given, OSError):
            raise given
        return given, ""

    def __getattr__(self, name: str) -> Any:
        return getattr(self.ours, name)


class Pool:
    """Threads that never begin. `waiting`: the connections that were given to them."""

    def __init__(self) -> None:
        self.waiting: list[Connection] = []

    def submit(self, _work: object, conn: Connection) -> Future[object]:
        self.waiting.append(conn)
        return Future()


@contextmanager
def running(kind: type[SluiceWorker], *gives: socket.socket | OSError) -> Iterator[SluiceWorker]:
    config, listener = Config(), Listener(*gives)
    made = kind(0, os.getppid(), [listener], SimpleNamespace(), 30, config, Logger(config))
    made.poller, made.tpool = selectors.DefaultSelector(), Pool()
    made.set_accept_enabled(True)
    with listener.ours, listener.theirs, made.poller, contextlib.closing(made.tmp):
        yield made


@pytest.fixture
def client() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Both ends of a connection, the worker's first."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    with ours, theirs:
        yield ours, theirs


def test_a_request_that_begins_as_its_connection_times_out_gets_a_thread(
    client: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fast_worker, "REST_TIMEOUT", 0.0)
    with running(FastWorker, client[0]) as served:
        assert isinstance(served, FastWorker)
        served.fast_path = SimpleNamespace(max_body=1_000, left=lambda _reason: None)  # type: ignore[assignment]
        served.wait_for_and_dispatch_events(0)
        served.set_accept_enabled(False)
        (conn,) = served.pending_conns
        client[1].send(b"POST /api/v1/ingest HTTP/1.1\r\n")
        conn.timeout = 0.0
        served._readable(conn)
        served.murder_pending()
        # The poller waits for the rest no longer, and the connection is in nobody's way.
        served.wait_for_and_dispatch_events(0)
        assert (served.tpool.waiting, list(served.pending_conns), served.nr_conns) == ([conn], [], 1)


@pytest.mark.parametrize("kind", [SluiceWorker, FastWorker])
def test_a_connection_on_which_nothing_was_sent_holds_up_no_worker_that_stops(
    kind: type[SluiceWorker], client: tuple[socket.socket, socket.socket]
) -> None:
    with running(kind, client[0]) as stopping:
        stopping.wait_for_and_dispatch_events(0)
        assert stopping.nr_conns == 1
        stopping.alive = False
        stopping._cap_keepalive(time.monotonic())
        stopping.murder_pending()
        assert stopping.nr_conns == 0
    assert client[1].recv(1) == b""


@pytest.mark.parametrize("kind", [SluiceWorker, FastWorker])
def test_a_connection_without_a_first_request_is_kept_for_less_than_one_that_had_one(
    kind: type[SluiceWorker], client: tuple[socket.socket, socket.socket]
) -> None:
    with running(kind, client[0]) as served:
        served.cfg.set("keepalive", 620)
        served.wait_for_and_dispatch_events(0)
        (conn,) = served.pending_conns
        assert conn.timeout - time.monotonic() <= FIRST_REQUEST_SECONDS < 620
        conn.set_timeout()
        assert conn.timeout - time.monotonic() > FIRST_REQUEST_SECONDS


@pytest.mark.parametrize("number", [errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EPROTO, errno.ENETDOWN])
def test_a_system_that_gives_no_connection_is_asked_again_a_second_later(
    number: int, client: tuple[socket.socket, socket.socket]
) -> None:
    with running(SluiceWorker, OSError(number, os.strerror(number)), client[0]) as asking:
        with capture_logs() as lines:
            asking.wait_for_and_dispatch_events(0)
        assert [(line["event"], line["reason"]) for line in lines] == [("worker.cannot_accept", os.strerror(number))]
        asking.set_accept_enabled(True)
        asking.wait_for_and_dispatch_events(0)
        assert asking.nr_conns == 0
        asking._accepts_from = time.monotonic()
        asking.set_accept_enabled(True)
        asking.wait_for_and_dispatch_events(0)
        assert asking.nr_conns == 1
