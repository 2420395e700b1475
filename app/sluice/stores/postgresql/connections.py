"""The pool: who waits for a connection, for how long, and what a server must promise before it is used."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
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

# A request learns within a quarter of a second that the database is away: after one slice, when no connection is coming.
SLICE = 0.1
# A server that ends a login is there, and may take the next; the pool would come back after a second. A failover's or a
# proxy's restart is over in a few hundredths.
LOGINS, PAUSE = 5, 0.02
# Seconds that a session on a standby is used: where a name led to one for a moment, what is read there would be old for ever.
ON_STANDBY = 1.0
# Of two clients, one after the other: whichever session a pooler gives next, it gives one to both, or two to one.
TURNS = (0, 0, 1, 1, 0, 1, 0, 1, 1, 0)
# What this version needs is there from 14 on. Servers that are like PostgreSQL (CockroachDB, Redshift) name an older one.
MIN_SERVER = 140_000
UNFIT = {
    "database_encoding": "use a database with the encoding UTF8",
    "database_too_old": f"use PostgreSQL {MIN_SERVER // 10_000} or newer",
}


class PooledConnection(Connection):
    """What the pool makes. `behind_pooler`: sessions are not ours, so nothing may be left in one."""

    behind_pooler = False
    made = 0.0

    def is_of_a_standby(self) -> bool:
        # A pooler tells what the first of its servers told, also after that one was promoted.
        return not self.behind_pooler and self.info.parameter_status("in_hot_standby") == "on"

    @classmethod
    def connect(cls, conninfo: str = "", **parameters: Any) -> Self:
        """`on_failure`, among the parameters, is called with a word of driver_errors.reason_of when no try is left."""
        on_failure = parameters.pop("on_failure")
        for left in reversed(range(LOGINS)):
            try:
                return super().connect(conninfo, **parameters)
            except psycopg.Error as error:
                if not (left and driver_errors.was_ended(error)):
                    on_failure(driver_errors.reason_of(error))
                    raise
            time.sleep(PAUSE)
        raise AssertionError


class Turn:
    """A place in the line for a connection. The lock is held until it is given."""

    def __init__(self, large: bool) -> None:
        self.large = large
        self.given = threading.Lock()
        self.given.acquire()


class Connections:
    """A psycopg pool with bounded waits. `deadline`: seconds one statement, or the wait for a connection, may take.

    `least`: how many connections are made at once and kept; the others are made when they are needed.
    """

    def __init__(self, login: Login, size: int, deadline: float = 5.0, least: int = 1) -> None:
        self.size = size
        self.deadline = deadline
        # Not away before a try has failed: the first requests of a new worker wait for its first connection.
        self.away: str | None = None
        self._login = login
        self._watchdog = Watchdog(deadline + 1)
        self._lock = threading.Lock()
        # Who may ask the pool: in its own line each slice of waiting begins at the end again.
        self._turns = size
        # Of them, those that large work may have: a line of batches would keep a single event waiting.
        self._large_turns = max(1, size - 1)
        self._waiting: deque[Turn] = deque()
        self._busy = 0
        self._pool: ConnectionPool[PooledConnection] = ConnectionPool(
            kwargs=self._parameters,
            connection_class=PooledConnection,
            min_size=least,
            max_size=size,
            open=False,
            configure=self._configure,
            # A try a second for ever: the pool heals by itself whenever the database comes back.
            reconnect_timeout=1.0,
            max_lifetime=1_800,
            name="store",
        )
        self._pool.open(wait=False)

    def run(self, work: Callable[[Connection], T], *, large: bool = False) -> T:
        """Do `work` with a connection, and again on another one while the one it had was lost: `work` must be safe to repeat.

        Nothing begins again after the deadline: a server that hangs costs a request one deadline, not one for each connection.
        """
        give_up = time.monotonic() + self.deadline
        # After a restart of the server every pooled connection is dead, and each is found out by being used.
        for _ in range(self.size):
            try:
                return self.once(work, large=large)
            except driver_errors.Interrupted:
                if time.monotonic() > give_up:
                    raise
        return self.once(work, large=large)

    def once(self, work: Callable[[Connection], T], *, large: bool = False) -> T:
        """Do `work` with a connection, one time."""
        with self._connection(large) as connection:
            if connection.is_of_a_standby() and time.monotonic() > connection.made + ON_STANDBY:
                connection.close()
                raise driver_errors.Interrupted("database_read_only")
            try:
                with self._watchdog.guard(connection.fileno()):
                    if connection.behind_pooler:
                        with connection.transaction():
                            connection.execute(statements.SETTINGS, self._settings(local=True))
                            done = work(connection)
                    else:
                        done = work(connection)
            except psycopg.Error as error:
                if isinstance(error, driver_errors.OF_SESSION):
                    # After a failover it would stay with the old primary for its lifetime; a new one finds the new primary.
                    connection.close()
                # One lost session does not say that the database is away: the pool is making the next, which will show it.
                raise driver_errors.ours(error) from error
        self.away = None
        return done

    def go_on(self, connection: Connection) -> None:
        """Give the work that has `connection` its deadline anew, between the statements of a long transaction."""
        self._watchdog.go_on(connection.fileno())

    def close(self) -> None:
        self._pool.close()
        self._watchdog.close()

    @contextlib.contextmanager
    def _connection(self, large: bool) -> Iterator[PooledConnection]:
        """A connection, first come, first served. With none in use and none coming the database is away."""
        give_up = time.monotonic() + self.deadline
        self._wait_turn(Turn(large), give_up)
        try:
            while True:
                try:
                    connection = self._pool.getconn(timeout=SLICE)
                    break
                except PoolTimeout:
                    self._check_hope(give_up)
                except PoolClosed:
                    raise errors.StoreUnavailable("draining") from None
            with self._lock:
                self._busy += 1
            try:
                yield connection
            finally:
                self._pool.putconn(connection)
                with self._lock:
                    self._busy -= 1
        finally:
            with self._lock:
                self._turns += 1
                self._large_turns += large
                self._give_turns()

    def _wait_turn(self, turn: Turn, give_up: float) -> None:
        with self._lock:
            self._waiting.append(turn)
            self._give_turns()
        while not turn.given.acquire(timeout=SLICE):
            try:
                self._check_hope(give_up)
            except errors.StoreUnavailable:
                with self._lock:
                    if turn in self._waiting:
                        self._waiting.remove(turn)
                        raise
                # It was given in this moment, and is taken at once.

    def _give_turns(self) -> None:
        """To who waits longest; past large work that has all that it may have. Call it with the lock."""
        for turn in list(self._waiting):
            if not self._turns:
                return
            if self._large_turns or not turn.large:
                self._waiting.remove(turn)
                self._turns -= 1
                self._large_turns -= turn.large
                turn.given.release()

    def _check_hope(self, give_up: float) -> None:
        """Raise StoreUnavailable when there is nothing to wait for."""
        # Away is only said by a connection that could not be made, never by waiting: one may just be changing hands.
        if (self.away and self._busy == 0) or time.monotonic() > give_up:
            raise errors.StoreUnavailable(self.away or "database_busy")

    def _parameters(self) -> dict[str, Any]:
        """Called for every new connection. Whatever hinders the login must look like a failed try, or the pool stops trying."""
        try:
            return {**self._login(), "autocommit": True, "on_failure": self._failed}
        except Exception as error:
            self._failed(getattr(error, "reason", "login_refused"))
            log.error("store.login", cause=type(error).__name__, reason=self.away)
            raise psycopg.OperationalError("no login") from error

    def _configure(self, connection: PooledConnection) -> None:
        """Refuse a server on which a commit may be lost in a crash: a 2xx would be a lie there. It must be fit for us, too."""
        connection.made = time.monotonic()
        connection.isolation_level = psycopg.IsolationLevel.READ_COMMITTED
        if reason := unfit(connection):
            self._failed(reason)
            log.error("store.unfit", reason=reason, fix=UNFIT[reason])
            connection.close()
            raise psycopg.OperationalError("the database is not fit for events")
        with self._watchdog.guard(connection.fileno()):
            connection.behind_pooler = is_behind_pooler(connection)
            if connection.behind_pooler:
                # A named statement belongs to a session, and the next transaction may get another one.
                connection.prepare_threshold = None
            keeps_commits = is_durable(connection)
            if not connection.behind_pooler:
                connection.execute(statements.SETTINGS, self._settings(local=False))
        if not keeps_commits:
            self._failed("not_durable")
            log.error("store.not_durable", fix="turn fsync, full_page_writes and synchronous_commit on")
            connection.close()
            raise psycopg.OperationalError("the server does not promise durability")
        self.away = None

    def _settings(self, *, local: bool) -> dict[str, Any]:
        return {"timeout": f"{int(self.deadline * 1000)}", "local": local}

    def _failed(self, reason: str) -> None:
        self.away = reason


def durable(connection: Connection) -> Connection:
    """The connection of a server that keeps in a crash what is committed; else raises StoreUnavailable. A running server can be
    configured not to."""
    if not is_durable(connection):
        raise driver_errors.repeats.unavailable("a setting of the server", "not_durable")
    return connection


def is_durable(connection: psycopg.Connection[Any]) -> bool:
    return connection.execute(statements.DURABLE).fetchone() == (True,)


def is_behind_pooler(connection: psycopg.Connection[Any]) -> bool:
    """Whether a pooler (PgBouncer and its like) may stand between: it answers the login itself, with an invented process id."""
    return backend(connection) != connection.info.backend_pid


def shares_sessions(connection: psycopg.Connection[Any], login: Login) -> bool:
    """Whether a pooler gives the session of `connection` to others between two transactions.

    A proxy that answers the login itself may keep a session for each client nevertheless: that of Neon, PgBouncer and Supavisor
    in session mode, RDS Proxy for one that set something.
    """
    if not is_behind_pooler(connection):
        return False
    with psycopg.connect(**login(), autocommit=True) as other:
        for client in (connection, other):
            client.execute(statements.KEEP_SESSION)
        sessions: tuple[set[int], set[int]] = (set(), set())
        for turn in TURNS:
            sessions[turn].add(backend((connection, other)[turn]))
    return max(map(len, sessions)) > 1 or sessions[0] == sessions[1]


def backend(connection: psycopg.Connection[Any]) -> int:
    """The server's process behind this session."""
    row = connection.execute(statements.BACKEND, prepare=False).fetchone()
    return int(row[0]) if row else 0


def unfit(connection: psycopg.Connection[Any]) -> str:
    """Why this database is not for us, a key of UNFIT: of another encoding than UTF8 it would refuse good events, or cut a
    character."""
    if connection.info.parameter_status("server_encoding") not in (None, "UTF8"):
        return "database_encoding"
    return "database_too_old" if 0 < connection.info.server_version < MIN_SERVER else ""
