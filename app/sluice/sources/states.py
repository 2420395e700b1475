"""What the service says of pull sources, whichever store keeps them; and what it asks that store for."""

from __future__ import annotations

from datetime import datetime
from typing import Literal, Protocol

import msgspec

from sluice.cursors import Cursor

Status = Literal["never_run", "running", "success", "failure"]


class SourceState(msgspec.Struct):
    """`requested_at`: a run was asked for, and has not begun. `reason`: a closed list of words, why the newest run failed."""

    name: str
    url: str
    schedule: str
    is_default: bool
    status: Status
    reason: str | None
    error_message: str | None
    last_attempt: datetime | None
    last_successful_run: datetime | None
    records_ingested: int
    next_run_at: datetime | None
    requested_at: datetime | None


class RunState(msgspec.Struct):
    """One run of the history. Records are `created`, `updated` (a new version) or `unchanged`; `invalid` ones are not stored."""

    id: int
    started_at: datetime
    ended_at: datetime | None
    status: Status
    reason: str | None
    error_message: str | None
    pages: int
    created: int
    updated: int
    unchanged: int
    invalid: int


class SourceReader(Protocol):
    """Every method may raise errors.StoreUnavailable."""

    def posts(self, limit: int, offset: int) -> tuple[list[msgspec.Raw], bool]:
        """Records of the default source with `ingested_at` and `source`, in the order in which they came first; and whether these
        are not all because they have more than stores.PAGE_BYTES."""

    def post(self, id: str) -> msgspec.Raw | None:
        """One record of the default source."""

    def states(self) -> list[SourceState]:
        """Every source, by name."""

    def default(self) -> SourceState | None: ...

    def history(self, name: str, limit: int) -> tuple[SourceState, list[RunState]] | None:
        """A source and its newest runs; None: it is not known."""

    def known(self, name: str) -> bool: ...

    def count(self, name: str, most: int) -> int:
        """How many records a source has; counting ends at `most`."""

    def records(self, name: str, after: Cursor, limit: int) -> tuple[list[tuple[str, int, msgspec.Raw]], bool]:
        """Up to `limit` records behind a cursor, and up to stores.PAGE_BYTES: its `value` and `id` for the next one, and the
        record; and whether there are more."""

    def request(self, name: str) -> datetime | None:
        """Have a source pulled by the next puller that is free; since when that is asked for. None: it is not known."""
