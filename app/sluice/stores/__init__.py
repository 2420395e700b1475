"""The ports: what the service needs of a store. One package per store speaks its driver; driver errors end there.

A store gets neutral records (sluice.events) and returns outcomes; nothing of HTTP or SQL crosses this border.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Literal, Protocol, TypeVar

import msgspec

from sluice import errors
from sluice.events import Record
from sluice.filters import Filter, Match
from sluice.outcomes import Outcome
from sluice.settings import Settings
from sluice.stores.volume import Span, Split, Volume

if TYPE_CHECKING:
    from sluice.stores.postgresql.database import Database

# For how long the outcomes of an Idempotency-Key are kept (published at /api/v1/limits).
CLAIM_AGE = timedelta(hours=24)

# Counting costs as much as the rows it passes; beyond this the answer says "at least".
COUNT_CAP = 10_000

# Events go this much after their time: a clock that runs behind on another pod must not let an event in again after it went.
RETENTION_GRACE = timedelta(hours=1)

# What a store may be able to do beyond storing each event once, and reading one by its id.
Capability = Literal[
    "atomic",
    "conflicts",
    "database",
    "export",
    "figures",
    "filters",
    "idempotency_keys",
    "numbered_pages",
    "sorting",
    "sources",
    "tail",
    "volume",
]
MEANING: dict[Capability, str] = {
    "atomic": "`?atomic=true`: all events of a batch or none",
    "conflicts": "other content under a known `event_id` is found, and 409",
    "database": "tasks, error groups, erasure by user: they keep rows of their own in PostgreSQL",
    "export": "`GET /api/v1/export`",
    "figures": "counts and rates: `GET /api/v1/metrics`, `metrics` in `/api/v1/status`",
    "filters": "`GET /api/v1/logs/filter` and `/recent`, every condition, newest or oldest first, by cursor",
    "idempotency_keys": "`Idempotency-Key`",
    "numbered_pages": "`page` above 1",
    "sorting": "`sort_by` of another field than `created_at`",
    "sources": "pull sources: `sluice pull`, `/posts`, `/status`, `/api/v1/sources`",
    "tail": "`GET /api/v1/logs/tail`, `sluice tail`, live events in the console",
    "volume": "`GET /api/v1/volume`, the chart of the console's overview",
}


class Claim(msgspec.Struct, frozen=True):
    """An Idempotency-Key as one client used it; `request` is the SHA-256 of what it asked for."""

    key_id: str
    idempotency_key: str
    request: bytes


class Kept(msgspec.Struct, frozen=True):
    """The outcomes of a claim, and whether they were kept from a request before."""

    outcomes: list[Outcome]
    replayed: bool = False


def capped(counted: int) -> tuple[int, bool]:
    """A total that was counted up to COUNT_CAP + 1, and whether it is exact."""
    return min(counted, COUNT_CAP), counted <= COUNT_CAP


T = TypeVar("T")
# Text of logs that is held at a time: of a page, and of a step of an export. One event may have 256 KiB, and a page 1,000.
PAGE_BYTES, EXPORT_BYTES = 32 << 20, 4 << 20


class Page(msgspec.Struct, frozen=True):
    """`logs`: JSON objects as text. `total` is exact up to a cap, `exact` says whether it is. No `next_cursor`: the last page.

    `short`: it ends at PAGE_BYTES, before it has as many logs as were asked for.
    """

    logs: list[msgspec.Raw]
    total: int
    exact: bool
    next_cursor: str | None
    short: bool = False


def within(rows: Iterable[T], text_of: Callable[[T], bytes], most: int = PAGE_BYTES) -> tuple[list[T], bool]:
    """The first rows until they have more than `most` bytes of text together, and whether there may be others."""
    kept, size = list[T](), 0
    for row in rows:
        kept.append(row)
        size += len(text_of(row))
        if size > most:
            return kept, True
    return kept, False


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


class EventWriter(Protocol):
    """Every method of a port may raise errors.StoreUnavailable, and none waits longer than the store's own deadline."""

    def insert(self, records: Sequence[Record], at: datetime) -> list[Outcome]:
        """Store what is new in one commit; an outcome per record, in order. The same records again are stored no second time.

        `at`: `created_at` of the records that do not say when they were accepted.
        """

    def insert_all(self, records: Sequence[Record], at: datetime) -> list[Outcome]:
        """As insert, but when any record is a conflict none is stored. Capability `atomic`."""


class IdempotencyStore(Protocol):
    def insert_once(
        self, claim: Claim, records: Sequence[Record], found: Sequence[Outcome | None], at: datetime, *, atomic: bool
    ) -> Kept:
        """As insert (`atomic`: insert_all), with the outcomes kept in the same commit, and returned again for the same claim.

        `found`: the outcome of each item of the request that is no record, and None in the place of each record; what is kept and
        returned are the outcomes of all items. They are kept when at least one record is stored.
        Raises errors.IdempotencyKeyInUse and errors.IdempotencyKeyReused. Capability `idempotency_keys`.
        """


class EventReader(Protocol):
    def get(self, event_id: str) -> msgspec.Raw | None:
        """One event as JSON text."""

    def page(self, query: Filter) -> Page:
        """One page of a filter; raises errors.InvalidCursor. Capability `filters`."""

    def export(self, query: Filter) -> Iterator[bytes]:
        """All events of a filter that are stored now, oldest first, as chunks of NDJSON; memory stays as it is. `export`."""

    def figures(self, now: datetime) -> Figures:
        """Counts and rates for /api/v1/metrics. Capability `figures`."""


class Retention(Protocol):
    def purge(self, before: datetime, claims_before: datetime, limit: int) -> tuple[int, int]:
        """Remove up to `limit` events whose timestamp is older, and up to `limit` kept claims; how many of each went."""


class Store(EventWriter, EventReader, IdempotencyStore, Retention, Protocol):
    """All ports of one store."""

    capabilities: frozenset[Capability]

    @property
    def cursor_secret(self) -> bytes:
        """What cursors are signed with: the same for every process on this store."""

    def check(self) -> None:
        """Return when the store is there, durable and has our schema; else raise StoreUnavailable with the reason."""

    def close(self) -> None:
        """Give every connection back."""


def open(settings: Settings, pool_size: int | None = None, deadline: float = 5.0) -> Store:  # noqa: A001 - as a file's
    """The store that STORAGE_TYPE names. Nothing is waited for, so the service boots while the store is away.

    `deadline`: seconds that a statement, and a transaction as a whole, may take.
    """
    if settings.storage_type == "dynamodb":
        from sluice.stores.dynamodb.store import DynamodbStore  # noqa: PLC0415 - extra `dynamodb`

        return DynamodbStore(settings, deadline)
    if settings.storage_type == "mongodb":
        from sluice.stores.mongodb.store import MongodbStore  # noqa: PLC0415 - extra `mongodb`

        return MongodbStore(settings, deadline)
    if settings.storage_type == "influxdb":
        from sluice.stores.influxdb.store import InfluxdbStore  # noqa: PLC0415 - extra `influxdb`

        return InfluxdbStore(settings, deadline)
    from sluice.stores.postgresql import login  # noqa: PLC0415 - a driver is loaded only when it is used
    from sluice.stores.postgresql.store import PostgresqlStore  # noqa: PLC0415

    return PostgresqlStore(login.of_service(settings), pool_size or settings.db_pool_size, deadline)


class Fresh(msgspec.Struct, frozen=True):
    """An event that a tail has not had. `log`: JSON text; `position`: the place right behind it; `matched`: by which filters."""

    log: str
    position: str
    matched: tuple[int, ...]


class Poll(msgspec.Struct, frozen=True):
    """`events`: in order of `created_at`, of more than MAX_FRESH or MAX_FRESH_BYTES the newest.

    `counts`: how many there were for each filter.
    """

    events: list[Fresh]
    counts: list[int]


class Follower(Protocol):
    """Reads each event once, when it is committed: also one that commits later than others with a higher id or a later
    `created_at`. For one thread."""

    def poll(self, filters: Sequence[tuple[Match, ...]]) -> Poll:
        """What was committed since the poll before, or since this Follower was made."""

    def place(self) -> str:
        """The position of the poll before; any thread may ask."""

    def check(self, position: str) -> None:
        """Raise errors.InvalidCursor when `position` is none that a Follower on this store gave."""

    def since(self, position: str, matches: tuple[Match, ...]) -> Poll:
        """What was committed between `position` and the poll before."""


# Events that one poll returns, and bytes of their properties: at least one event, whatever its size.
MAX_FRESH, MAX_FRESH_BYTES = 500, 8 << 20


def follow(store: Store) -> Follower:
    """A Follower that begins now; raises NotSupported (501) when the store has none. Capability `tail`."""
    require(store, "tail")
    follower: Follower = store.follow()  # type: ignore[attr-defined] # of stores with the capability
    return follower


def examine(settings: Settings) -> None:
    """Raise SettingsError for what only the driver of a store other than PostgreSQL can find wrong; nothing is connected to."""
    if settings.storage_type == "mongodb":
        from sluice.stores.mongodb import connection  # noqa: PLC0415 - extra `mongodb`

        connection.client(settings).close()


def volume_of(store: Store, over: Span, by: Split) -> Volume:
    """Events over time; raises NotSupported (501) when the store cannot count them. Capability `volume`."""
    require(store, "volume")
    found: Volume = store.volume(over, by)  # type: ignore[attr-defined] # of stores with the capability
    return found


def migrate(settings: Settings) -> list[str]:
    """Make what a store other than PostgreSQL needs before it serves; what was done. Raises StoreUnavailable, SettingsError."""
    # An extra has the name of its store.
    of_store = importlib.import_module(f"sluice.stores.{settings.storage_type}.migrate")
    done: list[str] = of_store.migrate(settings)
    return done


class Capable(Protocol):
    """A store, or a sink before it (ingest.sinks)."""

    @property
    def capabilities(self) -> frozenset[Capability]: ...


def require(capable: Capable, capability: Capability) -> None:
    """Raise NotSupported (501) when `capable` lacks `capability`."""
    if capability not in capable.capabilities:
        raise not_supported(capability)


def not_supported(capability: Capability) -> errors.NotSupported:
    return errors.NotSupported(f"{capability} is not supported here; /api/v1/limits lists what is", reason=capability)


def database(store: Store) -> Database:
    """Where the optional functions keep their rows: the PostgreSQL of `store`; raises NotSupported (501) when it has none."""
    found: Database | None = getattr(store, "database", None)
    if found is None:
        raise not_supported("database")
    return found
