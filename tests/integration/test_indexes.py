"""`sluice index`: what it builds is used by filters, costs no event, and survives interruption."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from click.testing import CliRunner
from psycopg import sql
from tests.integration import postgres
from tests.integration.postgres import Database
from tests.integration.sample import NOW, row
from tests.integration.waiting import until

from sluice import errors, filters
from sluice.cli import main
from sluice.stores.postgresql import indexes, migrate, statements
from sluice.stores.postgresql.store import PostgresqlStore

FILL = """
INSERT INTO sluice.events (event_id, id, "timestamp", event_type, event_name, properties, device_info, priority, key_id, content,
    created_at, user_id)
SELECT 'fill-' || n, n, now() - n * interval '1 second', 'log', 'line', '{}', '{}', 'normal', 'k', '',
    now() - n * interval '1 second', 'user-' || n % 997
FROM generate_series(1, 30000) AS n
"""


def quiet(_phase: str, _done: float) -> None:
    pass


def plan(database: Database, *parameters: tuple[str, str]) -> str:
    text, values = statements.page(filters.parse(parameters), None, 1 << 20)
    found = database.execute(sql.SQL("EXPLAIN (FORMAT JSON) {}").format(text).as_string(), values)
    return json.dumps(found)


def test_a_filter_by_a_column_uses_its_index_and_not_the_table(database: Database) -> None:
    database.execute(FILL)
    assert "events_by_user_id" not in plan(database, ("user_id", "user-5"))
    assert indexes.add(database.owner, "user_id", quiet)
    assert "events_by_user_id" in plan(database, ("user_id", "user-5"))
    assert not indexes.add(database.owner, "user_id", quiet)


def test_a_filter_by_a_path_uses_its_index_and_finds_long_texts(store: PostgresqlStore, database: Database) -> None:
    database.execute(FILL)
    name = 'properties.it\'s."quoted"'
    assert indexes.add(database.owner, name, quiet)
    long = "é" * 100_000
    store.insert([row(f"e{n}", properties={"it's": {'"quoted"': long + str(n)}}) for n in range(2)], NOW)
    found = store.page(filters.parse([(name, long + "1")])).logs
    assert [json.loads(bytes(log))["event_id"] for log in found] == ["e1"]
    assert indexes.relation_of(name) in plan(database, (name, "x"))
    assert [index.name for index in indexes.listed(database.owner)] == [name]


def test_the_spellings_of_a_path_are_one_index(database: Database) -> None:
    assert indexes.add(database.owner, 'properties["a.b"]["c"]', quiet)
    assert not indexes.add(database.owner, r"properties.a\.b.c", quiet)
    assert [index.name for index in indexes.listed(database.owner)] == [r"properties.a\.b.c"]
    assert indexes.relation_of("properties.a.b") not in {
        indexes.relation_of(r"properties.a\.b"),
        indexes.relation_of("properties.a"),
    }
    assert indexes.drop(database.owner, 'properties["a.b"].c')
    assert indexes.listed(database.owner) == []


def test_a_lower_bound_of_the_timestamp_ends_the_search_in_the_order_of_pages(store: PostgresqlStore, database: Database) -> None:
    ahead = NOW + timedelta(hours=24)
    store.insert([row("ahead", timestamp=ahead, now=NOW), row("old", timestamp=NOW - timedelta(days=3))], NOW)
    found = store.page(filters.parse([("start_time", ahead.isoformat()), ("sort_by", "created_at")])).logs
    assert [json.loads(bytes(log))["event_id"] for log in found] == ["ahead"]
    assert "created_at >= " in plan(database, ("start_time", NOW.isoformat()))


def test_events_go_on_coming_while_an_index_is_built(store: PostgresqlStore, database: Database) -> None:
    database.execute(FILL)
    phases: list[str] = []
    with ThreadPoolExecutor(1) as pool, postgres.connect(database.owner_url) as other:
        with other.transaction():
            # CREATE INDEX CONCURRENTLY waits for whoever wrote before it.
            other.execute("DELETE FROM sluice.events WHERE event_id = 'fill-1'")
            building = pool.submit(indexes.add, database.owner, "user_id", lambda phase, _: phases.append(phase))
            until(lambda: any("waiting" in phase for phase in phases), 20)
            store.insert([row("during", user_id="user-5")], NOW)
        assert building.result(30)
    assert "events_by_user_id" in plan(database, ("user_id", "user-5"))


def test_time_limits_that_a_database_has_for_its_sessions_end_no_building_and_no_migrator(database: Database) -> None:
    with ThreadPoolExecutor(2) as pool, postgres.connect(database.owner_url) as other:
        limits = "statement_timeout", "idle_session_timeout", "lock_timeout", "transaction_timeout"
        for (name,) in database.execute("SELECT name FROM pg_settings WHERE name = ANY(%s)", [list(limits)]):
            database.execute(f"ALTER DATABASE {database.name} SET {name} = '400ms'")
        with other.transaction():
            other.execute("LOCK TABLE sluice.events IN ROW EXCLUSIVE MODE")
            other.execute("SELECT pg_advisory_xact_lock(%s)", [migrate.LOCK])
            building = pool.submit(indexes.add, database.owner, "user_id", quiet)
            migrating = pool.submit(migrate.migrate, database.owner)
            other.execute("SELECT pg_sleep(1)")
        assert (building.result(30), migrating.result(30)) == (True, [])


def test_ctrl_c_ends_the_building_on_the_server_too_and_leaves_nothing(database: Database) -> None:
    database.execute(FILL)

    interrupted = threading.Event()

    def interrupt(_phase: str, _done: float) -> None:
        interrupted.set()
        raise KeyboardInterrupt

    with ThreadPoolExecutor(1) as pool:
        # A writer that has not ended: the building waits for it, and so cannot be over before it is interrupted.
        with postgres.connect(database.owner_url) as writer, writer.transaction():
            writer.execute("LOCK TABLE sluice.events IN ROW EXCLUSIVE MODE")
            building = pool.submit(indexes.add, database.owner, "user_id", interrupt)
            assert interrupted.wait(20)
        with pytest.raises(KeyboardInterrupt):
            building.result(30)
    assert indexes.listed(database.owner) == []
    assert indexes.add(database.owner, "user_id", quiet)


def test_an_index_whose_building_was_interrupted_is_built_by_the_next_call(database: Database) -> None:
    database.execute(FILL)
    # As a process that was killed leaves it.
    database.execute("CREATE INDEX events_by_user_id ON sluice.events (event_name)")
    database.execute("UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'sluice.events_by_user_id'::regclass")
    assert [index.valid for index in indexes.listed(database.owner)] == [False]
    assert indexes.add(database.owner, "user_id", quiet)
    assert [(index.name, index.valid) for index in indexes.listed(database.owner)] == [("user_id", True)]


def test_an_index_is_listed_dropped_and_named_when_it_cannot_be(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", database.owner_url)
    monkeypatch.setenv("API_KEYS", "x" * 32)

    def run(*arguments: str) -> tuple[int, str]:
        done = CliRunner().invoke(main, ["index", *arguments])
        return done.exit_code, done.output

    assert run("add", "user_id", "properties.a") == (0, "added user_id\nadded properties.a\n")
    assert run("add", "user_id") == (0, "user_id is there already\n")
    code, output = run("list")
    assert (code, "properties.a" in output, output.count("ready")) == (0, True, 2)
    assert run("drop", "user_id", "user_id") == (0, "dropped user_id\nthere is no index for user_id\n")
    for name in ("event_id", "nothing", "properties", "start_time", "id"):
        code, output = run("add", name)
        assert (code, "an index serves" in output) == (2, True)
    assert [index.name for index in indexes.listed(database.owner)] == ["properties.a"]


def test_an_owner_whose_search_path_has_our_schema_knows_its_indexes(database: Database) -> None:
    # As "$user" does for a role named sluice.
    database.execute(f"ALTER DATABASE {database.name} SET search_path = sluice")
    assert [indexes.add(database.owner, "user_id", quiet) for _ in range(2)] == [True, False]
    assert [indexes.drop(database.owner, "user_id") for _ in range(2)] == [True, False]
    assert indexes.listed(database.owner) == []


def test_no_function_of_somebody_else_is_run_as_the_owner(database: Database) -> None:
    """Up to PostgreSQL 14 everybody may make some in `public`; this one fits a comparison of a name better than the system's."""
    database.execute(
        "CREATE FUNCTION public.starts_with(name, text) RETURNS bool LANGUAGE plpgsql AS $$ BEGIN RAISE 'planted'; END $$"
    )
    assert indexes.add(database.owner, "user_id", quiet)
    assert [index.name for index in indexes.listed(database.owner)] == ["user_id"]


def test_a_role_that_does_not_own_the_schema_is_refused_in_our_words(database: Database) -> None:
    with pytest.raises(errors.StoreUnavailable):
        indexes.add(database.login, "user_id", quiet)
