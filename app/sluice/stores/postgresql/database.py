"""The connections of one process: what the event store and each optional function speak to PostgreSQL by."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from sluice import errors
from sluice.stores.postgresql.connections import Connection, Connections, durable
from sluice.stores.postgresql.login import Login

T = TypeVar("T")


class Database:
    """Up to `pool_size` connections, each statement bounded by `deadline` seconds. Raises errors.StoreUnavailable."""

    def __init__(self, login: Login, pool_size: int = 4, deadline: float = 5.0) -> None:
        # Queries have connections of their own, so that no number of slow ones keeps an event waiting. None is made before a
        # query comes: of a server's last free connections the events get the first.
        queries = pool_size // 2
        self.writes = Connections(login, pool_size - queries, deadline)
        self.reads = Connections(login, queries, deadline, least=0) if queries else self.writes

    def run(self, work: Callable[[Connection], T]) -> T:
        """Do `work`, which writes; it is done again after a lost connection, so it must be safe to repeat.

        Not while the server may lose a commit. (The statement that inserts events asks by itself.)
        """
        return self.writes.run(lambda connection: work(durable(connection)))

    def query(self, text: Any, values: Any = None) -> list[Any]:
        """The rows of one statement that only reads; raises errors.QueryTimeout when it takes longer than the deadline."""
        # Planned for these values, each time: a plan for any value knows nothing of how rare they are.
        return self.read(lambda c: c.execute(text, values, prepare=False).fetchall())

    def run_aside(self, work: Callable[[Connection], T]) -> T:
        """As `run`, by a connection of the queries: for what may wait for a lock, so that no event waits with it.

        Raises errors.QueryTimeout as `read` does.
        """
        return self.read(lambda connection: work(durable(connection)))

    def read(self, work: Callable[[Connection], T]) -> T:
        """Do `work`, which only reads; raises errors.QueryTimeout when a statement takes longer than the deadline."""
        try:
            return self.reads.run(work)
        except errors.StoreUnavailable as error:
            if error.reason == "query_timeout":
                raise errors.QueryTimeout from error
            raise

    def close(self) -> None:
        self.reads.close()
        self.writes.close()
