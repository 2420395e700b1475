"""How much one key may send in a minute, in requests and in events, counted for the pod: all its workers share the counters."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import math
import mmap
import os
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Literal, Protocol

import msgspec

from sluice import errors, values
from sluice.keys import KeyEntry

Kind = Literal["requests", "events"]
WINDOW = 60


class Allowance(msgspec.Struct, gc=False):
    """What the RateLimit header reports: the limit, what is left of it, and the seconds until all of it is granted again."""

    kind: Kind
    limit: int
    remaining: int
    reset: int


class Counters(Protocol):
    """The place for counters that pods share."""

    def spend(self, name: str, cost: int, limit: int) -> tuple[bool, int, float]:
        """Add `cost` to the window of `name`, unless that takes it over `limit`. A window starts with its first hit.

        Returns whether it was added, what is left of the limit, and the seconds until the window ends.
        """


class SharedCounters:
    """Counters in a file that every worker of a pod maps. `path` None: this process alone.

    The file is an array of 64-bit words: how many workers there were, the process id of each, then for each name a digest, the
    second at which its window started, and one cell for each worker: that second and what this worker granted of the window.
    Only its worker writes a cell, so that a hit needs no lock between processes: it adds first, sums up all cells, and takes
    back what is over the limit. A lock guards what is rare: a new name, a new window, a new worker. A worker that dies leaves
    its cells to its successor, and what it granted stays counted. A name beyond the last slot takes the one with the oldest
    window.
    """

    SLOTS = 4_096
    # For workers that still end when their successors start.
    SPARE = 4

    def __init__(self, path: Path | None, workers: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._workers = workers + self.SPARE
        self._stride = 2 + self._workers
        self._slots = 1 + self._workers
        size = 8 * (self._slots + self.SLOTS * self._stride)
        self._file = None if path is None else opened(path, size)
        self._words = memoryview(mmap.mmap(-1 if self._file is None else self._file, size)).cast("Q")
        self._places: dict[str, tuple[int, int]] = {}
        self._lock = threading.Lock()
        with self._lock:
            self._cell = self._own_cell()

    def spend(self, name: str, cost: int, limit: int) -> tuple[bool, int, float]:
        words = self._words
        with self._lock:
            now = self._clock()
            place, digest = self._places.get(name, (0, 0))
            start = words[place + 1]
            if words[place] != digest or not digest or not start <= now < start + WINDOW:
                place = self._begin(name)
                now, start = self._clock(), words[place + 1]
            first = place + 2
            cell = first + self._cell
            mine = words[cell] if words[cell] >> 32 == start else start << 32
            # Two workers that add at the same time may both see too much, where there was room for one of them.
            for _ in range(3):
                words[cell] = mine + cost
                spent = 0
                for each in words[first : first + words[0]]:
                    if each >> 32 == start:
                        spent += each & 0xFFFFFFFF
                if spent <= limit:
                    return True, limit - spent, start + WINDOW - now
                words[cell] = mine
            return False, max(0, limit - spent + cost), start + WINDOW - now

    def _begin(self, name: str) -> int:
        """The place of `name`, with a window that has not ended."""
        words, stride = self._words, self._stride
        digest = int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest()) | 1
        with self._exclusive():
            digests = words[self._slots :: stride].tolist()
            starts = words[self._slots + 1 :: stride].tolist()
            slot = digests.index(digest) if digest in digests else starts.index(min(starts))
            place = self._slots + slot * stride
            now = self._clock()
            if digests[slot] != digest or not starts[slot] <= now < starts[slot] + WINDOW:
                words[place + 1] = int(now)
                words[place] = digest
        if len(self._places) >= self.SLOTS:
            self._places.clear()
        self._places[name] = place, digest
        return place

    def _own_cell(self) -> int:
        """The cell of a worker that is gone, or a new one; without any (more workers than were announced) the last is shared."""
        with self._exclusive():
            of_nobody = (0, os.getpid())
            pids = enumerate(self._words[1 : self._slots])
            found = next((at for at, pid in pids if pid in of_nobody or not values.exists(pid)), self._workers - 1)
            self._words[1 + found] = os.getpid()
            self._words[0] = max(self._words[0], found + 1)
        return found

    @contextlib.contextmanager
    def _exclusive(self) -> Iterator[None]:
        """A lock between processes; the kernel takes it from one that dies."""
        if self._file is None:
            yield
            return
        fcntl.flock(self._file, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(self._file, fcntl.LOCK_UN)


def opened(path: Path, size: int) -> int:
    """A descriptor of the file, made with zeros when it is missing."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    if sys.platform == "linux":
        # Now, where it is an error: a mapped page without room behind it ends the process (SIGBUS).
        os.posix_fallocate(descriptor, 0, size)
    else:
        os.ftruncate(descriptor, size)
    return descriptor


class Limiter:
    """Limits of keys. A limit of 0 is no limit; a key's own limits come before the service's."""

    def __init__(self, counters: Counters, requests_per_minute: int, events_per_minute: int) -> None:
        self._counters = counters
        self._defaults: dict[Kind, int] = {"requests": requests_per_minute, "events": events_per_minute}

    def request(self, entry: KeyEntry) -> Allowance | None:
        """Count one request; raises LimitExceeded."""
        return self._hit("requests", entry, 1)

    def events(self, entry: KeyEntry, count: int) -> Allowance | None:
        """Count `count` events, all or none of them; raises LimitExceeded, and UnprocessableContent for more than ever fit."""
        return self._hit("events", entry, count)

    def limit_of(self, entry: KeyEntry, kind: Kind) -> int:
        limits = entry.rate_limit
        if limits is None:
            return self._defaults[kind]
        own = limits.requests_per_minute if kind == "requests" else limits.events_per_minute
        return self._defaults[kind] if own is None else own

    def _hit(self, kind: Kind, entry: KeyEntry, cost: int) -> Allowance | None:
        limit = self.limit_of(entry, kind)
        if limit == 0:
            return None
        if cost > limit:
            # Not a 429: no time that a client waits would help.
            raise errors.UnprocessableContent(
                f"{cost} {kind} at once are more than the {limit} that this key may send a minute; send fewer at a time",
                error="batch_too_large",
                reason="rate_limit",
            )
        granted, remaining, seconds = self._counters.spend(f"{kind}/{entry.key_id}", cost, limit)
        allowance = Allowance(kind, limit, remaining, max(1, math.ceil(seconds)))
        if not granted:
            raise LimitExceeded(allowance)
        return allowance


class LimitExceeded(errors.TooManyRequests):
    """429 with a Retry-After that agrees with `t` of the RateLimit header."""

    def __init__(self, allowance: Allowance) -> None:
        detail = f"this key may send {allowance.limit} {allowance.kind} a minute"
        super().__init__(detail, reason=allowance.kind, headers={"Retry-After": str(allowance.reset)})
        self.allowance = allowance


def headers(allowances: Collection[Allowance]) -> list[tuple[str, str]]:
    """RateLimit-Policy and RateLimit as draft-ietf-httpapi-ratelimit-headers-10 writes them; none without limits."""
    if not allowances:
        return []
    return [
        ("RateLimit-Policy", ", ".join([f'"{v.kind}";q={v.limit};w={WINDOW}' for v in allowances])),
        ("RateLimit", ", ".join([f'"{v.kind}";r={v.remaining};t={v.reset}' for v in allowances])),
    ]
