"""Apply the SQL files of sluice/migrations by yoyo, one migrator at a time."""

from __future__ import annotations

from typing import Any, NamedTuple

import psycopg
import structlog
import yoyo
from yoyo.backends.core.postgresql import PostgresqlPsycopgBackend

from sluice import errors
from sluice.stores.postgresql import errors as driver_errors
from sluice.stores.postgresql import indexes
from sluice.stores.postgresql.connections import shares_sessions, unfit
from sluice.stores.postgresql.login import Login
from sluice.stores.postgresql.statements import OF_OWNER

log = structlog.get_logger()

# "sluice", as the number of the advisory lock; retention's lock is another number.
LOCK = 126_934_213_878_628
# How long another migrator is waited for, and how long a statement may wait behind the service's own locks: longer would stall
# every insert that queues behind it.
WAIT_LOCK, WAIT_TABLE = "120s", "5s"


def migrate(login: Login, grant_rds_iam: bool = False) -> list[str]:
    """Bring the schema up to date; the names of what was applied. Raises errors.StoreUnavailable.

    `grant_rds_iam`: the service's role is to log in by RDS IAM tokens.
    """
    try:
        parameters = login()
        with psycopg.connect(**parameters, autocommit=True) as connection:
            if reason := unfit(connection):
                raise errors.StoreUnavailable(reason)
            if shares_sessions(connection, login):
                # The lock below would stay with a session that the pooler gives to others.
                raise errors.StoreUnavailable("behind_pooler")
            connection.execute(OF_OWNER)
            connection.execute("SELECT set_config('lock_timeout', %s, false)", [WAIT_LOCK])
            # Held by the session: a migrator that dies frees it, and yoyo's own lock row, which would stay, is never the judge.
            connection.execute("SELECT pg_advisory_lock(%s)", [LOCK])
            if connection.execute("SELECT to_regnamespace('sluice')").fetchone() == (None,):
                # Where it is there, an owner needs no right to make others: IF NOT EXISTS would ask for it.
                connection.execute("CREATE SCHEMA sluice")
            names = apply(parameters, grant_rds_iam)
    except psycopg.Error as error:
        log.error("migrate.failed", cause=type(error).__name__, sqlstate=error.sqlstate)
        raise driver_errors.ours(error) from error
    # Without the lock: building waits for every older statement, also for that of a migrator who waits for the lock.
    indexes.add_own(login)
    return names


class Address(NamedTuple):
    """In place of yoyo's URI: how to log in, and what each session needs. `database`: yoyo asks for one."""

    login: dict[str, Any]
    settings: dict[str, str]
    database: str = ""


class Backend(PostgresqlPsycopgBackend):  # type: ignore[misc]
    """How yoyo comes to PostgreSQL."""

    uri: Address

    def connect(self, dburi: Address) -> psycopg.Connection[Any]:
        connection = psycopg.connect(**dburi.login, autocommit=True)
        connection.add_notice_handler(tell)
        return connection

    def init_connection(self, connection: psycopg.Connection[Any]) -> None:
        # Not by `options` of the login, which poolers refuse or drop.
        connection.execute(OF_OWNER)
        for each in self.uri.settings.items():
            connection.execute("SELECT set_config(%s, %s, false)", each)


def apply(parameters: dict[str, Any], grant_rds_iam: bool) -> list[str]:
    """The migrations that were pending."""
    flag = "on" if grant_rds_iam else "off"
    settings = {"search_path": "sluice", "lock_timeout": WAIT_TABLE, "sluice.grant_rds_iam": flag}
    with Backend(Address(parameters, settings), "_yoyo_migration") as backend:
        backend.init_database()
        # Its log wants the names of user and host: the user of a container may have none, and a dead name server lets it wait.
        backend.log_migration = lambda *_: None
        backend.break_lock()
        # Not a path, which would be read as a pattern: `[` and `?` may be in it.
        found = yoyo.read_migrations("package:sluice:migrations")
        pending = backend.to_apply(found)
        names = [migration.id for migration in pending]
        backend.apply_migrations_only(pending)
        backend.run_post_apply(found)
    return names


def tell(notice: psycopg.errors.Diagnostic) -> None:
    """What a migration of ours warns of: a right that its user lacks."""
    if notice.severity_nonlocalized == "WARNING":
        log.warning("migrate.warning", text=notice.message_primary)
