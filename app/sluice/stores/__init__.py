"""What the service needs of a store. One module per store speaks its driver; driver errors end here."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import Protocol

import msgspec

from sluice.events import Row
from sluice.filters import Filter
from sluice.outcomes import Outcome


class Claim(msgspec.Struct, frozen=True):
    """An Idempotency-Key as one client used it; `request` is the SHA-256 of what it asked for."""

    key_id: str
    idempotency_key: str
    request: bytes


class Answer(msgspec.Struct, frozen=True):
    """A stored answer: HTTP status and body, and whether it is given again."""

    status: int
    body: bytes
    replayed: bool = False


class Page(msgspec.Struct, frozen=True):
    """`logs`: JSON objects as text. `total` is exact up to a cap, `exact` says whether it is. No `next_cursor`: the last page."""

    logs: list[msgspec.Raw]
    total: int
    exact: bool
    next_cursor: str | None


class TypeCount(msgspec.Struct):
    event_type: str
    count: int


class MinuteCount(msgspec.Struct):
    minute: datetime
    count: int


class Figures(msgspec.Struct):
    """Counts and rates of stored events. Hour and day look at the newest 100,000; the flags say where that was not all.

    `average_latency_ms`: from receipt to commit, last hour. `error_rate_percent`: events of type error, last hour.
    `active_sessions`: distinct session ids of the last 30 minutes.
    """

    total_logs: int
    total_logs_exact: bool
    logs_last_hour: int
    logs_last_day: int
    logs_last_day_exact: bool
    average_latency_ms: float | None
    error_rate_percent: float | None
    active_sessions: int
    top_event_types: list[TypeCount]
    logs_per_minute: list[MinuteCount]


class ServerFacts(msgspec.Struct, frozen=True):
    """What a look at the database found. `missing`: migrations that are not applied."""

    version: int
    durable: bool
    missing: list[str]
    clock: datetime
    role_may_ddl: bool


class InFlight(Exception):
    """Another request with the same Idempotency-Key is being worked on now."""


class OtherRequest(Exception):
    """This Idempotency-Key was used for another request."""


Render = Callable[[list[Outcome]], tuple[int, bytes]]


class Store(Protocol):
    """Every method may raise errors.StoreUnavailable, and none waits longer than the store's own deadline."""

    def check(self) -> None:
        """Return when the store is there, durable and has our schema; else raise StoreUnavailable with the reason."""

    def insert(self, rows: Sequence[Row], at: datetime) -> list[Outcome]:
        """Store what is new in one commit; an outcome per row, in order. The same rows again are stored no second time."""

    def insert_all(self, rows: Sequence[Row], at: datetime) -> list[Outcome]:
        """As insert, but when any row is a conflict no row is stored."""

    def insert_once(self, claim: Claim, rows: Sequence[Row], at: datetime, *, atomic: bool, render: Render) -> Answer:
        """As insert, with the rendered answer kept in the same commit, and given again for the same claim.

        Raises InFlight and OtherRequest. An answer that is not a success is not kept.
        """

    def page(self, query: Filter) -> Page:
        """One page of a filter; raises cursors.Foreign."""

    def get(self, event_id: str) -> msgspec.Raw | None:
        """One event as JSON text."""

    def export(self, query: Filter) -> Iterator[bytes]:
        """All events of a filter that are stored now, oldest first, as chunks of NDJSON; memory stays as it is."""

    def figures(self, now: datetime) -> Figures:
        """Counts and rates for /api/v1/metrics."""

    def purge(self, before: datetime, answers_before: datetime, limit: int) -> int:
        """Remove up to `limit` events whose timestamp is older, and stored answers; how many events went."""

    def close(self) -> None:
        """Give every connection back."""
