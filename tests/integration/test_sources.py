"""Pull sources against a real server that fails in every way: no record lost, none twice, and the status true after each run."""

from __future__ import annotations

import gzip
import json
import os
import socket
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import pytest
from prometheus_client import CollectorRegistry
from tenacity import RetryCallState, Retrying
from tests.certificates import Authority
from tests.integration import upstream as up
from tests.integration.conftest import OpenStore, ready
from tests.integration.postgres import Database
from tests.integration.pulling import MakePulls, Pulls, source_at
from tests.integration.upstream import Upstream
from tests.integration.waiting import until

from sluice import errors, events
from sluice.ingest.pipeline import utc_now
from sluice.sources import addresses, pages
from sluice.sources.definitions import Pagination
from sluice.sources.fetch import BACKOFF, Session
from sluice.sources.metrics import PullMetrics
from sluice.sources.puller import Puller
from sluice.sources.store import Ending, Page
from sluice.stores.postgresql.connections import Connection
from sluice.stores.postgresql.store import PostgresqlStore

T = TypeVar("T")

pytestmark = pytest.mark.needs("embedded PostgreSQL")
HUNDRED = [str(number) for number in range(1, 101)]


@pytest.fixture
def pulls_of(store: PostgresqlStore, database: Database, upstream: Upstream) -> MakePulls:
    """Makes pulls of `upstream`; fields of the source by name, `parts` of the puller."""

    def make(url: str | None = None, parts: dict[str, Any] | None = None, **fields: Any) -> Pulls:
        return Pulls(store, database, source_at(url or upstream.url, **fields), **(parts or {}))

    return make


def test_a_list_is_stored_in_its_order_with_a_true_status(upstream: Upstream, pulls_of: MakePulls) -> None:
    upstream.answers = [up.records(100)]
    pulls = pulls_of()
    assert pulls().status == "success"
    assert pulls.ids() == HUNDRED
    status, state = pulls.status(), pulls.state()
    assert [status[name] for name in ("status", "pages", "created", "updated", "unchanged", "invalid")] == [
        "success",
        1,
        100,
        0,
        0,
        0,
    ]
    assert (state["lease_until"], state["records"], state["last_success"] is not None) == (None, 100, True)


def test_only_what_changed_is_written_again_and_its_versions_count(
    upstream: Upstream, pulls_of: MakePulls, database: Database
) -> None:
    changed = [up.record(1), up.record(2, title="new"), up.record(3)]
    upstream.answers = [up.records(3), up.listed(changed)]
    pulls = pulls_of()
    pulls()
    places = "SELECT id, ctid::text, xmin::text, xmax::text FROM sluice.source_records ORDER BY place"
    before = database.execute(places)
    pulls()
    after = database.execute(places)
    assert (before[0], before[2]) == (after[0], after[2]), "rows that are as they were were touched"
    assert pulls.rows() == [("1", 1), ("2", 2), ("3", 1)]
    assert [pulls.status()[name] for name in ("created", "updated", "unchanged")] == [0, 1, 2]
    assert database.execute("SELECT content->>'title' FROM sluice.source_records WHERE id = '2'") == [("new",)]
    assert [pulls.count("sluice_pull_records_total", result=result) for result in ("created", "updated", "unchanged")] == [
        3,
        1,
        2,
    ]


def test_contents_that_are_equal_by_value_are_no_change(upstream: Upstream, pulls_of: MakePulls) -> None:
    upstream.answers = [up.raw(b'[{"id": 1, "a": 100, "b": "\\u00e4"}]'), up.raw(b'[{"b": "\xc3\xa4", "a": 1e2, "id": 1}]')]
    pulls = pulls_of()
    pulls()
    pulls()
    assert pulls.rows() == [("1", 1)]


# What a server may do, the reason that the status gives, and how many requests come of it with two retries.
FAILURES = [
    (up.status(500), "server_error", 3),
    (up.status(503), "server_error", 3),
    (up.status(404), "client_error", 1),
    (up.status(202), "client_error", 1),
    (up.status(403), "client_error", 1),
    (up.raw(b"<html>maintenance</html>"), "not_json", 3),
    (up.raw(b'[{"id": 1}, {"id":'), "not_json", 3),
    (up.raw(b'{"items": []}'), "no_list", 1),
    (up.raw(b"42"), "no_list", 1),
    (up.raw(b"\x1f\x8b\x08\x00broken", Content_Encoding="gzip"), "incomplete", 3),
    (up.raw(b"x", Content_Encoding="rot13"), "not_json", 3),
    (up.huge, "too_large", 1),
    (up.raw(gzip.compress(b"[" + b"{}," * 2_500_000 + b"{}]"), Content_Encoding="gzip"), "too_large", 1),
    (up.raw(gzip.compress(b"[" + b" " * 30_000_000 + b"]"), Content_Encoding="gzip"), "too_large", 1),
    (up.half_closed, "incomplete", 3),
    (up.broken_chunks, "incomplete", 3),
    (up.no_answer, "incomplete", 3),
    (up.redirect("/again"), "redirects", 6),
    (up.redirect("ftp://127.0.0.1/"), "redirects", 1),
    (up.redirect("http://user:secret@127.0.0.1/"), "redirects", 1),
]


@pytest.mark.parametrize(("failing", "reason", "requests"), FAILURES, ids=lambda value: getattr(value, "__name__", None))
def test_a_run_that_fails_says_why_and_takes_nothing_away(
    upstream: Upstream, pulls_of: MakePulls, failing: up.Behaviour, reason: str, requests: int
) -> None:
    upstream.answers = [up.records(3)]
    pulls = pulls_of(retries=2)
    pulls()
    success = pulls.state()["last_success"]
    upstream.answers, upstream.requests = [failing], []
    ending = pulls()
    assert (ending.reason, len(upstream.requests)) == (reason, requests)
    status, state = pulls.status(), pulls.state()
    assert (status["status"], status["reason"], status["error_message"]) == ("failure", reason, ending.error_message)
    assert (state["last_success"], state["lease_until"], state["records"]) == (success, None, 3)
    assert pulls.count("sluice_pull_failures_total", reason=reason) == 1
    upstream.answers = [up.records(4)]
    assert pulls().status == "success"
    assert pulls.rows() == [("1", 1), ("2", 1), ("3", 1), ("4", 1)]


@pytest.mark.parametrize("failing", [up.hang, up.endless, up.slow_headers])
def test_a_server_that_takes_too_long_is_cut_off_in_time(upstream: Upstream, pulls_of: MakePulls, failing: up.Behaviour) -> None:
    upstream.answers = [failing]
    pulls = pulls_of(retries=1, timeout=0.3)
    assert pulls.reason() == "timeout"
    assert len(upstream.requests) == 2
    upstream.answers = [up.records(2)]
    assert pulls().status == "success"
    assert pulls.rows() == [("1", 1), ("2", 1)]


def test_a_server_that_recovers_within_the_retries_is_a_success(upstream: Upstream, pulls_of: MakePulls) -> None:
    upstream.answers = [up.status(500), up.half_closed, up.records(2)]
    pulls = pulls_of(retries=2)
    assert pulls().status == "success"
    assert (pulls.ids(), len(pulls.paused)) == (["1", "2"], 2)


def test_without_retries_there_is_one_try(upstream: Upstream, pulls_of: MakePulls) -> None:
    upstream.answers = [up.status(500)]
    assert pulls_of(retries=0).reason() == "server_error"
    assert len(upstream.requests) == 1


def test_pauses_grow_by_full_jitter() -> None:
    def pauses(attempt: int) -> list[float]:
        state = RetryCallState(Retrying(), None, (), {})
        state.attempt_number = attempt
        return [BACKOFF(state) for _ in range(200)]

    assert max(pauses(1)) <= 0.5
    assert 0 <= min(pauses(5)) < 4 < max(pauses(5)) <= 8
    assert max(pauses(20)) <= 30


def test_retry_after_is_waited_for(upstream: Upstream, pulls_of: MakePulls) -> None:
    upstream.answers = [up.status(429, Retry_After="7"), up.records(1)]
    pulls = pulls_of()
    assert pulls().status == "success"
    assert pulls.paused == [7]


@pytest.mark.parametrize(
    ("code", "headers", "seconds"),
    [
        (403, {"Retry_After": "7"}, 7),
        (403, {"X_RateLimit_Remaining": "0", "X_RateLimit_Reset": "7"}, 7),
        (429, {"RateLimit_Remaining": "0", "RateLimit_Reset": "7"}, 7),
        (403, {"X_RateLimit_Remaining": "0"}, 0),
        (429, {"X_RateLimit_Remaining": "0", "X_RateLimit_Reset": "soon"}, 0),
        (429, {"X_RateLimit_Remaining": "3", "X_RateLimit_Reset": "7"}, 0),
    ],
)
def test_a_limit_is_waited_for_however_a_server_says_so(
    upstream: Upstream, pulls_of: MakePulls, code: int, headers: dict[str, str], seconds: float
) -> None:
    """GitHub answers 403 or 429, with the moment when it is over instead of a Retry-After."""
    upstream.answers = [up.status(code, **headers), up.records(1)]
    pulls = pulls_of()
    assert (pulls().status, pulls.paused) == ("success", [seconds])


@pytest.mark.parametrize("scale", [1, 1_000], ids=["seconds", "milliseconds"])
def test_a_limit_may_say_the_moment_when_it_is_over(upstream: Upstream, pulls_of: MakePulls, scale: int) -> None:
    reset = str(int((time.time() + 1_000) * scale))
    upstream.answers = [up.status(403, X_RateLimit_Remaining="0", X_RateLimit_Reset=reset)]
    pulls = pulls_of()
    assert pulls.reason() == "rate_limited"
    assert 900 < (datetime.fromisoformat(pulls.state()["next_run_at"]) - utc_now()).total_seconds() <= 1_000


@pytest.mark.parametrize("ahead", [0, 800], ids=["clock right", "clock ahead"])
def test_a_long_retry_after_ends_the_run_and_the_next_one_comes_then(
    upstream: Upstream, pulls_of: MakePulls, database: Database, ahead: int
) -> None:
    upstream.answers = [up.status(429, Retry_After="1000")]
    pulls = pulls_of(parts={"clock": lambda: utc_now() + timedelta(days=ahead)})
    assert pulls.reason() == "rate_limited"
    assert (len(upstream.requests), pulls.paused) == (1, [])
    ((seconds,),) = database.execute("SELECT extract(epoch FROM next_run_at - now())::int FROM sluice.sources")
    assert 900 < seconds <= 1_000


def test_no_content_is_an_empty_list(upstream: Upstream, pulls_of: MakePulls) -> None:
    upstream.answers = [up.raw(b"", 204)]
    assert pulls_of(pagination=Pagination(type="cursor", path=("next",))).reason() is None
    upstream.answers = [up.records(2), up.raw(b"", 204)]
    pulls = pulls_of(pagination=Pagination(type="page", parameter="page"))
    assert (pulls().status, pulls.ids()) == ("success", ["1", "2"])


def test_a_part_of_a_list_is_a_page_and_never_the_whole_list(upstream: Upstream, pulls_of: MakePulls) -> None:
    part = up.raw(json.dumps([up.record(1)]).encode(), 206, Link="</items?page=2>; rel=next")
    upstream.answers = [part, up.raw(json.dumps([up.record(2)]).encode(), 203)]
    pulls = pulls_of(pagination=Pagination(type="link"))
    assert (pulls().status, pulls.ids()) == ("success", ["1", "2"])
    upstream.answers = [part]
    ending = replace_source(pulls, pagination=Pagination())()
    assert (ending.reason, "`pagination`" in str(ending.error_message)) == ("pagination", True)


def test_a_list_that_was_not_modified_is_not_sent_again(upstream: Upstream, pulls_of: MakePulls) -> None:
    upstream.answers = [up.records(2, ETag='"one"', Last_Modified="Sun, 29 Nov 2026 06:00:00 GMT"), up.status(304)]
    pulls = pulls_of()
    pulls()
    before = pulls.state()["last_success"]
    ending = pulls()
    asked = upstream.requests[1].headers
    assert (asked["if-none-match"], asked["if-modified-since"]) == ('"one"', "Sun, 29 Nov 2026 06:00:00 GMT")
    assert (ending.status, ending.not_modified) == ("success", True)
    assert (pulls.status()["unchanged"], pulls.state()["records"], pulls.state()["etag"]) == (2, 2, '"one"')
    assert pulls.state()["last_success"] > before


def test_after_a_run_that_failed_the_whole_list_is_asked_for(upstream: Upstream, pulls_of: MakePulls) -> None:
    upstream.answers = [up.listed([up.record(1), {"no": "id"}], ETag='"one"'), up.records(2)]
    pulls = pulls_of()
    assert pulls.reason() == "invalid_record"
    pulls()
    assert "if-none-match" not in upstream.requests[1].headers


def test_a_changed_definition_is_due_at_once_and_asks_for_the_whole_list(upstream: Upstream, pulls_of: MakePulls) -> None:
    upstream.answers = [up.records(2, ETag='"one"')]
    pulls = pulls_of()
    pulls()
    assert not pulls.parts.store.due(["items"])[0].due
    other = pulls_of(emit=True)
    assert other.parts.store.due(["items"])[0].due
    other()
    assert "if-none-match" not in upstream.requests[1].headers


def test_a_304_that_nobody_asked_for_is_no_success(upstream: Upstream, pulls_of: MakePulls) -> None:
    upstream.answers = [up.status(304)]
    assert pulls_of().reason() == "client_error"


@pytest.mark.parametrize(
    "pagination",
    [
        Pagination(type="page", parameter="page", size=10),
        Pagination(type="page", parameter="page"),
        Pagination(type="offset", parameter="offset", size=10),
        Pagination(type="offset", parameter="offset"),
    ],
)
def test_numbered_pages_are_all_read(upstream: Upstream, pulls_of: MakePulls, pagination: Pagination) -> None:
    upstream.answers = [up.paged(35, 10)]
    pulls = pulls_of(pagination=pagination)
    assert pulls().status == "success"
    assert pulls.ids() == HUNDRED[:35]
    assert len(upstream.requests) == (4 if pagination.size or pagination.type == "page" else 5) + (
        pagination.type == "page" and not pagination.size
    )


@pytest.mark.parametrize("kind", ["page", "offset"])
def test_a_server_that_gives_less_than_was_asked_for_loses_no_record(upstream: Upstream, pulls_of: MakePulls, kind: Any) -> None:
    upstream.answers = [up.paged(35, 10)]
    pulls = pulls_of(pagination=Pagination(type=kind, parameter=kind, size=100, size_parameter="limit"))
    assert (pulls().status, pulls.ids()) == ("success", HUNDRED[:35])


@pytest.mark.parametrize("code", [400, 404, 416, 422])
@pytest.mark.parametrize("kind", ["page", "offset"])
def test_a_refusal_behind_the_last_page_is_its_end(upstream: Upstream, pulls_of: MakePulls, kind: Any, code: int) -> None:
    """WordPress answers 400 (rest_post_invalid_page_number), Django REST framework 404."""
    upstream.answers = [up.records(2), up.status(code)]
    pulls = pulls_of(pagination=Pagination(type=kind, parameter="page", size=2))
    assert (pulls().status, pulls.ids()) == ("success", HUNDRED[:2])
    upstream.answers = [up.status(code)]
    assert pulls.reason() == "client_error"


@pytest.mark.parametrize("pagination", [Pagination(type="link"), Pagination(type="page", parameter="page", size=2)])
def test_any_other_refusal_of_a_page_is_a_failure(upstream: Upstream, pulls_of: MakePulls, pagination: Pagination) -> None:
    refusal = up.status(400 if pagination.type == "link" else 403)
    upstream.answers = [up.records(2, Link="</items?page=2>; rel=next"), refusal]
    assert pulls_of(pagination=pagination).reason() == "client_error"


def test_a_redirect_may_have_a_fragment_a_space_and_raw_utf_8(upstream: Upstream, pulls_of: MakePulls) -> None:
    upstream.answers = [up.redirect("/ä b#part".encode().decode("latin-1")), up.records(2)]
    assert pulls_of()().status == "success"
    assert upstream.requests[1].path == "/%C3%A4%20b"


def test_a_server_that_does_not_know_the_parameter_is_a_failure(upstream: Upstream, pulls_of: MakePulls) -> None:
    upstream.answers = [up.records(2)]
    ending = pulls_of(pagination=Pagination(type="page", parameter="p", size=10))()
    assert (ending.reason, "the server knows no `p`" in str(ending.error_message)) == ("pagination", True)


def test_pages_are_followed_by_cursor_by_url_and_by_link(upstream: Upstream, pulls_of: MakePulls) -> None:
    def page(numbers: list[int], following: Any) -> Any:
        return {"data": {"items": [up.record(number) for number in numbers]}, "meta": {"next": following}}

    items = {"list": ("data", "items")}
    by_cursor = Pagination(type="cursor", path=("meta", "next"), parameter="after", size=2, size_parameter="per_page")
    upstream.answers = [up.listed(page([1, 2], "b")), up.listed(page([3], None))]
    pulls = pulls_of(url=f"{upstream.url}?q=1", pagination=by_cursor, **items)
    pulls()
    assert [request.query for request in upstream.requests] == [
        {"q": "1", "per_page": "2"},
        {"q": "1", "after": "b", "per_page": "2"},
    ]
    upstream.answers = [up.listed(page([4], "/items?page=2")), up.listed(page([5], ""))]
    replace_source(pulls, pagination=Pagination(type="cursor", path=("meta", "next")), **items)()
    first = [up.record(6)]
    link = '</other>; rel="prev", <items?page=2>; title="a, b"; rel="last next"'
    upstream.answers = [up.listed(first, Link=link), up.listed([up.record(7)])]
    replace_source(pulls, pagination=Pagination(type="link"))()
    assert pulls.ids() == HUNDRED[:7]


def test_a_name_in_a_path_may_have_dots_itself(upstream: Upstream, pulls_of: MakePulls) -> None:
    """As OData has them (Microsoft Graph): read as two names, the list would end with its first page, in success."""

    def page(number: int, **more: str) -> up.Behaviour:
        return up.listed({"d": {"@odata.count": 2, "x.value": [{"meta": {"key.id": number}}]}, **more})

    upstream.answers = [page(1, **{"@odata.nextLink": f"{upstream.url}?page=2"}), page(2)]
    pagination = Pagination(type="cursor", path=("@odata", "nextLink"))
    pulls = pulls_of(list=("d", "x", "value"), id=("meta", "key", "id"), pagination=pagination)
    assert (pulls().status, pulls.ids()) == ("success", ["1", "2"])
    odd = b'{"@odata.nextLink": "/items?page=3", "d": {"x.value": [{"meta": {"key.id": 3}, "n": NaN}]}}'
    upstream.answers = [up.raw(odd), page(4)]
    assert (pulls.reason(), pulls.ids()) == ("invalid_record", ["1", "2", "4"])


def test_a_cursor_is_any_number_and_false_is_none(upstream: Upstream, pulls_of: MakePulls) -> None:
    upstream.answers = [
        up.raw(b'{"items": [{"id": 1}], "next": 1616663618.10}'),
        up.raw(b'{"items": [{"id": 2, "n": NaN}], "next": 2.50}'),
        up.raw(b'{"items": [{"id": 3}], "next": false}'),
    ]
    pulls = pulls_of(list=("items",), pagination=Pagination(type="cursor", path=("next",), parameter="after"))
    assert (pulls.reason(), pulls.ids()) == ("invalid_record", ["1", "3"])
    assert [request.query.get("after") for request in upstream.requests] == [None, "1616663618.10", "2.50"]


@pytest.mark.parametrize("way", ["cursor", "link"])
def test_an_empty_page_that_leads_to_itself_is_the_end(upstream: Upstream, pulls_of: MakePulls, way: str) -> None:
    """Servers that give a cursor on every page give the same again behind the last record."""

    def page(*numbers: int) -> up.Behaviour:
        link = f"<{upstream.url}?after=b>; rel=next"
        return up.listed({"items": [up.record(number) for number in numbers], "next": "b"}, Link=link)

    pagination = Pagination(type="link") if way == "link" else Pagination(type="cursor", path=("next",), parameter="after")
    upstream.answers = [page(1), page()]
    pulls = pulls_of(list=("items",), pagination=pagination)
    assert (pulls().status, pulls.ids(), len(upstream.requests)) == ("success", ["1"], 2)
    upstream.answers = [page(1)]
    assert pulls.reason() == "pagination"


def replace_source(pulls: Pulls, **fields: Any) -> Pulls:
    pulls.source = replace(pulls.source, **{"list": ()} | fields)
    return pulls


def test_a_server_that_ends_each_connection_takes_no_more_files_with_each_page(upstream: Upstream) -> None:
    upstream.answers = [up.records(1, Connection="close")]
    session = Session(source_at(upstream.url), {})
    opened = []
    for _ in range(20):
        assert session.get(upstream.url, {}).status == 200
        opened.append(len(os.listdir("/dev/fd")))
    session.close()
    assert opened[-1] - opened[0] < 10


def test_a_server_that_leads_elsewhere_with_each_page_takes_no_more_files_with_each(upstream: Upstream) -> None:
    pages = [(up.redirect(f"http://host-{number}.example:{upstream.port}/items"), up.records(1)) for number in range(20)]
    upstream.answers = [answer for page in pages for answer in page]
    session = Session(source_at(upstream.url), {}, lambda _host, _port: ["127.0.0.1"])
    opened = []
    for _ in pages:
        assert session.get(upstream.url, {}).status == 200
        opened.append(len(os.listdir("/dev/fd")))
    session.close()
    assert opened[-1] - opened[5] < 10


def test_a_failure_between_pages_keeps_what_was_stored_and_counts_it(upstream: Upstream, pulls_of: MakePulls) -> None:
    upstream.answers = [up.paged(35, 10), up.paged(35, 10), up.status(403)]
    pulls = pulls_of(pagination=Pagination(type="page", parameter="page", size=10))
    ending = pulls()
    assert (ending.reason, str(ending.error_message)[:7]) == ("client_error", "page 3:")
    assert [pulls.status()[name] for name in ("status", "pages", "created")] == ["failure", 2, 20]
    upstream.answers = [up.paged(35, 10)]
    pulls()
    assert [pulls.status()[name] for name in ("created", "unchanged")] == [15, 20]
    assert pulls.rows() == [(id, 1) for id in HUNDRED[:35]]


def test_pages_without_end_are_a_failure(upstream: Upstream, pulls_of: MakePulls) -> None:
    upstream.answers = [up.records(1, Link=f"<{upstream.url}>; rel=next")]
    assert pulls_of(pagination=Pagination(type="link")).reason() == "pagination"
    upstream.answers = [up.records(1, Link=f"<{upstream.url}?page={page}>; rel=next") for page in (2, 3, 2)]
    circle = pulls_of(pagination=Pagination(type="link"))
    assert (circle.reason(), circle.status()["pages"], circle.ids()) == ("pagination", 3, ["1"])
    upstream.answers = [up.paged(100, 1)]
    pages_ = pulls_of(pagination=Pagination(type="page", parameter="page"), max_pages=3)
    assert (pages_.reason(), pages_.status()["pages"]) == ("too_many_pages", 3)
    records = pulls_of(pagination=Pagination(type="page", parameter="page"), max_records=3)
    assert (records.reason(), records.status()["pages"]) == ("too_many_records", 3)


def test_a_record_that_cannot_be_stored_does_not_stop_the_others_and_is_reported(upstream: Upstream, pulls_of: MakePulls) -> None:
    bad: list[Any] = [
        {"no": "id"},
        {"id": None},
        {"id": True},
        {"id": 1.5},
        {"id": ""},
        {"id": "x" * 256},
        {"id": {}},
        7,
        [],
        "text",
    ]
    bad += [{"id": "nul", "text": "\0"}, {"id": "\0"}, {"id": "large", "text": "x" * 300_000}, {"id": "deep", "a": deep(70)}]
    text = json.dumps([up.record(1), *bad, up.record(2)]).encode()[:-1] + b', {"id": 3, "n": 1e999}, {"id": 4, "t": "\\ud800"}]'
    upstream.answers = [up.raw(text)]
    pulls = pulls_of()
    ending = pulls()
    assert pulls.ids() == ["1", "2"]
    assert (ending.status, ending.reason, pulls.status()["invalid"]) == ("failure", "invalid_record", len(bad) + 2)
    assert (
        ending.error_message
        == f"{len(bad) + 2} of {len(bad) + 4} records cannot be stored; the first is number 2 of page 1 (missing_field)"
    )
    assert pulls.state()["last_success"] is None


def deep(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = {"a": value}
    return value


def test_a_list_behind_a_byte_order_mark_is_a_list(upstream: Upstream, pulls_of: MakePulls) -> None:
    upstream.answers = [up.raw(b'\xef\xbb\xbf[{"id": 1}]')]
    pulls = pulls_of()
    assert (pulls().status, pulls.ids()) == ("success", ["1"])


def test_an_id_that_is_a_whole_number_is_one_however_it_is_written(upstream: Upstream, pulls_of: MakePulls) -> None:
    pulls = pulls_of()
    for body in (b'[{"id": 1.0}, {"id": -0.0}, {"id": 2e2}]', b'[{"id": 1}, {"id": 0}, {"id": "200"}]'):
        upstream.answers = [up.raw(body)]
        assert pulls().status == "success"
        assert pulls.ids() == ["1", "0", "200"]


def test_of_two_records_with_one_id_in_a_page_the_last_one_is_stored(upstream: Upstream, pulls_of: MakePulls) -> None:
    upstream.answers = [up.listed([up.record(1, v=1), up.record(2), up.record(1, v=2)])]
    pulls = pulls_of()
    pulls()
    pulls()
    assert sorted(pulls.rows()) == [("1", 1), ("2", 1)]


def test_each_version_of_a_record_becomes_one_event(upstream: Upstream, pulls_of: MakePulls, database: Database) -> None:
    upstream.answers = [up.records(2), up.records(2), up.listed([up.record(1), up.record(2, title="new")])]
    pulls = pulls_of(emit=True)
    for _ in range(3):
        pulls()
    rows = database.execute(
        "SELECT event_id, event_type, event_name, source, properties->>'title', sequence_number FROM sluice.events ORDER BY id"
    )
    assert rows == [
        ("items:1:1", "record", "items", "items", "title 1", 1),
        ("items:2:1", "record", "items", "items", "title 2", 1),
        ("items:2:2", "record", "items", "items", "new", 2),
    ]
    assert pulls.count("sluice_pull_events_total", status="created") == 3


def test_events_of_a_page_belong_to_the_transaction_that_a_tail_looks_for(
    upstream: Upstream, pulls_of: MakePulls, store: PostgresqlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, seen = store.database.run, list[Any]()

    def behind_a_pooler(work: Callable[[Connection], T]) -> T:
        """There each piece of work finds a transaction that was begun for its settings."""

        def within(connection: Connection) -> T:
            with connection.transaction():
                found = work(connection)
                seen.extend(connection.execute("SELECT DISTINCT xmin::text = pg_current_xact_id()::text FROM sluice.events"))
            return found

        return run(within)

    monkeypatch.setattr(store.database, "run", behind_a_pooler)
    upstream.answers = [up.records(2)]
    assert pulls_of(emit=True)().status == "success"
    assert seen[0] == (True,)


def test_an_event_that_stands_in_the_way_is_counted(upstream: Upstream, pulls_of: MakePulls, store: PostgresqlStore) -> None:
    taken = events.Event(event_type="log", event_name="mine", event_id="items:1:1")
    store.insert([events.prepare(taken, now=utc_now(), key_id="k", rules=events.Rules())], utc_now())
    pulls = pulls_of(emit=True)
    upstream.answers = [up.records(1)]
    assert pulls().status == "success"
    assert pulls.count("sluice_pull_events_total", status="conflict") == 1


def test_ids_of_events_stay_within_their_bound() -> None:
    found = pages.Found("x" * 255, b"{}", b"")
    event = pages.event_of(source_at("http://x/"), found, 3)
    assert len(event.event_id or "") < 100
    assert (event.event_id or "").endswith(":3")


def test_two_pullers_at_once_make_one_run(upstream: Upstream, pulls_of: MakePulls) -> None:
    arrived = threading.Event()

    def slow(handler: up.Handler) -> None:
        arrived.set()
        go_on.wait(10)
        up.records(5)(handler)

    go_on = threading.Event()
    upstream.answers = [slow]
    first, second = pulls_of(timeout=20.0), pulls_of(timeout=20.0)
    thread = threading.Thread(target=first)
    thread.start()
    assert arrived.wait(10)
    assert second.puller.pull(second.source, forced=True) is None
    assert second.parts.store.due(["items"])[0].due is False
    go_on.set()
    thread.join(10)
    assert (len(upstream.requests), first.status()["created"]) == (1, 5)


def test_a_puller_that_lost_its_lease_stores_nothing_more(upstream: Upstream, pulls_of: MakePulls, database: Database) -> None:
    pulls, other = pulls_of(), pulls_of()

    def overtaken(handler: up.Handler) -> None:
        # As if this puller had been frozen for as long as its lease lasts.
        database.execute("UPDATE sluice.sources SET lease_until = now() - interval '1 second'")
        up.records(3)(handler) if len(upstream.requests) > 1 else (other(), up.records(9)(handler))

    upstream.answers = [overtaken, up.records(3)]
    ending = pulls()
    assert (ending.status, ending.reason) == ("failure", "interrupted")
    assert pulls.ids() == ["1", "2", "3"]
    runs = database.execute("SELECT status, reason, created FROM sluice.source_runs ORDER BY id")
    assert runs == [("failure", "interrupted", 0), ("success", None, 3)]


def test_a_clock_that_was_ahead_by_years_keeps_no_source_waiting(
    upstream: Upstream, pulls_of: MakePulls, database: Database
) -> None:
    upstream.answers = [up.records(3)]
    pulls = pulls_of()
    pulls()
    later = "now() + interval '2 years'"
    database.execute(f"UPDATE sluice.sources SET last_attempt = {later}, next_run_at = {later}, lease_until = {later}")
    assert pulls.parts.store.due(["items"])[0].due is True
    assert pulls.puller.pull(pulls.source) is not None
    assert database.execute("SELECT next_run_at < now() + interval '1 hour' FROM sluice.sources") == [(True,)]
    assert pulls.parts.store.due(["items"])[0].due is False


def test_a_run_whose_end_is_stored_twice_counts_once(upstream: Upstream, pulls_of: MakePulls, store: PostgresqlStore) -> None:
    """The word of a commit may be lost with the connection: then it is made again."""
    pulls = pulls_of(emit=True)
    inner, twice = store.database.run, []

    def run_twice(work: Any, *, large: bool = False) -> Any:
        inner(work)
        twice.append(work)
        return inner(work)

    taken = pulls.parts.store.take(pulls.source, forced=True)
    assert taken is not None
    found = [pages.Found(str(number), b'{"id": %d}' % number, bytes([number])) for number in (1, 2)]
    store.database.run = run_twice  # type: ignore[method-assign]
    try:
        pulls.parts.store.commit(pulls.source, taken, utc_now(), Page(1, found))
        pulls.parts.store.commit(pulls.source, taken, utc_now(), Page(2, []), Ending(status="success", next_run=None))
    finally:
        store.database.run = inner  # type: ignore[method-assign]
    assert len(twice) == 2
    assert pulls.rows() == [("1", 1), ("2", 1)]
    assert [pulls.status()[name] for name in ("status", "pages", "created", "unchanged")] == ["success", 2, 2, 0]
    assert pulls.database.ids() == ["items:1:1", "items:2:1"]


def test_a_database_that_fails_in_a_page_leaves_neither_records_nor_a_success(
    upstream: Upstream, pulls_of: MakePulls, database: Database
) -> None:
    database.execute("ALTER TABLE sluice.source_runs ADD CONSTRAINT no_count CHECK (pages = 0)")
    upstream.answers = [up.records(3)]
    pulls = pulls_of(emit=True)
    with pytest.raises(errors.StoreUnavailable):
        pulls()
    assert (pulls.rows(), database.ids(), pulls.state()["last_success"]) == ([], [], None)
    database.execute("ALTER TABLE sluice.source_runs DROP CONSTRAINT no_count")
    # Its lease ends as if its time had passed.
    database.execute("UPDATE sluice.sources SET lease_until = now() - interval '1 second'")
    pulls()
    assert (pulls.ids(), database.count()) == (["1", "2", "3"], 3)
    assert database.execute("SELECT status, reason FROM sluice.source_runs ORDER BY id") == [
        ("failure", "interrupted"),
        ("success", None),
    ]


def test_a_page_may_take_longer_than_one_statement(upstream: Upstream, database: Database, open_store: OpenStore) -> None:
    database.execute(
        "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(0.4); RETURN NULL; END';"
        "CREATE TRIGGER slow AFTER INSERT ON sluice.source_records FOR EACH STATEMENT EXECUTE FUNCTION slow()"
    )
    upstream.answers = [up.records(10_000)]
    pulls = Pulls(ready(open_store(database.login, deadline=1.0)), database, source_at(upstream.url, timeout=30.0))
    assert (pulls().status, len(pulls.rows()), pulls.status()["created"]) == ("success", 10_000, 10_000)


def test_headers_of_secret_files_are_sent_and_read_again_for_each_run(
    upstream: Upstream, pulls_of: MakePulls, tmp_path: Path
) -> None:
    file = tmp_path / "token"
    file.write_text("Bearer one\n")
    upstream.answers = [up.records(1)]
    pulls = pulls_of(headers={"X-Plain": "yes"}, secret_headers={"Authorization": file})
    pulls()
    file.write_text("Bearer two\n", encoding="utf-8-sig")
    pulls()
    assert [request.headers["authorization"] for request in upstream.requests] == ["Bearer one", "Bearer two"]
    assert upstream.requests[0].headers["x-plain"] == "yes"
    file.unlink()
    assert pulls.reason() == "secret_missing"
    soon = "SELECT next_run_at - now() < interval '61 seconds' FROM sluice.sources"
    assert pulls.database.execute(soon) == [(True,)], "a Secret that comes late waits for a whole interval"
    file.write_text("line\nline")
    assert pulls.reason() == "secret_missing"


def test_a_header_of_the_source_takes_the_place_of_ours_in_any_case(upstream: Upstream, pulls_of: MakePulls) -> None:
    upstream.answers = [up.records(1)]
    pulls_of(headers={"accept": "application/vnd.x+json", "USER-AGENT": "shop"})()
    sent = [(name.lower(), value) for name, value in upstream.requests[0].lines if name.lower() in ("accept", "user-agent")]
    assert sorted(sent) == [("accept", "application/vnd.x+json"), ("user-agent", "shop")]


def test_headers_never_follow_to_another_host_nor_to_another_port(upstream: Upstream, pulls_of: MakePulls) -> None:
    with up.running() as other:
        other.answers = [up.records(1)]
        upstream.answers = [
            up.redirect(other.url),
            up.redirect(f"http://localhost:{upstream.port}/b"),
            up.redirect("/c"),
            up.records(2),
        ]
        pulls = pulls_of(headers={"Authorization": "Bearer secret"})
        pulls()
        assert "authorization" not in other.requests[0].headers
        pulls()
        assert ["authorization" in request.headers for request in upstream.requests] == [True, True, False, False]
        upstream.answers = [up.records(1, Link=f'<{other.url}>; rel="next"')]
        replace_source(pulls, pagination=Pagination(type="link"))()
        assert "authorization" not in other.requests[1].headers


def test_a_refusal_behind_a_redirect_names_the_headers_that_were_not_sent(upstream: Upstream, pulls_of: MakePulls) -> None:
    with up.running() as other:
        other.answers = [up.status(401)]
        upstream.answers = [up.redirect(other.url)]
        told = str(pulls_of(headers={"Authorization": "Bearer secret"})().error_message)
        assert "redirects elsewhere" in told
        upstream.answers = [up.redirect("/b"), up.status(401)]
        assert "redirects elsewhere" not in str(pulls_of(headers={"Authorization": "Bearer secret"})().error_message)


def test_an_address_that_drops_packets_leaves_time_for_the_next_one(upstream: Upstream, pulls_of: MakePulls) -> None:
    """As IPv6 does where it leads nowhere, and the address of a machine that is gone."""
    parts = {"resolve": lambda _host, _port: ["127.0.0.2", "127.0.0.1"]}
    upstream.answers = [up.records(1)]
    with socket.create_server(("127.0.0.2", upstream.port), backlog=0) as silent, socket.create_connection(silent.getsockname()):
        assert pulls_of(url=f"http://two.test:{upstream.port}/", parts=parts, retries=0)().status == "success"


PRIVATE = ["127.0.0.1", "10.0.0.1", "169.254.169.254", "192.168.1.1", "::1", "fe80::1", "fd00::1", "::ffff:127.0.0.1"]


@pytest.mark.parametrize("address", PRIVATE)
def test_a_name_with_an_address_that_is_not_public_is_refused(upstream: Upstream, pulls_of: MakePulls, address: str) -> None:
    parts = {"resolve": lambda _host, _port: ["93.184.215.14", address]}
    pulls = pulls_of(url=f"http://example.test:{upstream.port}/", parts=parts, allow_private=False, retries=0)
    assert pulls.reason() == "address_refused"
    assert upstream.requests == []


@pytest.mark.parametrize("literal", ["127.0.0.1", "[::1]", "2130706433", "0x7f.1", "[::ffff:127.0.0.1]", "localhost"])
def test_an_address_in_the_url_is_refused_however_it_is_written(upstream: Upstream, pulls_of: MakePulls, literal: str) -> None:
    assert pulls_of(url=f"http://{literal}:{upstream.port}/", allow_private=False, retries=0).reason() in (
        "address_refused",
        "unreachable",
    )
    assert upstream.requests == []


def test_the_address_that_was_judged_is_the_one_that_is_connected_to(
    upstream: Upstream, pulls_of: MakePulls, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name that changes its address between the two (DNS rebinding): it is resolved once, and no library resolves it again."""
    upstream.answers = [up.records(1)]
    answers = iter([["127.0.0.1"], ["10.0.0.1"]])
    asked: list[str] = []

    def resolve(host: str, _port: int) -> list[str]:
        asked.append(host)
        return next(answers)

    def never(host: Any, *_: Any, **__: Any) -> Any:
        if host == "rebinds.test":
            raise AssertionError("the name was resolved a second time")
        return system(host, *_, **__)

    system = socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", never)
    pulls = pulls_of(url=f"http://rebinds.test:{upstream.port}/", parts={"resolve": resolve})
    assert pulls().status == "success"
    assert (asked, upstream.requests[0].headers["host"]) == (["rebinds.test"], f"rebinds.test:{upstream.port}")


@pytest.mark.parametrize("way", ["redirect", "link", "cursor"])
def test_no_way_to_the_next_page_leads_to_a_private_address(upstream: Upstream, pulls_of: MakePulls, way: str) -> None:
    private = f"http://inside.test:{upstream.port}/latest/meta-data"
    names = {"outside.test": ["127.0.0.1"], "inside.test": ["169.254.169.254"]}
    judged: list[str] = []

    def is_public_here(address: str) -> bool:
        judged.append(address)
        return address == "127.0.0.1"

    upstream.answers = {
        "redirect": [up.redirect(private)],
        "link": [up.records(1, Link=f"<{private}>; rel=next")],
        "cursor": [up.listed({"items": [up.record(1)], "next": private})],
    }[way]
    pagination = {"link": Pagination(type="link"), "cursor": Pagination(type="cursor", path=("next",))}.get(way, Pagination())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(addresses, "is_public", is_public_here)
        pulls = pulls_of(
            url=f"http://outside.test:{upstream.port}/",
            parts={"resolve": lambda host, _port: names[host]},
            allow_private=False,
            pagination=pagination,
            list=("items",) if way == "cursor" else (),
        )
        assert pulls.reason() == "address_refused"
    assert (len(upstream.requests), judged[-1]) == (1, "169.254.169.254")


def test_a_certificate_must_be_the_host_s_own_and_trusted(pulls_of: MakePulls, tmp_path: Path) -> None:
    authority = Authority()
    certificate, key = authority.sign("good.test")
    (tmp_path / "pem").write_text(certificate + key)
    (tmp_path / "ca.pem").write_text(authority.certificate)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "pem")
    with up.running(context) as server:
        server.answers = [up.records(1)]
        parts = {"resolve": lambda _host, _port: ["127.0.0.1"]}

        def reason(host: str, ca_file: Path | None) -> str | None:
            return pulls_of(url=f"https://{host}:{server.port}/", parts=parts, ca_file=ca_file, retries=1).reason()

        assert reason("good.test", None) == "tls"
        assert reason("bad.test", tmp_path / "ca.pem") == "tls"
        assert server.requests == []
        assert reason("good.test", tmp_path / "ca.pem") is None
        assert len(server.requests) == 1


def test_no_status_holds_a_secret(upstream: Upstream, pulls_of: MakePulls, database: Database) -> None:
    pulls = pulls_of(url=f"{upstream.url}?token=canary-1", headers={"Authorization": "canary-2"}, retries=0)
    for failing in (
        up.status(401),
        up.raw(b"canary-3"),
        up.redirect("http://u:canary-4@x/"),
        up.redirect("http://no.invalid/?canary-5"),
        up.half_closed,
    ):
        upstream.answers = [failing]
        assert pulls().status == "failure"
    stored = database.execute(
        "SELECT row_to_json(s)::text FROM sluice.sources s UNION ALL SELECT row_to_json(r)::text FROM sluice.source_runs r"
    )
    assert [text for (text,) in stored if "canary" in text] == []
    assert pulls.state()["url"] == upstream.url


def test_old_runs_are_forgotten_but_never_the_last_one(upstream: Upstream, pulls_of: MakePulls, database: Database) -> None:
    upstream.answers = [up.records(1)]
    pulls = pulls_of()
    pulls()
    database.execute("UPDATE sluice.source_runs SET started_at = now() - interval '31 days'")
    pulls.parts.store.forget("items", 30)
    assert database.execute("SELECT count(*) FROM sluice.source_runs") == [(1,)]
    pulls()
    assert database.execute("SELECT count(*) FROM sluice.source_runs") == [(1,)]
    assert pulls.ids() == ["1"]


def test_the_loop_pulls_what_is_due_and_a_slow_source_holds_up_no_other(
    store: PostgresqlStore, database: Database, upstream: Upstream
) -> None:
    with up.running() as stuck:
        stuck.answers = [up.hang]
        upstream.answers = [up.records(2)]
        first = Pulls(store, database, source_at(stuck.url, name="stuck", timeout=30.0, default=False))
        second = Pulls(store, database, source_at(upstream.url))
        registry = CollectorRegistry()
        parts = replace(second.parts, metrics=PullMetrics(registry, [first.source, second.source], utc_now))
        puller, stop = Puller([first.source, second.source], parts, 30), threading.Event()
        thread = threading.Thread(target=puller.run, args=(stop,))
        thread.start()
        until(lambda: second.ids() == ["1", "2"], 10, "the other source is pulled")
        assert puller.reason == "ready"
        # At the next look the age of its last success is known.
        until(lambda: registry.get_sample_value("sluice_pull_last_success_age_seconds", {"source": "items"}) is not None)
        stop.set()
        thread.join(10)
        assert not thread.is_alive()
    runs = database.execute("SELECT source, status, reason FROM sluice.source_runs ORDER BY source")
    assert runs == [("items", "success", None), ("stuck", "failure", "stopped")]
    # What was stopped is due at once, for the next puller.
    assert {due.name: due.due for due in parts.store.due(["items", "stuck"])} == {"items": False, "stuck": True}
