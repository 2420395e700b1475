"""What one worker process is made of."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, Protocol, TypeVar, cast

from sluice.events import Rules
from sluice.http.stream_slots import StreamSlots
from sluice.ingest import write_state
from sluice.ingest.memory_budget import MemoryBudget
from sluice.ingest.pipeline import Pipeline, utc_now
from sluice.ingest.sinks import DirectSink, Sink
from sluice.ingest.write_state import WriteState
from sluice.keyring import Keyring, KeyUse
from sluice.limiter import Counters, Limiter, SharedCounters
from sluice.metrics import Metrics
from sluice.settings import Settings
from sluice.stores import Store

T = TypeVar("T")


class ReadyState(Protocol):
    """What `serve` shares with its workers (server.worker_state.SharedState)."""

    @property
    def draining(self) -> bool: ...

    @property
    def ready(self) -> bool: ...

    @property
    def reason(self) -> str: ...

    @property
    def writes(self) -> WriteState: ...

    def key_use(self) -> KeyUse: ...


# With REDIS_URL: an answer that reads many rows may be so old.
CACHE_SECONDS = 5.0
# Groups of kept answers: those that change with the events, and those that a change of an error must end at once.
CacheGroup = Literal["events", "errors"]


class Cache(Protocol):
    """Answers that may be some seconds old."""

    def through(self, group: CacheGroup, name: str, seconds: float, fill: Callable[[], bytes]) -> bytes:
        """What `fill` returned for `name` at most `seconds` ago, by this process or another, or returns now."""

    def forget(self, group: CacheGroup) -> None:
        """From now on, nothing of `group` that was kept is returned."""


class NoCache:
    """Without Redis."""

    def through(self, group: CacheGroup, name: str, seconds: float, fill: Callable[[], bytes]) -> bytes:
        return fill()

    def forget(self, group: CacheGroup) -> None:
        pass


@dataclass(frozen=True, kw_only=True)
class Services:
    """`stream_memory`: the part of `memory` that streams may use. `draining`: whether a stream is to end with its chunk.
    `ready`: whether traffic may come, and why not. `writes`: whether the store takes any. `key_use`: of all workers of the pod.
    """

    settings: Settings
    store: Store
    pipeline: Pipeline
    keyring: Keyring
    limiter: Limiter
    memory: MemoryBudget
    cache: Cache
    streams: StreamSlots
    stream_memory: MemoryBudget
    metrics: Metrics
    writes: WriteState
    draining: Callable[[], bool]
    ready: Callable[[], tuple[bool, str]]
    key_use: Callable[[], KeyUse]
    started: datetime = field(default_factory=utc_now)
    _made: dict[Any, Any] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def single(self, make: Callable[[Services], T]) -> T:
        """What `make` makes of these services, once in this process: the state of an optional function."""
        with self._lock:
            if make not in self._made:
                self._made[make] = make(self)
            return cast(T, self._made[make])


def sink_of(settings: Settings, store: Store, metrics: Metrics, writes: WriteState) -> Sink:
    """To the store, or to the queue before it."""
    if settings.queue_url is None:
        return DirectSink(store, metrics, writes)
    from sluice.queue import sink  # noqa: PLC0415 - extra `queue`

    return sink.open(settings.queue_url, store, metrics)


def assemble(
    settings: Settings, store: Store, metrics: Metrics, shared: ReadyState | None, stopping: Callable[[], bool]
) -> Services:
    """The services of one process; the keys are loaded, and nothing else is waited for."""
    rules = Rules(max_event_bytes=settings.max_event_bytes, retention_days=settings.retention_days)
    last_good = settings.run_dir / "last_good_keyset" if settings.run_dir is not None else None
    keyring = Keyring(settings.api_keys, settings.keyset_file, utc_now, last_good)
    keyring.poll()
    writes = shared.writes if shared is not None else WriteState(bytearray(write_state.SIZE))
    memory = MemoryBudget(settings.max_inflight_bytes)
    counters: Counters = SharedCounters(settings.run_dir / "limits" if settings.run_dir is not None else None, settings.workers)
    cache: Cache = NoCache()
    if settings.redis_url is not None:
        from sluice.redis import cache as redis_cache  # noqa: PLC0415 - extra `redis`
        from sluice.redis import connection  # noqa: PLC0415
        from sluice.redis import counters as redis_counters  # noqa: PLC0415

        redis = connection.Connection(settings.redis_url, metrics.redis_away)
        counters, cache = redis_counters.RedisCounters(redis, counters), redis_cache.RedisCache(redis)
    return Services(
        settings=settings,
        store=store,
        pipeline=Pipeline(sink_of(settings, store, metrics, writes), rules, metrics),
        keyring=keyring,
        limiter=Limiter(counters, settings.rate_limit_requests_per_minute, settings.rate_limit_events_per_minute),
        cache=cache,
        memory=memory,
        streams=StreamSlots(settings.threads),
        stream_memory=MemoryBudget(settings.max_inflight_bytes // 2, memory),
        metrics=metrics,
        writes=writes,
        draining=lambda: stopping() or (shared is not None and shared.draining),
        key_use=shared.key_use if shared is not None else keyring.use,
        ready=lambda: (shared.ready, shared.reason) if shared is not None else (True, "ready"),
    )
