"""p."""

from tests.integration.postgres import *
from tests.integration.sample import NOW, rows

from sluice.stores.postgresql import PostgresqlStore


def test_it(store: PostgresqlStore, database: Database) -> None:
    assert [o.status for o in store.insert(rows(3), NOW)] == ["created"] * 3
    assert database.count() == 3


def test_private(private_server: LocalServer, private_database: Database) -> None:
    assert private_database.count() == 0
    private_server.kill()
    private_server.start()
    private_server.freeze()
    private_server.thaw()
    private_server.stop()
    private_server.start()
    assert private_database.count() == 0
    print(private_database.url)
