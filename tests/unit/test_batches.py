"""Batches: a bad item never takes its neighbours along, and what is no batch is refused with its reason."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice import errors, events
from sluice.parsing import batches

GOOD = b'{"event_type":"log","event_name":"n"}'
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def told(items: Sequence[batches.Item]) -> list[str]:
    """The name of each good item, the reason of each bad one."""
    return [item.reason if isinstance(item, errors.InvalidEvent) else item.event_name for item in items]


def content(item: batches.Item) -> bytes:
    assert isinstance(item, events.Event)
    return events.prepare(item, now=NOW, key_id="k", rules=events.Rules()).digest


def refusal(body: bytes, max_items: int = 1_000) -> errors.BadRequest:
    with pytest.raises(errors.BadRequest) as caught:
        batches.many(body, max_items)
    return caught.value


BAD = {
    "no object": (b"5", "invalid_value"),
    "null": (b"null", "invalid_value"),
    "a string with brackets": (b'"[{"', "invalid_value"),
    "empty": (b"{}", "missing_field"),
    "an unknown field": (b'{"event_type":"log","event_name":"n","x":1}', "unknown_field"),
    "2^63": (b'{"event_type":"log","event_name":"n","sequence_number":9223372036854775808}', "invalid_value"),
    "5,000 digits": (b'{"event_type":"log","event_name":"n","properties":{"a":%b}}' % (b"9" * 5_000), "invalid_value"),
    "1e999": (b'{"event_type":"log","event_name":"n","properties":{"a":1e999}}', "invalid_value"),
    "not UTF-8": (b'{"event_type":"log","event_name":"\xff"}', "not_utf8"),
    "NaN": (b'{"event_type":"log","event_name":"n","properties":{"a":NaN}}', "invalid_json"),
    "-Infinity": (b'{"event_type":"log","event_name":"n","properties":{"a":[-Infinity]}}', "invalid_json"),
    "half a surrogate pair": (b'{"event_type":"log","event_name":"\\ud800"}', "invalid_json"),
    "half a pair in a name": (b'{"event_type":"log","event_name":"n","properties":{"\\udc00":1}}', "invalid_json"),
}


@pytest.mark.parametrize(("bad", "reason"), BAD.values(), ids=BAD)
@pytest.mark.parametrize("form", [b"[%b]", b'{"logs":[%b]}', b' {"of":"x", "logs" : [ %b ]} \n'], ids=["array", "logs", "spaces"])
def test_a_bad_item_leaves_its_neighbours_good(form: bytes, bad: bytes, reason: str) -> None:
    assert told(batches.many(form % b" , ".join([GOOD, bad, GOOD]), 3)) == ["n", reason, "n"]


@pytest.mark.parametrize(("bad", "reason"), BAD.values(), ids=BAD)
def test_a_bad_line_leaves_its_neighbours_good(bad: bytes, reason: str) -> None:
    assert told(batches.lines(b"\n".join([GOOD, bad, GOOD]))) == ["n", reason, "n"]


def test_a_line_of_depth_100_000_leaves_its_neighbours_good() -> None:
    deep = b'{"properties":' + b'{"a":' * 100_000 + b"}" * 100_001
    assert told(batches.lines(b"\n".join([GOOD, deep, GOOD]))) == ["n", "too_deep", "n"]


@pytest.mark.parametrize("bad", BAD, ids=BAD)
def test_a_bad_neighbour_changes_nothing_of_the_content_of_a_good_item(bad: str) -> None:
    values = b'{"a":[1,1.0,1e22,-0.0,0.1,12345678901234567890,{"b":"\\\\u0000 \\u00fc"}]}'
    item = b'{"event_type":"log","event_name":"n","properties":%b}' % values
    assert content(batches.many(b"[%b,%b]" % (item, BAD[bad][0]), 2)[0]) == content(batches.one(item))


NO_BATCH = {
    "empty": (b"", "invalid_json", "empty_body"),
    "white space": (b" \r\n\t", "invalid_json", "empty_body"),
    "a byte order mark": (b"\xef\xbb\xbf[]", "invalid_json", "invalid_json"),
    "cut off in an array": (b"[" + GOOD, "invalid_json", "invalid_json"),
    "cut off in logs": (b'{"logs":[' + GOOD, "invalid_json", "invalid_json"),
    "followed by more": (b"[%b]]" % GOOD, "invalid_json", "invalid_json"),
    "two arrays": (b"[%b][%b]" % (GOOD, GOOD), "invalid_json", "invalid_json"),
    "words": (b"hello", "invalid_json", "invalid_json"),
    "depth 1,000,000": (b"[" * 1_000_000 + b"]" * 1_000_000, "invalid_json", "too_deep"),
    "depth 1,000,000, cut": (b'{"logs":' + b"[" * 1_000_000, "invalid_json", "too_deep"),
    "a number": (b"5", "validation_error", "invalid_value"),
    "NaN": (b"NaN", "invalid_json", "invalid_json"),
    "one event": (GOOD, "validation_error", "missing_field"),
    "logs that are no array": (b'{"logs":{}}', "validation_error", "invalid_value"),
    "logs that are null": (b'{"logs":null}', "validation_error", "invalid_value"),
    "logs of NaN": (b'{"logs":NaN}', "invalid_json", "invalid_json"),
}


@pytest.mark.parametrize(("body", "error", "reason"), NO_BATCH.values(), ids=NO_BATCH)
def test_what_is_no_batch_is_refused_with_error_and_reason(body: bytes, error: str, reason: str) -> None:
    refused = refusal(body)
    assert (refused.error, refused.reason) == (error, reason)
    assert len(refused.detail) <= errors.MAX_DETAIL


def test_a_refusal_points_at_the_field() -> None:
    assert refusal(b"{}").errors[0]["pointer"] == refusal(b'{"logs":5}').errors[0]["pointer"] == "/logs"


@pytest.mark.parametrize("body", [GOOD, GOOD + b"\n" + GOOD, b"5", b'{"logs":5}', b"[1"])
def test_what_is_no_batch_is_answered_with_what_is_one(body: bytes) -> None:
    assert refusal(body).detail.endswith(batches.SHAPE)


@pytest.mark.parametrize("body", [b"[]", b'{"logs":[]}', b' { "logs" : [ ] , "x" : 1 } '])
def test_an_empty_batch_has_a_code_of_its_own(body: bytes) -> None:
    assert refusal(body).error == "empty_batch"


def test_a_batch_may_hold_so_many_events_and_not_one_more() -> None:
    assert len(batches.many(b"[%b]" % b",".join([GOOD] * 5), 5)) == 5
    assert refusal(b"[%b]" % b",".join([GOOD] * 6), 5).error == "batch_too_large"
    assert refusal(b"[%b]" % b",".join([b"0"] * 10_000), 1_000).error == "batch_too_large"


def test_items_keep_their_order() -> None:
    items = [{"event_type": "log", "event_name": str(n)} if n % 3 else n for n in range(100)]
    expected = [str(n) if n % 3 else "invalid_value" for n in range(100)]
    assert told(batches.many(json.dumps({"logs": items}).encode(), 100)) == expected
    assert told(batches.lines("\n".join(map(json.dumps, items)).encode())) == expected


def test_a_bad_item_has_a_pointer_of_its_own_and_its_id() -> None:
    body = b'[%b,{"event_type":"log","event_name":5,"event_id":"e"}]' % GOOD
    problem = batches.many(body, 2)[1]
    assert isinstance(problem, errors.InvalidEvent)
    assert (problem.pointer, problem.event_id) == ("/event_name", "e")


# One event


@pytest.mark.parametrize(
    ("body", "error", "reason", "pointer"),
    [
        (b"", "invalid_json", "empty_body", None),
        (b"{", "invalid_json", "invalid_json", ""),
        (b"\xff", "invalid_json", "invalid_json", ""),
        (b'{"event_name":"\xff"}', "invalid_json", "not_utf8", ""),
        (b"[" * 10_000, "validation_error", "invalid_value", ""),
        (b'{"x":' * 10_000, "validation_error", "unknown_field", "/x"),
        (b'{"properties":' + b'{"x":' * 100_000, "invalid_json", "too_deep", ""),
        (b"{}", "validation_error", "missing_field", "/event_type"),
        (b'{"event_type":"x","event_name":"n"}', "validation_error", "invalid_value", "/event_type"),
    ],
)
def test_a_body_that_is_no_event_is_refused_with_its_reason(body: bytes, error: str, reason: str, pointer: str | None) -> None:
    with pytest.raises(errors.BadRequest) as caught:
        batches.one(body)
    assert (caught.value.error, caught.value.reason) == (error, reason)
    assert [problem["pointer"] for problem in caught.value.errors] == ([] if pointer is None else [pointer])


def test_a_body_that_is_an_event_is_one() -> None:
    assert batches.one(b" \r\n" + GOOD + b"\n").event_name == "n"


# NDJSON


def test_a_batch_where_one_event_is_taken_is_told_the_way() -> None:
    with pytest.raises(errors.BadRequest, match="POST /api/v1/batch-ingest"):
        batches.one(b"[" + GOOD + b"]")


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\n\n", b" \n\t\n"], ids=["LF", "CRLF", "blank", "spaces"])
@pytest.mark.parametrize("bad", [b"", b"5"], ids=["all good", "one bad"])
def test_line_ends_and_blank_lines_are_not_events(end: bytes, bad: bytes) -> None:
    expected = ["n", "invalid_value", "n"] if bad else ["n", "n"]
    assert told(batches.lines(end.join(part for part in (b"", GOOD, bad, GOOD, b"") if part or not bad))) == expected


@pytest.mark.parametrize("chunk", [b"", b"\n", b" \r\n\n"])
def test_a_chunk_without_lines_holds_no_event(chunk: bytes) -> None:
    assert batches.lines(chunk) == []


# Anything


TOKENS = st.sampled_from([b"[", b"]", b"{", b"}", b'"logs"', b":", b",", GOOD, b"NaN", b"\xff"])


def error_of(parse: Callable[[bytes], object], body: bytes) -> str | None:
    try:
        parse(body)
    except errors.BadRequest as error:
        return error.error
    return None


@given(st.binary(max_size=100) | st.lists(TOKENS).map(b"".join))
def test_any_bytes_are_items_or_a_bad_request_and_nothing_else(body: bytes) -> None:
    assert all(isinstance(item, events.Event | errors.InvalidEvent) for item in batches.lines(body))
    assert error_of(batches.one, body) in (None, "invalid_json", "validation_error")
    assert error_of(lambda body: batches.many(body, 10), body) in (None, "invalid_json", "validation_error", "empty_batch")


# 5,000 digits are refused by the one reader of a batch and NaN by the other: both together spoil it.
MIXED = [bad for name, (bad, _) in BAD.items() if name != "5,000 digits"]


@given(st.lists(st.sampled_from([GOOD, *MIXED]), min_size=1, max_size=8))
def test_any_mix_of_good_and_bad_items_gives_one_answer_each(items: list[bytes]) -> None:
    for found in (batches.many(b"[%b]" % b",".join(items), 8), batches.lines(b"\n".join(items))):
        assert [isinstance(item, events.Event) for item in found] == [item == GOOD for item in items]
