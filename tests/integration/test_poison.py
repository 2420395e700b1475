"""Input that nobody sends on purpose: never a 5xx, never a row that says something else than what was sent."""

from __future__ import annotations

import gzip
import json
import math
import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest
from tests.integration.checks import Mine, data_of, problem_of
from tests.integration.service import Service

pytest_plugins = ["tests.integration.services"]

INGEST, BATCH = "/api/v1/ingest", "/api/v1/batch-ingest"
NDJSON = {"Content-Type": "application/x-ndjson"}
DEEP = 10_000
# JSON texts, and some that only look like it.
POISON = [
    "null", "true", "0", "-0.0", "1.5", '"x"', '""', "[]", "{}", "[null]", '{"a": 1}', '{"": ""}', '"\\u0000"', '"a\\u0000b"',
    '{"a": "\\u0000"}', '{"\\u0000": 1}', '[["\\u0000"]]', '"\\\\u0000"', '"\\ud800"', '"\\udc00\\ud800"', '{"\\ud800": 1}',
    '{"a": "\\ud83d\\ude00"}', "9223372036854775807", "9223372036854775808", "-9223372036854775809", "18446744073709551616",
    "1e999", "-1e999", "1e-999", '{"a": 1e999}', '{"a": 1e308}', '{"a": 9223372036854775808}', '{"a": 5e-324}', "1" * 400,
    '{"a": ' + "9" * 400 + "}", '{"a": 0.1000000000000000055511151231257827}', "NaN", "Infinity", "-Infinity", '{"a": NaN}',
    "nan", "undefined", "'x'", "01", "+1", ".5", "1.", "0x10", "[1,]", '{"a": 1,}', '"\t"', '"\\x"', '"\\u12"',
    "[" * DEEP + "]" * DEEP, '{"a": ' * DEEP + "1" + "}" * DEEP, '{"a": ' * 65 + "1" + "}" * 65,
    '{"a": ' * 62 + "1" + "}" * 62, '{"a": ' + "[" * 62 + "]" * 62 + "}", '"' + "x" * 300 + '"', '"' + "\u00fc" * 255 + '"',
    '"0000-01-01T00:00:00Z"', '"10000-01-01T00:00:00Z"', '"0001-01-01T00:00:00Z"', '"0001-01-01T00:00:00+14:00"',
    '"9999-12-31T23:59:59Z"', '"2024-02-30T00:00:00Z"', '"2024-01-01"', '"2024-01-01T00:00:00"', '"2024-06-30T23:59:60Z"',
    '"2024-01-01T00:00:00.123456789Z"', '"2024-01-01T00:00:00+99:00"', '"2024-01-01 00:00:00Z"', "1704067200",
    '{"a": 1, "a": 2}', '{"a": {"b": 1}, "a": {"c": 2}}', '"\ufeff"', '"\u2028\u202e"', '{"__proto__": {"x": 1}}',
    '"\'; DROP TABLE x; --"', '"%s%n{0}"', '"$1"', "\ufeff{}",
]  # fmt: skip
# As /log stores what is no character.
KEPT = {'{"a": "\\u0000"}': '{"a": "\ufffd"}', '{"\\u0000": 1}': '{"\ufffd": 1}', '{"\\ud800": 1}': '{"\ufffd": 1}'}
FIELDS = (
    "event_id", "timestamp", "event_type", "event_name", "properties", "device_info", "user_id", "session_id", "app_version",
    "source", "sequence_number", "priority", "unknown",
)  # fmt: skip
DEFAULTS = {"priority": "normal", "properties": {}, "device_info": {}}
BYTES = [
    b"\xff",
    b"\xed\xa0\x80",
    b"\xc0\x80",
    b"\xf5\x80\x80\x80",
    b"\xfe\xff\x00{",
    b"\x00",
    b"\x1f\x8b\x08",
]


@pytest.fixture(scope="module", autouse=True)
def no_failure(shared_service: Service) -> Iterator[None]:
    """Nothing of all this may be a 5xx, or an exception that nobody expected."""
    before = shared_service.log_path.stat().st_size
    yield
    lines = [json.loads(line) for line in shared_service.log_path.read_bytes()[before:].splitlines()]
    assert [line for line in lines if line["event"] == "request.failed" or line.get("status", 0) >= 500] == []


def text_of(mine: Mine, name: str, field: str, poison: str) -> str:
    """One event as JSON text with `poison` as a value, as it is."""
    given = {name: json.dumps(value) for name, value in mine.event(name).items()} | {field: poison}
    return "{" + ",".join(f'"{name}": {value}' for name, value in given.items()) + "}"


def same(sent: Any, stored: Any) -> bool:
    """Whether a stored value says what was sent: numbers as doubles, whole ones exactly as the README says."""
    if isinstance(sent, dict) and isinstance(stored, dict):
        return sent.keys() == stored.keys() and all(same(sent[name], stored[name]) for name in sent)
    if isinstance(sent, list) and isinstance(stored, list):
        return len(sent) == len(stored) and all(map(same, sent, stored))
    if isinstance(sent, float) or isinstance(stored, float):
        return type(stored) is not bool and math.isfinite(sent) and float(sent) == float(stored)
    return type(sent) is type(stored) and bool(sent == stored)


def check_rows(mine: Mine, field: str, accepted: dict[str, str]) -> None:
    """The rows are those of `accepted` (name -> poison), and say what was sent."""
    rows = {name: mine.row(name) for name in mine.names()}
    assert set(rows) == set(accepted)
    for name, poison in accepted.items():
        sent, stored = json.loads(poison), rows[name][field]
        if sent is None:
            assert stored == (rows[name]["created_at"] if field == "timestamp" else DEFAULTS.get(field))
        elif field == "timestamp":
            sent = sent.replace(":60Z", ":59.999999Z")
            assert abs(datetime.fromisoformat(sent) - datetime.fromisoformat(stored)) < timedelta(milliseconds=1), sent
        else:
            assert same(sent, stored), (field, poison[:60], stored)


@pytest.mark.parametrize("field", [field for field in FIELDS if field != "event_id"])
def test_a_poisoned_field_of_one_event_is_refused_or_stored_as_it_is(client: httpx.Client, mine: Mine, field: str) -> None:
    accepted = {}
    for number, poison in enumerate(POISON):
        answer = client.post(INGEST, content=text_of(mine, f"{number:03}", field, poison).encode("utf-8", "surrogatepass"))
        if answer.status_code == 201:
            accepted[f"{number:03}"] = poison
        else:
            refused(answer)
    check_rows(mine, field, accepted)


def refused(answer: httpx.Response) -> None:
    """A 400 that says why, and does not grow with what was sent."""
    body = problem_of(answer, 400, answer.json()["error"], answer.json().get("reason"))
    assert body["error"] in ("validation_error", "invalid_json")
    assert len(answer.content) < 2_000


@pytest.mark.parametrize("field", [field for field in FIELDS if field != "event_id"])
def test_a_poisoned_line_of_a_stream_harms_no_other(client: httpx.Client, mine: Mine, field: str) -> None:
    lines = [text_of(mine, f"{number:03}", field, poison) for number, poison in enumerate(POISON)]
    good = [json.dumps(mine.event(f"good{number:03}")) for number in range(len(POISON))]
    body = "\n".join(line for pair in zip(lines, good, strict=True) for line in pair).encode("utf-8", "surrogatepass")
    data = data_of(client.post(f"{BATCH}?results=all", content=body, headers=NDJSON))
    statuses = [result["status"] for result in data["results"]]
    assert set(statuses[1::2]) == {"created"}
    check_mixed(mine, field, statuses[::2])


def check_mixed(mine: Mine, field: str, statuses: list[str]) -> None:
    """`statuses`: of the poisoned ones, which stand between good ones."""
    assert set(statuses) <= {"created", "invalid"}
    mine.database.execute("DELETE FROM sluice.events WHERE starts_with(event_id, %s)", [mine.id("good")])
    check_rows(mine, field, {f"{n:03}": POISON[n] for n, status in enumerate(statuses) if status == "created"})


@pytest.mark.parametrize("field", [field for field in FIELDS if field != "event_id"])
def test_a_poisoned_item_of_a_batch_harms_no_other_where_the_batch_is_json(client: httpx.Client, mine: Mine, field: str) -> None:
    poisons = [poison for poison in POISON if is_json(poison)]
    items = [text_of(mine, f"{POISON.index(poison):03}", field, poison) for poison in poisons]
    good = [json.dumps(mine.event(f"good{number:03}")) for number in range(len(items))]
    body = f'{{"logs": [{",".join(item for pair in zip(items, good, strict=True) for item in pair)}]}}'.encode(
        "utf-8", "surrogatepass"
    )
    data = data_of(client.post(f"{BATCH}?results=all", content=body))
    statuses = [result["status"] for result in data["results"]]
    assert set(statuses[1::2]) == {"created"}
    told = dict(zip(poisons, statuses[::2], strict=True))
    check_mixed(mine, field, [told.get(poison, "invalid") for poison in POISON])


def is_json(text: str) -> bool:
    """Whether text around it can still be JSON for Python's own reader, which knows NaN and half surrogates too."""
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


@pytest.mark.parametrize("path", [INGEST, BATCH, "/", "/log"])
def test_a_poisoned_body_is_refused_or_stored_as_it_is(client: httpx.Client, path: str) -> None:
    for poison in POISON:
        answer = client.post(path, content=poison.encode("utf-8", "surrogatepass"))
        if answer.status_code == 202:
            event = data_of(client.get(f"/api/v1/events/{data_of(answer, 202)['event_id']}"))
            assert same(json.loads(KEPT.get(poison, poison).removeprefix("\ufeff")), event["properties"])
        else:
            refused_batch(answer) if path in (BATCH, "/log") else refused(answer)


def refused_batch(answer: httpx.Response) -> None:
    if answer.status_code == 200:
        assert data_of(answer)["logs_processed"] == 0
    else:
        body = problem_of(answer, 400, answer.json()["error"], answer.json().get("reason"))
        assert body["error"] in ("validation_error", "invalid_json", "empty_batch")


@pytest.mark.parametrize("name", ["error", "traceback", "endpoint", "service"])
def test_a_poisoned_error_report_is_refused_or_stored_as_it_is(client: httpx.Client, mine: Mine, name: str) -> None:
    for number, poison in enumerate(POISON):
        given = {"service": json.dumps(mine.id()), "endpoint": '"/x"', "number": f'"{number}"'} | {name: poison}
        answer = client.post(
            "/", content=("{" + ",".join(f'"{n}": {v}' for n, v in given.items()) + "}").encode("utf-8", "surrogatepass")
        )
        if answer.status_code != 204:
            refused(answer)
        elif name != "service":
            text = "SELECT properties->%s FROM sluice.events WHERE source = %s ORDER BY id DESC LIMIT 1"
            # null is absent, and an absent text is empty.
            sent = json.loads(poison) if poison != "null" else ""
            ((stored,),) = mine.database.execute(text, [name, mine.id()])
            assert stored == sent or ("\ufffd" in stored and re.search("[\0\ud800-\udfff]", sent))


def test_a_poisoned_id_is_refused_or_can_be_read_back(client: httpx.Client, mine: Mine) -> None:
    for number, poison in enumerate(POISON):
        body = f'{{"event_type": "log", "event_name": "{mine.id(str(number))}", "event_id": {poison}}}'
        answer = client.post(INGEST, content=body.encode("utf-8", "surrogatepass"))
        rows = mine.database.execute("SELECT event_id FROM sluice.events WHERE event_name = %s", [mine.id(str(number))])
        if answer.status_code == 201:
            assert rows == [(data_of(answer, 201)["event_id"],)]
            assert json.loads(poison) in (None, rows[0][0])
        else:
            refused(answer)
            assert rows == []


@pytest.mark.parametrize("path", [INGEST, BATCH, "/"])
@pytest.mark.parametrize("body", BYTES)
def test_bytes_that_are_no_text_are_refused(client: httpx.Client, path: str, body: bytes) -> None:
    for content in (body, b'{"a": "' + body + b'"}', b"[" + body + b"]"):
        answer = client.post(path, content=content)
        if answer.status_code == 200:
            assert (path, data_of(answer)["logs_processed"]) == (BATCH, 0)
        else:
            refused(answer)


def test_of_a_name_that_stands_twice_the_last_value_counts(client: httpx.Client, mine: Mine) -> None:
    body = json.dumps(mine.event())[:-1] + ', "event_name": "last", "properties": {"a": 1, "a": {"b": 2}}}'
    data_of(client.post(INGEST, content=body), 201)
    assert (mine.row()["event_name"], mine.row()["properties"]) == ("last", {"a": {"b": 2}})
    assert data_of(client.post(INGEST, content=body), 201)["status"] == "duplicate"


@pytest.mark.parametrize("body", [b"", gzip.compress(b"")], ids=["plain", "gzip"])
@pytest.mark.parametrize("path", [INGEST, BATCH, "/", "/log"])
def test_an_empty_body_is_refused_as_such(client: httpx.Client, path: str, body: bytes) -> None:
    headers = {"Content-Encoding": "gzip"} if body else {}
    problem_of(client.post(path, content=body, headers=headers), 400, "invalid_json", "empty_body")
