"""What was stored, read back: filters, pages, cursors, export and figures."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import httpx
import psutil
import pytest
from tests.integration.checks import Mine, data_of, problem_of
from tests.integration.keysets import KeysetFile
from tests.integration.postgres import Database
from tests.integration.raw import Raw
from tests.integration.service import Service, running
from tests.integration.waiting import until

pytest_plugins = ["tests.integration.services"]

INGEST, BATCH, FILTER = "/api/v1/ingest", "/api/v1/batch-ingest", "/api/v1/logs/filter"
RECENT, EXPORT = "/api/v1/logs/recent", "/api/v1/export"
LOG = {
    "id", "event_id", "timestamp", "event_type", "event_name", "properties", "user_id", "session_id", "app_version",
    "device_info", "source", "sequence_number", "priority", "key_id", "fingerprint", "created_at", "processed_at",
}  # fmt: skip


@pytest.fixture(scope="module")
def library(shared_service: Service, shared_database: Database) -> Mine:
    """Six events, `a` the oldest by timestamp and `f` the oldest by receipt; their source is the id of none."""
    mine = Mine(shared_database)
    common = {"source": mine.id("source")}
    events = [
        mine.event("a", event_type="error", event_name="/pay", timestamp="2024-01-01T00:00:00Z", sequence_number=-1, **common),
        mine.event("b", event_name="\u00fc", timestamp="2024-01-02T00:00:00Z", user_id="u 1", priority="high", **common),
        mine.event("c", timestamp="2024-01-03T00:00:00Z", session_id="s%2B+&", app_version="2.0.0+6", **common),
        mine.event(
            "d",
            timestamp="2024-01-04T00:00:00.000001Z",
            properties={"tags": {"provider": "p"}, "n": 5, "x": {"y": [1]}},
            **common,
        ),
        mine.event("e", timestamp="2024-01-05T00:00:00+02:00", device_info={"os": {"name": "Linux"}}, user_id="u 2", **common),
        mine.event("f", timestamp="2024-01-06T00:00:00Z", properties={"n": "5", "t": True}, user_id="", **common),
    ]
    with shared_service.client() as client:
        for event in reversed(events):
            data_of(client.post(INGEST, json=event), 201)
    return mine


def found(client: httpx.Client, library: Mine, **query: Any) -> str:
    """The names of what a filter finds, one letter each, in its order."""
    page = data_of(client.get(FILTER, params={"source": library.id("source"), **query}))
    return "".join(log["event_id"].removeprefix(library.prefix) for log in page["logs"])


def test_a_page_has_the_fields_of_the_contract(client: httpx.Client, library: Mine) -> None:
    page = data_of(client.get(FILTER, params={"source": library.id("source")}))
    logs = page.pop("logs")
    numbers = {"total_count": 6, "total_count_exact": True, "page": 1, "page_size": 50, "total_pages": 1, "next_cursor": None}
    assert page == numbers
    assert [set(log) for log in logs] == [LOG] * 6


def test_a_log_is_its_row(client: httpx.Client, library: Mine) -> None:
    (log,) = data_of(client.get(FILTER, params={"event_id": library.id("d")}))["logs"]
    row = library.row("d")
    del row["content"], row["digest"]
    assert log == row


@pytest.mark.parametrize(
    ("name", "value", "names"),
    [
        ("event_type", "error", "a"),
        ("event_name", "\u00fc", "b"),
        ("event_name", "/pay", "a"),
        ("user_id", "u 1", "b"),
        ("user_id", "", "f"),
        ("session_id", "s%2B+&", "c"),
        ("app_version", "2.0.0+6", "c"),
        ("priority", "high", "b"),
        ("sequence_number", "-1", "a"),
        ("sequence_number", "9", ""),
        ("provider_name", "p", "d"),
        ("properties.tags.provider", "p", "d"),
        ("properties.n", "5", "df"),
        ("properties.t", "true", "f"),
        ("properties.x.y.0", "1", "d"),
        ("properties.none", "", ""),
        ("device_info.os.name", "Linux", "e"),
        ("start_time", "2024-01-04T00:00:00Z", "def"),
        ("end_time", "2024-01-03T00:00:00Z", "abc"),
        ("end_time", "2024-01-04T00:00:00Z", "abc"),
        ("start_time", "2024-01-05T00:00:00+02:00", "ef"),
        ("created_start_time", "2024-01-07T00:00:00Z", "abcdef"),
        ("created_end_time", "2024-01-07T00:00:00Z", ""),
        ("user_id", "' OR 1=1 --", ""),
    ],
)
def test_each_field_finds_its_events(client: httpx.Client, library: Mine, name: str, value: str, names: str) -> None:
    assert found(client, library, sort_by="timestamp", sort_order="asc", **{name: value}) == names


@pytest.mark.parametrize("name", ["id", "event_id", "key_id", "fingerprint"])
def test_fields_that_the_server_set_find_their_event(client: httpx.Client, library: Mine, name: str) -> None:
    row = library.row("a")
    assert "a" in found(client, library, **{name: row[name]})
    assert found(client, library, event_id=library.id("a"), **({} if name == "event_id" else {name: row[name]})) == "a"


def test_all_conditions_must_hold(client: httpx.Client, library: Mine) -> None:
    assert found(client, library, user_id="u 1", priority="high") == "b"
    assert found(client, library, user_id="u 1", priority="normal") == ""
    assert found(client, library, start_time="2024-01-02T00:00:00Z", end_time="2024-01-03T00:00:00Z", sort_by="event_id") == "cb"


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ({}, "abcdef"),
        ({"sort_order": "asc"}, "fedcba"),
        ({"sort_order": "ASC"}, "fedcba"),
        ({"sort_by": "timestamp"}, "fedcba"),
        ({"sort_by": "event_id", "sort_order": "desc"}, "fedcba"),
        ({"sort_by": "event_type", "sort_order": "asc", "page_size": "1"}, "a"),
        ({"sort_by": "priority", "sort_order": "asc", "page_size": "1"}, "b"),
        ({"sort_by": "event_name", "sort_order": "asc", "page_size": "1"}, "a"),
        ({"sort_by": "user_id", "page_size": "2"}, "eb"),
        ({"sort_by": "session_id", "page_size": "1"}, "c"),
        ({"sort_by": "app_version", "page_size": "1"}, "c"),
        ({"sort_by": "id", "sort_order": "asc"}, "fedcba"),
    ],
)
def test_pages_are_sorted_as_asked(client: httpx.Client, library: Mine, query: dict[str, str], names: str) -> None:
    assert found(client, library, **query) == names


@pytest.mark.parametrize(("page", "names"), [(1, "abcd"), (2, "ef"), (3, "")])
def test_pages_are_counted_from_one(client: httpx.Client, library: Mine, page: int, names: str) -> None:
    query: dict[str, Any] = {"source": library.id("source"), "page": page, "page_size": 4}
    data = data_of(client.get(FILTER, params=query))
    assert "".join(log["event_id"][-1] for log in data["logs"]) == names
    assert (data["total_count"], data["total_pages"], data["page"], data["page_size"]) == (6, 2, page, 4)


@pytest.mark.parametrize(
    ("query", "error"),
    [
        ("colour=red", "unknown_parameter"),
        ("event_type=other", "invalid_event_type"),
        ("priority=low", "invalid_priority"),
        ("start_time=2024-01-01T00:00:00", "invalid_start_time"),
        ("end_time=10000-01-01T00:00:00Z", "invalid_end_time"),
        ("created_start_time=1", "invalid_created_start_time"),
        ("page=1000000", "validation_error"),
        ("user_id=%00", "validation_error"),
        ("cursor=x&page=2", "validation_error"),
    ],
)
def test_a_parameter_that_cannot_be_used_is_refused_by_name(client: httpx.Client, query: str, error: str) -> None:
    """One for each code: tests/unit/test_filters.py has them all."""
    problem = problem_of(client.get(f"{FILTER}?{query}"), 400, error, "query")
    assert problem["errors"][0]["parameter"] in query


def test_long_text_in_a_filter_finds_nothing_and_breaks_nothing(client: httpx.Client) -> None:
    assert data_of(client.get(f"{FILTER}?user_id={'x' * 3_000}"))["logs"] == []


@pytest.mark.parametrize("query", ["user_id=%ff", "user_id=%ed%a0%80", "properties.%ff=x", "%ff=x", "user_id=a&source=%c3"])
@pytest.mark.parametrize("path", [FILTER, EXPORT, "/api/v1/errors", "/api/v1/volume", "/tasks", "/posts", "/api/v1/whoami"])
def test_a_query_that_is_no_text_is_refused_and_not_read_as_another(client: httpx.Client, path: str, query: str) -> None:
    problem_of(client.get(f"{path}?{query}"), 400, "validation_error", "query")


def test_bytes_that_are_no_text_erase_nobody(client: httpx.Client, mine: Mine) -> None:
    data_of(client.post(INGEST, json=mine.event(user_id="\ufffd")), 201)
    problem_of(client.delete("/api/v1/events?user_id=%ff"), 400, "validation_error", "query")
    assert mine.names() == ["a"]


@pytest.mark.parametrize("query", ["atomic=true&atomic=false", "atomic=false&atomic=true", "results=all&results=all"])
def test_a_flag_that_is_given_twice_is_refused_and_stores_nothing(client: httpx.Client, mine: Mine, query: str) -> None:
    problem_of(client.post(f"{BATCH}?{query}", json=mine.events(2)), 400, "validation_error", "query")
    assert mine.names() == []


SINGLE = ["/api/v1/metrics", "/api/v1/status", "/api/v1/limits", "/api/v1/whoami", "/api/v1/events/x"]


@pytest.mark.parametrize("path", [*SINGLE, RECENT, EXPORT])
@pytest.mark.parametrize("query", ["colour=red", "page=1", "cursor=x", "sort_by=id"])
def test_a_parameter_that_a_path_does_not_have_is_refused(client: httpx.Client, path: str, query: str) -> None:
    problem_of(client.get(f"{path}?{query}"), 400, "unknown_parameter", "query")


def test_a_name_with_dots_is_found_in_quotes_or_with_a_backslash(client: httpx.Client, mine: Mine) -> None:
    """As OpenTelemetry's attributes have them."""
    attributes = {"http.status_code": 500, "resource": {"service.name": "shop"}}
    source = mine.id("dots")
    for name, properties in {"a": attributes, "b": {"http": {"status_code": 500}}}.items():
        data_of(client.post(INGEST, json=mine.event(name, source=source, properties=properties)), 201)

    def names(query: str, value: str = "500") -> list[str]:
        logs = data_of(client.get(FILTER, params={"source": source, query: value}))["logs"]
        return [log["event_id"].removeprefix(mine.prefix) for log in logs]

    assert names('properties["http.status_code"]') == names("properties.http\\.status_code") == ["a"]
    assert names("properties.http.status_code") == ["b"]
    assert names('properties.resource["service.name"]', "shop") == ["a"]
    problem_of(client.get(FILTER, params={'properties["a': "x"}), 400, "validation_error", "query")


def walk(client: httpx.Client, cursor: str | None = None, **query: Any) -> Iterator[dict[str, Any]]:
    """Page after page, to the last."""
    while True:
        page = data_of(client.get(FILTER, params={**query, **({"cursor": cursor} if cursor else {})}))
        yield page
        cursor = page["next_cursor"]
        if cursor is None:
            return


@pytest.mark.parametrize("sort_by", ["created_at", "timestamp", "event_id", "event_name", "user_id"])
@pytest.mark.parametrize("sort_order", ["asc", "desc"])
def test_a_walk_during_ingest_returns_each_row_that_was_there_once(
    service: Service, client: httpx.Client, mine: Mine, sort_by: str, sort_order: str
) -> None:
    events = [{**event, "source": mine.id(), "event_name": f"n{number % 7}"} for number, event in enumerate(mine.events(300))]
    data_of(client.post(BATCH, json=events), 201)
    with service.client() as other:
        ids = []
        for number, page in enumerate(walk(client, source=mine.id(), sort_by=sort_by, sort_order=sort_order, page_size=30)):
            # Between any two pages rows come before, after and in the middle of what was read.
            late = [mine.event(f"{where}-{number}", source=mine.id(), event_name="n3") for where in ("0", "000150", "9")]
            data_of(other.post(BATCH, json=late), 201)
            ids += [log["event_id"] for log in page["logs"]]
            assert number < 60, "the walk comes to an end"
    assert len(ids) == len(set(ids)) >= 300
    assert {event["event_id"] for event in events} <= set(ids)


def test_a_cursor_is_good_for_every_process_and_after_a_restart(
    client: httpx.Client, library: Mine, shared_database: Database
) -> None:
    query: dict[str, Any] = {"source": library.id("source"), "page_size": 4}
    cursor = data_of(client.get(FILTER, params=query))["next_cursor"]
    # To the database it is all the same whether a process runs beside the one that made the cursor or after it.
    with running(shared_database.url) as other, other.client() as second:
        page = data_of(second.get(FILTER, params={**query, "cursor": cursor}))
    assert [log["event_id"][-1] for log in page["logs"]] == ["e", "f"]
    assert (page["total_count"], page["next_cursor"]) == (6, None)


def test_a_cursor_that_is_not_ours_is_refused(client: httpx.Client, library: Mine) -> None:
    query: dict[str, Any] = {"source": library.id("source"), "page_size": 4}
    cursor = data_of(client.get(FILTER, params=query))["next_cursor"]
    swapped = cursor[:5] + ("A" if cursor[5] != "A" else "B") + cursor[6:]
    for bad in (swapped, cursor[:-1], cursor + "x", "x", ".", "\u00fc", cursor * 2):
        problem_of(client.get(FILTER, params={**query, "cursor": bad}), 400, "invalid_cursor")
    for other in ({"user_id": "u 1"}, {"sort_by": "timestamp"}, {"sort_order": "asc"}):
        problem_of(client.get(FILTER, params={**query, **other, "cursor": cursor}), 400, "invalid_cursor")


def test_an_empty_cursor_is_the_first_page(client: httpx.Client, library: Mine) -> None:
    query: dict[str, Any] = {"source": library.id("source"), "page_size": 4}
    first = data_of(client.get(FILTER, params=query))
    assert data_of(client.get(FILTER, params={**query, "cursor": None})) == first, "httpx sends an empty one"
    assert data_of(client.get(FILTER, params={**query, "cursor": "", "page": 1})) == first


def test_a_cursor_of_another_database_is_refused(client: httpx.Client, library: Mine, database: Database) -> None:
    cursor = data_of(client.get(FILTER, params={"page_size": 1}))["next_cursor"]
    # Both were cloned from one template, secret and all.
    database.execute("UPDATE sluice.cursor_secret SET secret = sha256('another')")
    with running(database.url) as other, other.client() as second:
        problem_of(second.get(FILTER, params={"page_size": 1, "cursor": cursor}), 400, "invalid_cursor")


def test_recent_gives_the_newest_first(client: httpx.Client, mine: Mine) -> None:
    client.post(BATCH, json=mine.events(60))
    assert [log["event_id"] for log in data_of(client.get(f"{RECENT}?limit=2"))] == [mine.id("000059"), mine.id("000058")]
    assert len(data_of(client.get(RECENT))) == 50


@pytest.mark.parametrize("limit", ["0", "1001", "x", ""])
def test_recent_refuses_a_limit_out_of_range(client: httpx.Client, limit: str) -> None:
    problem = problem_of(client.get(f"{RECENT}?limit={limit}"), 400, "validation_error", "query")
    assert problem["errors"][0]["parameter"] == "limit"


# What stands before or after decides what a router makes of an id.
FORMS = [
    "{}a/b", "{}a//b", "{}/a", "{}a/", "{}../a", "{}./a", "{}\u00fc\U0001f600", "{}100%", "{}%2F", "{}a?b=c#d", "{} ", "{}+",
    "{}a b", "{}\\", "{}\x01\x7f", "{}" + "x" * 240, "/{}", "//{}", "{}/", "/", "///", ".", "..", "./{}", "../{}",
    "../../v1/whoami", "%2F{}", "%{}", "{}\n", "\n{}", "\t", "?{}", "#{}",
]  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_whatever_id_an_event_has_its_url_is_its_own(service: Service, client: httpx.Client, mine: Mine, form: str) -> None:
    event_id = form.format(mine.prefix)
    stored = data_of(client.post(INGEST, json={**mine.event(), "event_id": event_id}), 201)
    with Raw(service) as raw:
        # By hand, for a client library would tidy up the path.
        raw.head("GET", f"/api/v1/events/{quote(event_id, safe='')}")
        log = data_of(raw.answer())
    assert (log["event_id"], log["id"]) == (event_id, stored["id"])


def test_the_longest_id_of_the_longest_characters_can_be_read(client: httpx.Client, mine: Mine) -> None:
    event_id = mine.prefix + "\U0001f600" * (255 - len(mine.prefix))
    data_of(client.post(INGEST, json={**mine.event(), "event_id": event_id}), 201)
    assert data_of(client.get(f"/api/v1/events/{quote(event_id, safe='')}"))["event_id"] == event_id


@pytest.mark.parametrize("path", ["none", "a/b/c", "%00", "%ff", "%ed%a0%80", "//", "x" * 300])
def test_an_event_that_is_not_there_is_404(client: httpx.Client, path: str) -> None:
    problem_of(client.get(f"/api/v1/events/{path}"), 404, "not_found")


def test_an_export_is_every_row_oldest_first(client: httpx.Client, library: Mine) -> None:
    answer = client.get(EXPORT, params={"source": library.id("source")})
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/x-ndjson")
    logs = [json.loads(line) for line in answer.text.splitlines()]
    assert "".join(log["event_id"][-1] for log in logs) == "fedcba"
    assert [set(log) for log in logs] == [LOG] * 6


def test_an_export_of_nothing_is_empty(client: httpx.Client) -> None:
    answer = client.get(EXPORT, params={"source": "nobody"})
    assert (answer.status_code, answer.content) == (200, b"")


@pytest.fixture(scope="module")
def heavy(shared_database: Database) -> Mine:
    """40 MB of events."""
    mine = Mine(shared_database)
    shared_database.execute(
        "INSERT INTO sluice.events (event_id, id, timestamp, event_type, event_name, properties, device_info, source, priority,"
        " key_id, content, created_at) SELECT %(prefix)s || n, -n, now(), 'log', 'n', json_build_object('t', repeat('x', 2000)),"
        " '{}', %(source)s, 'normal', 'k', '', '2020-01-01'::timestamptz + n * '1 s'::interval FROM generate_series(1, 20000) n",
        {"prefix": mine.prefix, "source": mine.id("source")},
    )
    return mine


def test_an_export_of_any_size_takes_little_memory(service: Service, client: httpx.Client, heavy: Mine) -> None:
    before, lines = service.memory(), 0
    with client.stream("GET", EXPORT, params={"source": heavy.id("source")}) as answer:
        for piece in answer.iter_raw():
            lines += piece.count(b"\n")
    assert lines == 20_000
    assert service.memory() - before < 24 << 20


def test_an_export_ends_when_its_reader_leaves(service: Service, heavy: Mine) -> None:
    with Raw(service) as raw:
        raw.head("GET", f"{EXPORT}?source={heavy.id('source')}")
        assert raw.sock.recv(1_000).startswith(b"HTTP/1.1 200")
        until(lambda: raw.port in peers(service), 4)
        port = raw.port
    until(lambda: port not in peers(service), 4, "the worker has let go of the connection")
    assert service.lines("request.failed") == []


@pytest.mark.parametrize(
    ("change", "protocol"),
    [({"state": "revoked"}, "HTTP/1.1"), ({"scopes": frozenset(("ingest",))}, "HTTP/1.1"), ({"state": "revoked"}, "HTTP/1.0")],
    ids=["revoked", "scope", "as nginx asks"],
)
def test_an_export_ends_with_its_key_and_shows_that_it_is_not_all(
    shared_database: Database, heavy: Mine, keyset: KeysetFile, change: dict[str, Any], protocol: str
) -> None:
    key = keyset.add("reader")
    keyset.publish()
    with running(shared_database.url, KEYSET_FILE=str(keyset.path)) as service, Raw(service) as raw:
        raw.head("GET", f"{EXPORT}?source={heavy.id('source')}", protocol, Authorization=f"Bearer {key}")
        assert raw.sock.recv(1_000).startswith(f"{protocol} 200".encode())
        keyset.change(key, **change)
        keyset.publish_to(service)
        rest = b""
        # Without chunks the end of the connection is that of the body, so it must not look like one.
        with pytest.raises(ConnectionResetError) if protocol == "HTTP/1.0" else contextlib.nullcontext():
            for piece in iter(lambda: raw.sock.recv(1 << 20), b""):
                rest += piece
        assert 0 < rest.count(b'"event_id"') < 20_000
        assert not rest.endswith(b"\r\n0\r\n\r\n")
        assert [line["reason"] for line in service.lines("response.cut_short")] == [change.get("state", "scope")]
        assert "Traceback" not in service.log


def peers(service: Service) -> set[int]:
    """The other ends of the connections that its workers hold."""
    held = [c for worker in service.workers() for c in psutil.Process(worker.pid).net_connections("tcp")]
    return {connection.raddr.port for connection in held if connection.raddr}


def test_figures_are_those_of_the_rows(database: Database) -> None:
    mine = Mine(database)
    with running(database.url) as service, service.client() as client:
        events = [mine.event(f"{n}", event_type="error" if n < 2 else "log", session_id=f"s{n % 3}") for n in range(8)]
        data_of(client.post(BATCH, json=events), 201)
        database.execute("UPDATE sluice.events SET created_at = now() - '2 hours'::interval WHERE event_id = %s", [mine.id("7")])
        database.execute("UPDATE sluice.events SET created_at = now() - '2 days'::interval WHERE event_id = %s", [mine.id("6")])
        figures, state = data_of(client.get("/api/v1/metrics")), data_of(client.get("/api/v1/status"))
    assert (figures["total_logs"], figures["logs_last_hour"], figures["logs_last_day"]) == (8, 6, 7)
    assert figures["top_event_types"] == [{"event_type": "log", "count": 5}, {"event_type": "error", "count": 2}]
    assert (figures["error_rate_percent"], figures["active_sessions"]) == (pytest.approx(100 / 3), 3)
    assert (sum(minute["count"] for minute in figures["logs_per_minute"]), figures["average_latency_ms"] > 0) == (6, True)
    assert state["metrics"] == {**figures, "logs_per_minute": state["metrics"]["logs_per_minute"]}
    assert state["database"] == {"status": "up", "total_logs": 8, "reason": None}
    assert set(state["service"]) == {"name", "version", "uptime", "started_at", "fast_path"}


def test_limits_are_those_that_are_set(client: httpx.Client) -> None:
    sizes = {"max_event_bytes": 256 << 10, "max_body_bytes": 10 << 20, "max_inflated_bytes": 20 << 20}
    assert data_of(client.get("/api/v1/limits")).items() >= (sizes | {"max_batch_size": 1_000, "max_depth": 64}).items()
