"""Events over time, out of a real PostgreSQL: exact while they are few, about right and bounded when they are many."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from tests.integration.checks import Mine, data_of, problem_of
from tests.integration.postgres import Database

from sluice.stores.postgresql import volume
from sluice.stores.postgresql.store import PostgresqlStore
from sluice.stores.volume import span

pytest_plugins = ["tests.integration.services"]

VOLUME = "/api/v1/volume"
NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
FILL = """
INSERT INTO sluice.events (event_id, id, "timestamp", event_type, event_name, properties, device_info, source, priority, key_id,
    content, created_at)
SELECT n::text, n, %(noon)s, (array['log', 'log', 'log', 'error', 'record'])[1 + n %% 5], 'n',
    jsonb_build_object('level', (array['info', 'WARN', 'fatal'])[1 + n %% 3]), '{}', nullif('s-' || n %% 10, 's-0'), 'normal',
    'k', '', %(noon)s + n * interval '1 millisecond'
FROM generate_series(0, %(count)s - 1) AS n
"""


def fill(database: Database, count: int) -> None:
    database.execute(FILL, {"noon": NOON, "count": count})


def test_few_events_are_counted_each(database: Database, store: PostgresqlStore) -> None:
    fill(database, 3_000)
    found = store.volume(span(NOON, NOON + timedelta(seconds=3)), "event_type")
    assert [(each.name, each.counts) for each in found.series] == [
        ("log", [600] * 3), ("error", [200] * 3), ("record", [200] * 3)
    ]  # fmt: skip
    assert (found.total, found.errors, found.accuracy, found.other) == (3_000, 600, "exact", [0] * 3)


def test_a_bar_begins_with_its_first_moment_and_ends_before_its_last(database: Database, store: PostgresqlStore) -> None:
    fill(database, 1_001)
    found = store.volume(span(NOON, NOON + timedelta(seconds=2)), "event_type")
    assert [sum(counts) for counts in zip(*(each.counts for each in found.series), strict=True)] == [1_000, 1]


def test_a_status_is_the_type_of_an_error_and_the_level_of_a_log(database: Database, store: PostgresqlStore) -> None:
    fill(database, 30)
    found = store.volume(span(NOON, NOON + timedelta(seconds=1)), "status")
    # Of 18 logs a third each are of level info, WARN and fatal; 6 events are errors, 6 records.
    assert [(each.name, sum(each.counts)) for each in found.series] == [("error", 12), ("warning", 6), ("ok", 12)]


def test_events_without_a_source_are_a_series_of_their_own(database: Database, store: PostgresqlStore) -> None:
    fill(database, 100)
    found = store.volume(span(NOON, NOON + timedelta(seconds=1)), "source")
    assert [each.name for each in found.series] == ["", "s-1", "s-2", "s-3", "s-4", "s-5"]
    assert (found.other, found.total) == ([40], 100)


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hundredth of what the service counts as many."""
    for name in ("READ", "SAMPLED", "COUNTED", "MOST"):
        monkeypatch.setattr(volume, name, getattr(volume, name) // 100)


@pytest.mark.usefixtures("few")
def test_more_events_are_counted_and_a_sample_says_of_what_kind_they_are(database: Database, store: PostgresqlStore) -> None:
    fill(database, 1_500)
    found = store.volume(span(NOON, NOON + timedelta(seconds=2)), "event_type")
    assert (found.accuracy, found.total) == ("shares", 1_500)
    assert [sum(counts) for counts in zip(*(each.counts for each in found.series), strict=True)] == [1_000, 500]
    assert found.series[0].counts == pytest.approx([600, 300], rel=0.4)


@pytest.mark.usefixtures("few")
def test_many_events_are_estimated_and_the_answer_says_so(database: Database, store: PostgresqlStore) -> None:
    fill(database, 40_000)
    found = store.volume(span(NOON, NOON + timedelta(seconds=40)), "event_type")
    assert found.accuracy == "about"
    assert found.total == pytest.approx(40_000, rel=0.1)
    assert found.series[0].counts == pytest.approx([600] * 40, rel=0.6)


@pytest.mark.usefixtures("few")
def test_a_burst_that_no_look_finds_is_counted_only_so_far_and_the_answer_says_so(
    database: Database, store: PostgresqlStore
) -> None:
    fill(database, 4_000)
    found = store.volume(span(NOON - timedelta(days=29), NOON + timedelta(days=1)), "status")
    assert (found.accuracy, found.total) == ("at_least", volume.MOST)


def test_volume_is_of_the_hour_before_the_end_and_counts_what_came(client: httpx.Client, mine: Mine) -> None:
    for name in "ab":
        data_of(client.post("/api/v1/ingest", json=mine.event(name, source=mine.id("s"))), 201)
    found: dict[str, Any] = data_of(client.get(VOLUME, params={"by": "status"}))
    # Of the sums both are exact; which it is depends on what other tests stored in this database.
    assert (found["seconds"], found["by"], found["accuracy"] in ("exact", "shares")) == (60, "status", True)
    length = datetime.fromisoformat(found["end"]) - datetime.fromisoformat(found["start"])
    assert timedelta(hours=1) <= length <= timedelta(minutes=61)
    assert found["total"] == sum(sum(each["counts"]) for each in found["series"]) >= 2


def test_volume_from_the_beginning_of_the_calendar_is_all_there_is(client: httpx.Client, mine: Mine) -> None:
    data_of(client.post("/api/v1/ingest", json=mine.event("a")), 201)
    found = data_of(client.get(VOLUME, params={"created_start_time": "0001-01-02T00:00:00Z"}))
    assert (found["start"], found["total"] > 0) == ("1970-01-01T00:00:00Z", True)


@pytest.mark.parametrize(
    ("query", "error"),
    [
        ({"by": "user_id"}, "validation_error"),
        ({"created_start_time": "yesterday"}, "invalid_created_start_time"),
        ({"created_start_time": "9999-12-31T23:59:59Z"}, "validation_error"),
        ({"created_start_time": "2026-01-02T00:00:00Z", "created_end_time": "2026-01-01T00:00:00Z"}, "validation_error"),
        ({"x": "1"}, "unknown_parameter"),
    ],
)
def test_what_is_no_span_is_refused_by_name(client: httpx.Client, query: dict[str, str], error: str) -> None:
    problem = problem_of(client.get(VOLUME, params=query), 400, error, "query")
    assert [each["parameter"] for each in problem["errors"]] == [next(iter(query))]
