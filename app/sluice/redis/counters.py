"""Rate limits that all pods share.

Each process takes a window's limit out of Redis in parts of a 300th and spends them by itself: one round trip for many requests,
and with 12 processes at most 4 % of a limit lie unspent in other processes when one is refused. Limits up to 300 are exact.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from sluice.limiter import WINDOW, Counters
from sluice.redis.connection import Away, Connection

PARTS = 300
# Names that are remembered at a time; key ids come from the key set, so no client can make more.
MOST = 4_096
# One step in Redis: take `cost`, and up to `part` if there is more, or nothing. What is left, and the milliseconds of the window.
# What has no end is no window of ours: it would refuse for ever.
TAKE = """
local fresh = redis.call('PTTL', KEYS[1]) < 0
local spent = fresh and 0 or tonumber(redis.call('GET', KEYS[1]))
local cost, part, limit = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local free = math.max(limit - spent, 0)
local taken = 0
if free >= cost then
    taken = math.min(math.max(cost, part), free)
    if fresh then redis.call('SET', KEYS[1], taken, 'PX', ARGV[4]) else redis.call('INCRBY', KEYS[1], taken) end
end
return {taken, free - taken, redis.call('PTTL', KEYS[1])}
"""


@dataclass
class Lease:
    """A part of one window's limit. `left`: not spent yet; `rest`: what Redis had when it was taken; `ends`: of the clock."""

    limit: int
    ends: float
    left: int = 0
    rest: int = 0


class RedisCounters:
    """As limiter.Counters; while Redis is away `fallback` counts, for this pod alone."""

    def __init__(self, connection: Connection, fallback: Counters, clock: Callable[[], float] = time.monotonic) -> None:
        self._connection = connection
        self._fallback = fallback
        self._clock = clock
        self._leases: dict[str, Lease] = {}
        self._lock = threading.Lock()

    def spend(self, name: str, cost: int, limit: int) -> tuple[bool, int, float]:
        # Held for one call of Redis at most, which is bounded.
        with self._lock:
            now = self._clock()
            lease = self._leases.get(name)
            if lease is None or lease.limit != limit or now >= lease.ends:
                lease = Lease(limit, now)
            if lease.left < cost and (lease.rest or now >= lease.ends):
                try:
                    lease = self._take(name, cost, lease)
                except Away:
                    return self._fallback.spend(name, cost, limit)
                if len(self._leases) >= MOST:
                    self._leases.clear()
                self._leases[name] = lease
            granted = lease.left >= cost
            if granted:
                lease.left -= cost
            return granted, lease.left + lease.rest, lease.ends - now

    def _take(self, name: str, cost: int, lease: Lease) -> Lease:
        """`lease` with what Redis gave beside what is left of it."""
        asked = cost - lease.left, max(1, lease.limit // PARTS), lease.limit, WINDOW * 1_000
        taken, rest, milliseconds = self._connection.call(
            "limits", lambda client: client.eval(TAKE, 1, f"sluice:limit:{name}", *asked)
        )
        # From here on, so that no answer promises a window that ends before it does.
        return Lease(lease.limit, self._clock() + max(0, milliseconds) / 1_000, lease.left + taken, rest)
