"""Where driver errors become ours. Nothing of a driver's text goes further: it may hold values of a client."""

from __future__ import annotations

import re

import psycopg
from psycopg import errors as pg

from sluice import errors
from sluice.stores.repeats import Repeats

# PostgreSQL's appendix A, by class or code.
SCHEMA = (
    pg.UndefinedTable,
    pg.UndefinedColumn,
    pg.InvalidSchemaName,
    pg.UndefinedFunction,
    pg.UndefinedObject,
)
# What a statement that stores records says of their content. Of any other statement it is a fault of ours or of the server.
CONTENT = (psycopg.DataError, psycopg.IntegrityError, pg.ProgramLimitExceeded, pg.StatementTooComplex)
# What another session may not meet: it finds the new primary, or has no plan of a table that was changed since.
OF_SESSION = (pg.ReadOnlySqlTransaction, pg.FeatureNotSupported)
# A limit of the database or its role for transactions: it ends the session.
OUT_OF_TIME = (pg.TransactionTimeout, pg.IdleInTransactionSessionTimeout)
LATER = (pg.SerializationFailure, pg.DeadlockDetected)
REASONS: tuple[tuple[type[psycopg.Error] | tuple[type[psycopg.Error], ...], str], ...] = (
    (SCHEMA, "schema_behind"),
    (pg.InsufficientPrivilege, "not_permitted"),
    ((pg.InvalidPassword, pg.InvalidAuthorizationSpecification), "login_refused"),
    (pg.InvalidCatalogName, "database_missing"),
    # What is sent again is no conflict anywhere: only an id that is given twice is one.
    (pg.UniqueViolation, "sequence_behind"),
    (pg.ReadOnlySqlTransaction, "database_read_only"),
    ((pg.QueryCanceled, *OUT_OF_TIME), "query_timeout"),
    ((pg.DiskFull, pg.OutOfMemory), "database_full"),
    (pg.TooManyConnections, "too_many_connections"),
    ((*LATER, pg.LockNotAvailable), "database_busy"),
)
# A connection that could not be made has no SQLSTATE, only libpq's and the server's words; in another language than English
# they are all "unreachable".
SAID = {
    "database_missing": r'FATAL: +database ".*" does not exist|no such database',
    "login_refused": r"authentication failed|no pg_hba\.conf entry|pg_hba\.conf rejects|no password supplied"
    r'|not permitted to log in|role ".*" does not exist|permission denied for database|no such user'
    r"|[Tt]enant(/| or )user .*not found",
    "too_many_connections": "too many connections|too many clients|remaining connection slots|no more connections allowed"
    r"|[Mm]ax client(s|) (connections |)reached",
    "database_read_only": "session is read-only|hot standby mode",
    "tls_refused": "certificate|SSL error: (?!unexpected eof)|SSL was required",
}
# A login that the server, or a proxy before it, took and then ended.
ENDED = re.compile("closed the connection unexpectedly|terminating connection|reset by peer", re.IGNORECASE)


repeats = Repeats()


class Interrupted(errors.StoreUnavailable):
    """The connection or transaction was lost, or is of no use.

    Nobody knows whether it was committed, so only what is safe is repeated.
    """


def ours(error: psycopg.Error) -> errors.StoreError:
    """Our error for the driver's."""
    if isinstance(error, LATER) or is_lost(error):
        return Interrupted(reason_of(error))
    fault = repeats.unavailable(type(error).__name__, reason_of(error), sqlstate=error.sqlstate)
    return Interrupted(fault.reason) if isinstance(error, OF_SESSION) else fault


def is_lost(error: psycopg.Error) -> bool:
    """Whether the connection is gone: no SQLSTATE at all, or the server ended it (class 57P, or a limit of its own)."""
    return isinstance(error, OUT_OF_TIME) or (
        isinstance(error, psycopg.OperationalError | psycopg.InterfaceError)
        and (error.sqlstate is None or error.sqlstate.startswith(("08", "57P")))
    )


def was_ended(error: psycopg.Error) -> bool:
    """Whether a connection that could not be made was ended by the other side, which therefore is there."""
    return ENDED.search(str(error)) is not None


def reason_of(error: psycopg.Error) -> str:
    """One of a closed list of words."""
    if found := next((reason for kinds, reason in REASONS if isinstance(error, kinds)), None):
        return found
    if error.sqlstate is None:
        return next((reason for reason, words in SAID.items() if re.search(words, str(error))), "database_unreachable")
    return "database_unreachable" if is_lost(error) else "database_error"
