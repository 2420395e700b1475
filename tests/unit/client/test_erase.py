"""What `sluice erase` promises against a service that breaks off, is away, or takes more than one request."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import tenacity
from tests.unit.client.script import SECRET, Answer, Service, Time

from sluice.client.erase import EraseClient
from sluice.client.http import ClientError, Key

NDJSON = {"Content-Type": "application/x-ndjson"}
AT = "2026-01-31T12:00:00.5+00:00"
LINES = [f'{{"id": {id}, "created_at": "{AT}"}}\n'.encode() for id in (9, 10)]
NEWEST: Answer = (200, {}, {"success": True, "data": {"logs": [{"id": 10, "created_at": "2026-01-31T12:00:00.500Z"}]}})
BROKEN: Answer = (200, {"Content-Length": "1000", "Connection": "close", **NDJSON}, LINES[0] + b'{"id": 1')
WHOLE: Answer = (200, NDJSON, b"".join(LINES))
AWAY: Answer = (503, {"Retry-After": "0"}, {"error": "database_error"})


def erased(events: int, cursor: str | None = None) -> Answer:
    data = {"erasure": "e", "events": events, "done": cursor is None, "next_cursor": cursor, "looked_until": None}
    return 200, {}, {"success": True, "data": data}


@pytest.fixture
def client(service: Service, time: Time) -> EraseClient:
    options: dict[str, Any] = {"sleep": time.sleep, "clock": time.clock, "backoff": tenacity.wait_fixed(1), "retry_for": 3.5}
    return EraseClient(service.url, Key(SECRET, "SLUICE_API_KEY"), **options)


def test_the_cursor_of_each_answer_is_sent_with_the_next_request(service: Service, client: EraseClient) -> None:
    service.script = [erased(1_000, "c1"), AWAY, erased(2_000, "c2"), erased(2_500)]
    assert [each.events for each in client.erase("a b&c")] == [1_000, 2_000, 2_500]
    path = "/api/v1/events?user_id=a+b%26c"
    assert [request.path for request in service.requests] == [path, *[f"{path}&cursor=c1"] * 2, f"{path}&cursor=c2"]
    assert {request.method for request in service.requests} == {"DELETE"}


def test_an_erasure_that_is_refused_names_the_scope(service: Service, client: EraseClient) -> None:
    service.script = [(403, {}, {"error": "forbidden", "reason": "scope"})]
    with pytest.raises(ClientError, match="scope admin"):
        list(client.erase("a"))


def test_an_export_that_breaks_off_is_begun_again(service: Service, client: EraseClient, tmp_path: Path) -> None:
    service.script = [None, NEWEST, BROKEN, NEWEST, AWAY, NEWEST, WHOLE]
    file, shown = tmp_path / "out", list[int]()
    assert client.export("a", file, shown.append) == 2
    assert file.read_bytes() == WHOLE[2]  # type: ignore[index]
    assert shown[-1] == 2


def test_an_export_that_never_comes_whole_leaves_no_file(service: Service, client: EraseClient, tmp_path: Path) -> None:
    service.script = [NEWEST, BROKEN] * 4
    with pytest.raises(ClientError, match="broke off"):
        client.export("a", tmp_path / "out", lambda _: None)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("part", [b"", LINES[0], LINES[0] + LINES[1][:-1], b"<html>\n"])
def test_an_export_that_ends_before_the_newest_event_is_not_whole_whatever_the_proxy_says(
    service: Service, client: EraseClient, tmp_path: Path, part: bytes
) -> None:
    service.script = [NEWEST, (200, NDJSON, part)] * 4
    with pytest.raises(ClientError, match="newest event is not in it"):
        client.export("a", tmp_path / "out", lambda _: None)
    assert list(tmp_path.iterdir()) == []


def test_of_a_user_without_events_the_export_is_empty(service: Service, client: EraseClient, tmp_path: Path) -> None:
    service.script = [(200, {}, {"success": True, "data": {"logs": []}}), (200, NDJSON, b"")]
    assert client.export("a", tmp_path / "out", lambda _: None) == 0
    assert (tmp_path / "out").read_bytes() == b""


def test_a_user_may_have_any_bytes_for_a_name(service: Service, client: EraseClient) -> None:
    service.script = [erased(0)]
    assert [each.events for each in client.erase("a\udcff")] == [0]
    assert service.requests[0].path.endswith("user_id=a%FF")
