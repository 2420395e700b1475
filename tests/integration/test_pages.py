"""What the PostgreSQL store promises of reads: pages by cursor, filters, export, figures, and the plans behind them."""

from __future__ import annotations

import itertools
import re
from collections.abc import Generator, Iterator
from datetime import datetime, timedelta
from typing import Any

import msgspec
import psycopg
import pytest
from psycopg import sql
from tests.integration import postgres
from tests.integration.conftest import OpenStore, ready
from tests.integration.postgres import Database
from tests.integration.sample import NOW, row, rows
from tests.integration.walks import ids, walk

from sluice import filters, stores
from sluice.error_groups import fold
from sluice.events import Record
from sluice.filters import Filter, Match
from sluice.sources import statements as sources
from sluice.stores import Page
from sluice.stores.postgresql import purge, statements
from sluice.stores.postgresql import store as postgresql
from sluice.stores.postgresql.store import PostgresqlStore

MINUTE = timedelta(minutes=1)
MANY = 50_000
TYPES = ("log", "error", "telemetry")


def mixed() -> list[Record]:
    """24 events with nulls, empty texts, equal values and values whose order depends on the locale."""
    texts = (None, "", "a", "B", "b", "ä", "Z", "\U0001f600")
    return [
        row(
            f"e{number:02}",
            event_type=TYPES[number % 3],
            event_name=texts[number % 5 + 2] if number % 4 else "same",
            timestamp=NOW - MINUTE * (number % 4),
            user_id=texts[number % 8],
            session_id=texts[number % 3],
            app_version=texts[-number % 8],
            source=None,
            priority=("normal", "high")[number % 2],
        )
        for number in range(24)
    ]


@pytest.fixture(scope="module")
def filled(server: postgres.Server, template: str) -> Iterator[PostgresqlStore]:
    """A store with the events of `mixed`, six each from four times of receipt; only read."""
    with server.database(template) as database:
        store = PostgresqlStore(database.login)
        for number in range(4):
            ready(store).insert(mixed()[number::4], NOW + timedelta(microseconds=number // 2))
        yield store
        store.close()


@pytest.fixture(scope="module")
def large(server: postgres.Server, template: str) -> Iterator[Database]:
    """A database with 50,000 events, one second apart, analyzed; only read."""
    with server.database(template) as database:
        store = ready(PostgresqlStore(database.login))
        for start in range(0, MANY, 10_000):
            batch = [row(f"e{n:05}", timestamp=NOW - timedelta(seconds=n)) for n in range(start, start + 10_000)]
            store.insert(batch, NOW + timedelta(seconds=start))
        store.close()
        database.execute("VACUUM ANALYZE sluice.events")
        yield database


def decoded(page: Page) -> list[dict[str, Any]]:
    return [msgspec.json.decode(log) for log in page.logs]


@pytest.mark.parametrize("size", [1, 3, 7])
@pytest.mark.parametrize("descending", [False, True], ids=["asc", "desc"])
@pytest.mark.parametrize("sort_by", filters.SORTS)
def test_a_walk_in_any_order_meets_every_row_once(filled: PostgresqlStore, sort_by: str, descending: bool, size: int) -> None:
    found = walk(filled, Filter(sort_by=sort_by, descending=descending, page_size=size))
    assert sorted(found) == [one.event_id for one in mixed()]


def test_a_page_that_is_not_counted_asks_once(filled: PostgresqlStore, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []
    monkeypatch.setattr(statements, "count", lambda *query: asked.append(query))
    page = filled.page(Filter(page_size=5, counted=False))
    assert (len(page.logs), page.total, page.exact, asked) == (5, 0, False, [])


@pytest.mark.parametrize("sort_by", filters.SORTS)
def test_rows_stand_in_the_order_that_was_asked_for(filled: PostgresqlStore, sort_by: str) -> None:
    logs = decoded(filled.page(Filter(sort_by=sort_by, descending=False, page_size=100)))
    keys = [((log[sort_by] or "").encode() if sort_by != "id" else log["id"], log["id"]) for log in logs]
    assert keys == sorted(keys)
    assert len(keys) == 24
    down = walk(filled, Filter(sort_by=sort_by, descending=True, page_size=5))
    assert down == [log["event_id"] for log in logs][::-1]


@pytest.mark.parametrize("sort_by", filters.SORTS)
def test_pages_by_number_and_by_cursor_are_the_same(filled: PostgresqlStore, sort_by: str) -> None:
    numbered = [ids(filled.page(Filter(sort_by=sort_by, page=page, page_size=7))) for page in (1, 2, 3, 4)]
    assert list(itertools.chain(*numbered)) == walk(filled, Filter(sort_by=sort_by, page_size=7))
    assert [len(page) for page in numbered] == [7, 7, 7, 3]


def test_a_full_last_page_has_no_cursor(filled: PostgresqlStore) -> None:
    assert filled.page(Filter(page_size=24)).next_cursor is None
    assert filled.page(Filter(page_size=23)).next_cursor is not None


def test_a_page_beyond_the_end_is_empty(filled: PostgresqlStore) -> None:
    page = filled.page(Filter(page=9, page_size=7))
    assert (page.logs, page.next_cursor, page.total) == ([], None, 24)


def test_a_walk_carries_the_count_of_its_first_page(filled: PostgresqlStore) -> None:
    first = filled.page(Filter(page_size=20))
    second = filled.page(Filter(page_size=20, cursor=first.next_cursor))
    assert (first.total, first.exact) == (second.total, second.exact) == (24, True)


@pytest.mark.parametrize("beyond", [-1, 0, 1])
def test_the_count_stops_at_its_cap(store: PostgresqlStore, beyond: int) -> None:
    cap = stores.COUNT_CAP
    some = rows(cap + beyond)
    store.insert(some[:5_000], NOW)
    store.insert(some[5_000:], NOW)
    page = store.page(Filter(page_size=1))
    assert (page.total, page.exact) == (min(cap + beyond, cap), beyond <= 0)


def test_an_abandoned_export_holds_no_connection(large: Database, open_store: OpenStore) -> None:
    store = ready(open_store(large.login, 1))
    export = store.export(Filter())
    assert next(export).count(b"\n") == postgresql.EXPORT_ROWS
    assert len(store.page(Filter(page_size=1)).logs) == 1
    assert isinstance(export, Generator)
    export.close()
    assert store.page(Filter(page_size=1)).next_cursor is not None


def plan(database: Database, text: sql.Composed | str, values: Any) -> str:
    """What PostgreSQL does for a statement."""
    with postgres.connect(database.url) as connection:
        plain = text if isinstance(text, str) else text.as_string(connection)
        return "\n".join(line for (line,) in psycopg.ClientCursor(connection).execute(f"EXPLAIN {plain}", values))


PLACE = {"created_at": "2024-06-01 18:00:00+00", "timestamp": "2024-06-01 06:00:00+00"}


@pytest.mark.parametrize("deep", [False, True], ids=["first", "deep"])
@pytest.mark.parametrize("descending", [False, True], ids=["asc", "desc"])
@pytest.mark.parametrize("sort_by", ["created_at", "timestamp"])
def test_a_page_in_time_order_reads_only_its_rows_from_the_index(
    large: Database, sort_by: str, descending: bool, deep: bool
) -> None:
    query = Filter(sort_by=sort_by, descending=descending)
    told = plan(large, *statements.page(query, (PLACE[sort_by], 10_000) if deep else None, 1 << 20))
    assert f"using events_{sort_by}_id" in told
    # Of the page's own rows, by their place in it.
    assert re.findall("Sort Key: (.*)", told) == ["sized.place"]
    assert "Seq Scan" not in told
    assert ("Index Cond" in told) == deep


LIMITS = {"after": "-infinity", "id": 0, "clock": NOW}


@pytest.mark.parametrize("limit", [1, 1_000])
def test_a_step_of_purge_reads_only_its_rows_from_the_index(large: Database, limit: int) -> None:
    told = plan(large, purge.EVENTS, {**LIMITS, "before": NOW, "limit": limit})
    assert "using events_timestamp_id" in told
    assert "Seq Scan" not in told


def test_one_event_is_found_by_the_index(large: Database) -> None:
    assert "Index Scan using events_pkey" in plan(large, statements.GET, ["e00001"])


def test_figures_agree_with_a_count_by_hand(store: PostgresqlStore, database: Database) -> None:
    hour, now = timedelta(hours=1), NOW
    received = {"a": now - MINUTE, "b": now - MINUTE, "c": now - 40 * MINUTE, "d": now - 3 * hour, "e": now - 30 * hour}
    # By a clock that was ahead.
    received["f"] = now + timedelta(days=800)
    for name, at in received.items():
        session = {"a": "s1", "b": "s2", "c": "s3"}.get(name)
        store.insert([row(name, now=at, session_id=session, event_type="error" if name in "ad" else "log")], at)
    database.execute("UPDATE sluice.events SET processed_at = created_at + interval '20 ms'")
    found = store.figures(now)
    assert (found.total_logs, found.total_logs_exact) == (6, True)
    assert (found.logs_last_hour, found.logs_last_day, found.logs_last_day_exact) == (3, 4, True)
    assert found.average_latency_ms == pytest.approx(20)
    assert found.error_rate_percent == pytest.approx(100 / 3)
    assert found.active_sessions == 2
    assert [(one.event_type, one.count) for one in found.top_event_types] == [("error", 2), ("log", 2)]
    assert [(one.minute, one.count) for one in found.logs_per_minute] == [(now - 40 * MINUTE, 1), (now - MINUTE, 2)]


def test_figures_of_an_empty_store_are_zero_or_unknown(store: PostgresqlStore) -> None:
    found = store.figures(datetime.now(NOW.tzinfo))
    assert (found.total_logs, found.logs_last_hour, found.active_sessions) == (0, 0, 0)
    assert (found.average_latency_ms, found.error_rate_percent) == (None, None)
    assert (found.top_event_types, found.logs_per_minute) == ([], [])


# 30 runs of `rare` among those of `often`, all of them young; the records of the default source; what is kept by time.
AGED = (
    """INSERT INTO sluice.sources (name, url, schedule, definition, is_default, run_id)
    VALUES ('often', '', '', '', true, 1000000), ('rare', '', '', '', false, 1000000)""",
    """INSERT INTO sluice.source_runs (source)
    SELECT CASE WHEN n % 1000 = 0 THEN 'rare' ELSE 'often' END FROM generate_series(1, 30000) AS n""",
    """INSERT INTO sluice.source_records (source, id, digest, content)
    SELECT 'often', n, '', '{"id": 1}' FROM generate_series(1, 30000) AS n""",
    """INSERT INTO sluice.idempotency_keys (key_id, idempotency_key, request, created_at)
    SELECT 'k', n, '', now() - make_interval(secs => n) FROM generate_series(1, 3000) AS n""",
    "INSERT INTO sluice.error_hours SELECT n, now() - make_interval(hours => n), 1 FROM generate_series(1, 3000) AS n",
    """INSERT INTO sluice.error_groups (fingerprint, events, first_seen, last_seen, services, more_services, users, more_users)
    SELECT n, 1, now(), now() - make_interval(mins => n), '{}', false, 0, false FROM generate_series(1, 3000) AS n""",
    "INSERT INTO sluice.error_deltas SELECT n % 100, '', now(), 1, now(), now() FROM generate_series(1, 5000) AS n",
)


@pytest.fixture(scope="module")
def aged(server: postgres.Server, template: str) -> Iterator[Database]:
    """A database with many rows of everything but events, analyzed, but for what is folded within seconds; only read."""
    with server.database(template) as database:
        for text in AGED:
            database.execute(text)
        for table in ("sources", "source_runs", "source_records", "idempotency_keys", "error_hours", "error_groups"):
            database.execute(f"VACUUM ANALYZE sluice.{table}")
        yield database


def looked_at(database: Database, text: str, values: Any) -> int:
    """Rows that a statement takes from tables and indexes, with those that it throws away. It changes nothing."""
    with postgres.connect(database.url) as connection, connection.transaction(force_rollback=True):
        told = psycopg.ClientCursor(connection).execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {text}", values).fetchall()
    waiting, rows = [told[0][0][0]["Plan"]], 0
    while waiting:
        node = waiting.pop()
        waiting += node.get("Plans", [])
        if {"Relation Name", "Index Name"} & set(node) and "Scan" in node["Node Type"]:
            rows += (node["Actual Rows"] + node.get("Rows Removed by Filter", 0)) * node["Actual Loops"]
    return int(rows)


def test_a_count_of_a_range_of_time_reads_only_that_range(large: Database) -> None:
    until, most = NOW - timedelta(seconds=30_000), 10_000
    matches = (Match("timestamp", ">=", until - timedelta(seconds=19_000)), Match("timestamp", "<=", until))
    text, values = statements.count(Filter(matches=matches), most)
    with postgres.connect(large.url) as connection:
        assert looked_at(large, text.as_string(connection), values) <= most + 1


def test_a_page_of_a_range_long_ago_does_not_begin_with_what_came_since(large: Database, open_store: OpenStore) -> None:
    until, long = NOW - timedelta(seconds=100), 2_000
    matches = (Match("timestamp", ">=", until - timedelta(seconds=long)), Match("timestamp", "<=", until))
    text, values = statements.page(Filter(matches=matches), None, 1 << 20)
    with postgres.connect(large.url) as connection:
        # In the index and in the table.
        assert looked_at(large, text.as_string(connection), values) <= 2 * (long + 1)
    store = ready(open_store(large.login))
    found = walk(store, Filter(matches=matches, page_size=400))
    assert found == list(reversed([f"e{n:05}" for n in range(100, 100 + long + 1)]))


def test_an_export_that_ends_at_a_time_does_not_look_at_what_came_since(
    large: Database, open_store: OpenStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, page = [], statements.page

    def recorded(*given: Any) -> tuple[sql.Composed, list[Any]]:
        asked.append(page(*given))
        return asked[-1]

    monkeypatch.setattr(statements, "page", recorded)
    matches = (Match("timestamp", ">=", NOW - timedelta(seconds=20_000)), Match("timestamp", "<=", NOW))
    exported = b"".join(ready(open_store(large.login)).export(Filter(matches=matches))).splitlines()
    assert sorted(msgspec.json.decode(line)["event_id"] for line in exported) == [f"e{n:05}" for n in range(20_001)]
    text, values = asked[-1]
    with postgres.connect(large.url) as connection:
        assert looked_at(large, text.as_string(connection), values) <= postgresql.EXPORT_ROWS + 1


def test_what_a_page_skips_or_sorts_is_not_made_text_of(large: Database) -> None:
    text, values = statements.page(Filter(sort_by="source", page=100), None, 1 << 20)
    with postgres.connect(large.url) as connection:
        told = psycopg.ClientCursor(connection).execute(f"EXPLAIN (VERBOSE) {text.as_string(connection)}", values).fetchall()
    limit = next(number for number, (line,) in enumerate(told) if "Limit" in line)
    outputs = [["json_build_object" in line for (line,) in part if "Output:" in line] for part in (told[:limit], told[limit:])]
    assert [any(made) for made in outputs] == [True, False]


@pytest.mark.parametrize("source", ["often", "rare"])
def test_to_forget_runs_of_a_source_reads_none_that_stay_but_the_first(aged: Database, source: str) -> None:
    assert looked_at(aged, sources.FORGET, {"source": source, "days": 30, "limit": 100}) < 200


def test_a_page_of_posts_reads_only_its_records(aged: Database) -> None:
    assert looked_at(aged, sources.POST_PAGE, [50, 100, 1 << 20]) < 200


STEPS = {
    "claims": (purge.CLAIMS, 200),
    "hours": (fold.PURGE_HOURS, 200),
    # With all deltas, among which each group is looked for.
    "groups": (fold.PURGE_GROUPS, 5_000 + 600),
}


@pytest.mark.parametrize("name", STEPS)
def test_a_step_of_removal_reads_only_its_rows(aged: Database, name: str) -> None:
    text, most = STEPS[name]
    before = datetime.now(NOW.tzinfo) - timedelta(minutes=10)
    assert looked_at(aged, text, {**LIMITS, "before": before, "step": 100, "limit": 100}) <= most
