"""A follower reads each event once, when it is committed."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from tests.integration.conftest import OpenStore, ready
from tests.integration.postgres import TEMPLATE, Database, LocalServer, connect
from tests.integration.sample import row, rows

from sluice import errors, events, filters
from sluice.events import Event, Rules
from sluice.stores import MAX_FRESH, MAX_FRESH_BYTES, Poll
from sluice.stores.postgresql.follow import EventFollower
from sluice.stores.postgresql.store import Insertion, PostgresqlStore, whole

ERRORS = filters.parse([("event_type", "error"), ("properties.code", "502")]).matches


class Clock:
    """Of monotonic seconds; deep polls are due every ten of them."""

    seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def follower(store: PostgresqlStore, clock: Clock) -> EventFollower:
    return EventFollower(store.database.query, store.cursor_secret, clock=clock)


def put(store: PostgresqlStore, *names: str, ago: float = 0, **fields: Any) -> None:
    at = datetime.now(UTC) - timedelta(seconds=ago)
    store.insert([row(name, now=at, **fields) for name in names], at)


def ids(poll: Poll) -> list[str]:
    return [json.loads(event.log)["event_id"] for event in poll.events]


@contextlib.contextmanager
def uncommitted(database: Database, name: str, ago: float = 0) -> Iterator[psycopg.Connection[tuple[object, ...]]]:
    """An event that is stored, and committed by the caller."""
    at = datetime.now(UTC) - timedelta(seconds=ago)
    with connect(database.url) as connection:
        connection.autocommit = False
        Insertion([row(name, now=at)], at).run(connection)
        yield connection


def test_an_event_comes_once(store: PostgresqlStore, follower: EventFollower) -> None:
    put(store, "a", "b")
    assert ids(follower.poll([()])) == ["a", "b"]
    put(store, "c")
    assert ids(follower.poll([()])) == ["c"]
    assert ids(follower.poll([()])) == []


def test_an_event_that_commits_after_others_with_higher_ids_is_not_skipped(
    store: PostgresqlStore, database: Database, follower: EventFollower
) -> None:
    put(store, "before")
    with uncommitted(database, "late") as connection:
        put(store, "after")
        assert ids(follower.poll([()])) == ["before", "after"]
        connection.commit()
    assert ids(follower.poll([()])) == ["late"]
    assert ids(follower.poll([()])) == []


def test_one_that_commits_long_after_is_found_by_the_next_deep_poll_and_nothing_else_comes_again(
    store: PostgresqlStore, database: Database, follower: EventFollower, clock: Clock
) -> None:
    with uncommitted(database, "late", ago=30) as connection:
        put(store, "a")
        assert ids(follower.poll([()])) == ["a"]
        connection.commit()
    put(store, "b")
    assert ids(follower.poll([()])) == ["b"], "too far behind for this one"
    put(store, "old", ago=20)
    clock.seconds = 11
    put(store, "c")
    assert ids(follower.poll([()])) == ["late", "old", "c"]
    clock.seconds = 22
    assert ids(follower.poll([()])) == []


def test_one_that_a_new_follower_met_is_found_when_it_commits_and_nothing_from_before(
    store: PostgresqlStore, database: Database, clock: Clock
) -> None:
    put(store, "before", ago=30)
    with uncommitted(database, "met", ago=30) as connection:
        follower = EventFollower(store.database.query, store.cursor_secret, clock=clock)
        for seconds in (0, 11, 22):
            clock.seconds = seconds
            put(store, f"at {seconds}")
            assert ids(follower.poll([()])) == [f"at {seconds}"]
        connection.commit()
    clock.seconds = 33
    assert ids(follower.poll([()])) == ["met"]
    clock.seconds = 44
    assert ids(follower.poll([()])) == []


def test_a_store_that_lost_ids_is_followed_from_its_beginning(
    store: PostgresqlStore, database: Database, follower: EventFollower, clock: Clock
) -> None:
    put(store, "a")
    put(store, "b")
    assert ids(follower.poll([()])) == ["a", "b"]
    clock.seconds = 11
    assert ids(follower.poll([()])) == []
    database.execute("ALTER SEQUENCE sluice.events_id_seq RESTART")
    put(store, "after a failover", ago=30)
    clock.seconds = 22
    assert ids(follower.poll([()])) == ["after a failover"]


def test_what_comes_after_a_backup_was_restored_is_new_and_nothing_comes_again(
    private_server: LocalServer, private_database: Database, open_store: OpenStore, clock: Clock
) -> None:
    store = ready(open_store(private_database.login))
    put(store, "kept")
    private_server.stop()
    backup = private_server.folder / "backup"
    subprocess.run(["cp", "-a", private_server.data, backup], check=True)
    private_server.start()
    ready(store)
    follower = EventFollower(store.database.query, store.cursor_secret, clock=clock)
    for number in range(20):
        put(store, f"lost {number}")
    assert len(ids(follower.poll([()]))) == 20
    place = follower.place()
    private_server.stop()
    shutil.rmtree(private_server.data)
    backup.rename(private_server.data)
    private_server.start()
    ready(store)
    put(store, "new")
    assert ids(follower.poll([()])) == ["new"]
    put(store, "later")
    clock.seconds = 11
    assert ids(follower.poll([()])) == ["later"]
    clock.seconds = 22
    assert ids(follower.poll([()])) == []
    assert ids(follower.since(place, ())) == ["new", "later"]


def test_what_is_older_than_an_empty_store_is_found_too(store: PostgresqlStore, follower: EventFollower) -> None:
    put(store, "queued for a week", ago=7 * 86_400)
    assert ids(follower.poll([()])) == ["queued for a week"]


def test_each_filter_gets_its_own_events_and_their_number(store: PostgresqlStore, follower: EventFollower) -> None:
    put(store, "a")
    put(store, "b", event_type="error", properties={"code": 502})
    put(store, "c", event_type="error", properties={"code": 500})
    poll = follower.poll([(), ERRORS])
    assert (ids(poll), poll.counts) == (["a", "b", "c"], [3, 1])
    assert [event.matched for event in poll.events] == [(0,), (0, 1), (0,)]
    assert ids(follower.poll([ERRORS])) == []


def test_more_than_fits_is_counted_and_the_newest_come(store: PostgresqlStore, follower: EventFollower) -> None:
    now = datetime.now(UTC)
    store.insert(rows(MAX_FRESH + 7, now=now), now)
    poll = follower.poll([()])
    assert (len(poll.events), poll.counts, ids(poll)[0]) == (MAX_FRESH, [MAX_FRESH + 7], "e00007")


def test_one_poll_holds_few_large_events_and_at_least_one(store: PostgresqlStore, follower: EventFollower) -> None:
    now = datetime.now(UTC)
    large = {"text": "x" * 250_000}
    store.insert(rows(50, now=now, properties=large), now)
    poll = follower.poll([()])
    assert (len(poll.events), poll.counts, ids(poll)[-1]) == (MAX_FRESH_BYTES // 250_014, [50], "e00049")
    huge = Event(event_type="log", event_name="test", event_id="huge", properties={"text": "x" * (MAX_FRESH_BYTES + 1)})
    store.insert([events.prepare(huge, now=now, key_id="test", rules=Rules(retention_days=None, max_event_bytes=16 << 20))], now)
    assert ids(follower.poll([()])) == ["huge"]


def test_a_reader_goes_on_behind_any_position_with_nothing_twice(
    store: PostgresqlStore, database: Database, follower: EventFollower
) -> None:
    put(store, "a", "b", "c")
    with uncommitted(database, "late") as connection:
        events = follower.poll([()]).events
        put(store, "d")
        connection.commit()
    follower.poll([()])
    put(store, "not polled yet")
    assert [set(ids(follower.since(event.position, ()))) for event in events] == [
        {"b", "c", "late", "d"},
        {"c", "late", "d"},
        {"late", "d"},
    ]
    assert ids(follower.since(events[0].position, ERRORS)) == []


def test_another_follower_goes_on_there_too(store: PostgresqlStore, follower: EventFollower) -> None:
    put(store, "a")
    (event,) = follower.poll([()]).events
    put(store, "b")
    other = store.follow()
    assert ids(other.since(event.position, ())) == ["b"]
    assert ids(other.poll([()])) == []


@pytest.mark.parametrize("position", ["", "x", "WyIxIl0.AAAA", "\u00e9"])
def test_a_position_of_nobody_is_refused(follower: EventFollower, position: str) -> None:
    with pytest.raises(errors.InvalidCursor):
        follower.check(position)


def test_a_clock_that_runs_ahead_hides_nothing(store: PostgresqlStore, follower: EventFollower) -> None:
    put(store, "of another pod", ago=-3600)
    assert ids(follower.poll([()])) == ["of another pod"]
    put(store, "a")
    assert ids(follower.poll([()])) == ["a"]


def test_a_place_is_behind_everything_that_was_polled(store: PostgresqlStore, follower: EventFollower) -> None:
    put(store, "a")
    follower.poll([()])
    place = follower.place()
    put(store, "b")
    follower.poll([()])
    assert ids(follower.since(place, ())) == ["b"]


def test_rows_have_the_id_of_the_whole_transaction_behind_a_pooler_too(database: Database) -> None:
    # A pooled connection is in a transaction already, and the id of a savepoint's would be in no snapshot.
    at = datetime.now(UTC)
    with connect(database.url) as connection, connection.transaction():
        with whole(connection):
            Insertion([row("a", now=at)], at).run(connection)
        same = connection.execute("SELECT xmin = pg_current_xact_id()::xid FROM sluice.events").fetchone()
    assert same == (True,)


def test_a_transaction_has_its_number_before_its_ids(store: PostgresqlStore, database: Database) -> None:
    # Also one of duplicates only, which writes no row: what `follow` takes for finished is.
    put(store, "a")
    at = datetime.now(UTC)
    with connect(database.url) as connection, connection.transaction():
        Insertion([row("a", now=at)], at).run(connection)
        assert connection.execute("SELECT pg_current_xact_id_if_assigned() IS NOT NULL").fetchone() == (True,)


@pytest.mark.parametrize("looked", [False, True], ids=["by another name", "by a name that led to it before"])
def test_what_comes_after_a_standby_took_over_that_lacked_the_last_events_is_not_skipped(
    private_server: LocalServer, standby: LocalServer, open_store: OpenStore, clock: Clock, looked: bool
) -> None:
    leads_to = [private_server]
    store = ready(open_store(lambda: Database(leads_to[0], TEMPLATE).login()))
    follower = EventFollower(store.database.query, store.cursor_secret, clock=clock)
    for number in range(20):
        put(store, f"lost {number}")
    assert len(ids(follower.poll([()]))) == 20
    place = follower.place()
    leads_to[0] = standby
    if looked:
        private_server.stop()
        assert ids(follower.poll([()])) == []
    standby.execute("SELECT pg_promote()")
    private_server.stop()
    ready(store)
    # More than were lost: their transactions have the numbers of those, and higher ones.
    new = [f"new {number:02}" for number in range(30)]
    for name in new:
        put(store, name)
    assert ids(follower.poll([()])) == new
    put(store, "later")
    assert ids(follower.poll([()])) == ["later"]
    clock.seconds = 11
    assert ids(follower.poll([()])) == []
    assert ids(follower.since(place, ())) == [*new, "later"]


def test_a_tail_that_opens_while_a_takeover_is_looked_at_gets_no_old_events(
    private_server: LocalServer, request: pytest.FixtureRequest, open_store: OpenStore, clock: Clock
) -> None:
    leads_to, late = [private_server], [False]
    store = ready(open_store(lambda: Database(leads_to[0], TEMPLATE).login()))

    def query(text: Any, values: Any) -> list[Any]:
        if late[0] and values:
            raise errors.QueryTimeout
        return store.database.query(text, values)

    follower = EventFollower(query, store.cursor_secret, clock=clock)
    put(store, "old", ago=60)
    standby: LocalServer = request.getfixturevalue("standby")
    put(store, "lost")
    assert ids(follower.poll([()])) == ["old", "lost"]
    standby.execute("SELECT pg_promote()")
    leads_to[0], late[0] = standby, True
    private_server.stop()
    ready(store)
    with pytest.raises(errors.QueryTimeout):
        follower.poll([()])
    place, late[0] = follower.place(), False
    put(store, "new")
    follower.poll([()])
    assert ids(follower.since(place, ())) == ["new"]


def test_where_nobody_may_ask_for_the_timeline_a_restart_brings_nothing_twice(
    private_server: LocalServer, private_database: Database, open_store: OpenStore, clock: Clock
) -> None:
    private_database.execute("REVOKE EXECUTE ON FUNCTION pg_control_checkpoint() FROM PUBLIC")
    store = ready(open_store(private_database.login))
    follower = EventFollower(store.database.query, store.cursor_secret, clock=clock)
    put(store, "before")
    assert ids(follower.poll([()])) == ["before"]
    private_server.stop()
    private_server.start()
    ready(store)
    put(store, "after")
    assert ids(follower.poll([()])) == ["after"]
