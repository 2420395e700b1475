"""How much one key may send in a minute, in requests and in events (counters of the `limits` library, fixed windows).

Each worker counts for itself and grants its share, limit / WORKERS, so that a pod as a whole grants the limit.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Collection
from typing import Literal

import msgspec
from limits.storage import MemoryStorage

from sluice import errors
from sluice.keys import KeyEntry

Kind = Literal["requests", "events"]
WINDOW = 60


class Allowance(msgspec.Struct, gc=False):
    """What the RateLimit header tells: the limit of the pod, what this worker still grants, seconds until it grants all again."""

    kind: Kind
    limit: int
    remaining: int
    reset: int


class Sweep(threading.Timer):
    """A look for expired counters that counts as under way for a second, so that no other is begun meanwhile."""

    EVERY = 1.0

    def __init__(self, timer: threading.Timer) -> None:
        super().__init__(timer.interval, timer.function)
        self.daemon = True
        self._until = time.monotonic() + self.EVERY

    def is_alive(self) -> bool:
        return time.monotonic() < self._until or super().is_alive()


class Expirations(dict[str, float]):
    """When each counter ends. One that another thread has just forgotten never does, where MemoryStorage would raise KeyError."""

    def __missing__(self, name: str) -> float:
        return math.inf


class Counters(MemoryStorage):
    """MemoryStorage looks for expired counters in a new thread up to a hundred times a second; once a second is plenty."""

    def __init__(self) -> None:
        super().__init__()
        self.expirations = Expirations()

    @property
    def timer(self) -> threading.Timer:
        return self._sweep

    @timer.setter
    def timer(self, timer: threading.Timer) -> None:
        self._sweep = Sweep(timer)


class Limiter:
    """One worker's counters. A limit of 0 is no limit; a key's own limits come before the service's."""

    def __init__(self, workers: int, requests_per_minute: int, events_per_minute: int) -> None:
        self._workers = workers
        self._defaults: dict[Kind, int] = {"requests": requests_per_minute, "events": events_per_minute}
        # The storage itself: its strategies wrap it in a dozen calls, and this is asked twice a request.
        self._counters = Counters()

    def request(self, entry: KeyEntry) -> Allowance | None:
        """Count one request; raises TooManyRequests."""
        return self._hit("requests", entry, 1)

    def events(self, entry: KeyEntry, count: int) -> Allowance | None:
        """Count `count` events, all or none of them; raises TooManyRequests."""
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
        name = f"{kind}/{entry.key_id}"
        granted = share(limit, self._workers)
        spent = self._counters.incr(name, WINDOW, cost)
        reset = max(1, math.ceil(self._counters.get_expiry(name) - time.time()))
        if spent > granted:
            self._counters.decr(name, cost)
            raise refusal(Allowance(kind, limit, max(0, granted - spent + cost), reset), cost, granted)
        return Allowance(kind, limit, granted - spent, reset)


def share(limit: int, workers: int) -> int:
    """What one of `workers` grants of `limit` a minute, rounded up: a small limit must not become none."""
    return -(-limit // workers)


def refusal(allowance: Allowance, cost: int, granted: int) -> LimitExceeded:
    """429 with Retry-After, which agrees with RateLimit's `t`."""
    detail = f"this key may send {allowance.limit} {allowance.kind} a minute"
    if cost > granted:
        detail += f"; {cost} at once are more than a worker ever grants ({granted}): send fewer at a time"
    return LimitExceeded(allowance, detail)


class LimitExceeded(errors.TooManyRequests):
    """The refusal, with the allowance that its headers tell."""

    def __init__(self, allowance: Allowance, detail: str) -> None:
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
