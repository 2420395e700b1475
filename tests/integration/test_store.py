"""What PostgreSQL promises of writes beyond every store (tests/stores/test_conformance.py): one commit, answers kept in it."""

from __future__ import annotations

import hashlib
import json
import random
import re
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import psycopg
import pytest
from structlog.testing import capture_logs
from tests.conftest import ROOT
from tests.integration import postgres
from tests.integration.checks import at_once
from tests.integration.conftest import OpenStore, ready
from tests.integration.postgres import Database
from tests.integration.sample import NOW, poisoned, row, rows, statuses
from tests.integration.waiting import until

from sluice import errors, outcomes
from sluice.errors import IdempotencyKeyInUse, InvalidEvent
from sluice.events import Integral, Record
from sluice.settings import Settings
from sluice.stores import CLAIM_AGE, Claim, Kept
from sluice.stores.postgresql import inspection, login, purge, statements
from sluice.stores.postgresql.store import PostgresqlStore

CLAIM = Claim("key-a", "order-1", b"request one")
OTHER_CONTENT: dict[str, Any] = {"user_id": "somebody else"}


def once(store: PostgresqlStore, claim: Claim, some: Sequence[Record], *, atomic: bool = False) -> Kept:
    return store.insert_once(claim, some, [None] * len(some), NOW, atomic=atomic)


def told(kept: Kept) -> tuple[list[str], bool]:
    """Statuses, and whether they were kept from a request before."""
    return statuses(kept.outcomes), kept.replayed


def test_new_events_are_created_in_one_commit(store: PostgresqlStore, database: Database) -> None:
    assert statuses(store.insert(rows(3), NOW)) == ["created"] * 3
    assert database.execute("SELECT count(*), count(DISTINCT xmin::text) FROM sluice.events") == [(3, 1)]


def test_values_that_python_takes_for_equal_are_stored_each_as_sent(store: PostgresqlStore, database: Database) -> None:
    sent = [{"a": 1}, {"a": True}, {"a": Integral(1.0)}]
    store.insert([row(f"e{number}", properties=value) for number, value in enumerate(sent)], NOW)
    stored = database.execute("SELECT properties::text FROM sluice.events ORDER BY event_id")
    assert stored == [('{"a": 1}',), ('{"a": true}',), ('{"a": 1.0}',)]


def test_ids_follow_the_order_of_the_request(store: PostgresqlStore, database: Database) -> None:
    order = random.Random(1).sample(rows(1_000), 1_000)
    ids = [outcome.id for outcome in store.insert(order, NOW)]
    assert ids == sorted(ids, key=lambda id: id or 0)
    stored = database.execute("SELECT event_id FROM sluice.events ORDER BY id")
    assert [event_id for (event_id,) in stored] == [one.event_id for one in order]


def test_ids_in_answers_are_the_ids_stored(store: PostgresqlStore, database: Database) -> None:
    told = {outcome.event_id: outcome.id for outcome in store.insert([row("c"), row("a"), row("b"), row("a")], NOW)}
    assert dict(database.execute("SELECT event_id, id FROM sluice.events")) == told


def test_a_later_commit_has_higher_ids(store: PostgresqlStore) -> None:
    first = store.insert(rows(1_000, "a"), NOW)
    second = store.insert(rows(2, "b"), NOW)
    assert max(outcome.id or 0 for outcome in first) < min(outcome.id or 0 for outcome in second)


def test_the_biggest_chunk_there_can_be_has_ids_of_its_own(store: PostgresqlStore, database: Database) -> None:
    store.insert(rows(10_000, "a"), NOW)
    store.insert(rows(10_000, "b"), NOW)
    assert database.execute("SELECT count(*), count(DISTINCT id) FROM sluice.events") == [(20_000, 20_000)]


# What an administrator may have set for a whole server; a role's own settings count as these do.
HABITS = {
    "bytea_output": "escape",
    "client_encoding": "LATIN1",
    "DateStyle": "German, DMY",
    "default_transaction_deferrable": "on",
    "default_transaction_isolation": "serializable",
    "extra_float_digits": "-15",
    "IntervalStyle": "sql_standard",
    "jit": "on",
    "search_path": "public",
    "standard_conforming_strings": "off",
    "TimeZone": "America/St_Johns",
}


def test_settings_that_a_database_has_for_its_sessions_change_nothing(database: Database, open_store: OpenStore) -> None:
    for name, value in HABITS.items():
        database.server.execute(f"ALTER DATABASE {database.name} SET {name} = '{value}'")
    service = login.of_service(Settings(database_url=database.url))
    store, batch = ready(open_store(service, 8)), rows(50, event_name="Größe €")
    found = at_once(16, lambda number: store.insert(random.Random(number).sample(batch, 50), NOW))
    assert Counter(status for some in found for status in statuses(some)) == {"created": 50, "duplicate": 750}
    assert json.loads(bytes(store.get("e00000") or b""))["event_name"] == "Größe €"
    assert inspection.inspect(service).missing == []
    assert store.database.query("SELECT current_setting('jit'), current_setting('search_path')") == [("off", "pg_catalog")]


def test_overlapping_batches_never_end_in_a_deadlock(database: Database, open_store: OpenStore) -> None:
    store, pool = ready(open_store(database.login, 8)), rows(200)

    def work(number: int) -> int:
        chance = random.Random(number)
        return sum(statuses(store.insert(chance.sample(pool, 120), NOW)).count("created") for _ in range(10))

    assert sum(at_once(8, work)) == database.count() == len(set(database.ids()))


def test_more_threads_than_connections_wait_their_turn(database: Database, open_store: OpenStore) -> None:
    store = ready(open_store(database.login, 1))
    database.execute(
        "CREATE FUNCTION sluice.slow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(0.06); RETURN NEW; END'"
    )
    database.execute("CREATE TRIGGER slow BEFORE INSERT ON sluice.events FOR EACH ROW EXECUTE FUNCTION sluice.slow()")
    found = at_once(32, lambda number: store.insert([row(f"e{number}")], NOW))
    assert [statuses(one) for one in found] == [["created"]] * 32
    assert database.count() == 32


def test_all_or_nothing_stores_nothing_beside_a_conflict_with_itself(store: PostgresqlStore, database: Database) -> None:
    found = store.insert_all([row("a"), row("b"), row("a", **OTHER_CONTENT)], NOW)
    assert "conflict" in statuses(found)
    assert "created" not in statuses(found)
    assert database.count() == 0


def test_all_or_nothing_stores_nothing_beside_a_row_that_the_database_refuses(store: PostgresqlStore, database: Database) -> None:
    found = store.insert_all([row("a"), poisoned("b"), row("c")], NOW)
    assert [(outcome.status, outcome.reason, outcome.pointer) for outcome in found] == [
        ("failed", "atomic", None),
        ("invalid", "refused_by_store", "/properties"),
        ("failed", "atomic", None),
    ]
    assert database.count() == 0


def test_several_refused_rows_are_each_found(store: PostgresqlStore, database: Database) -> None:
    batch = [poisoned(f"p{number}") if number % 7 == 0 else row(f"e{number}") for number in range(50)]
    found = store.insert(batch, NOW)
    assert statuses(found) == ["invalid" if number % 7 == 0 else "created" for number in range(50)]
    assert database.count() == 42


def test_a_poisoned_twin_does_not_hinder_the_good_one(store: PostgresqlStore, database: Database) -> None:
    found = store.insert([poisoned("a"), row("a"), row("b")], NOW)
    assert statuses(found) == ["invalid", "created", "created"]
    assert database.ids() == ["a", "b"]


def test_the_outcomes_of_items_that_are_no_records_are_kept_with_them(store: PostgresqlStore) -> None:
    found = [None, outcomes.invalid(InvalidEvent("too long", pointer="/user_id", event_id="b")), None]
    first = store.insert_once(CLAIM, [row("a"), row("c")], found, NOW, atomic=False)
    again = store.insert_once(CLAIM, [row("a"), row("c")], found, NOW, atomic=False)
    assert told(first) == (["created", "invalid", "created"], False)
    assert (again.outcomes, again.replayed) == (first.outcomes, True)


def test_a_replay_stores_nothing(store: PostgresqlStore, database: Database) -> None:
    once(store, CLAIM, [row("a")])
    database.execute("DELETE FROM sluice.events")
    assert once(store, CLAIM, [row("a")]).replayed
    assert database.count() == 0


@pytest.mark.parametrize("names", [("key-b", "order-1"), ("key-a", "order-2"), ("key-a:order", "1")])
def test_a_claim_belongs_to_one_key_and_one_idempotency_key(
    store: PostgresqlStore, database: Database, names: tuple[str, str]
) -> None:
    once(store, CLAIM, [row("a")])
    assert told(once(store, Claim(*names, b"x"), [row("b")])) == (["created"], False)
    assert database.ids() == ["a", "b"]


def test_an_atomic_claim_with_a_conflict_stores_nothing(store: PostgresqlStore, database: Database) -> None:
    store.insert([row("a")], NOW)
    kept = once(store, CLAIM, [row("b"), row("a", **OTHER_CONTENT)], atomic=True)
    assert told(kept) == (["failed", "conflict"], False)
    assert database.execute("SELECT count(*) FROM sluice.idempotency_keys") == [(0,)]
    assert database.ids() == ["a"]


def test_a_claim_whose_row_the_database_refuses_is_answered(store: PostgresqlStore, database: Database) -> None:
    assert told(once(store, CLAIM, [poisoned("a")])) == (["invalid"], False)
    assert told(once(store, CLAIM, [row("a")])) == (["created"], False)
    assert database.ids() == ["a"]


def test_a_claim_stores_the_neighbours_of_a_row_that_the_database_refuses(store: PostgresqlStore, database: Database) -> None:
    batch = [row("a"), poisoned("b"), row("c")]
    assert told(once(store, CLAIM, batch)) == (["created", "invalid", "created"], False)
    assert told(once(store, CLAIM, batch)) == (["created", "invalid", "created"], True)
    assert database.ids() == ["a", "c"]


def test_an_atomic_claim_blames_only_the_row_that_the_database_refuses(store: PostgresqlStore, database: Database) -> None:
    kept = once(store, CLAIM, [row("a"), poisoned("b")], atomic=True)
    assert told(kept) == (["failed", "invalid"], False)
    assert database.execute("SELECT count(*) FROM sluice.idempotency_keys") == [(0,)]
    assert database.count() == 0


FAULTS = {
    "a constraint": ["ALTER TABLE sluice.events ADD CHECK (event_name = '')"],
    "a column without default": ["ALTER TABLE sluice.events ADD COLUMN later text NOT NULL"],
    "a data error of a trigger": [
        "CREATE FUNCTION sluice.bad() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM 1/0; RETURN NEW; END'",
        "CREATE TRIGGER bad BEFORE INSERT ON sluice.events FOR EACH ROW EXECUTE FUNCTION sluice.bad()",
    ],
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
@pytest.mark.parametrize("atomic", [False, True])
def test_what_the_database_refuses_of_any_event_is_no_fault_of_this_one(
    store: PostgresqlStore, database: Database, fault: list[str], atomic: bool
) -> None:
    for statement in fault:
        database.execute(statement)
    insert = store.insert_all if atomic else store.insert
    with pytest.raises(errors.StoreUnavailable):
        insert([row("a"), row("b")], NOW)
    assert database.count() == 0


# The digest's rule, beside the release before: it compares and writes `content` only, by rule 1.

BY_VALUE = ({"properties": {"a": 100}}, {"properties": {"a": Integral(100.0)}, "device_info": {}, "priority": "normal"})


def as_the_release_before(database: Database) -> None:
    database.execute("UPDATE sluice.events SET digest = NULL")


@pytest.mark.parametrize("sent", BY_VALUE)
def test_an_event_that_the_release_before_stored_is_a_duplicate_here(
    store: PostgresqlStore, database: Database, sent: dict[str, Any]
) -> None:
    store.insert([row("a", **sent)], NOW)
    as_the_release_before(database)
    assert statuses(store.insert([row("a", **sent), row("a", user_id="x", **sent)], NOW)) == ["duplicate", "conflict"]


@pytest.mark.parametrize("sent", BY_VALUE)
def test_an_event_that_is_stored_here_is_a_duplicate_to_the_release_before(
    store: PostgresqlStore, database: Database, sent: dict[str, Any]
) -> None:
    store.insert([row("a", **sent)], NOW)
    assert database.execute("SELECT content FROM sluice.events") == [(hashlib.sha256(rule_1(sent)).digest(),)]


def rule_1(sent: dict[str, Any]) -> bytes:
    """The canonical JSON of release 0.1: everything as it was written."""
    fields = {"event_type": "log", "event_name": "test", "event_id": "a", **sent}
    return msgspec.json.encode(fields, enc_hook=lambda number: number.sent)


def test_a_claim_ends_with_its_age_also_when_retention_is_behind(store: PostgresqlStore, database: Database) -> None:
    once(store, CLAIM, [row("a")])
    later = NOW + CLAIM_AGE
    assert store.insert_once(CLAIM, [row("a")], [None], later - timedelta(seconds=1), atomic=False).replayed
    assert told(store.insert_once(CLAIM, [row("a")], [None], later, atomic=False)) == (["duplicate"], False)
    assert database.execute("SELECT created_at FROM sluice.idempotency_keys") == [(later,)]


def test_a_clock_that_is_ahead_of_the_server_s_ends_no_claim(store: PostgresqlStore, database: Database) -> None:
    now = datetime.now(UTC)
    for at in (now, now + timedelta(days=800)):
        store.insert_once(CLAIM, [row("a")], [None], at, atomic=False)
    assert database.execute("SELECT created_at FROM sluice.idempotency_keys") == [(now,)]


BODIES_OF_THE_RELEASE_BEFORE = {
    "one": (
        b'{"success":true,"message":"event stored","data":{"event_id":"a","id":7,"status":"created"}}',
        [("created", "a", 7)],
    ),
    "batch": (
        b"""{"success": true, "message": "2 of 3 events stored", "data": {"total_received": 3, "created": 2,
        "duplicate": 0, "conflict": 0, "invalid": 1, "failed": 0, "results": [{"index": 1, "event_id": "b", "status": "invalid",
        "error": "validation_error", "reason": "missing_field", "pointer": "/event_name", "retryable": false}]}}""",
        [("created", None, None), ("invalid", "b", None), ("created", None, None)],
    ),
}


@pytest.mark.parametrize(("body", "expected"), BODIES_OF_THE_RELEASE_BEFORE.values(), ids=BODIES_OF_THE_RELEASE_BEFORE)
def test_what_the_release_before_kept_is_returned(
    store: PostgresqlStore, database: Database, body: bytes, expected: list[tuple[str, str | None, int | None]]
) -> None:
    text = "INSERT INTO sluice.idempotency_keys VALUES (%s, %s, %s, 201, %s, %s)"
    database.execute(text, [CLAIM.key_id, CLAIM.idempotency_key, CLAIM.request, body, NOW])
    kept = once(store, CLAIM, rows(len(expected)))
    assert [(outcome.status, outcome.event_id, outcome.id) for outcome in kept.outcomes] == expected
    assert (kept.replayed, database.count()) == (True, 0)


def test_the_release_before_answers_a_claim_of_this_one_with_send_again(store: PostgresqlStore, database: Database) -> None:
    once(store, CLAIM, [row("a")])
    ((status, body),) = database.execute("SELECT status, body FROM sluice.idempotency_keys")
    assert (status, json.loads(bytes(body))["status"]) == (503, 503)


def test_another_claim_does_not_wait_for_one_in_flight(store: PostgresqlStore, database: Database) -> None:
    with ThreadPoolExecutor(1) as pool:
        with database.in_flight("a"):
            first = pool.submit(once, store, CLAIM, [row("a")])
            until(lambda: database.waits(), 4, "the first one is in flight")
            assert told(once(store, Claim("key-a", "order-2", b"x"), [row("b")])) == (["created"], False)
        first.result(10)
    assert database.ids() == ["a", "b"]


def claimed(store: PostgresqlStore) -> Kept | None:
    try:
        return once(store, CLAIM, [row("a")])
    except IdempotencyKeyInUse:
        return None


HOLDER = """
import sys
from psycopg.conninfo import conninfo_to_dict
from sluice.stores import Claim
from sluice.stores.postgresql.store import PostgresqlStore
from tests.integration.conftest import ready
from tests.integration.sample import NOW, row

store = ready(PostgresqlStore(lambda: conninfo_to_dict(sys.argv[1])))
store.insert_once(Claim("key-a", "order-1", b"request one"), [row("a")], [None], NOW, atomic=False)
"""


def test_a_process_that_dies_gives_its_claim_back(store: PostgresqlStore, database: Database) -> None:
    command = [sys.executable, "-c", HOLDER, database.url]
    environment = {"PYTHONPATH": f"{ROOT}/app:{ROOT}", "PATH": "/usr/bin:/bin"}
    with database.in_flight("a"), subprocess.Popen(command, env=environment) as holder:
        until(lambda: database.waits(), 10, "it is in flight")
        with pytest.raises(IdempotencyKeyInUse):
            once(store, CLAIM, [row("a")])
        holder.send_signal(signal.SIGKILL)
    kept = until(lambda: claimed(store))
    assert kept is not None
    assert told(kept) == (["created"], False)
    assert database.ids() == ["a"]


def old_and_new(store: PostgresqlStore, old: int, new: int) -> None:
    store.insert(rows(old, "old", timestamp=NOW - timedelta(days=40)), NOW)
    store.insert(rows(new, "new", timestamp=NOW), NOW)


def test_purge_removes_only_what_is_older_in_steps(store: PostgresqlStore, database: Database) -> None:
    old_and_new(store, 25, 5)
    before = NOW - timedelta(days=30)
    assert [store.purge(before, before, 10)[0] for _ in range(4)] == [10, 10, 5, 0]
    assert {event_id[:3] for event_id in database.ids()} == {"new"}
    assert database.count() == 5


def test_purge_removes_the_oldest_first(store: PostgresqlStore, database: Database) -> None:
    store.insert([row(f"e{day}", timestamp=NOW - timedelta(days=day)) for day in (3, 9, 5, 7)], NOW)
    assert store.purge(NOW, NOW, 2) == (2, 0)
    assert database.ids() == ["e3", "e5"]


def test_purge_removes_old_claims_and_frees_their_keys(store: PostgresqlStore, database: Database) -> None:
    once(store, CLAIM, [row("a")])
    assert store.purge(NOW - timedelta(days=1), NOW + timedelta(seconds=1), 10) == (0, 1)
    assert told(once(store, CLAIM, [row("a")])) == (["duplicate"], False)
    assert database.ids() == ["a"]


def test_purge_lets_inserts_go_on(database: Database, open_store: OpenStore) -> None:
    store, stop = ready(open_store(database.login, 8)), threading.Event()
    old_and_new(store, 3_000, 0)

    def writer(number: int) -> int:
        stored = 0
        while not stop.is_set():
            stored += statuses(store.insert(rows(20, f"live{number}-{stored:06}-"), NOW)).count("created")
        return stored

    with ThreadPoolExecutor(4) as pool:
        writers = [pool.submit(writer, number) for number in range(4)]
        removed = [store.purge(NOW - timedelta(days=30), NOW - timedelta(days=30), 250)[0] for _ in range(13)]
        stop.set()
    assert removed == [250] * 12 + [0]
    assert database.count() == sum(future.result() for future in writers) > 0


def test_one_pod_removes_at_a_time(store: PostgresqlStore, database: Database) -> None:
    old_and_new(store, 5, 0)
    with postgres.connect(database.url) as other, other.transaction():
        other.execute(purge.LOCK)
        assert store.purge(NOW, NOW, 10) == (0, 0)
    assert store.purge(NOW, NOW, 10) == (5, 0)
    assert database.count() == 0


KEEP = """
CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RETURN CASE WHEN OLD.user_id = 'held' THEN NULL ELSE OLD END; END $$;
CREATE TRIGGER keep BEFORE DELETE ON sluice.events FOR EACH ROW EXECUTE FUNCTION keep();
"""


def test_what_a_trigger_keeps_is_reported_once_and_keeps_nothing_else(store: PostgresqlStore, database: Database) -> None:
    store.insert(rows(25, "held", timestamp=NOW - timedelta(days=50), user_id="held"), NOW)
    old_and_new(store, 15, 1)
    database.execute(KEEP)
    with capture_logs() as logs:
        removed = [store.purge(NOW - timedelta(days=30), NOW, 10)[0] for _ in range(4)]
    assert (removed, database.count()) == ([15, 0, 0, 0], 26)
    assert [(line["event"], line["events"]) for line in logs] == [("retention.kept", 25)]


def test_kept_claims_go_where_no_event_may(store: PostgresqlStore, database: Database) -> None:
    once(store, CLAIM, [row("a")])
    database.execute("REVOKE DELETE ON sluice.events FROM sluice_app")
    with pytest.raises(errors.StoreUnavailable) as caught:
        store.purge(NOW + timedelta(days=1), NOW + timedelta(days=1), 10)
    assert caught.value.reason == "not_permitted"
    assert (database.ids(), database.execute("SELECT count(*) FROM sluice.idempotency_keys")) == (["a"], [(0,)])


def test_a_table_is_looked_at_from_its_first_row_once_a_day(store: PostgresqlStore, database: Database) -> None:
    now = 0.0
    removal = purge.Purge(store.database, clock=lambda: now)
    store.insert([row("new", timestamp=NOW)], NOW)
    assert removal.step(NOW + timedelta(seconds=1), NOW, 10) == (1, 0)
    store.insert([row("old", timestamp=NOW - timedelta(days=9))], NOW)
    assert (removal.step(NOW, NOW, 10), database.ids()) == ((0, 0), ["old"])
    now = purge.LOOK_AGAIN + 1
    assert (removal.step(NOW, NOW, 10), database.ids()) == ((1, 0), [])


def test_a_step_does_not_begin_with_what_an_older_transaction_keeps(store: PostgresqlStore, database: Database) -> None:
    store.insert(rows(5_000, "old", timestamp=NOW - timedelta(days=40)), NOW)
    with postgres.connect(database.url) as backup, backup.transaction():
        backup.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        backup.execute("SELECT 1 FROM sluice.events LIMIT 1")
        assert [store.purge(NOW, NOW, 1_000)[0] for _ in range(4)] == [1_000] * 4
        place = dict(zip(("after", "id"), store.retention.places[purge.EVENTS], strict=True))
        with postgres.connect(database.url) as connection, connection.transaction(force_rollback=True):
            connection.execute("SET LOCAL enable_sort = off")
            values = {"before": NOW, "clock": NOW, "limit": 100, **place}
            told = psycopg.ClientCursor(connection).execute(f"EXPLAIN (ANALYZE, BUFFERS) {purge.EVENTS}", values).fetchall()
    told_of_scan = "".join(line for (line,) in told).partition("using events_timestamp_id")[2]
    hit = re.search(r"shared hit=(\d+)", told_of_scan)
    assert hit is not None
    assert int(hit[1]) < 50


def test_a_clock_that_is_ahead_of_the_server_s_removes_nothing(store: PostgresqlStore, database: Database) -> None:
    store.insert(rows(3), NOW)
    now = datetime.now(UTC)
    kept, ahead = now - NOW + timedelta(days=30), now + timedelta(days=800)
    assert purge.Purge(store.database, lambda: ahead).step(ahead - kept, ahead, 10) == (0, 0)
    assert database.count() == 3
    assert purge.Purge(store.database).step(ahead - kept, ahead, 10) == (3, 0)


def test_an_event_that_was_purged_while_its_twin_came_is_to_be_sent_again(
    store: PostgresqlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.insert([row("gone")], NOW)
    monkeypatch.setattr(statements, "STORED", statements.STORED + " AND false")
    with pytest.raises(errors.StoreUnavailable) as caught:
        store.insert([row("gone")], NOW)
    assert (caught.value.reason, caught.value.retry_after) == ("database_busy", 1)
