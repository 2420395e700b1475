"""How much one key may send in a minute, in requests and in events (the `limits` library, sliding window).

Each worker counts for itself and grants its share, limit / WORKERS, so that a pod as a whole grants the limit.
"""

from __future__ import annotations

import math
import time
from functools import lru_cache
from typing import Literal

import msgspec
from limits import RateLimitItem, RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import SlidingWindowCounterRateLimiter

from sluice import errors
from sluice.keys import KeyEntry

Kind = Literal["requests", "events"]
WINDOW = 60


class Verdict(msgspec.Struct, gc=False):
    """What the RateLimit header tells: the limit of the pod, what this worker still grants, seconds until it grants all again."""

    kind: Kind
    limit: int
    remaining: int
    reset: int


class Limiter:
    """One worker's counters. A limit of 0 is no limit; a key's own limits come before the service's."""

    def __init__(self, workers: int, requests_per_minute: int, events_per_minute: int) -> None:
        self._workers = workers
        self._defaults: dict[Kind, int] = {"requests": requests_per_minute, "events": events_per_minute}
        self._strategy = SlidingWindowCounterRateLimiter(MemoryStorage())

    def request(self, entry: KeyEntry) -> Verdict | None:
        """Count one request; raises TooManyRequests."""
        return self._hit("requests", entry, 1)

    def events(self, entry: KeyEntry, count: int) -> Verdict | None:
        """Count `count` events, all or none of them; raises TooManyRequests."""
        return self._hit("events", entry, count)

    def limit_of(self, entry: KeyEntry, kind: Kind) -> int:
        own = entry.rate_limit and (
            entry.rate_limit.requests_per_minute if kind == "requests" else entry.rate_limit.events_per_minute
        )
        return self._defaults[kind] if own is None else own

    def _hit(self, kind: Kind, entry: KeyEntry, cost: int) -> Verdict | None:
        limit = self.limit_of(entry, kind)
        if limit == 0:
            return None
        item = share(limit, self._workers)
        allowed = self._strategy.hit(item, kind, entry.key_id, cost=cost)
        stats = self._strategy.get_window_stats(item, kind, entry.key_id)
        verdict = Verdict(kind, limit, max(0, stats.remaining), max(1, math.ceil(stats.reset_time - time.time())))
        if not allowed:
            raise refusal(verdict, cost, item.amount)
        return verdict


@lru_cache(maxsize=4_096)
def share(limit: int, workers: int) -> RateLimitItem:
    """What one of `workers` grants of `limit` a minute, rounded up: a small limit must not become none."""
    return RateLimitItemPerMinute(math.ceil(limit / workers))


def refusal(verdict: Verdict, cost: int, granted: int) -> errors.TooManyRequests:
    """429 with Retry-After, which agrees with RateLimit's `t` (draft-ietf-httpapi-ratelimit-headers)."""
    detail = f"this key may send {verdict.limit} {verdict.kind} a minute"
    if cost > granted:
        detail += f"; {cost} at once are more than a worker ever grants ({granted}): send fewer at a time"
    return errors.TooManyRequests(
        detail,
        reason=verdict.kind,
        headers={"Retry-After": str(verdict.reset), **headers([verdict])},
    )


def headers(verdicts: list[Verdict]) -> dict[str, str]:
    """RateLimit-Policy and RateLimit as draft-ietf-httpapi-ratelimit-headers-10 writes them; none without limits."""
    if not verdicts:
        return {}
    return {
        "RateLimit-Policy": ", ".join(f'"{v.kind}";q={v.limit};w={WINDOW}' for v in verdicts),
        "RateLimit": ", ".join(f'"{v.kind}";r={v.remaining};t={v.reset}' for v in verdicts),
    }
