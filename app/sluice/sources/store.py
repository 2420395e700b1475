"""The rows of pull sources. A page's records, the run's counts and its end are one commit, and the run must hold the lease."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Literal, Protocol
from urllib.parse import urlsplit

import msgspec
import structlog

from sluice import events
from sluice.events import Rules
from sluice.sources import pages, statements
from sluice.sources.definitions import Source
from sluice.sources.failures import Failed, Reason
from sluice.sources.pages import Found
from sluice.stores.postgresql.connections import Connection
from sluice.stores.postgresql.database import Database
from sluice.stores.postgresql.store import Insertion, whole

log = structlog.get_logger()
# Rows of one statement.
STEP = 1_000
# How long a run may take, beyond what it says, until the lease is another's.
GRACE = 15.0
Status = Literal["success", "failure"]


class Due(msgspec.Struct, frozen=True):
    """What the database knows of a source, by its own clock. `since`: of its last success, or of when it was first seen."""

    name: str
    due: bool
    since: datetime


class Run(msgspec.Struct, frozen=True):
    """A run that holds the lease of its source. `conditions`: those of RFC 9110 section 13, for the list that is stored."""

    id: int
    source: str
    started: datetime
    etag: str | None
    last_modified: str | None

    @property
    def conditions(self) -> dict[str, str]:
        given = {"If-None-Match": self.etag, "If-Modified-Since": self.last_modified}
        return {name: value for name, value in given.items() if value}


class Page(msgspec.Struct):
    """`number` counts from 1. `invalid`: how many records of it cannot be stored."""

    number: int
    found: list[Found]
    invalid: int = 0


class Ending(msgspec.Struct, kw_only=True):
    """How a run ended, and when the source is due next (None: at once). `definition`: of the source whose list was read."""

    status: Status
    next_run: datetime | None
    reason: Reason | None = None
    error_message: str | None = None
    not_modified: bool = False
    etag: str | None = None
    last_modified: str | None = None
    definition: bytes = b""


class Totals(msgspec.Struct, frozen=True):
    """What a run has stored so far. `emitted`: events of `Totals`' last commit only, by their status."""

    created: int = 0
    updated: int = 0
    unchanged: int = 0
    invalid: int = 0
    emitted: dict[str, int] = {}

    @property
    def records(self) -> int:
        return self.created + self.updated + self.unchanged


class Keeper(Protocol):
    """What a puller needs of the store. Every method may raise errors.StoreUnavailable."""

    def register(self, sources: Sequence[Source]) -> None:
        """Make the sources known. One whose definition is another than before is due at once, and its list read whole."""

    def due(self, names: Sequence[str]) -> list[Due]:
        """Of each of these sources whether it is to be pulled now, and the one that waits longest first."""

    def take(self, source: Source, *, forced: bool = False) -> Run | None:
        """The lease of a source that is due (`forced`: or not), as a new run; None while it is another's, or not due."""

    def renew(self, run: Run, seconds: float) -> None:
        """Keep the lease for what comes next, which takes up to `seconds`; raises Failed when it is lost."""

    def commit(self, source: Source, run: Run, now: datetime, page: Page | None, ending: Ending | None = None) -> Totals:
        """Store a page, the end of the run, or both; what the run has stored so far. Raises Failed when the lease is lost."""

    def forget(self, source: str, days: int) -> None:
        """Remove runs that began more than `days` ago, but for the last one."""


class SourceStore:
    """Implements Keeper in PostgreSQL."""

    def __init__(self, database: Database, rules: Rules) -> None:
        self._database = database
        self._rules = rules

    def register(self, sources: Sequence[Source]) -> None:
        def work(connection: Connection) -> None:
            with connection.transaction():
                connection.execute(statements.REGISTER_LOCK)
                for source in sources:
                    values = {
                        "name": source.name,
                        "url": shown(source.url),
                        "schedule": source.schedule,
                        "definition": source.digest,
                        "is_default": source.default,
                    }
                    connection.execute(statements.REGISTER, values)
                for source in sources:
                    if source.default:
                        connection.execute(statements.ONE_DEFAULT, {"name": source.name})

        self._database.run(work)

    def due(self, names: Sequence[str]) -> list[Due]:
        rows = self._database.run(lambda c: c.execute(statements.DUE, [list(names)]).fetchall())
        return [Due(*row) for row in rows]

    def take(self, source: Source, *, forced: bool = False) -> Run | None:
        def work(connection: Connection) -> Run | None:
            with connection.transaction():
                row = connection.execute(statements.FREE, {"name": source.name, "forced": forced}).fetchone()
                if row is None:
                    return None
                run_id, etag, last_modified = row
                connection.execute(statements.INTERRUPTED, [run_id])
                ((new_id, started),) = connection.execute(statements.BEGIN, [source.name]).fetchall()
                connection.execute(statements.TAKE, {"name": source.name, "run": new_id, "seconds": source.timeout + GRACE})
                return Run(new_id, source.name, started, etag, last_modified)

        return self._database.run(work)

    def renew(self, run: Run, seconds: float) -> None:
        values = {"name": run.source, "run": run.id, "seconds": seconds + GRACE}
        if self._database.run(lambda c: c.execute(statements.RENEW, values).rowcount) != 1:
            raise lost()

    def commit(self, source: Source, run: Run, now: datetime, page: Page | None, ending: Ending | None = None) -> Totals:
        def work(connection: Connection) -> Totals:
            with whole(connection):
                values = {"name": run.source, "run": run.id, "seconds": source.timeout + GRACE}
                held = connection.execute(statements.RENEW, values).rowcount == 1
                rows = connection.execute(statements.TOTALS, [run.id]).fetchall()
                if not rows:
                    raise lost()
                status, stored, *counts = rows[0]
                if ending is not None and status == ending.status:
                    # This very commit was made, and only the word of it was lost with the connection.
                    return Totals(*counts)
                if not held or status != "running":
                    raise lost()
                emitted: dict[str, int] = {}
                if page is not None and page.number > stored:
                    counts = self._store(connection, source, page, run, now, emitted)
                if ending is not None:
                    end(connection, run, ending, sum(counts[:3]))
                created, updated, unchanged, invalid = counts
                return Totals(created, updated, unchanged, invalid, emitted)

        return self._database.run(work)

    def forget(self, source: str, days: int) -> None:
        values = {"source": source, "days": days, "limit": STEP}
        # Planned for this source: of a rare one, a plan for any would read the runs of all others.
        self._database.run(lambda c: c.execute(statements.FORGET, values, prepare=False))

    def _store(
        self, connection: Connection, source: Source, page: Page, run: Run, now: datetime, emitted: dict[str, int]
    ) -> list[int]:
        """The page's records; the run's counts with them. `emitted` takes the events' counts."""
        # Of records with one id the last one counts.
        latest = {found.id: found for found in page.found}
        created = updated = 0
        ordered = list(latest.values())
        for start in range(0, len(ordered), STEP):
            # The deadline is that of a step: cut off as a whole, a long list would be tried again for ever.
            self._database.writes.go_on(connection)
            versions = upserted(connection, source.name, ordered[start : start + STEP])
            created += sum(version == 1 for version in versions.values())
            updated += sum(version > 1 for version in versions.values())
            if source.emit and versions:
                self._emit(connection, source, [(latest[id], version) for id, version in versions.items()], now, emitted)
        values = {
            "run": run.id,
            "page": page.number,
            "created": created,
            "updated": updated,
            "unchanged": len(latest) - created - updated,
            "invalid": page.invalid,
        }
        return list(connection.execute(statements.COUNT, values).fetchone() or ())

    def _emit(
        self, connection: Connection, source: Source, changed: list[tuple[Found, int]], now: datetime, emitted: dict[str, int]
    ) -> None:
        """An event for each new version, in the same transaction."""
        made = [
            events.prepare(pages.event_of(source, found, version), now=now, key_id=f"source/{source.name}", rules=self._rules)
            for found, version in changed
        ]
        for outcome in Insertion(made, now).run(connection):
            emitted[outcome.status] = emitted.get(outcome.status, 0) + 1
            if outcome.status == "conflict":
                log.warning("sources.event_id_taken", source=source.name, fix="a client stored another event under this id")


def upserted(connection: Connection, source: str, found: Sequence[Found]) -> dict[str, int]:
    """Store those that are new or changed; the version of each by its id. The others are not touched."""
    values = {
        "source": source,
        "ids": [each.id for each in found],
        "digests": [each.digest for each in found],
        "contents": [each.content.decode() for each in found],
    }
    return dict(connection.execute(statements.UPSERT, values).fetchall())


def end(connection: Connection, run: Run, ending: Ending, records: int) -> None:
    """End the run and give the lease back."""
    values = {
        "run": run.id,
        "name": run.source,
        "status": ending.status,
        "reason": ending.reason,
        "error_message": ending.error_message,
        "not_modified": ending.not_modified,
        "next_run": ending.next_run,
        "etag": ending.etag,
        "last_modified": ending.last_modified,
        "definition": ending.definition,
        "records": records,
    }
    connection.execute(statements.END_RUN, values)
    connection.execute(statements.SUCCESS if ending.status == "success" else statements.FAILURE, values)


def lost() -> Failed:
    return Failed("interrupted", "another puller took the source over")


def shown(url: str) -> str:
    """A URL as it may be read by others: its query may hold a secret."""
    return urlsplit(url)._replace(query="").geturl()
