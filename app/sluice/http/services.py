"""What one worker process is made of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from sluice.events import Rules
from sluice.ingest.memory_budget import MemoryBudget
from sluice.ingest.pipeline import Pipeline, utc_now
from sluice.ingest.sinks import DirectSink
from sluice.keyring import Keyring
from sluice.limiter import Limiter
from sluice.metrics import Metrics
from sluice.settings import Settings
from sluice.stores import Store


class ReadyState(Protocol):
    """What `serve` shares with its workers (server.worker_state.SharedState)."""

    @property
    def draining(self) -> bool: ...

    @property
    def ready(self) -> bool: ...

    @property
    def reason(self) -> str: ...


@dataclass(frozen=True, kw_only=True)
class Services:
    """`draining`: whether a stream is to end with its chunk. `ready`: whether traffic may come, and why not."""

    settings: Settings
    store: Store
    pipeline: Pipeline
    keyring: Keyring
    limiter: Limiter
    memory: MemoryBudget
    metrics: Metrics
    draining: Callable[[], bool]
    ready: Callable[[], tuple[bool, str]]
    started: datetime = field(default_factory=utc_now)


def assemble(
    settings: Settings, store: Store, metrics: Metrics, shared: ReadyState | None, stopping: Callable[[], bool]
) -> Services:
    """The services of one process; the keys are loaded, and nothing else is waited for."""
    rules = Rules(max_event_bytes=settings.max_event_bytes, retention_days=settings.retention_days)
    keyring = Keyring(settings.api_keys, settings.keyset_file, utc_now)
    keyring.poll()
    return Services(
        settings=settings,
        store=store,
        pipeline=Pipeline(DirectSink(store, metrics), rules, metrics),
        keyring=keyring,
        limiter=Limiter(settings.workers, settings.rate_limit_requests_per_minute, settings.rate_limit_events_per_minute),
        memory=MemoryBudget(settings.max_inflight_bytes),
        metrics=metrics,
        draining=lambda: stopping() or (shared is not None and shared.draining),
        ready=lambda: (shared.ready, shared.reason) if shared is not None else (True, "ready"),
    )
