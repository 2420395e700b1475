"""PgBouncer between service and database, as many hosted PostgreSQLs have it: no state of a session is relied on."""

from __future__ import annotations

import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict
from tests.integration import postgres
from tests.integration.checks import at_once
from tests.integration.conftest import OpenStore, ready
from tests.integration.postgres import APP, Database, LocalServer
from tests.integration.sample import NOW, poisoned, row, rows
from tests.integration.waiting import until
from tools.ports import free_port

from sluice import errors
from sluice.events import Integral
from sluice.filters import Filter
from sluice.stores import Claim
from sluice.stores.postgresql import connections, indexes, inspection, migrate
from sluice.stores.postgresql.login import Login

pytestmark = pytest.mark.needs("pgbouncer")
PROGRAM = "/usr/sbin/pgbouncer"
ROUNDS = 8
CONFIGURATION = """
[databases]
* = host=127.0.0.1 port={server}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
auth_type = trust
auth_file = {users}
unix_socket_dir =
pool_mode = {mode}
default_pool_size = {size}
"""


@contextmanager
def pgbouncer(server: LocalServer, mode: str, size: int) -> Iterator[int]:
    """The port of a PgBouncer before `server`, which it gives `size` connections for each user and database."""
    port = free_port()
    users = server.write("users", f'"{APP}" ""\n"postgres" ""\n'.encode())
    text = CONFIGURATION.format(server=server.port, port=port, users=users, mode=mode, size=size)
    command = [PROGRAM, str(server.write("pgbouncer.ini", text.encode()))]
    with Path(server.folder, "pgbouncer.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, user=server._user)
    try:
        until(lambda: reachable(port), 10, "PgBouncer listens")
        yield port
    finally:
        # From 1.23 on it would wait for its clients after SIGTERM.
        process.kill()
        process.wait(10)


def reachable(port: int) -> bool:
    try:
        postgres.connect(f"postgresql://postgres@127.0.0.1:{port}/postgres").close()
    except psycopg.OperationalError:
        return False
    return True


def through(port: int, database: Database, *, owner: bool = False) -> Login:
    parameters: dict[str, Any] = conninfo_to_dict(database.owner_url if owner else database.url)
    return lambda: {**parameters, "host": "127.0.0.1", "port": port}


@pytest.mark.parametrize(("mode", "size"), [("transaction", 2), ("session", 20)])
def test_8_threads_get_no_error_through_a_pooler(
    private_server: LocalServer, private_database: Database, open_store: OpenStore, mode: str, size: int
) -> None:
    with pgbouncer(private_server, mode, size) as port:
        # Two services, whose statements would have the same names on sessions that they share.
        stores = [ready(open_store(through(port, private_database), 6)) for _ in range(2)]

        def work(thread: int) -> Counter[str]:
            store, found = stores[thread % 2], []
            for number in range(ROUNDS):
                name = f"{thread}-{number}"
                found += store.insert([*rows(3, f"{name}-"), poisoned(f"{name}-bad")], NOW)
                found += store.insert([row(f"{name}-00000", properties={"n": Integral(1.0)})], NOW)
                found += store.insert_all([row(f"{name}-all")], NOW)
                found += store.insert_once(Claim("k", name, b"r"), [row(f"{name}-once")], [None], NOW, atomic=False).outcomes
                assert store.get(f"{name}-once")
                assert store.page(Filter(page_size=2)).logs
                store.purge(NOW.replace(year=2000), NOW.replace(year=2000), 10)
            return Counter(outcome.status for outcome in found)

        each = 8 * ROUNDS
        assert sum(at_once(8, work), Counter()) == {"created": each * 5, "invalid": each, "conflict": each}
        assert private_database.count() == each * 5
        assert private_database.execute("SELECT count(*) FROM pg_prepared_statements") == [(0,)]


def test_a_statement_has_its_time_limit_and_times_are_utc_through_a_pooler(
    private_server: LocalServer, private_database: Database, open_store: OpenStore
) -> None:
    private_server.execute(f"ALTER DATABASE {private_database.name} SET timezone = 'Asia/Tokyo'")
    with pgbouncer(private_server, "transaction", 5) as port:
        store = ready(open_store(through(port, private_database), 4, 0.5))
        store.insert([row("a")], NOW)
        assert b'"2024-06-01T12:00:00+00:00"' in bytes(store.get("a") or b"")
        with postgres.connect(private_database.owner_url) as other, other.transaction():
            other.execute("LOCK TABLE sluice.events")
            with pytest.raises(errors.StoreUnavailable, match="query_timeout"):
                store.insert([row("b")], NOW)
            with pytest.raises(errors.QueryTimeout):
                store.get("a")


def test_migrate_refuses_a_pooler_by_name_and_leaves_no_lock(private_server: LocalServer, private_database: Database) -> None:
    with pgbouncer(private_server, "transaction", 2) as port:
        with pytest.raises(errors.StoreUnavailable, match="behind_pooler"):
            migrate.migrate(through(port, private_database, owner=True))
        assert private_database.execute("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'") == [(0,)]
        assert inspection.inspect(through(port, private_database)).behind_pooler
    assert not inspection.inspect(private_database.login).behind_pooler


def test_a_proxy_that_keeps_a_session_for_each_client_is_good_for_migrations_and_indexes(private_server: LocalServer) -> None:
    with private_server.database("template0") as database, pgbouncer(private_server, "session", 20) as port:
        login, phases = through(port, database, owner=True), list[str]()
        assert migrate.migrate(login)
        assert migrate.migrate(login) == []
        with postgres.connect(database.owner_url) as other, other.transaction(), ThreadPoolExecutor(1) as pool:
            other.execute("LOCK TABLE sluice.events IN ROW EXCLUSIVE MODE")
            adding = pool.submit(indexes.add, login, "user_id", lambda phase, _done: phases.append(phase))
            until(lambda: phases)
            other.execute("ROLLBACK")
            assert adding.result(30)
        assert database.execute("SELECT to_regnamespace('public'), to_regclass('sluice.yoyo_lock') IS NOT NULL") == [
            ("public", True)
        ]


def test_a_standby_that_was_promoted_behind_a_pooler_is_written_to(
    private_server: LocalServer, standby: LocalServer, open_store: OpenStore
) -> None:
    database = Database(standby, postgres.TEMPLATE)
    with pgbouncer(standby, "transaction", 5) as port:
        # PgBouncer keeps for new clients what the first session told.
        with psycopg.connect(**through(port, database)()) as first:
            assert first.execute("SHOW in_hot_standby").fetchone() == ("on",)
        standby.execute("SELECT pg_promote()")
        with psycopg.connect(**through(port, database)()) as second:
            told = second.info.parameter_status("in_hot_standby")
            assert (told, second.execute("SHOW in_hot_standby").fetchone()) == ("on", ("off",))
        store = ready(open_store(through(port, database), 1))
        client = store.database.run(lambda connection: connection.info.backend_pid)
        time.sleep(connections.ON_STANDBY)
        store.insert([row("a")], NOW)
        assert database.ids() == ["a"]
        assert store.database.run(lambda connection: connection.info.backend_pid) == client, "it stays connected"
