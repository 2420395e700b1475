"""Apply the SQL files of sluice/migrations by yoyo, one migrator at a time."""

from __future__ import annotations

from importlib import resources
from typing import Any

import psycopg
import structlog
import yoyo
from yoyo.backends.core.postgresql import PostgresqlPsycopgBackend
from yoyo.connections import parse_uri

from sluice.stores.postgresql import errors as driver_errors
from sluice.stores.postgresql.login import Login

log = structlog.get_logger()

# "sluice", as the number of the advisory lock; retention's lock is another number.
LOCK = 126_934_213_878_628
# How long another migrator is waited for, and how long a statement may wait behind the service's own locks: longer would stall
# every insert that queues behind it.
WAIT_LOCK = "120s"
WAIT_TABLE = "5s"


class Backend(PostgresqlPsycopgBackend):  # type: ignore[misc]
    """yoyo's backend with our own login: its URLs know neither password files nor our TLS rules."""

    def __init__(self, login: Login) -> None:
        self._login = login
        super().__init__(parse_uri("postgresql+psycopg:///"), "_yoyo_migration")

    def connect(self, dburi: Any) -> psycopg.Connection[Any]:
        return psycopg.connect(**self._login(), autocommit=True)

    def init_connection(self, connection: psycopg.Connection[Any]) -> None:
        session(connection, "search_path", "sluice")
        session(connection, "lock_timeout", WAIT_TABLE)

    def copy(self) -> Backend:
        return Backend(self._login)


def migrate(login: Login) -> list[str]:
    """Bring the schema up to date; the names of what was applied. Raises errors.StoreUnavailable."""
    try:
        with psycopg.connect(**login(), autocommit=True) as connection:
            session(connection, "lock_timeout", WAIT_LOCK)
            # Held by the session: a migrator that dies frees it, and yoyo's own lock row, which would stay, is never the judge.
            connection.execute("SELECT pg_advisory_lock(%s)", [LOCK])
            connection.execute("CREATE SCHEMA IF NOT EXISTS sluice")
            return apply(login)
    except psycopg.Error as error:
        log.error("migrate.failed", cause=type(error).__name__, sqlstate=error.sqlstate)
        raise driver_errors.ours(error) from error


def apply(login: Login) -> list[str]:
    with Backend(login) as backend, resources.as_file(resources.files("sluice") / "migrations") as folder:
        backend.init_database()
        backend.break_lock()
        pending = backend.to_apply(yoyo.read_migrations(str(folder)))
        names = [migration.id for migration in pending]
        backend.apply_migrations(pending)
    return names


def session(connection: psycopg.Connection[Any], name: str, value: str) -> None:
    connection.execute("SELECT set_config(%s, %s, false)", [name, value])
