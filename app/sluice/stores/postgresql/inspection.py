"""A look at a database for `sluice doctor`: one short connection, nothing is changed."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec
import psycopg

from sluice import errors
from sluice.stores.postgresql import errors as driver_errors
from sluice.stores.postgresql.connections import is_behind_pooler, is_durable, unfit
from sluice.stores.postgresql.login import Login
from sluice.stores.postgresql.statements import APPLIED
from sluice.stores.postgresql.store import migrations


class ServerFacts(msgspec.Struct, frozen=True):
    """What a look at the database found. `missing`: migrations not applied; `secured`: tables with row-level security;
    `triggers`: those that are not ours, and rules."""

    version: int
    durable: bool
    missing: list[str]
    clock: datetime
    role_may_ddl: bool
    behind_pooler: bool = False
    read_only: bool = False
    secured: list[str] = []
    triggers: list[str] = []


FACTS = """
SELECT current_setting('server_version_num')::int, extract(epoch FROM now())::float8,
    coalesce(has_schema_privilege(to_regnamespace('sluice')::oid, 'CREATE'), false),
    to_regclass('sluice._yoyo_migration') IS NOT NULL, current_setting('transaction_read_only') = 'on',
    ARRAY(SELECT relname::text FROM pg_class
        WHERE relnamespace = to_regnamespace('sluice') AND relkind IN ('r', 'p') AND row_security_active(oid) ORDER BY 1),
    ARRAY(SELECT tgname || ' on ' || relname FROM pg_trigger JOIN pg_class ON pg_class.oid = tgrelid
        WHERE relnamespace = to_regnamespace('sluice') AND NOT tgisinternal AND tgenabled <> 'D' AND tgname <> 'count_error'
        UNION SELECT rulename || ' on ' || tablename FROM pg_rules WHERE schemaname = 'sluice' ORDER BY 1)
"""


def inspect(login: Login) -> ServerFacts:
    """Raises errors.StoreUnavailable with the reason."""
    try:
        with psycopg.connect(**login(), autocommit=True) as connection:
            if reason := unfit(connection):
                raise errors.StoreUnavailable(reason)
            return facts(connection)
    except psycopg.Error as error:
        raise driver_errors.ours(error) from error


def facts(connection: psycopg.Connection[tuple[object, ...]]) -> ServerFacts:
    row = connection.execute(FACTS).fetchone()
    if row is None:
        raise errors.StoreUnavailable("database_error")
    version, clock, may_ddl, has_schema, read_only, secured, triggers = row
    applied = {name[0] for name in connection.execute(APPLIED)} if has_schema else set()
    return ServerFacts(
        version=version,  # type: ignore[arg-type]
        durable=is_durable(connection),
        missing=sorted(set(migrations()) - applied),
        clock=datetime.fromtimestamp(clock, UTC),  # type: ignore[arg-type]
        role_may_ddl=bool(may_ddl),
        behind_pooler=is_behind_pooler(connection),
        read_only=bool(read_only),
        secured=secured,  # type: ignore[arg-type]
        triggers=triggers,  # type: ignore[arg-type]
    )
