"""What the PostgreSQL store promises while its server is away, sick or not to be trusted: quick errors, no lost event, no lie."""

from __future__ import annotations

import itertools
import os
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from tests.integration import postgres
from tests.integration.checks import at_once
from tests.integration.conftest import OpenStore, ready
from tests.integration.door import door
from tests.integration.postgres import Database, LocalServer
from tests.integration.sample import NOW, row, rows
from tests.integration.waiting import until, without_error
from tools.ports import free_port

from sluice import errors
from sluice.erasure import store as erasure
from sluice.error_groups import store as error_groups
from sluice.filters import Filter
from sluice.stores import Claim
from sluice.stores.postgresql import connections, inspection, migrate, statements
from sluice.stores.postgresql.connections import Connection
from sluice.stores.postgresql.store import Insertion, PostgresqlStore
from sluice.stores.volume import span
from sluice.tasks import store as tasks

# Generous beside the promised 0.25 s: the machine of the tests has other work too.
QUICK = 1.0


@pytest.fixture
def private_store(private_database: Database, open_store: OpenStore) -> PostgresqlStore:
    """A connected store on `private_database`."""
    return ready(open_store(private_database.login))


def refused(work: Callable[[], object]) -> tuple[str, float]:
    """The reason that `work` is refused for, and after how many seconds."""
    begun = time.monotonic()
    with pytest.raises(errors.StoreUnavailable) as caught:
        work()
    return caught.value.reason, time.monotonic() - begun


@contextmanager
def inserting(store: PostgresqlStore, threads: int = 8) -> Iterator[set[str]]:
    """Threads that insert, and send again what was not acknowledged until it is; the ids acknowledged so far."""
    acknowledged: set[str] = set()
    stop = threading.Event()

    def send(number: int) -> None:
        for turn in itertools.count():
            if stop.is_set():
                return
            some = rows(3, f"t{number}-{turn:05}-")
            found = without_error(lambda some=some: store.insert(some, NOW), errors.StoreUnavailable, seconds=30)  # type: ignore[misc]
            assert {outcome.status for outcome in found} <= {"created", "duplicate"}
            acknowledged.update(one.event_id for one in some)

    with ThreadPoolExecutor(threads) as pool:
        senders = [pool.submit(send, number) for number in range(threads)]
        try:
            yield acknowledged
        finally:
            stop.set()
    assert [sender.result() for sender in senders] == [None] * threads


def more(acknowledged: set[str], than: int = 0) -> None:
    """Wait until events are acknowledged beyond those there are now."""
    before = len(acknowledged) + than
    until(lambda: len(acknowledged) > before, 20, "more events are acknowledged")


def test_a_stopped_server_is_reported_at_once(
    private_server: LocalServer, private_database: Database, private_store: PostgresqlStore
) -> None:
    private_server.stop()
    answers = [refused(lambda: private_store.insert(rows(1), NOW)) for _ in range(5)]
    assert {reason for reason, _ in answers} == {"database_unreachable"}
    assert max(seconds for _, seconds in answers) < QUICK
    private_server.start()
    ready(private_store)
    assert private_database.count() == 0


def test_64_callers_of_a_stopped_server_are_answered_at_once(private_server: LocalServer, private_store: PostgresqlStore) -> None:
    private_server.stop()
    answers = at_once(64, lambda _number: refused(lambda: private_store.insert(rows(1), NOW)))
    assert {reason for reason, _ in answers} == {"database_unreachable"}
    assert max(seconds for _, seconds in answers) < 2 * QUICK


@pytest.mark.parametrize("call", ["check", "get", "page", "export", "figures", "volume", "purge", "insert_all", "insert_once"])
def test_every_method_reports_that_the_server_is_away(open_store: OpenStore, call: str) -> None:
    port = free_port()
    store = open_store(lambda: {"host": "127.0.0.1", "port": port, "connect_timeout": 2})
    claim = Claim("k", "i", b"r")
    calls: dict[str, Callable[[], object]] = {
        "check": store.check,
        "get": lambda: store.get("a"),
        "page": lambda: store.page(Filter()),
        "export": lambda: next(store.export(Filter())),
        "figures": lambda: store.figures(NOW),
        "volume": lambda: store.volume(span(NOW, NOW), "status"),
        "purge": lambda: store.purge(NOW, NOW, 1),
        "insert_all": lambda: store.insert_all(rows(1), NOW),
        "insert_once": lambda: store.insert_once(claim, rows(1), [None], NOW, atomic=False),
    }
    reason, seconds = refused(calls[call])
    assert (reason, seconds < QUICK) == ("database_unreachable", True)


def test_a_store_opened_while_the_server_is_away_becomes_usable_by_itself(
    private_server: LocalServer, private_database: Database, open_store: OpenStore
) -> None:
    private_server.stop()
    store = open_store(private_database.login)
    assert refused(store.check)[0] == "database_unreachable"
    private_server.start()
    ready(store).insert(rows(2), NOW)
    assert private_database.count() == 2


def test_a_closed_store_is_reported_as_draining(database: Database, open_store: OpenStore) -> None:
    store = ready(open_store(database.login))
    store.close()
    assert refused(lambda: store.insert(rows(1), NOW))[0] == "draining"


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_a_server_that_restarts_under_load_loses_no_acknowledged_event(
    private_server: LocalServer, private_database: Database, private_store: PostgresqlStore, end: str
) -> None:
    with inserting(private_store) as acknowledged:
        for _ in range(2):
            more(acknowledged, 100)
            getattr(private_server, end)()
            private_server.start()
            more(acknowledged)
    stored = private_database.ids()
    assert set(stored) == acknowledged
    assert len(stored) == len(acknowledged) > 200


def test_sessions_ended_one_by_one_are_never_seen_by_a_caller(database: Database, open_store: OpenStore) -> None:
    store = ready(open_store(database.login, 4))
    stop = threading.Event()
    turns = [0] * 8

    def send(number: int) -> None:
        while not stop.is_set():
            store.insert([row(f"t{number}-{turns[number]:05}")], NOW)
            turns[number] += 1

    def end_one() -> int:
        ended = until(lambda: database.terminate(1))
        # Two in one call are not one by one: it is repeated once.
        before = list(turns)
        until(lambda: all(now > then for now, then in zip(turns, before, strict=True)))
        return ended

    with ThreadPoolExecutor(8) as pool:
        senders = [pool.submit(send, number) for number in range(8)]
        try:
            ended = [end_one() for _ in range(20)]
        finally:
            stop.set()
            for sender in senders:
                sender.result()
    assert (sum(ended), database.count()) == (20, sum(turns))


def test_a_session_ended_while_it_logs_in_is_tried_again_at_once(database: Database, open_store: OpenStore) -> None:
    # The pool's own second try would come a second later, and until then the database would be told as away.
    with door(database.login()["port"], closed=3) as way:
        store = open_store(lambda: {**database.login(), "port": way.port}, 1)
        assert {outcome.status for outcome in store.insert(rows(2), NOW)} == {"created"}
        assert (database.count(), way.came) == (2, 4)


def test_a_server_that_ends_every_login_is_reported_as_away(database: Database, open_store: OpenStore) -> None:
    with door(database.login()["port"], closed=1_000) as way:
        store = open_store(lambda: {**database.login(), "port": way.port})
        reason, seconds = refused(lambda: store.insert(rows(1), NOW))
    assert (reason, seconds < QUICK) == ("database_unreachable", True)


def test_an_ended_session_does_not_say_that_the_database_is_away(database: Database, open_store: OpenStore) -> None:
    def slow() -> dict[str, Any]:
        # Three times as long as a caller without hope would wait.
        time.sleep(3 * connections.SLICE)
        return database.login()

    store = ready(open_store(slow, 1))
    for number in range(3):
        assert database.terminate() == 1
        assert {outcome.status for outcome in store.insert([row(f"a{number}")], NOW)} == {"created"}
    assert database.count() == 3


def test_every_session_ended_at_once_is_not_seen_by_a_caller(database: Database, open_store: OpenStore) -> None:
    store = ready(open_store(database.login, 4))
    at_once(8, lambda number: store.insert(rows(20, f"a{number}-"), NOW))
    assert database.terminate() >= 2
    at_once(8, lambda number: store.insert(rows(20, f"b{number}-"), NOW))
    assert database.count() == 320


TERMINATE_ONCE = """
CREATE SEQUENCE sluice.tries;
GRANT ALL ON SEQUENCE sluice.tries TO PUBLIC;
CREATE FUNCTION sluice.terminate_once() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    IF nextval('sluice.tries') = 1 THEN PERFORM pg_terminate_backend(pg_backend_pid()); END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER terminate_once BEFORE INSERT ON sluice.idempotency_keys FOR EACH ROW EXECUTE FUNCTION sluice.terminate_once();
"""


def test_a_claim_whose_session_ended_before_its_commit_is_stored_once(store: PostgresqlStore, database: Database) -> None:
    database.execute(TERMINATE_ONCE)
    kept = store.insert_once(Claim("key", "order", b"request"), rows(2), [None, None], NOW, atomic=False)
    assert ([outcome.status for outcome in kept.outcomes], kept.replayed) == (["created", "created"], False)
    assert (database.count(), database.execute("SELECT last_value FROM sluice.tries")) == (2, [(2,)])


def test_a_frozen_server_costs_a_request_one_deadline(
    private_server: LocalServer, private_database: Database, open_store: OpenStore
) -> None:
    store = ready(open_store(private_database.login, 4, 1.0))
    with ThreadPoolExecutor(8) as pool:
        until(lambda: len([*pool.map(lambda _: store.check(), range(8))]) == 8 and len(private_database.sessions()) > 1)
    private_server.freeze()
    reason, seconds = refused(lambda: store.insert(rows(1), NOW))
    # The server's own timeout after 1 s never comes; the watchdog acts a second later, in ticks of a quarter.
    assert (reason, 1.9 < seconds < 2.5 + QUICK) == ("database_unreachable", True)
    private_server.thaw()
    without_error(lambda: store.insert(rows(2), NOW), errors.StoreUnavailable)
    assert private_database.count() == 2


def test_a_statement_that_takes_too_long_is_ended_by_the_server(database: Database, open_store: OpenStore) -> None:
    store = ready(open_store(database.login, 1, 0.5))
    with postgres.connect(database.owner_url) as other, other.transaction():
        other.execute("LOCK TABLE sluice.events")
        reason, seconds = refused(lambda: store.insert(rows(1), NOW))
    assert (reason, seconds < 3) == ("query_timeout", True)
    assert database.count() == 0


@contextmanager
def held(pooled: connections.Connections) -> Iterator[None]:
    """A connection is in use."""
    begun, finish = threading.Event(), threading.Event()

    def hold(_connection: object) -> bool:
        begun.set()
        return finish.wait(10)

    with ThreadPoolExecutor(1) as pool:
        holder = pool.submit(pooled.once, hold)
        assert begun.wait(10)
        try:
            yield
        finally:
            finish.set()
    assert holder.result()


def test_a_pool_that_is_all_in_use_is_busy_after_its_deadline(database: Database, open_store: OpenStore) -> None:
    store = ready(open_store(database.login, 1, 0.5))
    with held(store.database.writes):
        reason, seconds = refused(lambda: store.insert(rows(1, "b"), NOW))
    assert (reason, 0.5 <= seconds < 3) == ("database_busy", True)
    assert database.count() == 0


def test_slow_queries_keep_no_event_waiting(database: Database, open_store: OpenStore, monkeypatch: pytest.MonkeyPatch) -> None:
    store = ready(open_store(database.login, 4))
    monkeypatch.setattr(statements, "GET", "SELECT pg_sleep(1)::text WHERE %s <> ''")
    with ThreadPoolExecutor(8) as pool:
        queries = [pool.submit(store.get, "a") for _ in range(8)]
        until(lambda: database.execute(SLEEPING) == [(2,)], 10, "every connection for queries is in use")
        for number in range(50):
            store.insert([row(f"e{number}")], NOW)
        assert not all(query.done() for query in queries)
    assert database.count() == 50


SLEEPING = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'"


def test_a_query_over_its_time_is_no_store_that_is_away(
    database: Database, open_store: OpenStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = ready(open_store(database.login, 4, 0.5))
    monkeypatch.setattr(statements, "GET", "SELECT pg_sleep(60)::text WHERE %s <> ''")
    with pytest.raises(errors.QueryTimeout):
        store.get("a")


def test_a_connection_is_given_first_come_first_served(database: Database, open_store: OpenStore) -> None:
    one = ready(open_store(database.login, 1)).database.writes
    order: list[int] = []
    with ThreadPoolExecutor(20) as pool, held(one):
        for number in range(20):
            pool.submit(one.once, lambda _connection, number=number: order.append(number))
            until(lambda: len(one._waiting) == number + 1)  # noqa: B023 - called at once
        # Some slices of waiting: who waits longest keeps its place.
        time.sleep(3 * connections.SLICE)
    assert order == list(range(20))


def test_batches_leave_a_connection_for_single_events(database: Database, open_store: OpenStore) -> None:
    """Two batches wait for what another session holds; the single event behind them does not."""
    store = ready(open_store(database.login, 4))
    batches = [[row("held"), *rows(500, name)] for name in ("a", "b")]
    with psycopg.connect(database.url) as other, ThreadPoolExecutor(2) as pool:
        Insertion([row("held")], NOW).run(other)
        waiting = [pool.submit(store.insert, batch, NOW) for batch in batches]
        until(lambda: len(store.database.writes._waiting) == 1, 5, "one batch has a connection, and one waits for it")
        assert [outcome.status for outcome in store.insert([row("x")], NOW)] == ["created"]
        assert not any(each.done() for each in waiting)
        other.rollback()
    found = Counter(outcome.status for each in waiting for outcome in each.result())
    assert found == {"created": 1_001, "duplicate": 1}
    assert database.count() == 1_002


def test_readers_of_the_cursor_secret_do_not_wait_for_each_other(
    private_server: LocalServer, private_database: Database, open_store: OpenStore
) -> None:
    store = ready(open_store(private_database.login, 8, 1.0))
    private_server.freeze()
    waits = at_once(4, lambda _number: refused(lambda: store.cursor_secret)[1])
    private_server.thaw()
    assert max(waits) < 4


@pytest.mark.parametrize("setting", ["fsync", "full_page_writes", "synchronous_commit"])
def test_a_server_that_may_lose_a_commit_acknowledges_nothing(
    private_server: LocalServer, private_database: Database, open_store: OpenStore, setting: str
) -> None:
    private_server.stop()
    private_server.start(**{setting: "off"})
    store = open_store(private_database.login)
    until(lambda: refused(store.check)[0] == "not_durable")
    assert refused(lambda: store.insert(rows(1), NOW))[0] == "not_durable"
    assert private_database.count() == 0


@pytest.mark.parametrize("where", ["ROLE sluice_app", "DATABASE {}"])
def test_a_store_waits_for_durability_that_was_turned_off_for_it_alone_and_then_serves(
    private_server: LocalServer, private_database: Database, open_store: OpenStore, where: str
) -> None:
    alter = f"ALTER {where.format(private_database.name)}"
    private_server.execute(f"{alter} SET synchronous_commit = off")
    store = open_store(private_database.login)
    until(lambda: refused(store.check)[0] == "not_durable")
    assert refused(lambda: store.insert(rows(1), NOW))[0] == "not_durable"
    assert private_database.count() == 0
    private_server.execute(f"{alter} RESET synchronous_commit")
    ready(store).insert(rows(1), NOW)
    assert private_database.count() == 1


def test_a_read_only_server_reads_and_is_written_to_by_a_new_session_as_soon_as_it_can_be(
    database: Database, store: PostgresqlStore
) -> None:
    store.insert(rows(1, "before"), NOW)
    database.server.execute(f"ALTER DATABASE {database.name} SET default_transaction_read_only = on")
    database.terminate()
    assert refused(lambda: store.insert(rows(1), NOW))[0] == "database_read_only"
    assert len(store.page(Filter()).logs) == 1
    assert database.count() == 1
    database.server.execute(f"ALTER DATABASE {database.name} RESET ALL")
    store.insert(rows(1), NOW)
    assert database.count() == 2


@pytest.mark.parametrize("setting", ["fsync", "full_page_writes"])
def test_a_running_server_that_is_configured_to_lose_commits_acknowledges_nothing(
    private_server: LocalServer, private_database: Database, private_store: PostgresqlStore, setting: str
) -> None:
    def becomes(value: str) -> None:
        private_server.execute(f"ALTER SYSTEM SET {setting} = {value}")
        private_server.execute("SELECT pg_reload_conf()")
        # Of each session: the pools give them by turns.
        asked = [pool for pool in (kept.writes, kept.reads) for _ in range(pool.size)]
        until(lambda: {pool.run(lambda c: c.execute(f"SHOW {setting}").fetchone()) for pool in asked} == {(value,)})

    kept = private_store.database
    kept.query("SELECT 1")
    private_store.insert(rows(1, "before"), NOW)
    task = uuid.uuid4()
    writes: list[Callable[[], object]] = [
        lambda: private_store.insert(rows(1, "before"), NOW),
        lambda: private_store.insert(rows(1, "new"), NOW),
        lambda: tasks.create(kept, task, "ci", None, dict.fromkeys(tasks.SETTABLE, None) | {"title": "look", "priority": "high"}),
        lambda: error_groups.change(kept, "1:" + "0" * 32, "resolved", NOW, "ci"),
        lambda: erasure.begin(kept, str(task), "ci", "request", NOW),
    ]
    becomes("off")
    assert [refused(write)[0] for write in writes] == ["not_durable"] * len(writes)
    assert private_database.count() == 1
    assert private_database.execute("SELECT 1 FROM sluice.tasks UNION ALL SELECT 1 FROM sluice.erasures") == []
    becomes("on")
    private_store.insert(rows(1, "new"), NOW)
    assert private_database.count() == 2


def test_a_running_server_that_is_configured_to_commit_later_does_not_so_for_the_service(
    private_server: LocalServer, private_store: PostgresqlStore
) -> None:
    private_server.execute("ALTER SYSTEM SET synchronous_commit = off")
    private_server.execute("SELECT pg_reload_conf()")
    until(lambda: private_server.execute("SHOW synchronous_commit") == [("off",)])
    assert private_store.database.run(lambda c: c.execute("SHOW synchronous_commit").fetchone()) == ("on",)


NEON = {"neon.timeline_id": "f" * 32, "synchronous_standby_names": "walproposer"}


@pytest.mark.parametrize(
    ("given", "durable"),
    [
        (NEON, True),
        ({"neon.timeline_id": "f" * 32}, False),
        ({"synchronous_standby_names": "walproposer"}, False),
        ({**NEON, "synchronous_commit": "local"}, False),
    ],
    ids=["Neon", "nobody confirms", "another server", "commits wait for nobody"],
)
def test_a_server_without_fsync_whose_commits_safekeepers_confirm_is_durable(
    private_server: LocalServer, given: dict[str, str], durable: bool
) -> None:
    private_server.stop()
    private_server.start(fsync="off", **given)
    url = Database(private_server, postgres.TEMPLATE).url
    with postgres.connect(url) as connection, connection.transaction(force_rollback=True):
        assert connections.is_durable(connection) is durable
        if durable:
            assert [each.status for each in Insertion([row("a")], NOW).run(connection)] == ["created"]
        else:
            assert refused(lambda: Insertion([row("a")], NOW).run(connection))[0] == "not_durable"


def test_a_server_that_is_too_old_is_refused(database: Database, open_store: OpenStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "MIN_SERVER", 990_000)
    until(lambda: refused(open_store(database.login).check)[0] == "database_too_old")
    assert refused(lambda: migrate.migrate(database.owner))[0] == "database_too_old"
    assert refused(lambda: inspection.inspect(database.owner))[0] == "database_too_old"


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII"])
def test_a_database_that_cannot_keep_all_text_is_refused(server: postgres.Server, open_store: OpenStore, encoding: str) -> None:
    name = f"sluice_{encoding.lower()}"
    server.execute(f"CREATE DATABASE {name} TEMPLATE template0 ENCODING '{encoding}' LOCALE 'C'")
    database = Database(server, name)
    try:
        until(lambda: refused(open_store(database.login).check)[0] == "database_encoding")
        assert refused(lambda: migrate.migrate(database.owner))[0] == "database_encoding"
        assert refused(lambda: inspection.inspect(database.owner))[0] == "database_encoding"
        assert database.execute("SELECT to_regnamespace('sluice')") == [(None,)]
    finally:
        server.execute(f"DROP DATABASE {name} WITH (FORCE)")


def test_a_name_that_led_to_a_standby_for_a_moment_is_read_from_the_primary_again(
    private_server: LocalServer, standby: LocalServer, open_store: OpenStore
) -> None:
    primary, leads_to = Database(private_server, postgres.TEMPLATE), [standby]
    store = ready(open_store(lambda: Database(leads_to[0], postgres.TEMPLATE).login()))
    assert store.get("e00000") is None
    assert refused(lambda: store.insert(rows(1), NOW))[0] == "database_read_only"
    leads_to[0] = private_server
    store.insert(rows(1), NOW)
    assert primary.ids() == ["e00000"]
    until(lambda: store.get("e00000"))


def test_a_column_whose_type_is_widened_needs_no_new_start(database: Database, store: PostgresqlStore) -> None:
    def version(connection: Connection) -> list[Any]:
        return connection.execute("SELECT max(version) FROM sluice.tasks").fetchall()

    # So often that the driver keeps the statement prepared.
    for _ in range(10):
        store.database.run(version)
    database.execute("ALTER TABLE sluice.tasks ALTER COLUMN version TYPE bigint")
    assert store.database.run(version) == [(None,)]


def test_a_server_without_a_free_connection_is_reported_as_such(
    private_server: LocalServer, private_database: Database, open_store: OpenStore
) -> None:
    private_server.stop()
    private_server.start(max_connections="6", superuser_reserved_connections="3", max_wal_senders="0")
    taken = [postgres.connect(private_database.url) for _ in range(3)]
    store = open_store(private_database.login)
    until(lambda: refused(store.check)[0] == "too_many_connections")
    taken.pop().close()
    ready(store).insert(rows(1), NOW)
    for connection in taken:
        connection.close()
    assert private_database.count() == 1


def test_a_pool_that_may_not_grow_serves_with_what_it_has(
    private_server: LocalServer, private_database: Database, open_store: OpenStore
) -> None:
    private_server.execute("ALTER ROLE sluice_app CONNECTION LIMIT 1")
    store = ready(open_store(private_database.login, 4))
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda number: store.insert(rows(10, f"e{number}-"), NOW), range(64)))
    assert private_database.count() == 640
    # A login is a session for the moment until it is refused.
    until(lambda: len(private_database.sessions()) == 1)


def test_what_the_server_says_never_reaches_a_caller(database: Database, store: PostgresqlStore) -> None:
    database.execute("ALTER TABLE sluice.events ADD CONSTRAINT canary CHECK (user_id <> 'canary-value')")
    database.execute("ALTER TABLE sluice.events RENAME COLUMN session_id TO session")
    with pytest.raises(errors.StoreUnavailable) as caught:
        store.insert([row("a", user_id="canary-value")], NOW)
    assert (str(caught.value), caught.value.args) == ("schema_behind", ("schema_behind",))


def test_no_descriptor_is_left_behind_by_restarts(private_server: LocalServer, private_store: PostgresqlStore) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        private_server.stop()
        refused(private_store.check)
        private_server.start()
        ready(private_store)
    until(lambda: len(os.listdir("/proc/self/fd")) <= before + 3)
    assert isinstance(private_store.page(Filter()).total, int)


def test_a_row_that_breaks_a_constraint_is_refused_alone(database: Database, store: PostgresqlStore) -> None:
    database.execute("ALTER TABLE sluice.events ADD CONSTRAINT canary CHECK (user_id <> 'canary-value')")
    found = store.insert([row("a"), row("b", user_id="canary-value"), row("c")], NOW)
    assert [outcome.status for outcome in found] == ["created", "invalid", "created"]
    assert "canary" not in repr(found)
    assert database.ids() == ["a", "c"]


def test_a_driver_error_is_not_part_of_ours(store: PostgresqlStore) -> None:
    with pytest.raises(errors.StoreUnavailable) as caught:
        store.database.writes.run(lambda connection: connection.execute("SELECT 1/0 FROM nowhere"))
    assert isinstance(caught.value.__cause__, psycopg.Error)
    assert "nowhere" not in repr(caught.value)
