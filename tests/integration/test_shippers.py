"""POST /log with many objects, as log shippers send them: an array (Fluent Bit, Vector, winston) or one a line (Fluentd)."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from tests.integration.checks import Mine, data_of, problem_of

pytest_plugins = ["tests.integration.services"]

Write = Callable[[list[Any]], bytes]


def array(records: list[Any]) -> bytes:
    return json.dumps(records).encode()


def lines(records: list[Any]) -> bytes:
    return "".join(f"{json.dumps(record)}\r\n" for record in records).encode()


def records(mine: Mine, count: int) -> list[dict[str, Any]]:
    return [{"id": mine.id(), "date": 1700000000.5, "log": f"line {number}\n"} for number in range(count)]


def times(mine: Mine) -> list[datetime | None]:
    """Of each stored event its time, None for that of receipt."""
    text = "SELECT nullif(timestamp, created_at) FROM sluice.events WHERE properties->>'id' = %s ORDER BY id"
    return [time for (time,) in mine.database.execute(text, [mine.id()])]


def stored(mine: Mine) -> list[dict[str, Any]]:
    text = "SELECT properties FROM sluice.events WHERE event_type = 'log' AND properties->>'id' = %s ORDER BY id"
    return [properties for (properties,) in mine.database.execute(text, [mine.id()])]


@pytest.mark.parametrize("write", [array, lines])
@pytest.mark.parametrize("kind", ["application/json", "application/x-ndjson", "text/plain; charset=utf-8"])
def test_each_object_is_a_log_event(client: httpx.Client, mine: Mine, write: Write, kind: str) -> None:
    sent = records(mine, 3)
    data = data_of(client.post("/log", content=write(sent), headers={"Content-Type": kind}))
    assert (data["total_received"], data["created"], data["results"]) == (3, 3, [])
    assert stored(mine) == sent


def test_an_event_has_the_time_of_its_record_or_where_it_has_none_that_of_receipt(client: httpx.Client, mine: Mine) -> None:
    at = datetime.now(UTC).replace(microsecond=500_000)
    written = [at.timestamp(), at.isoformat(), int(at.timestamp() * 1000), at.replace(tzinfo=None).isoformat(), "9999-12-31"]
    sent = [{"id": mine.id(), "time": time} for time in written]
    assert data_of(client.post("/log", json=sent))["created"] == 5
    assert client.post("/log", json=sent[0]).status_code == 202
    assert times(mine) == [at, at, at, None, None, at]
    assert stored(mine) == [*sent, sent[0]]


@pytest.mark.parametrize("write", [array, lines])
def test_what_is_no_object_does_not_affect_the_others(client: httpx.Client, mine: Mine, write: Write) -> None:
    first, last = records(mine, 2)
    data = data_of(client.post("/log", content=write([first, 7, last])))
    assert (data["created"], [result["index"] for result in data["results"]]) == (2, [1])
    assert stored(mine) == [first, last]


@pytest.mark.parametrize("write", ["[%s,%s]", "%s\n%s\n"])
@pytest.mark.parametrize("odd", [rb"\u0000", rb"\ud83d", b"\xff", b"\xed\xa0\x80"])
def test_what_is_no_character_does_not_cost_the_record(client: httpx.Client, mine: Mine, write: str, odd: bytes) -> None:
    record = b'{"id": "%s", "log": "C:\\\\\\\\u0000 \\ud83d\\ude00 %s!"}' % (mine.id().encode(), odd)
    assert data_of(client.post("/log", content=write.encode() % (record, record)))["created"] == 2
    assert client.post("/log", content=record).status_code == 202
    assert [re.sub("\ufffd+", "?", event["log"]) for event in stored(mine)] == ["C:\\\\u0000 \U0001f600 ?!"] * 3


@pytest.mark.parametrize("write", [array, lines])
def test_a_compressed_body_larger_than_a_batch_is_stored_and_one_without_bounds_is_not(
    client: httpx.Client, mine: Mine, write: Write
) -> None:
    for count in (1_001, 10_000):
        body = gzip.compress(write(records(mine, count)))
        assert data_of(client.post("/log", content=body, headers={"Content-Encoding": "gzip"}))["created"] == count
    problem_of(client.post("/log", content=write([{}] * 10_001)), 400, "batch_too_large")
    assert len(stored(mine)) == 11_001


def test_a_body_that_is_sent_again_with_its_key_is_stored_once(client: httpx.Client, mine: Mine) -> None:
    sent = records(mine, 2)
    answers = [client.post("/log", json=sent, headers={"Idempotency-Key": mine.id()}) for _ in range(2)]
    assert [(answer.status_code, answer.headers.get("Idempotent-Replayed")) for answer in answers] == [(200, None), (200, "true")]
    assert stored(mine) == sent


@pytest.mark.parametrize(
    "body", ['{"a": 1,\n"b": }\n{"c": 1}', '{"a": 1} x', "[]", "[{}", '[{"a": 1}]\n[{"a": 1}]', '{"a": 1}{"b": 2}']
)
def test_a_body_that_is_neither_is_refused_as_a_whole(client: httpx.Client, body: str) -> None:
    assert client.post("/log", content=body).status_code == 400
