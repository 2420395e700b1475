"""The pool: who waits for a connection, for how long, and what a server must promise before it is used."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, Self, TypeVar

import psycopg
import structlog
from psycopg.rows import TupleRow
from psycopg_pool import ConnectionPool, PoolClosed, PoolTimeout

from sluice import errors
from sluice.stores.postgresql import errors as driver_errors
from sluice.stores.postgresql import statements
from sluice.stores.postgresql.login import Login
from sluice.stores.postgresql.watchdog import Watchdog

log = structlog.get_logger()
T = TypeVar("T")
Connection = psycopg.Connection[TupleRow]

# A request learns within a quarter of a second that the database is away: one slice, and the pool has nothing to hope for.
SLICE = 0.1
# A server that ends a login is there, and may take the next; the pool would come back after a second. A failover's or a
# proxy's good-bye is over in a few hundredths.
LOGINS, PAUSE = 5, 0.02


class ToldConnection(Connection):
    """A connection that tells why it could not be made: the pool keeps that to itself."""

    @classmethod
    def connect(cls, conninfo: str = "", **parameters: Any) -> Self:
        """`told`, among the parameters, is called with a word of driver_errors.reason_of when no try is left."""
        told = parameters.pop("told")
        for left in reversed(range(LOGINS)):
            try:
                return super().connect(conninfo, **parameters)
            except psycopg.Error as error:
                if not (left and driver_errors.was_ended(error)):
                    told(driver_errors.reason_of(error))
                    raise
            time.sleep(PAUSE)
        raise AssertionError


class Connections:
    """A psycopg pool with bounded waits. `deadline`: seconds one statement, or the wait for a connection, may take."""

    def __init__(self, login: Login, size: int, deadline: float = 5.0) -> None:
        self.size = size
        self.deadline = deadline
        # Not away before a try has failed: the first requests of a new worker wait for its first connection.
        self.away: str | None = None
        self._busy = 0
        self._lock = threading.Lock()
        self._login = login
        self._watchdog = Watchdog(deadline + 1)
        self._pool: ConnectionPool[Connection] = ConnectionPool(
            kwargs=self._parameters,
            connection_class=ToldConnection,
            min_size=1,
            max_size=size,
            open=False,
            configure=self._configure,
            # A try a second for ever: the pool heals by itself whenever the database comes back.
            reconnect_timeout=1.0,
            max_lifetime=1_800,
            name="store",
        )
        self._pool.open(wait=False)

    def run(self, work: Callable[[Connection], T]) -> T:
        """Do `work` with a connection, and again on another one while the one it had was lost: `work` must be safe to repeat.

        Nothing begins again after the deadline: a server that hangs costs a request one deadline, not one for each connection.
        """
        give_up = time.monotonic() + self.deadline
        # After a restart of the server every pooled connection is dead, and each is found out by being used.
        for _ in range(self.size):
            try:
                return self.once(work)
            except driver_errors.Interrupted:
                if time.monotonic() > give_up:
                    raise
        return self.once(work)

    def once(self, work: Callable[[Connection], T]) -> T:
        """Do `work` with a connection, one time."""
        with self._connection() as connection:
            try:
                with self._watchdog.guard(connection.fileno()):
                    done = work(connection)
            except psycopg.Error as error:
                if isinstance(error, driver_errors.DEMOTED):
                    # After a failover it would stay with the old primary for its lifetime; a new one finds the new primary.
                    connection.close()
                # One lost session does not say that the database is away: the pool is making the next, and that tells.
                raise driver_errors.ours(error) from error
        self.away = None
        return done

    def close(self) -> None:
        self._pool.close()
        self._watchdog.close()

    @contextlib.contextmanager
    def _connection(self) -> Iterator[Connection]:
        connection = self._wait()
        with self._lock:
            self._busy += 1
        try:
            yield connection
        finally:
            with self._lock:
                self._busy -= 1
            self._pool.putconn(connection)

    def _wait(self) -> Connection:
        """A connection. While others hold some it waits its turn; with none in use and none coming the database is away."""
        give_up = time.monotonic() + self.deadline
        while True:
            try:
                return self._pool.getconn(timeout=SLICE)
            except PoolTimeout:
                # Away is told by a connection that could not be made, never by waiting: one may just be changing hands.
                if (self.away and self._busy == 0) or time.monotonic() > give_up:
                    raise errors.StoreUnavailable(self.away or "database_busy") from None
            except PoolClosed:
                raise errors.StoreUnavailable("draining") from None

    def _parameters(self) -> dict[str, Any]:
        """Called for every new connection. Whatever hinders the login must look like a failed try, or the pool stops trying."""
        try:
            return {**self._login(), "autocommit": True, "told": self._away}
        except Exception as error:
            self._away(getattr(error, "reason", "login_refused"))
            log.error("store.login", cause=type(error).__name__, reason=self.away)
            raise psycopg.OperationalError("no login") from error

    def _configure(self, connection: Connection) -> None:
        """Refuse a server on which a commit may be lost in a crash: a 2xx would be a lie there."""
        with self._watchdog.guard(connection.fileno()):
            connection.execute(statements.OPEN, {"timeout": f"{int(self.deadline * 1000)}"})
            durable = connection.execute(statements.DURABLE).fetchone()
        if "off" in (durable or ("off",)):
            self._away("not_durable")
            log.error("store.not_durable", mend="turn fsync, full_page_writes and synchronous_commit on")
            connection.close()
            raise psycopg.OperationalError("the server does not promise durability")
        self.away = None

    def _away(self, reason: str) -> None:
        self.away = reason
