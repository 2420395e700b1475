"""What the service reads of pull sources in PostgreSQL."""

from __future__ import annotations

from datetime import datetime

import msgspec

from sluice.cursors import Cursor
from sluice.sources import statements
from sluice.sources.states import RunState, SourceState
from sluice.stores import PAGE_BYTES
from sluice.stores.postgresql.database import Database
from sluice.stores.postgresql.statements import is_more


class PostgresqlReader:
    """Implements states.SourceReader."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def posts(self, limit: int, offset: int) -> tuple[list[msgspec.Raw], bool]:
        rows = self._database.query(statements.POST_PAGE, [limit, offset, PAGE_BYTES])
        return [msgspec.Raw(row[2].encode()) for row in rows], is_more(rows, rows)

    def post(self, id: str) -> msgspec.Raw | None:
        rows = self._database.query(statements.POST_OF, [id]) if "\0" not in id else []
        return msgspec.Raw(rows[0][2].encode()) if rows else None

    def states(self) -> list[SourceState]:
        return [SourceState(*row) for row in self._database.query(statements.ALL_STATES)]

    def default(self) -> SourceState | None:
        rows = self._database.query(statements.STATE_OF_DEFAULT)
        return SourceState(*rows[0]) if rows else None

    def history(self, name: str, limit: int) -> tuple[SourceState, list[RunState]] | None:
        rows = self._database.query(statements.STATE_OF, [name])
        if not rows:
            return None
        state, runs = SourceState(*rows[0]), [RunState(*each) for each in self._database.query(statements.RUNS, [name, limit])]
        if runs and runs[0].status == "running" and state.status != "running":
            # Its puller died, and nobody wrote that down yet.
            runs[0].status, runs[0].reason, runs[0].error_message = state.status, state.reason, state.error_message
        return state, runs

    def known(self, name: str) -> bool:
        return bool(self._database.query(statements.KNOWN, [name]))

    def count(self, name: str, most: int) -> int:
        ((counted,),) = self._database.query(statements.COUNT_UP_TO, [name, most])
        return int(counted)

    def records(self, name: str, after: Cursor, limit: int) -> tuple[list[tuple[str, int, msgspec.Raw]], bool]:
        rows = self._database.query(statements.RECORDS, [name, after.id, limit + 1, PAGE_BYTES])
        kept = [(value, place, msgspec.Raw(text.encode())) for value, place, text, _ in rows[:limit]]
        return kept, is_more(rows, kept)

    def request(self, name: str) -> datetime | None:
        rows = self._database.run(lambda c: c.execute(statements.REQUEST, [name]).fetchall())
        return rows[0][0] if rows else None
