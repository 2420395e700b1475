"""The shapes of answers, as types: views fill them, and the OpenAPI document is generated from them."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Generic, Literal, TypeVar

import msgspec

from sluice.events import EventType, Priority
from sluice.stores import Figures

T = TypeVar("T")


class Success(msgspec.Struct, Generic[T]):
    """Seed 001's envelope."""

    success: Literal[True]
    message: str
    data: T


class Stored(msgspec.Struct):
    """One event that is committed: now (created) or before (duplicate)."""

    event_id: str
    id: int
    status: Literal["created", "duplicate"]


class Log(msgspec.Struct):
    """A stored event. Fields without a value are null, never left out."""

    id: int
    event_id: str
    timestamp: datetime
    event_type: EventType
    event_name: str
    properties: dict[str, Any]
    user_id: str | None
    session_id: str | None
    app_version: str | None
    device_info: dict[str, Any]
    source: str | None
    sequence_number: int | None
    priority: Priority
    key_id: str
    fingerprint: str | None
    created_at: datetime
    processed_at: datetime


class LogPage(msgspec.Struct):
    """One page. `total_count` is exact up to 10,000, and `total_count_exact` says whether it is."""

    logs: list[Log]
    total_count: int
    total_count_exact: bool
    page: int
    page_size: int
    total_pages: int
    next_cursor: str | None


class ServiceState(msgspec.Struct):
    name: str
    version: str
    uptime: str
    started_at: datetime


class DatabaseState(msgspec.Struct):
    status: Literal["up", "down"]
    total_logs: int | None
    reason: str | None = None


class State(msgspec.Struct):
    """What the service knows of itself; `metrics` is null while the database is down."""

    service: ServiceState
    database: DatabaseState
    metrics: Figures | None


class Limits(msgspec.Struct):
    """Every limit that the asking key meets; a number of 0 a minute is no limit."""

    max_event_bytes: int
    max_body_bytes: int
    max_inflated_bytes: int
    max_batch_size: int
    max_depth: int
    max_page_size: int
    max_seconds_ahead: int
    retention_days: int | None
    requests_per_minute: int
    events_per_minute: int
    window_seconds: int
    idempotency_key_hours: int
    deduplication: str


class Whoami(msgspec.Struct):
    key_id: str
    version: int
    owner: str
    scopes: list[str]
    expires_at: datetime | None


class Readiness(msgspec.Struct):
    ready: bool
    message: str


class Liveness(msgspec.Struct):
    alive: bool
    uptime: str
    version: str


class Health(msgspec.Struct):
    status: Literal["healthy", "unhealthy"]
    timestamp: datetime
    version: str
    services: dict[str, str]
    uptime: str
