"""Error groups: counted once for each event that is stored, by any process and whatever is killed; and their state."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from tests.conftest import ROOT
from tests.integration import postgres
from tests.integration.checks import at_once
from tests.integration.conftest import OpenStore, ready
from tests.integration.postgres import Database
from tests.integration.sample import NOW, poisoned, row, rows
from tests.integration.test_pooler import pgbouncer, through
from tests.integration.waiting import until

from sluice import errors, fingerprint
from sluice.error_groups import fold, query
from sluice.error_groups import store as groups
from sluice.events import Record
from sluice.stores import Claim
from sluice.stores.postgresql import statements
from sluice.stores.postgresql.store import PostgresqlStore


def failure(event_id: str | None, message: str = "timeout", **fields: Any) -> Record:
    """One error event of service `shop`."""
    given = {"event_type": "error", "event_name": "/pay", "source": "shop", "properties": {"error": message}, **fields}
    return row(event_id, **given)


def group_of(message: str = "timeout") -> str:
    return fingerprint.of("/pay", "shop", {"error": message})


def listed(of: PostgresqlStore, *parameters: tuple[str, str], now: datetime = NOW) -> list[dict[str, Any]]:
    """The groups that a list shows, after all was counted."""
    assert fold.drain(of.database, now)
    found = groups.page(of.database, of.cursor_secret, query.of_list(parameters), now)
    return [json.loads(bytes(group)) for group in found.logs]


def counts(of: PostgresqlStore) -> dict[str, int]:
    return {group["fingerprint"]: group["count"] for group in listed(of)}


def deltas(database: Database) -> int:
    """Events that no group counts yet."""
    ((found,),) = database.execute("SELECT coalesce(sum(events), 0)::int FROM sluice.error_deltas")
    return int(found)


def test_only_what_is_stored_is_counted_and_each_once(store: PostgresqlStore) -> None:
    some = [failure("a"), failure("b"), failure("a"), failure("c", "no route"), row("d")]
    store.insert(some, NOW)
    store.insert(some, NOW)
    store.insert([failure("a", "another content")], NOW)
    assert counts(store) == {group_of(): 2, group_of("no route"): 1}


def test_events_without_an_error_among_them_write_nothing_for_groups(store: PostgresqlStore, database: Database) -> None:
    store.insert(rows(10), NOW)
    assert deltas(database) == 0
    store.insert([failure("a")], NOW)
    assert database.execute("SELECT events, service, users FROM sluice.error_deltas") == [(1, "shop", None)]


@pytest.mark.parametrize("atomic", [False, True])
def test_what_is_rolled_back_or_kept_for_a_claim_is_counted_as_it_is_stored(store: PostgresqlStore, atomic: bool) -> None:
    claim, some = Claim("key", "once", b"request"), [failure("a"), failure("b")]
    for _ in range(2):
        store.insert_once(claim, some, [None, None], NOW, atomic=atomic)
    store.insert_all([failure("c"), failure("a", "other content")], NOW)
    assert counts(store) == {group_of(): 2}
    store.insert([failure("d"), poisoned("bad")], NOW)
    assert counts(store) == {group_of(): 3}


def test_a_group_says_when_where_and_whom_it_touched(store: PostgresqlStore) -> None:
    hour = timedelta(hours=1)
    store.insert(
        [
            failure("a", timestamp=NOW - 30 * hour, user_id="u1"),
            failure("b", timestamp=NOW - hour, user_id="u1", properties={"error": "timeout", "service": "shop"}),
            failure("c", timestamp=NOW, user_id="u2", source=None, properties={"error": "timeout", "service": "shop"}),
        ],
        NOW,
    )
    (group,) = listed(store)
    assert (group["count"], group["users"], group["users_exact"], group["services"]) == (3, 2, True, ["shop"])
    assert (group["first_seen"], group["last_seen"]) == ("2024-05-31T06:00:00+00:00", "2024-06-01T12:00:00+00:00")
    assert group["histogram"] == [
        {"hour": "2024-06-01T11:00:00+00:00", "count": 1},
        {"hour": "2024-06-01T12:00:00+00:00", "count": 1},
    ]
    assert group["example"]["event_id"] == "c"
    assert [each["count"] for each in json.loads(get(store))["histogram"]] == [1, 1, 1]


def get(of: PostgresqlStore, message: str = "timeout") -> bytes:
    found = groups.get(of.database, group_of(message), NOW)
    assert found is not None
    return bytes(found)


def test_users_are_exact_up_to_a_thousand_and_say_so_beyond(store: PostgresqlStore, database: Database) -> None:
    def users(first: int, last: int) -> tuple[int, bool]:
        store.insert([failure(f"{first}-{n}", user_id=f"u{n}") for n in range(first, last)], NOW)
        (group,) = listed(store)
        return group["users"], group["users_exact"]

    assert users(0, 600) == (600, True)
    assert users(300, 1_000) == (1_000, True)
    assert users(999, 1_001) == (1_000, False)
    assert users(1_001, 3_000) == (1_000, False)
    assert database.execute("SELECT count(*) FROM sluice.error_users") == [(1_000,)]


def test_more_users_than_fit_in_one_commit_are_no_fault(store: PostgresqlStore) -> None:
    store.insert(
        [failure(f"e{n}", user_id=f"u{n}", properties={"fingerprint": "one"}, source=f"s{n}") for n in range(2_000)], NOW
    )
    (group,) = listed(store)
    assert (group["count"], group["users"], group["users_exact"]) == (2_000, 1_000, False)
    assert (len(group["services"]), group["services_exact"]) == (100, False)


def test_groups_keep_their_counts_when_retention_removes_the_events(store: PostgresqlStore, database: Database) -> None:
    store.insert([failure("a", timestamp=NOW - timedelta(days=2)), failure("b", "other")], NOW)
    store.purge(NOW - timedelta(days=1), NOW, 1_000)
    assert database.ids() == ["b"]
    assert counts(store) == {group_of(): 1, group_of("other"): 1}
    assert json.loads(get(store))["example"] is None


def test_hours_that_are_too_old_are_dropped_and_counts_stay(store: PostgresqlStore, database: Database) -> None:
    store.insert([failure("a"), failure("b", timestamp=NOW - timedelta(days=40))], NOW)
    fold.Folder(store.database, lambda: NOW).round(threading.Event())
    assert database.execute("SELECT count(*) FROM sluice.error_hours") == [(1,)]
    fold.Folder(store.database, lambda: NOW + timedelta(days=31)).round(threading.Event())
    assert database.execute("SELECT count(*) FROM sluice.error_hours") == [(0,)]
    assert counts(store) == {group_of(): 2}


def swept(store: PostgresqlStore, now: datetime, days: int = 90) -> float:
    """A round that keeps groups for `days` after their newest event; how many went, as the metric says."""
    folder = fold.Folder(store.database, lambda: now, timedelta(days=days))
    folder.round(threading.Event())
    (removed,) = [m.samples[0].value for m in folder.collect() if m.name == "sluice_error_groups_removed"]
    return float(removed)


ROWS_OF_GROUPS = "SELECT fingerprint FROM sluice.error_{} ORDER BY 1"


@pytest.mark.parametrize("status", ["unresolved", "resolved", "ignored"])
def test_a_group_in_any_state_goes_with_all_its_rows_when_no_event_came_for_too_long(
    store: PostgresqlStore, database: Database, status: query.Status
) -> None:
    old, new = NOW - timedelta(days=90), NOW - timedelta(days=90, microseconds=-1)
    store.insert([failure(f"a{n}", timestamp=old - timedelta(days=n), user_id=f"u{n}") for n in range(3)], NOW)
    store.insert([failure("b", "other", timestamp=new, user_id="u1"), failure("c", "other", timestamp=old)], NOW)
    assert fold.drain(store.database, NOW)
    for message in ("timeout", "other"):
        groups.change(store.database, group_of(message), status, NOW, "key-a")
    assert swept(store, NOW) == 0
    assert swept(store, NOW + timedelta(microseconds=1), days=90) == 1
    for table in ("groups", "users"):
        assert database.execute(ROWS_OF_GROUPS.format(table)) == [(group_of("other"),)]
    assert [group["status"] for group in listed(store)] == [status]
    # The events are not the group's: they have a retention of their own.
    assert database.count() == 5


def test_groups_of_a_flood_go_in_steps_and_none_that_is_seen_still(store: PostgresqlStore, database: Database) -> None:
    old, flood = NOW - timedelta(days=100), 3 * fold.STEP + 1
    for start in range(0, flood, 1_000):
        some = range(start, min(start + 1_000, flood))
        store.insert([failure(f"{n}", timestamp=old, user_id="u", properties={"fingerprint": f"{n}"}) for n in some], NOW)
    store.insert([failure("seen")], NOW)
    assert swept(store, NOW) == flood
    assert [database.execute(ROWS_OF_GROUPS.format(table)) for table in ("groups", "hours", "users")] == [
        [(group_of(),)],
        [(group_of(),)],
        [],
    ]


def test_a_retry_brings_no_group_back_and_a_new_event_begins_one(store: PostgresqlStore) -> None:
    first = [failure(f"{n}", timestamp=NOW - timedelta(days=100)) for n in range(3)]
    store.insert(first, NOW)
    assert swept(store, NOW) == 1
    store.insert(first, NOW)
    assert listed(store) == []
    store.insert([*first, failure("new")], NOW)
    store.insert([*first, failure("new")], NOW)
    assert [(group["status"], group["count"]) for group in listed(store)] == [("unresolved", 1)]


def test_an_event_that_is_not_counted_yet_keeps_its_group_with_its_count(store: PostgresqlStore, database: Database) -> None:
    store.insert([failure("a", timestamp=NOW - timedelta(days=100))], NOW)
    assert fold.drain(store.database, NOW)
    # More than a step is in front of the one that keeps the group.
    store.insert([failure(f"f{n}", properties={"fingerprint": f"{n}"}) for n in range(fold.STEP)], NOW)
    store.insert([failure("b")], NOW)
    assert swept(store, NOW) == 0
    assert json.loads(get(store))["count"] == 2


def test_a_clock_that_is_ahead_of_the_server_s_removes_no_group(store: PostgresqlStore, database: Database) -> None:
    store.insert([failure("a")], NOW)
    now = datetime.now(UTC)
    kept, ahead = now - NOW + timedelta(days=30), now + timedelta(days=800)
    fold.Folder(store.database, lambda: ahead, kept).round(threading.Event())
    assert database.execute(ROWS_OF_GROUPS.format("groups")) == [(group_of(),)]
    fold.Folder(store.database, lambda: ahead, timedelta(days=30)).round(threading.Event())
    assert database.execute(ROWS_OF_GROUPS.format("groups")) == []


def test_a_step_does_not_begin_with_what_an_older_transaction_keeps(store: PostgresqlStore, database: Database) -> None:
    store.insert([failure(f"{n}", properties={"fingerprint": f"{n}"}) for n in range(10 * fold.STEP)], NOW)
    steps = fold.Steps(store.database.run, wait=True)
    limits = {"step": fold.STEP, "max_users": 1, "max_services": 1, "now": NOW, "oldest": NOW}
    with postgres.connect(database.url) as backup, backup.transaction():
        backup.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        backup.execute("SELECT 1 FROM sluice.events LIMIT 1")
        assert all(steps.next(NOW) for _ in range(8))
        with postgres.connect(database.url) as connection, connection.transaction(force_rollback=True):
            explained = f"EXPLAIN (ANALYZE, BUFFERS) {fold.FOLD}"
            told = psycopg.ClientCursor(connection).execute(explained, {**limits, "after": steps.after}).fetchall()
    read = re.search(r"Tid Range Scan on error_deltas .*?shared hit=(\d+)", " ".join(line for (line,) in told))
    assert read is not None
    assert int(read[1]) < 10


def test_what_is_stored_in_place_of_what_was_taken_out_is_counted_too(store: PostgresqlStore, database: Database) -> None:
    store.insert([failure(f"{n}", properties={"fingerprint": f"{n}"}) for n in range(2 * fold.STEP)], NOW)
    steps = fold.Steps(store.database.run, wait=True)
    assert [steps.next(NOW), steps.next(NOW)] == [True, True]
    database.execute("VACUUM sluice.error_deltas")
    store.insert([failure("last", "last")], NOW)
    assert [steps.next(NOW), steps.next(NOW)] == [True, False]
    assert database.execute("SELECT count(*) FROM sluice.error_deltas") == [(0,)]
    assert json.loads(get(store, "last"))["count"] == 1


def test_a_flood_is_seen_while_it_is_being_counted(store: PostgresqlStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fold, "MOST_STEPS", 1)
    store.insert([failure(f"{n}", properties={"fingerprint": f"{n}"}) for n in range(2 * fold.STEP + 1)], NOW)
    folder = fold.Folder(store.database, lambda: NOW)

    def behind() -> bool:
        (age,) = [metric.samples[0].value for metric in folder.collect() if metric.name == "sluice_error_uncounted_age_seconds"]
        return bool(age > 0)

    assert [(folder.round(threading.Event()), behind()) for _ in range(3)] == [(True, True), (True, True), (False, False)]


@contextmanager
def folding(pods: Sequence[PostgresqlStore], keep: timedelta | None = None) -> Iterator[list[fold.Folder]]:
    """Each pod adds up all the time, as it does in the background."""
    stop, folders = threading.Event(), [fold.Folder(pod.database, lambda: NOW, keep) for pod in pods]

    def work(folder: fold.Folder) -> None:
        while not stop.wait(0.005):
            folder.round(stop)

    with ThreadPoolExecutor(len(pods)) as pool:
        working = [pool.submit(work, folder) for folder in folders]
        try:
            yield folders
        finally:
            stop.set()
        for each in working:
            each.result(10)


def test_counts_are_exact_while_groups_come_and_go_on_two_pods(database: Database, open_store: OpenStore) -> None:
    pods = [ready(open_store(database.login, 4)) for _ in range(2)]

    def stores(number: int) -> None:
        for batch in range(10):
            old = [
                failure(f"old-{number}-{batch}-{n}", f"gone {'abcd'[n % 4]}", timestamp=NOW - timedelta(days=100))
                for n in range(20)
            ]
            new = [failure(f"new-{number // 2}-{batch}-{n}", "seen") for n in range(10)]
            pods[number % 2].insert([*old, *new], NOW)

    with folding(pods, timedelta(days=90)) as folders:
        at_once(4, stores)
    assert sum(folder.removed for folder in folders) + swept(pods[0], NOW) >= 4
    assert counts(pods[1]) == {group_of("seen"): 200}
    assert database.execute(ROWS_OF_GROUPS.format("hours")) == [(group_of("seen"),)]


def test_a_pod_of_the_release_before_is_counted_too(store: PostgresqlStore, database: Database) -> None:
    text = """INSERT INTO sluice.events (event_id, id, "timestamp", event_type, event_name, properties, device_info, user_id,
            source, priority, key_id, fingerprint, content, created_at)
        VALUES (%s, 1, now(), %s, 'n', '{}', '{}', 'u1', 'shop', 'normal', 'k', %s, '', now()) ON CONFLICT DO NOTHING"""
    by_rule_1 = "1:" + "0" * 32
    for _ in range(2):
        database.execute(text, ["old", "error", by_rule_1])
        database.execute(text, ["log", "log", None])
    (group,) = listed(store, now=datetime.now(UTC))
    assert (group["fingerprint"], group["count"], group["services"], group["users"]) == (by_rule_1, 1, ["shop"], 1)


# State.


def change(of: PostgresqlStore, status: query.Status, at: datetime = NOW) -> dict[str, Any]:
    groups.change(of.database, group_of(), status, at, "key-a")
    return dict(json.loads(get(of)))


def test_a_resolved_group_that_sees_a_later_event_reopens_and_says_so(store: PostgresqlStore, database: Database) -> None:
    store.insert([failure("a")], NOW)
    assert listed(store)[0]["status"] == "unresolved"
    resolved = change(store, "resolved")
    assert (resolved["status"], resolved["changed_by"], resolved["regressed"]) == ("resolved", "key-a", False)
    later = NOW + timedelta(microseconds=1)
    store.insert([failure("late", timestamp=NOW), failure("a")], NOW)
    assert listed(store)[0]["status"] == "resolved"
    store.insert([failure("b", timestamp=later)], later)
    (group,) = listed(store, now=later)
    assert (group["status"], group["regressed"], group["count"]) == ("unresolved", True, 3)
    assert database.execute("SELECT regressions FROM sluice.error_totals") == [(1,)]
    assert not change(store, "resolved", later + timedelta(hours=1))["regressed"]
    store.insert([failure("b", timestamp=later)], later)
    assert listed(store)[0]["status"] == "resolved"


def test_a_duplicate_reopens_nothing(store: PostgresqlStore) -> None:
    later = failure("a", timestamp=NOW + timedelta(hours=1))
    store.insert([later], NOW)
    assert fold.drain(store.database, NOW)
    change(store, "resolved")
    store.insert([later], NOW)
    assert listed(store)[0]["status"] == "resolved"


def test_an_ignored_group_is_counted_and_stays_ignored(store: PostgresqlStore) -> None:
    store.insert([failure("a")], NOW)
    assert fold.drain(store.database, NOW)
    change(store, "ignored")
    store.insert([failure("b", timestamp=NOW + timedelta(hours=1))], NOW)
    (group,) = listed(store)
    assert (group["status"], group["count"]) == ("ignored", 2)


def test_the_same_state_again_changes_nothing(store: PostgresqlStore) -> None:
    store.insert([failure("a")], NOW)
    assert fold.drain(store.database, NOW)
    first = change(store, "resolved")
    assert change(store, "resolved", NOW + timedelta(days=1)) == first
    assert change(store, "unresolved")["status"] == "unresolved"


# Under load, crashes and poolers.


def test_batches_do_not_wait_for_a_group_that_is_being_added_up(store: PostgresqlStore, database: Database) -> None:
    store.insert([failure("a")], NOW)
    assert fold.drain(store.database, NOW)
    with ThreadPoolExecutor(4) as pool:
        with postgres.connect(database.owner_url) as other, other.transaction():
            other.execute(statements.LOCK_ERROR_GROUPS)
            other.execute("UPDATE sluice.error_groups SET events = events")
            store.insert([failure("b")], NOW)
            # Readers do wait, and take no connection of the events along.
            waiting = [pool.submit(counts, store) for _ in range(4)]
            until(database.waits, 10)
            store.insert([failure("c")], NOW)
        assert [each.result(10) for each in waiting] == [{group_of(): 3}] * 4


def test_a_reader_who_waits_too_long_gets_a_timeout(database: Database, open_store: OpenStore) -> None:
    store = ready(open_store(database.login, 2, 0.5))
    store.insert([failure("a")], NOW)
    with postgres.connect(database.owner_url) as other, other.transaction():
        other.execute(statements.LOCK_ERROR_GROUPS)
        with pytest.raises(errors.QueryTimeout):
            fold.drain(store.database, NOW)
        # In the background nobody waits: the next round comes.
        fold.Folder(store.database, lambda: NOW).round(threading.Event())
    assert counts(store) == {group_of(): 1}


def test_counts_are_exact_while_many_store_fold_and_read_at_once(database: Database, open_store: OpenStore) -> None:
    pods = [ready(open_store(database.login, 4)) for _ in range(2)]

    def stores(number: int) -> int:
        seen = 0
        for batch in range(20):
            some = [failure(f"{number // 2}-{batch}-{n}", "even" if n % 2 else "odd", user_id=f"u{n}") for n in range(10)]
            pods[number % 2].insert(some, NOW)
            found = counts(pods[number % 2])
            # A read right after a commit counts it.
            assert sum(found.values()) >= (batch + 1) * 10
            seen += sum(found.values()) > 0
        return seen

    with folding(pods):
        assert at_once(8, stores) == [20] * 8
    assert counts(pods[0]) == {group_of("even"): 400, group_of("odd"): 400}
    assert [group["users"] for group in listed(pods[1])] == [5, 5]


KILLED = """
import sys, threading
from datetime import UTC, datetime
from psycopg.conninfo import conninfo_to_dict
from sluice.error_groups.fold import Folder
from sluice.stores.postgresql.database import Database
folder = Folder(Database(lambda: conninfo_to_dict(sys.argv[1])), lambda: datetime.now(UTC))
print("ready", flush=True)
while True:
    folder.round(threading.Event())
"""


def test_kill_9_of_whoever_adds_up_loses_and_doubles_nothing(store: PostgresqlStore, database: Database) -> None:
    stored = 0
    for number in range(3):
        command = [sys.executable, "-c", KILLED, database.url]
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env={"PYTHONPATH": str(ROOT / "app")}
        ) as folder:
            assert folder.stdout is not None
            assert folder.stdout.readline() == b"ready\n"
            for batch in range(10 + number):
                stored += len(store.insert([failure(f"{number}-{batch}-{n}", f"m{'abc'[n % 3]}") for n in range(30)], NOW))
            folder.send_signal(signal.SIGKILL)
    until(lambda: database.execute("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'") == [(0,)], 10)
    assert sum(counts(store).values()) == stored == database.count()
    assert deltas(database) == 0


@pytest.mark.needs("pgbouncer")
def test_groups_are_counted_through_a_pooler(
    private_server: postgres.LocalServer, private_database: Database, open_store: OpenStore
) -> None:
    with pgbouncer(private_server, "transaction", 3) as port:
        pods = [ready(open_store(through(port, private_database), 4)) for _ in range(2)]

        def work(number: int) -> None:
            for batch in range(10):
                pods[number % 2].insert([failure(f"{number}-{batch}-{n}") for n in range(5)], NOW)
                counts(pods[number % 2])
                groups.change(pods[number % 2].database, group_of(), "ignored", NOW, "k")

        at_once(6, work)
        assert counts(pods[0]) == {group_of(): 300}
        assert private_database.execute("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'") == [(0,)]


# Pages.


@pytest.fixture
def seven(store: PostgresqlStore) -> PostgresqlStore:
    """Seven groups: `a` with one event of one user an hour ago, `b` with two of two users two hours ago, ..."""
    for number, letter in enumerate("abcdefg", 1):
        at = NOW - timedelta(hours=number)
        some = [failure(f"{letter}{n}", letter, timestamp=at - timedelta(hours=n), user_id=f"{n}") for n in range(number)]
        store.insert(some, NOW)
    return store


def pages(of: PostgresqlStore, **asked: str) -> Iterator[list[dict[str, Any]]]:
    cursor: str | None = None
    assert fold.drain(of.database, NOW)
    while True:
        given = {**asked, "page_size": "2", **({"cursor": cursor} if cursor else {})}
        page = groups.page(of.database, of.cursor_secret, query.of_list(given.items()), NOW)
        assert (page.total, page.exact) == (7, True)
        yield [json.loads(bytes(group)) for group in page.logs]
        cursor = page.next_cursor
        if cursor is None:
            return


@pytest.mark.parametrize("key", ["last_seen", "first_seen", "count", "users"])
@pytest.mark.parametrize("order", ["asc", "desc"])
def test_pages_hold_each_group_once_in_order(seven: PostgresqlStore, key: str, order: str) -> None:
    found = [group for page in pages(seven, sort_by=key, sort_order=order) for group in page]
    values = [group[key] for group in found]
    assert values == sorted(values, reverse=order == "desc")
    assert len({group["fingerprint"] for group in found}) == len(found) == 7


def test_groups_are_found_by_when_they_were_seen(seven: PostgresqlStore) -> None:
    def letters(*asked: tuple[str, str]) -> str:
        return "".join(sorted(group["example"]["properties"]["error"] for group in listed(seven, *asked)))

    at = (NOW - timedelta(hours=3)).isoformat()
    assert letters(("last_seen_from", at)) == "abc"
    assert letters(("last_seen_to", at)) == "cdefg"
    assert letters(("first_seen_from", at)) == "ab"
    assert letters(("first_seen_from", (NOW - timedelta(hours=7)).isoformat()), ("last_seen_to", at)) == "cd"


def test_the_events_of_a_group_are_found_by_its_index(store: PostgresqlStore, database: Database) -> None:
    assert "events_fingerprint" in str(database.execute(f"EXPLAIN {groups.ONE}", [NOW, group_of()]))
