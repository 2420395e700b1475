"""What `sluice migrate` promises: any number of times, by any number at once, and a service that can do no more than it needs."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psycopg
import pytest
import yoyo
from structlog.testing import capture_logs
from tests.conftest import ROOT
from tests.integration import postgres
from tests.integration.checks import at_once
from tests.integration.conftest import OpenStore, migrated, ready, reason
from tests.integration.postgres import Database, LocalServer
from tests.integration.sample import NOW, row, rows
from tools.ports import free_port

from sluice.stores.postgresql import inspection, migrate, store
from sluice.stores.postgresql.store import CAN_WAIT, PostgresqlStore, needed
from sluice.tasks import store as tasks

NAMES = sorted(store.migrations())
SCHEMA = """
SELECT c.relkind::text, c.relname, c.relpersistence::text, c.relacl::text, pg_get_indexdef(c.oid) FROM pg_class c
WHERE c.relnamespace = 'sluice'::regnamespace ORDER BY 1, 2
"""


# No test changes it.
untouched = pytest.fixture(migrated, scope="module")


def marks(database: Database) -> list[str]:
    return [name for (name,) in database.execute("SELECT migration_id FROM sluice._yoyo_migration ORDER BY 1")]


def test_a_first_migration_applies_all_and_a_second_nothing(empty_database: Database) -> None:
    assert migrate.migrate(empty_database.owner) == NAMES
    before = empty_database.execute(SCHEMA)
    assert migrate.migrate(empty_database.owner) == []
    assert empty_database.execute(SCHEMA) == before
    assert marks(empty_database) == NAMES


def test_a_path_that_reads_as_a_pattern_hides_no_migration(empty_database: Database, tmp_path: Path) -> None:
    shutil.copytree(ROOT / "app", tmp_path / "sluice [old]?*")
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": f"{tmp_path}/sluice [old]?*",
        "DATABASE_URL": empty_database.owner_url,
    }
    subprocess.run([sys.executable, "-m", "sluice", "migrate"], env=environment, cwd=tmp_path, check=True)
    assert marks(empty_database) == NAMES


def test_a_user_without_a_name_on_a_host_without_one_migrates(empty_database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a container that runs with a uid of its own, with a name server that does not answer."""
    for name in ("getpass.getuser", "socket.getfqdn"):
        monkeypatch.setattr(name, lambda: pytest.fail("asked for a name"))
    assert migrate.migrate(empty_database.owner) == NAMES


def test_a_second_migration_keeps_events_and_the_key_of_cursors(store: PostgresqlStore, database: Database) -> None:
    store.insert(rows(3), NOW)
    secret = database.execute("SELECT secret FROM sluice.cursor_secret")
    migrate.migrate(database.owner)
    assert database.execute("SELECT secret FROM sluice.cursor_secret") == secret
    assert len(secret[0][0]) == 32
    assert database.count() == 3


def test_four_at_once_apply_each_migration_once(empty_database: Database, open_store: OpenStore) -> None:
    applied = at_once(4, lambda _number: migrate.migrate(empty_database.owner))
    assert sorted(name for names in applied for name in names) == NAMES
    ready(open_store(empty_database.login)).insert(rows(1), NOW)
    assert empty_database.count() == 1


@pytest.mark.parametrize("lost", [*NAMES, "all"])
def test_a_crash_between_a_migration_and_its_mark_is_repaired_by_the_next_run(
    store: PostgresqlStore, database: Database, lost: str
) -> None:
    store.insert(rows(3), NOW)
    before = database.execute(SCHEMA)
    gone = NAMES if lost == "all" else [lost]
    database.execute("DELETE FROM sluice._yoyo_migration WHERE migration_id = ANY(%s)", [gone])
    assert migrate.migrate(database.owner) == gone
    assert (database.execute(SCHEMA), marks(database), database.count()) == (before, NAMES, 3)


def test_a_first_migrator_that_died_holding_the_library_s_lock_row_stops_nobody(empty_database: Database) -> None:
    migrate.migrate(empty_database.owner)
    empty_database.execute("INSERT INTO sluice.yoyo_lock (locked, ctime, pid) VALUES (1, now(), 1)")
    empty_database.execute("DROP TABLE sluice._yoyo_migration, sluice._yoyo_version, sluice._yoyo_log")
    assert migrate.migrate(empty_database.owner) == NAMES
    assert empty_database.execute("SELECT count(*) FROM sluice.yoyo_lock") == [(0,)]


def test_the_schema_is_all_in_one_place(database: Database) -> None:
    text = (
        "SELECT DISTINCT relnamespace::regnamespace::text FROM pg_class WHERE oid >= 16384 AND relkind <> 't' AND relkind <> 'i'"
    )
    assert database.execute(text) == [("sluice",)]


def test_a_role_of_somebody_s_own_serves_once_it_has_the_rights_of_ours(database: Database, open_store: OpenStore) -> None:
    role = f"role_{database.name}"
    database.execute(f"CREATE ROLE {role} LOGIN")
    try:
        store = open_store(lambda: {**database.owner(), "user": role})
        assert reason(lambda: ready(store, seconds=0.5)) == "not_permitted"
        database.execute(f"GRANT sluice_app TO {role}")
        ready(store).insert(rows(2), NOW)
        assert database.count() == 2
        store.close()
    finally:
        database.execute(f"DROP ROLE {role}")


def test_a_database_without_our_schema_is_behind_and_served_when_it_is_there(
    empty_database: Database, open_store: OpenStore
) -> None:
    store = open_store(empty_database.login)
    assert reason(lambda: ready(store, seconds=0.5)) == "schema_behind"
    migrate.migrate(empty_database.owner)
    ready(store).insert(rows(2), NOW)
    assert empty_database.count() == 2


@pytest.mark.parametrize("name", sorted(needed()))
def test_a_schema_that_lacks_a_migration_is_reported_as_behind(store: PostgresqlStore, database: Database, name: str) -> None:
    database.execute("DELETE FROM sluice._yoyo_migration WHERE migration_id = %s", [name])
    assert reason(store.check) == "schema_behind"


def test_a_migration_that_serving_does_not_wait_for_is_not_needed(tmp_path: Path) -> None:
    (tmp_path / "0003.add-column.sql").write_text("ALTER TABLE sluice.events ADD COLUMN later text;\n")
    (tmp_path / "0004.drop-column.sql").write_text(f"-- depends: 0003.add-column\n{CAN_WAIT}\nSELECT 1;\n")
    (tmp_path / "README").write_text("no migration")
    assert needed(tmp_path) == {"0003.add-column"}


def test_the_mark_does_not_disturb_the_migrator(tmp_path: Path) -> None:
    (tmp_path / "0001.first.sql").write_text("SELECT 1;\n")
    (tmp_path / "0002.second.sql").write_text(f"-- A step.\n-- depends: 0001.first\n{CAN_WAIT}\n\nSELECT 1;\n")
    _, second = yoyo.read_migrations(str(tmp_path))
    assert [each.id for each in second.depends] == ["0001.first"]


NEWER = "INSERT INTO sluice._yoyo_migration (migration_hash, migration_id, applied_at_utc) VALUES ('x', '9999.later', now())"


def test_a_newer_schema_is_served(store: PostgresqlStore, database: Database) -> None:
    database.execute(NEWER)
    database.execute("ALTER TABLE sluice.events ADD COLUMN later text")
    store.check()
    store.insert(rows(2), NOW)
    assert database.count() == 2


def test_an_older_migrator_leaves_a_newer_schema_alone(database: Database) -> None:
    database.execute(NEWER)
    assert migrate.migrate(database.owner) == []
    assert marks(database) == [*NAMES, "9999.later"]


@pytest.mark.parametrize("table", ["events", "idempotency_keys"])
def test_an_unlogged_table_is_not_durable(store: PostgresqlStore, database: Database, table: str) -> None:
    database.execute(f"ALTER TABLE sluice.{table} SET UNLOGGED")
    assert reason(store.check) == "not_durable"


def test_every_table_is_a_logged_one(database: Database) -> None:
    assert {kind for _, _, kind, _, _ in database.execute(SCHEMA)} == {"p"}


def test_rows_of_every_table_can_be_told_apart_where_changes_are_published(database: Database) -> None:
    text = """SELECT relname FROM pg_class WHERE relnamespace = 'sluice'::regnamespace AND relkind = 'r' AND relreplident = 'd'
        AND NOT EXISTS (SELECT FROM pg_index WHERE indrelid = pg_class.oid AND indisprimary)"""
    assert database.execute(text) == []


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TABLE sluice.mine ()", "CREATE TABLE public.mine ()", "CREATE SCHEMA mine", "DROP TABLE sluice.events",
        "ALTER TABLE sluice.events ADD COLUMN mine text", "ALTER TABLE sluice.events SET UNLOGGED", "TRUNCATE sluice.events",
        "CREATE INDEX ON sluice.events (source)", "DROP INDEX sluice.events_created_at_id",
        "UPDATE sluice.events SET source = 'x'", "UPDATE sluice.idempotency_keys SET status = 200", "DROP SCHEMA sluice CASCADE",
        "UPDATE sluice.cursor_secret SET secret = secret", "DELETE FROM sluice.cursor_secret",
        "DELETE FROM sluice._yoyo_migration", "INSERT INTO sluice._yoyo_migration (migration_hash) VALUES ('x')",
        "SELECT setval('sluice.events_id_seq', 1)",
        "CREATE FUNCTION sluice.mine() RETURNS int LANGUAGE sql AS 'SELECT 1'", "CREATE ROLE mine",
        "COPY sluice.events TO PROGRAM 'cat'",
        "CREATE TRIGGER mine BEFORE INSERT ON sluice.events FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()",
    ],
)  # fmt: skip
def test_the_service_s_role_is_refused(untouched: Database, statement: str) -> None:
    with postgres.connect(untouched.url) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute(statement)


def test_the_service_s_role_owns_nothing_and_rules_nothing(database: Database) -> None:
    role = "SELECT rolsuper, rolcreatedb, rolcreaterole, rolbypassrls, rolreplication FROM pg_roles WHERE rolname = 'sluice_app'"
    assert database.execute(role) == [(False,) * 5]
    assert database.execute("SELECT count(*) FROM pg_class WHERE relowner = 'sluice_app'::regrole") == [(0,)]


def test_a_look_at_a_database_reports_what_the_doctor_needs(database: Database) -> None:
    facts = inspection.inspect(database.login)
    assert (facts.version // 10_000 >= 14, facts.durable, facts.missing, facts.role_may_ddl) == (True, True, [], False)
    assert (facts.secured, facts.triggers) == ([], [])
    assert inspection.inspect(database.owner).role_may_ddl


def test_a_look_at_a_database_reports_what_an_administrator_did_to_it(database: Database) -> None:
    database.execute("ALTER TABLE sluice.tasks ENABLE ROW LEVEL SECURITY")
    keep = "EXECUTE FUNCTION suppress_redundant_updates_trigger()"
    database.execute(f"CREATE TRIGGER keep BEFORE UPDATE ON sluice.tasks FOR EACH ROW {keep}")
    database.execute("CREATE RULE none AS ON UPDATE TO sluice.erasures DO INSTEAD NOTHING")
    database.execute(f"ALTER DATABASE {database.name} SET default_transaction_read_only = on")
    facts = inspection.inspect(database.login)
    assert (facts.read_only, facts.secured) == (True, ["tasks"])
    assert facts.triggers == ["keep on tasks", "none on erasures"]


def test_a_look_at_an_empty_database_names_what_is_missing(empty_database: Database) -> None:
    assert inspection.inspect(empty_database.login).missing == NAMES


def owner_without(server: LocalServer, rights: str) -> Any:
    """A login of the role `plain`, which owns a database of the same name and has no more than `rights`."""
    server.execute(f"CREATE ROLE plain LOGIN {rights}")
    server.execute("CREATE DATABASE plain OWNER plain TEMPLATE template0")
    return lambda: psycopg.conninfo.conninfo_to_dict(server.url_of("plain", "plain", ""))


@pytest.mark.parametrize(
    ("rights", "there", "own"),
    [("NOCREATEROLE", True, False), ("NOCREATEROLE", False, True), ("CREATEROLE", False, False)],
    ids=["the role is there", "there is none: the owner's own login serves", "the role is made"],
)
def test_an_owner_who_is_no_superuser_migrates(
    private_server: LocalServer, open_store: OpenStore, rights: str, there: bool, own: bool
) -> None:
    if not there:
        private_server.execute(f"DROP DATABASE {postgres.TEMPLATE}")
        private_server.execute("DROP ROLE sluice_app")
    owner, database = owner_without(private_server, rights), Database(private_server, "plain")
    assert migrate.migrate(owner) == NAMES
    ready(open_store(owner if own else database.login)).insert([row("a")], NOW)
    assert database.ids() == ["a"]


@pytest.mark.parametrize("with_the_role", [True, False])
def test_a_dump_restored_without_the_role_or_its_rights_is_served_after_a_migration(
    private_server: LocalServer, private_database: Database, open_store: OpenStore, with_the_role: bool
) -> None:
    before = private_database.execute(SCHEMA)
    private_database.execute("REVOKE CONNECT ON DATABASE " + private_database.name + " FROM PUBLIC")
    private_database.execute("DROP OWNED BY sluice_app")
    if not with_the_role:
        private_server.execute(f"DROP DATABASE {postgres.TEMPLATE}")
        private_server.execute("DROP ROLE sluice_app")
    assert migrate.migrate(private_database.owner) == []
    assert private_database.execute(SCHEMA) == before
    ready(open_store(private_database.login)).insert([row("a")], NOW)
    assert private_database.ids() == ["a"]


def test_sequences_that_are_behind_their_rows_go_on_behind_them_after_a_migration(
    store: PostgresqlStore, database: Database
) -> None:
    made = [task(store) for _ in range(3)]
    (event,) = store.insert([row("before")], NOW)
    database.execute("ALTER TABLE sluice.tasks ALTER COLUMN id RESTART")
    database.execute("ALTER SEQUENCE sluice.events_id_seq RESTART")
    assert reason(lambda: task(store)) == "sequence_behind"
    migrate.migrate(database.owner)
    made.append(task(store))
    (after,) = store.insert([row("after")], NOW)
    assert (after.id or 0) > (event.id or 0)
    assert database.execute("SELECT task_id::text FROM sluice.tasks ORDER BY id") == [(each,) for each in made]


def test_sequences_that_are_in_order_stay_as_they_are(store: PostgresqlStore, database: Database) -> None:
    task(store)
    store.insert([row("a")], NOW)
    text = "SELECT sequencename, last_value FROM pg_sequences WHERE schemaname = 'sluice' ORDER BY 1"
    before = database.execute(text)
    migrate.migrate(database.owner)
    assert database.execute(text) == before


def task(store: PostgresqlStore) -> str:
    columns = dict.fromkeys(tasks.SETTABLE) | {"title": "title", "priority": "high"}
    return tasks.create(store.database, uuid.uuid4(), "key", None, columns)[0].id


def test_a_right_that_an_administrator_took_away_stays_away(database: Database) -> None:
    database.execute("REVOKE DELETE ON sluice.events FROM sluice_app")
    migrate.migrate(database.owner)
    assert database.execute("SELECT has_table_privilege('sluice_app', 'sluice.events', 'DELETE')") == [(False,)]


def test_the_owner_of_a_schema_that_was_made_for_it_needs_no_right_to_make_others(private_server: LocalServer) -> None:
    private_server.execute("CREATE ROLE plain LOGIN")
    with private_server.database("template0") as database:
        database.execute("CREATE SCHEMA sluice AUTHORIZATION plain; GRANT USAGE ON SCHEMA sluice TO sluice_app")
        assert migrate.migrate(lambda: {**database.owner(), "user": "plain"}) == NAMES
        assert marks(database) == NAMES
        assert database.execute("SELECT has_table_privilege('sluice_app', 'sluice.events', 'INSERT')") == [(True,)]


@pytest.mark.parametrize("there", [True, False], ids=["the role is there", "the role is made"])
def test_a_role_of_rds_keeps_its_password_until_it_is_to_log_in_by_tokens(private_server: LocalServer, there: bool) -> None:
    private_server.execute("CREATE ROLE rds_iam")
    if not there:
        private_server.execute(f"DROP DATABASE {postgres.TEMPLATE}")
        private_server.execute("DROP ROLE sluice_app")
    with private_server.database("template0") as database:
        found = []
        # The last time nobody asks any more: what was granted stays.
        for asked in (False, True, True, False):
            migrate.migrate(database.owner, grant_rds_iam=asked)
            found += private_server.execute("SELECT pg_has_role('sluice_app', 'rds_iam', 'member')")
        assert found == [(False,), (True,), (True,), (True,)]


def test_a_right_that_the_migrator_lacks_is_told_and_stops_nothing(private_server: LocalServer) -> None:
    private_server.execute("CREATE ROLE rds_iam")
    with capture_logs() as lines:
        assert migrate.migrate(owner_without(private_server, ""), grant_rds_iam=True) == NAMES
    assert [line["text"].partition(":")[0] for line in lines if line["event"] == "migrate.warning"] == [
        "no right to grant rds_iam to sluice_app"
    ]


def test_a_server_that_is_away_is_reported_as_such() -> None:
    login = {"host": "127.0.0.1", "port": free_port(), "connect_timeout": 2}
    assert reason(lambda: migrate.migrate(lambda: login)) == "database_unreachable"


def test_a_table_that_another_session_locks_is_reported_as_busy(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(migrate, "WAIT_TABLE", "100ms")
    database.execute("DELETE FROM sluice._yoyo_migration WHERE migration_id = '0004.add-digest'")
    with postgres.connect(database.owner_url) as dump, dump.transaction():
        dump.execute("LOCK TABLE sluice.events IN ACCESS SHARE MODE")
        assert reason(lambda: migrate.migrate(database.owner)) == "database_busy"
    assert migrate.migrate(database.owner) == ["0004.add-digest"]


def test_time_limits_of_a_database_do_not_end_a_migration_that_takes_long(database: Database) -> None:
    limits = ["statement_timeout", "idle_session_timeout", "idle_in_transaction_session_timeout", "transaction_timeout"]
    database.execute("DELETE FROM sluice._yoyo_migration WHERE migration_id = '0004.add-digest'")
    with ThreadPoolExecutor(1) as pool, postgres.connect(database.owner_url) as other:
        for (name,) in database.execute("SELECT name FROM pg_settings WHERE name = ANY(%s)", [limits]):
            database.execute(f"ALTER DATABASE {database.name} SET {name} = '400ms'")
        with other.transaction():
            other.execute("LOCK TABLE sluice.events IN ACCESS SHARE MODE")
            migrating = pool.submit(migrate.migrate, database.owner)
            other.execute("SELECT pg_sleep(2)")
        assert migrating.result(30) == ["0004.add-digest"]


def test_a_login_without_rights_is_reported_as_such(empty_database: Database) -> None:
    assert reason(lambda: migrate.migrate(empty_database.login)) == "not_permitted"
    assert empty_database.execute("SELECT to_regnamespace('sluice')") == [(None,)]
