"""What the border between driver and service tells in the log."""

from __future__ import annotations

import psycopg
import pytest

from sluice.stores.postgresql.errors import Interrupted, ours, reason_of, was_ended
from sluice.stores.repeats import Repeats


def test_the_same_fault_is_reported_once_in_its_pause() -> None:
    now = [100.0]
    repeats = Repeats(10, lambda: now[0])
    assert [repeats.news("UndefinedTable"), repeats.news("UndefinedTable"), repeats.news("DiskFull")] == [True, False, True]
    now[0] = 110.0
    assert repeats.news("UndefinedTable")


@pytest.mark.parametrize("limit", [psycopg.errors.TransactionTimeout, psycopg.errors.IdleInTransactionSessionTimeout])
def test_a_session_that_a_limit_of_the_database_ended_is_a_timeout_and_another_is_tried(limit: type[psycopg.Error]) -> None:
    found = ours(limit("terminating connection due to transaction timeout"))
    assert isinstance(found, Interrupted)
    assert found.reason == "query_timeout"


@pytest.mark.parametrize(
    ("said", "ended"),
    [
        ("connection failed: server closed the connection unexpectedly", True),
        ("connection failed: FATAL:  terminating connection due to administrator command", True),
        ("consuming input failed: Connection reset by peer", True),
        ("connection failed: Connection refused", False),
        ("connection failed: FATAL:  the database system is shutting down", False),
        ("connection timeout expired", False),
    ],
)
def test_a_login_that_was_ended_is_not_one_that_found_nobody(said: str, ended: bool) -> None:
    assert was_ended(psycopg.OperationalError(said)) is ended


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ('FATAL:  PAM authentication failed for user "sluice_app"', "login_refused"),
        ('FATAL:  pg_hba.conf rejects connection for host "10.0.0.1", user "a", database "b", no encryption', "login_refused"),
        # PgBouncer, Supavisor.
        ("FATAL:  no such user: sluice", "login_refused"),
        ("FATAL:  Tenant or user not found", "login_refused"),
        ("FATAL:  (ENOTFOUND) tenant/user postgres.abc not found", "login_refused"),
        ("FATAL:  no such database: logs", "database_missing"),
        ("FATAL:  no more connections allowed (max_client_conn)", "too_many_connections"),
        (
            "FATAL:  MaxClientsInSessionMode: max clients reached - in Session mode max clients are limited",
            "too_many_connections",
        ),
        ("FATAL:  (EMAXCONN) max client connections reached, limit: 200", "too_many_connections"),
        ("Connection refused", "database_unreachable"),
    ],
)
def test_what_a_server_or_a_pooler_says_to_a_login_has_its_reason(said: str, reason: str) -> None:
    assert reason_of(psycopg.OperationalError(f"connection failed: {said}")) == reason
