"""Indexes that are built while events go on coming.

What an installation filters by it adds itself, for each index costs every insert: one serves one filter parameter (`user_id`,
`properties.tags.provider`) in the default order, newest first. One is there always, for error groups, and costs errors only.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import psycopg
from psycopg import sql

from sluice import errors, filters
from sluice.stores.postgresql import errors as driver_errors
from sluice.stores.postgresql.connections import backend, shares_sessions
from sluice.stores.postgresql.login import Login
from sluice.stores.postgresql.statements import OF_OWNER, text_at

# One command at a time: two would each find the other's unfinished index. Not the lock of migrations, which would have to wait.
LOCK = 126_934_213_878_630
PREFIX = "events_by_"
# event_id has its own.
COLUMNS = (*(name for name in filters.TEXTS if name != "event_id"), *filters.CHOICES)
LIST = """
SELECT obj_description(i.indexrelid, 'pg_class'), i.indisvalid, pg_relation_size(i.indexrelid), 'sluice.' || c.relname
FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indexrelid
WHERE i.indrelid = 'sluice.events'::regclass AND starts_with(c.relname, 'events_by_') ORDER BY 1
"""
# By which an error group finds its events.
OF_ERRORS = "events_fingerprint"
IS_VALID = "SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass('sluice.events_fingerprint')"
# Two scans; between them it waits for transactions that are older than it.
PROGRESS = """
SELECT phase, coalesce((blocks_done + tuples_done)::float8 / nullif(blocks_total + tuples_total, 0), 0)
FROM pg_stat_progress_create_index WHERE pid = %s
"""

Progress = Callable[[str, float], None]


class Index(msgspec.Struct, frozen=True):
    """`name`: the filter parameter. Not `valid`: still being built, or its building was interrupted."""

    name: str | None
    valid: bool
    size: int
    relation: str


def listed(login: Login) -> list[Index]:
    """The indexes that were added. Raises errors.StoreUnavailable, as all here do."""
    with owner(login) as connection:
        return found(connection)


def found(connection: psycopg.Connection[Any]) -> list[Index]:
    return [Index(*row) for row in connection.execute(LIST)]


def add(login: Login, name: str, progress: Progress) -> bool:
    """Build the index of filter parameter `name` while events go on coming; False when it is there already.

    `progress`: called with the phase and its part done, some times a second. What an interruption leaves the next call removes.
    Raises ValueError for a name that no index can serve.
    """
    relation = relation_of(name)
    columns = sql.SQL("({}, created_at, id)").format(expression_of(name))
    with owner(login) as connection, alone(connection):
        comment = sql.SQL("COMMENT ON INDEX {} IS {}").format(sql.Identifier("sluice", relation), sql.Literal(name))
        if any(index.valid and index.relation == f"sluice.{relation}" for index in found(connection)):
            connection.execute(comment)
            return False
        construct(login, connection, relation, columns, progress)
        connection.execute(comment)
        # An expression has no statistics before.
        connection.execute("ANALYZE sluice.events")
    return True


def add_own(login: Login) -> None:
    """Build the index for error groups when it is missing. The service serves without, and pages of a group are slow then."""
    columns = sql.SQL("(fingerprint, created_at, id) WHERE fingerprint IS NOT NULL")
    with owner(login) as connection:
        if connection.execute(IS_VALID).fetchone() == (True,):
            return
        with alone(connection):
            if connection.execute(IS_VALID).fetchone() != (True,):
                construct(login, connection, OF_ERRORS, columns, lambda _phase, _done: None)


def construct(
    login: Login, connection: psycopg.Connection[Any], relation: str, columns: sql.Composable, progress: Progress
) -> None:
    """Build an index on events; what an interruption left is removed before, and after one if that can be done."""
    drop_relation(connection, relation)
    create = sql.SQL("CREATE INDEX CONCURRENTLY {} ON sluice.events {}")
    try:
        watched(login, connection, create.format(sql.Identifier(relation), columns), progress)
    except BaseException:
        with contextlib.suppress(psycopg.Error):
            drop_relation(connection, relation)
        raise


def drop(login: Login, name: str) -> bool:
    """Remove the index of `name`; False when there is none."""
    with owner(login) as connection, alone(connection):
        there = any(index.relation == f"sluice.{relation_of(name)}" for index in found(connection))
        drop_relation(connection, relation_of(name))
    return there


def relation_of(name: str) -> str:
    """The index's name in the database: a path may be longer than the 63 bytes of one, hold any character, and have spellings."""
    if name in COLUMNS:
        return PREFIX + name
    if match := path_of(name):
        name = match.column + "".join("." + re.sub(r"[.\\\[]", r"\\\g<0>", step) for step in match.path)
    return PREFIX + hashlib.sha256(name.encode()).hexdigest()[:16]


def path_of(name: str) -> filters.Match | None:
    match = filters.match(name, "")
    return match if isinstance(match, filters.Match) and match.path else None


def expression_of(name: str) -> sql.Composable:
    """What is indexed, as statements.where compares it; raises ValueError."""
    if name in COLUMNS:
        return sql.Identifier(name)
    if match := path_of(name):
        return sql.SQL("({})").format(text_at(sql.Identifier(match.column), sql.Literal(list(match.path))))
    raise ValueError(f"{name}: an index serves {', '.join(COLUMNS)}, properties.<path> or device_info.<path>")


def drop_relation(connection: psycopg.Connection[Any], relation: str) -> None:
    connection.execute(sql.SQL("DROP INDEX CONCURRENTLY IF EXISTS {}").format(sql.Identifier("sluice", relation)))


def watched(login: Login, connection: psycopg.Connection[Any], text: sql.Composed, progress: Progress) -> None:
    """Run `text` in a thread and look at its progress over a second connection; Ctrl-C cancels it on the server."""
    raised: list[psycopg.Error] = []
    # The login's number may be one that a proxy invented.
    process = backend(connection)

    def build() -> None:
        try:
            connection.execute(text)
        except psycopg.Error as error:
            raised.append(error)

    thread = threading.Thread(target=build)
    with psycopg.connect(**login(), autocommit=True) as watcher:
        thread.start()
        try:
            while thread.is_alive():
                thread.join(0.2)
                if row := watcher.execute(PROGRESS, [process]).fetchone():
                    progress(*row)
        finally:
            if thread.is_alive():
                connection.cancel_safe(timeout=10)
            thread.join()
    if raised:
        raise raised[0]


@contextlib.contextmanager
def owner(login: Login) -> Iterator[psycopg.Connection[Any]]:
    """A session of the schema's owner; driver errors end here."""
    try:
        with psycopg.connect(**login(), autocommit=True) as connection:
            if shares_sessions(connection, login):
                raise errors.StoreUnavailable("behind_pooler")
            connection.execute(OF_OWNER)
            yield connection
    except psycopg.Error as error:
        raise driver_errors.ours(error) from error


@contextlib.contextmanager
def alone(connection: psycopg.Connection[Any]) -> Iterator[None]:
    # Not by waiting in the server: a statement that waits holds a snapshot, and the other's CREATE INDEX waits for it.
    while connection.execute("SELECT pg_try_advisory_lock(%s)", [LOCK]).fetchone() != (True,):
        time.sleep(1)
    yield
