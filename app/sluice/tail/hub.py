"""All tails of one worker process: one thread reads the store for them, one writes to their clients."""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable

import structlog

from sluice import errors, stores
from sluice.filters import Match
from sluice.http.services import Services
from sluice.keys import KeyEntry
from sluice.stores import Follower
from sluice.tail.stream import HEARTBEAT, Block, Tail, blocks_of, line, place

log = structlog.get_logger()

# Tails of one worker, of one key among them, and different filters, each of which is asked for every new event.
MAX_TAILS, MAX_TAILS_OF_KEY, MAX_FILTERS = 400, 200, 32
# Seconds from one poll to the next: the longer a poll takes, the fewer there are, so that a busy store keeps its time for events.
LEAST_PAUSE, MOST_PAUSE, SHARE = 0.5, 3.0, 0.03
# For so long a poll looks for what tails missed that go on somewhere: meanwhile those that are live get nothing.
CATCH_UP = 1.0
RETRY = 1.0
HEARTBEAT_SECONDS = 15.0
# A client that takes nothing for so long is gone.
PATIENCE = 120.0
# What a client may send after its request, in bytes.
MAX_RECEIVED = 16 << 10
TICK = 0.5


class Hub:
    """`parts.single(Hub)` is that of a process. Both threads begin with the first tail."""

    def __init__(self, parts: Services, clock: Callable[[], float] = time.monotonic) -> None:
        self._parts = parts
        self._clock = clock
        self._lock = threading.Lock()
        self._some = threading.Condition(self._lock)
        self._tails: list[Tail] = []
        self._taken: Counter[str] = Counter()
        self._follower: Follower | None = None
        self._polling = self._started = False
        self._selector = selectors.DefaultSelector()
        self._woken, self._waker = socket.socketpair()

    def open(self, entry: KeyEntry, matches: tuple[Match, ...], position: str | None) -> Tail:
        """A tail that gets every event committed from now on, or behind `position`.

        `begin` or `close` must follow. Raises ServiceUnavailable, StoreUnavailable, InvalidCursor and NotSupported.
        """
        with self._lock:
            self._check_room(entry.key_id, matches)
            if self._follower is None:
                self._follower = stores.follow(self._parts.store)
            here = ""
            if position is not None:
                self._follower.check(position)
            else:
                here = self._follower.place()
                if self._polling:
                    # What is committed from now on may be seen by this poll, which knows nothing of this tail.
                    position = here
            if not self._started:
                self._start()
            tail = Tail(entry, matches, position)
            if here:
                tail.put(place(here))
            self._tails.append(tail)
            self._taken[entry.key_id] += 1
            self._some.notify()
        return tail

    def begin(self, tail: Tail, client: socket.socket, *, chunked: bool) -> None:
        """The head of the response is sent: from here on the tail writes to `client`, which is its own."""
        client.setblocking(False)
        with self._lock:
            tail.chunked = chunked
            tail.active = self._clock()
            tail.socket = client
        self._wake()

    def close(self, tail: Tail) -> None:
        """Forget the tail and close its socket."""
        with self._lock:
            if tail not in self._tails:
                return
            self._tails.remove(tail)
            self._taken[tail.entry.key_id] -= 1
            if not self._taken[tail.entry.key_id]:
                del self._taken[tail.entry.key_id]
            if not self._tails:
                self._follower = None
        if tail.socket is not None:
            with contextlib.suppress(KeyError, ValueError):
                self._selector.unregister(tail.socket)
            tail.socket.close()

    def _check_room(self, key_id: str, matches: tuple[Match, ...]) -> None:
        filters = {tail.matches for tail in self._tails}
        crowded = len(self._tails) >= MAX_TAILS or self._taken[key_id] >= MAX_TAILS_OF_KEY
        if crowded or (matches not in filters and len(filters) >= MAX_FILTERS):
            raise errors.ServiceUnavailable(
                f"this worker serves {MAX_TAILS} tails at a time, {MAX_TAILS_OF_KEY} of one key and {MAX_FILTERS} different"
                " filters; end some, or try again",
                error="overloaded",
                reason="tails",
                headers={"Retry-After": "5"},
            )

    def _start(self) -> None:
        self._started = True
        self._woken.setblocking(False)
        self._waker.setblocking(False)
        self._selector.register(self._woken, selectors.EVENT_READ)
        for name, work in (("tail-read", self._read_all), ("tail-write", self._write_all)):
            threading.Thread(target=work, name=name, daemon=True).start()

    def _wake(self) -> None:
        # When it is full the writer is woken already.
        with contextlib.suppress(BlockingIOError):
            self._waker.send(b".")

    def _read_all(self) -> None:
        while True:
            with self._lock:
                while self._follower is None:
                    self._some.wait()
                follower, tails = self._follower, list(self._tails)
                self._polling = True
            time.sleep(self._poll(follower, tails))

    def _poll(self, follower: Follower, tails: list[Tail]) -> float:
        """Read what is new and queue it; the seconds to wait until the next poll."""
        began = self._clock()
        live = [tail for tail in tails if tail.position is None]
        filters = list(dict.fromkeys(tail.matches for tail in live)) or [()]
        try:
            try:
                poll = follower.poll(filters)
            finally:
                self._polling = False
            lines = [(line(event), event.matched) for event in poll.events]
            blocks = {
                matches: (blocks_of([frame for frame, matched in lines if index in matched]), poll.counts[index])
                for index, matches in enumerate(filters)
            }
            here = follower.place()
            with self._lock:
                for tail in live:
                    self._queue(tail, *blocks[tail.matches], here)
            behind = self._catch_up(follower, tails, here)
        except errors.StoreError:
            # What they would have brought is brought by the next poll that works.
            return RETRY
        except Exception as error:
            log.error("tail.failed", cause=type(error).__name__, exc_info=error)
            return RETRY
        self._wake()
        return LEAST_PAUSE if behind else max(LEAST_PAUSE, min((self._clock() - began) / SHARE, MOST_PAUSE))

    def _catch_up(self, follower: Follower, tails: list[Tail], here: str) -> bool:
        """Send what those missed up to `here` that go on; whether some wait for another poll. The same is read once."""
        missed: dict[tuple[str, tuple[Match, ...]], list[Tail]] = {}
        for tail in tails:
            if tail.position is not None:
                missed.setdefault((tail.position, tail.matches), []).append(tail)
        give_up = self._clock() + CATCH_UP
        for left, ((position, matches), several) in zip(reversed(range(len(missed))), missed.items(), strict=True):
            blocks: list[Block] = []
            count: int | None = None
            with contextlib.suppress(errors.QueryTimeout):
                poll = follower.since(position, matches)
                blocks, count = blocks_of([line(event) for event in poll.events]), poll.counts[0]
            with self._lock:
                for tail in several:
                    if count is None:
                        tail.lose(None)
                    else:
                        self._queue(tail, blocks, count, here)
                    tail.position = None
            if self._clock() > give_up:
                return left > 0
        return False

    @staticmethod
    def _queue(tail: Tail, blocks: list[Block], count: int, here: str) -> None:
        """`count`: how many lines there were up to `here`; the newest of them are in `blocks`."""
        if not tail.closing:
            tail.place = here
            tail.lose(count - sum(lines for _, lines in blocks))
            for block in blocks:
                tail.put(*block)

    def _write_all(self) -> None:
        checked = 0.0
        while True:
            with self._lock:
                idle = not self._tails
            woken, writable = False, list[Tail]()
            for key, mask in self._selector.select(None if idle else TICK):
                if key.data is None:
                    woken = True
                    with contextlib.suppress(BlockingIOError):
                        self._woken.recv(4096)
                elif mask & selectors.EVENT_READ and self._is_gone(key.data):
                    self.close(key.data)
                elif mask & selectors.EVENT_WRITE:
                    writable.append(key.data)
            now = self._clock()
            due = now - checked >= 2 * TICK
            with self._lock:
                tails = [tail for tail in self._tails if tail.socket is not None]
            if due:
                checked = now
                self._check(tails)
            for tail in tails if woken or due else writable:
                try:
                    self._write(tail, now)
                except Exception as error:
                    # One client must not end what serves all.
                    if not isinstance(error, OSError):
                        log.error("tail.failed", cause=type(error).__name__, exc_info=error)
                    self.close(tail)

    @staticmethod
    def _is_gone(tail: Tail) -> bool:
        """Whether the client closed, or sends on and on: what it sends is of no interest, and to read it is work."""
        try:
            given = tail.socket.recv(4096) if tail.socket is not None else b"."
            tail.received += len(given)
            return not given or tail.received > MAX_RECEIVED
        except BlockingIOError:
            return False
        except OSError:
            return True

    def _check(self, tails: list[Tail]) -> None:
        """End the tails whose key is no longer good, or all when the process is to end."""
        draining = self._parts.draining()
        for tail in tails:
            if reason := "draining" if draining else self._refusal(tail.entry.digest):
                with self._lock:
                    tail.end(reason)

    def _refusal(self, digest: str) -> str:
        try:
            entry = self._parts.keyring.current(digest)
        except errors.ApiError as error:
            return error.reason or error.error
        return "" if "read" in entry.scopes else "scope"

    def _write(self, tail: Tail, now: float) -> None:
        """Send what waits, as far as the client takes it."""
        client = tail.socket
        if client is None or client.fileno() < 0:
            return
        with self._lock:
            if not tail.waiting and not tail.closing and now - tail.active >= HEARTBEAT_SECONDS:
                # A new place, too: to look for all that no event has come of since the last one may take too long one day.
                tail.put(HEARTBEAT + (place(tail.place) if tail.place else b""))
            blocked = False
            while tail.waiting and not blocked:
                try:
                    tail.sent(client.send(tail.outgoing()))
                    tail.active = now
                except BlockingIOError:
                    blocked = True
            done = tail.closing and not tail.waiting
        if done or (blocked and now - tail.active > PATIENCE):
            self.close(tail)
            return
        wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if blocked else 0)
        known = self._selector.get_map().get(client)
        if known is None:
            self._selector.register(client, wanted, tail)
        elif known.events != wanted:
            self._selector.modify(client, wanted, tail)
