"""The event: poison is told from good, the same content is told from other content, and a row is what a store can take."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from sluice import errors, events

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
SMALLEST = b'"event_type":"log","event_name":"n"'
# What a store can hold: no surrogates, no U+0000.
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
NUMBERS = st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False)
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
OBJECTS = st.dictionaries(TEXT, VALUES, max_size=4)
OPTIONAL: dict[str, st.SearchStrategy[Any]] = {
    "event_id": TEXT.filter(bool),
    "timestamp": st.integers(0, 9_000).map(lambda hours: (NOW - timedelta(hours=hours, milliseconds=hours)).isoformat()),
    "properties": OBJECTS,
    "device_info": OBJECTS,
    "user_id": TEXT,
    "session_id": TEXT,
    "app_version": TEXT,
    "source": TEXT,
    "sequence_number": st.integers(-(2**63), 2**63 - 1),
    "priority": st.sampled_from(["normal", "high"]),
}
DOCUMENTS = st.fixed_dictionaries(
    {"event_type": st.sampled_from(["behavioral", "error", "log", "record"]), "event_name": TEXT.filter(bool)},
    optional=OPTIONAL,
)


def prepared(data: bytes, **rules: int) -> events.Record:
    return events.prepare(events.parse(data), now=NOW, key_id="web", rules=events.Rules(**rules))


def stored(data: bytes) -> Any:
    """What a store gets, as JSON."""
    return row_of(prepared(data))


def row_of(record: events.Record) -> Any:
    row = json.loads(events.encode_as_sent(record.event))
    if record.timestamp is not None:
        row["timestamp"] = record.timestamp.isoformat().replace("+00:00", "Z")
    if record.fingerprint is not None:
        row["fingerprint"] = record.fingerprint
    return row | {"event_id": record.event_id, "key_id": record.key_id, "content": record.digest.hex()}


def content(document: Any) -> bytes:
    return prepared(json.dumps(document).encode()).digest


def with_field(field: bytes) -> bytes:
    return b"{%b,%b}" % (SMALLEST, field)


def refusal(data: bytes, **rules: int) -> errors.InvalidEvent:
    with pytest.raises(errors.InvalidEvent) as caught:
        prepared(data, **rules)
    return caught.value


def problem_of(data: bytes) -> errors.InvalidEvent | None:
    try:
        prepared(data)
    except errors.InvalidEvent as problem:
        return problem
    return None


def nested(depth: int, leaf: bytes = b"{}") -> bytes:
    """An event of so many objects inside each other, the event itself and `{}` counted."""
    steps = depth - 3
    return with_field(b'"properties":{"a":' + b'{"a":' * steps + leaf + b"}" * steps + b"}")


FIELDS = {
    "U+0000 in a value": (b'"user_id":"a\\u0000"', "nul_character", "/user_id"),
    "U+0000 in an id": (b'"event_id":"\\u0000"', "nul_character", "/event_id"),
    "U+0000 in an event name": (b'"event_name":"\\u0000"', "nul_character", "/event_name"),
    "U+0000 in a free value": (b'"properties":{"a":[0,{"b~/":"\\u0000"}]}', "nul_character", "/properties/a/1/b~0~1"),
    "U+0000 in a free name": (b'"device_info":{"a":{"\\u0000":1}}', "nul_character", "/device_info/a"),
    "U+0000 beside an innocent escape": (b'"source":"\\\\u0000","properties":{"b":"\\u0000"}', "nul_character", "/properties/b"),
    "a high surrogate alone": (b'"user_id":"\\ud800 "', "invalid_json", ""),
    "a low surrogate alone": (b'"user_id":"\\udc00"', "invalid_json", ""),
    "a surrogate in UTF-8": (b'"user_id":"\xed\xa0\x80"', "not_utf8", ""),
    "bytes that are not UTF-8": (b'"user_id":"\xff"', "not_utf8", ""),
    "2^63": (b'"sequence_number":9223372036854775808', "invalid_value", "/sequence_number"),
    "-2^63-1": (b'"sequence_number":-9223372036854775809', "invalid_value", "/sequence_number"),
    "a fraction": (b'"sequence_number":1.5', "invalid_value", "/sequence_number"),
    "2^63 as a float": (b'"sequence_number":9223372036854775808.0', "invalid_value", "/sequence_number"),
    "a float of another range": (b'"sequence_number":1e30', "invalid_value", "/sequence_number"),
    "a float beyond all ranges": (b'"sequence_number":1e999999999', "invalid_value", "/sequence_number"),
    "5,000 digits": (b'"sequence_number":' + b"9" * 5_000, "invalid_value", "/sequence_number"),
    # Python 3.14 reads it as the next day.
    "hour 24": (b'"timestamp":"2026-02-27T24:00:00+01:00"', "invalid_value", "/timestamp"),
    "an offset of a day": (b'"timestamp":"2026-02-28T00:00:00+24:00"', "invalid_value", "/timestamp"),
    "an offset of 60 minutes": (b'"timestamp":"2026-02-28T00:00:00+01:60"', "invalid_value", "/timestamp"),
    "a leap second at noon": (b'"timestamp":"2026-02-28T12:00:60Z"', "invalid_value", "/timestamp"),
    "a leap second before all time": (b'"timestamp":"0001-01-01T23:59:60+00:01"', "invalid_value", "/timestamp"),
    "a time without seconds": (b'"timestamp":"2026-02-28T00:00Z"', "invalid_value", "/timestamp"),
    "a week date": (b'"timestamp":"2026-W08-1T00:00:00Z"', "invalid_value", "/timestamp"),
    "digits that are not ASCII": ('"timestamp":"\uff12026-02-28T00:00:00Z"'.encode(), "invalid_value", "/timestamp"),
    "5,000 free digits": (b'"properties":{"a":' + b"9" * 5_000 + b"}", "invalid_value", "/properties/*"),
    "1e999": (b'"properties":{"a":{"b":[1e999]}}', "invalid_value", "/properties/*/*/0"),
    "NaN": (b'"properties":{"a":NaN}', "invalid_json", ""),
    "Infinity": (b'"properties":{"a":-Infinity}', "invalid_json", ""),
    "a name of no field": (b'"evil/~":1', "unknown_field", "/evil~1~0"),
    "an empty id": (b'"event_id":""', "invalid_value", "/event_id"),
    "year 0": (b'"timestamp":"0000-01-01T00:00:00Z"', "invalid_value", "/timestamp"),
    "year 10000": (b'"timestamp":"10000-01-01T00:00:00Z"', "invalid_value", "/timestamp"),
    "year 0 in UTC": (b'"timestamp":"0001-01-01T00:00:00+14:00"', "too_old", "/timestamp"),
    "year 10000 in UTC": (b'"timestamp":"9999-12-31T23:59:59-14:00"', "too_far_ahead", "/timestamp"),
    "30 February": (b'"timestamp":"2026-02-30T00:00:00Z"', "invalid_value", "/timestamp"),
    "no offset": (b'"timestamp":"2026-02-28T00:00:00"', "invalid_value", "/timestamp"),
    "a control character": (b'"user_id":"a\nb"', "invalid_json", ""),
}
BODIES = {
    "empty": (b"", "invalid_json", ""),
    "white space": (b" \n", "invalid_json", ""),
    "a byte order mark": (b"\xef\xbb\xbf{%b}" % SMALLEST, "invalid_json", ""),
    "an array": (b"[]", "invalid_value", ""),
    "null": (b"null", "invalid_value", ""),
    "cut off": (b'{"event_type":"log"', "invalid_json", ""),
    "followed by more": (b"{%b}x" % SMALLEST, "invalid_json", ""),
    "no type": (b"{}", "missing_field", "/event_type"),
    "no name": (b'{"event_type":"log"}', "missing_field", "/event_name"),
    "type null": (b'{"event_type":null,"event_name":"n"}', "invalid_value", "/event_type"),
}
POISON = BODIES | {name: (with_field(field), reason, pointer) for name, (field, reason, pointer) in FIELDS.items()}


@pytest.mark.parametrize(("data", "reason", "pointer"), POISON.values(), ids=POISON)
def test_poison_is_invalid_with_reason_and_pointer(data: bytes, reason: str, pointer: str) -> None:
    problem = refusal(data)
    assert (problem.reason, problem.pointer) == (reason, pointer)


@pytest.mark.parametrize("name", ["event_id", "event_name", "user_id", "session_id", "app_version", "source"])
def test_a_text_field_takes_255_characters_and_no_more(name: str) -> None:
    field = b'"%b":"%b"'
    assert stored(with_field(field % (name.encode(), "é".encode() * 255)))[name] == "é" * 255
    assert refusal(with_field(field % (name.encode(), b"x" * 256))).pointer == f"/{name}"


WRONG = {"string": b'"x"', "number": b"1", "fraction": b"1.5", "true": b"true", "array": b"[]", "object": b"{}"}
RIGHT = {"properties": {"object"}, "device_info": {"object"}, "sequence_number": {"number"}}
STRINGS = {"event_name", "event_id", "user_id", "session_id", "app_version", "source"}


@pytest.mark.parametrize("kind", WRONG)
@pytest.mark.parametrize("name", events.Event.__struct_fields__)
def test_a_wrong_type_at_any_field_is_invalid_and_points_there(name: str, kind: str) -> None:
    data = with_field(b'"%b":%b' % (name.encode(), WRONG[kind]))
    if kind in RIGHT.get(name, ()) or (name in STRINGS and kind == "string"):
        assert prepared(data).digest
    else:
        assert (refusal(data).reason, refusal(data).pointer) == ("invalid_value", f"/{name}")


@given(st.binary(max_size=200) | st.builds(lambda head, tail: with_field(head + tail), st.binary(), st.binary()))
def test_any_bytes_make_a_row_or_an_invalid_and_nothing_else(data: bytes) -> None:
    problem = problem_of(data)
    assert problem.reason if problem else stored(data)["content"]


@given(OBJECTS, st.sampled_from(events.Event.__struct_fields__))
def test_any_json_at_any_field_makes_a_row_or_an_invalid_and_nothing_else(value: Any, name: str) -> None:
    data = json.dumps({"event_type": "log", "event_name": "n", name: value}).encode()
    problem = problem_of(data)
    assert problem.pointer.startswith(f"/{name}") if problem else stored(data)[name] == value


@pytest.mark.parametrize(("leaf", "deeper"), [(b"{}", b'{"a":{}}'), (b"[]", b"[[]]")])
def test_64_levels_are_taken_and_65_are_not(leaf: bytes, deeper: bytes) -> None:
    assert stored(nested(events.MAX_DEPTH, leaf))
    assert refusal(nested(events.MAX_DEPTH, deeper)).reason == "too_deep"


def test_many_brackets_side_by_side_are_not_deep() -> None:
    assert stored(with_field(b'"properties":{"a":[%b{}]}' % (b"{}," * 10_000)))


@pytest.mark.parametrize("leaf", [b"1", b'"\\u0000"'], ids=["plain", "with U+0000"])
def test_every_depth_that_the_decoder_or_the_stack_does_not_bear_is_too_deep(leaf: bytes) -> None:
    for depth in (66, 500, *range(850, 1_010), 10_000, 1_000_000):
        assert refusal(nested(depth, leaf)).reason == "too_deep"


def test_what_is_too_deep_for_the_encoder_is_too_deep() -> None:
    inner: dict[str, Any] = {}
    for _ in range(200_000):
        inner = {"a": inner}
    event = events.Event(event_type="log", event_name="n", event_id="e", properties=inner)
    with pytest.raises(errors.InvalidEvent, match="nested deeper") as caught:
        events.prepare(event, now=NOW, key_id="web", rules=events.Rules())
    assert (caught.value.reason, caught.value.event_id) == ("too_deep", "e")


def test_u0000_far_down_a_wide_event_with_long_names_is_found_quickly() -> None:
    data = with_field(b'"properties":{"%b":[%b"\\u0000"]}' % (b"n" * 1_000_000, b"0," * 200_000))
    start = time.process_time()
    problem = refusal(data, max_event_bytes=2 << 20)
    assert time.process_time() - start < 2
    assert (problem.reason, len(problem.pointer)) == ("nul_character", errors.MAX_DETAIL)


def test_innocent_text_that_looks_like_an_escape_is_kept() -> None:
    assert stored(with_field(b'"properties":{"a":"C:\\\\u0000"}'))["properties"] == {"a": "C:\\u0000"}


def test_of_two_members_with_one_name_the_last_counts() -> None:
    assert stored(with_field(b'"event_name":"other","properties":{"a":1,"a":2}'))["event_name"] == "other"
    assert stored(with_field(b'"properties":{"a":1,"a":2}'))["properties"] == {"a": 2}


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=201, max_size=400))
def test_no_more_than_200_characters_of_the_client_come_back(text: str) -> None:
    word = json.dumps(text).encode()
    for field in (b'"priority":%b' % word, b'"event_type":%b' % word, b"%b:1" % word, b'"properties":{%b:"\\u0000"}' % word):
        problem = refusal(with_field(field))
        assert max(map(len, (problem.detail, problem.pointer, str(problem)))) <= errors.MAX_DETAIL


@given(st.text("~/a", min_size=190, max_size=220))
def test_a_pointer_that_was_cut_is_still_a_json_pointer(name: str) -> None:
    pointer = refusal(with_field(json.dumps(name).encode() + b":1")).pointer
    assert "~" not in pointer.replace("~0", "").replace("~1", "")


@pytest.mark.parametrize("body", [b'{"event_type":"log"', with_field(rb'"user_id":"\ud83d"'), with_field(rb'"user_id":"\udc00"')])
def test_half_a_surrogate_pair_is_named(body: bytes) -> None:
    assert "surrogate pair" in refusal(body).detail


@pytest.mark.parametrize("field", [b'"user_id":5', b'"priority":"x"', b'"properties":{"a":1e999}', b'"a":1'])
def test_the_id_of_an_invalid_event_is_reported_when_it_can_be_read_and_is_not_too_long(field: bytes) -> None:
    assert refusal(with_field(b'"event_id":"e-1",' + field)).event_id == "e-1"
    assert refusal(with_field(b'"event_id":"%b"' % (b"x" * 300))).event_id is None


def test_the_size_of_the_canonical_form_is_the_size_that_counts() -> None:
    canonical = b'{%b,"properties":{"p":"x"}}' % SMALLEST
    spacious = canonical.replace(b",", b" ,\n ")
    assert prepared(spacious, max_event_bytes=len(canonical)).canonical == canonical
    problem = refusal(spacious, max_event_bytes=len(canonical) - 1)
    assert (problem.reason, problem.pointer) == ("too_large", "")
    assert f"{len(canonical)} bytes" in problem.detail


# Time


def at(moment: datetime) -> bytes:
    return with_field(b'"timestamp":"%b"' % moment.isoformat().encode())


def test_24_hours_ahead_are_taken_and_not_a_microsecond_more() -> None:
    edge = NOW + events.MAX_AHEAD
    assert stored(at(edge))["timestamp"] == "2026-03-02T12:00:00Z"
    assert refusal(at(edge + timedelta(microseconds=1))).reason == "too_far_ahead"


def test_the_retention_is_taken_to_the_microsecond() -> None:
    edge = NOW - timedelta(days=30)
    assert prepared(at(edge), retention_days=30).digest
    assert refusal(at(edge - timedelta(microseconds=1)), retention_days=30).reason == "too_old"


def test_without_a_retention_the_whole_calendar_that_can_be_read_back_is_taken() -> None:
    assert stored(at(events.EARLIEST))["timestamp"] == "0001-01-02T00:00:00Z"
    assert refusal(at(events.EARLIEST - timedelta(microseconds=1))).reason == "too_old"


@pytest.mark.parametrize("days", [36_500, 700_000])
def test_a_retention_of_many_centuries_is_no_overflow(days: int) -> None:
    assert refusal(at(events.EARLIEST - timedelta(hours=1)), retention_days=days).reason == "too_old"


def test_an_offset_is_taken_into_account() -> None:
    ahead = b'"timestamp":"2026-03-02T%b:00:00%b"'
    assert stored(with_field(ahead % (b"23", b"+11:00")))["timestamp"] == "2026-03-02T12:00:00Z"
    assert refusal(with_field(ahead % (b"11", b"-11:00"))).reason == "too_far_ahead"


TIMES = {
    "2026-02-28T23:59:59.999999999Z": "2026-02-28T23:59:59.999999Z",
    "2026-02-28T23:59:59.9999995+00:00": "2026-02-28T23:59:59.999999Z",
    "2026-02-28T23:59:59.12345678901234567890Z": "2026-02-28T23:59:59.123456Z",
    "2026-02-28T23:59:59.5Z": "2026-02-28T23:59:59.500000Z",
    "2026-02-28t12:00:00z": "2026-02-28T12:00:00Z",
    "2026-02-28 12:00:00Z": "2026-02-28T12:00:00Z",
    "2026-02-28T12:00:00-00:00": "2026-02-28T12:00:00Z",
    "2026-02-28T12:00:00+0200": "2026-02-28T10:00:00Z",
    "2026-02-28T12:00:00+16:00": "2026-02-27T20:00:00Z",
    "2026-02-28T12:00:00+23:59": "2026-02-27T12:01:00Z",
    "2026-02-28T12:00:00-23:59": "2026-03-01T11:59:00Z",
    "2026-02-28T23:59:60Z": "2026-02-28T23:59:59.999999Z",
    "2026-02-28T18:29:60.25-05:30": "2026-02-28T23:59:59.999999Z",
}


@pytest.mark.parametrize(("sent", "moment"), TIMES.items(), ids=TIMES)
def test_every_rfc_3339_time_is_taken_in_utc_and_cut_to_microseconds(sent: str, moment: str) -> None:
    assert stored(with_field(b'"timestamp":"%b"' % sent.encode()))["timestamp"] == moment


# Near RFC 3339 on both sides: what a reader may take for a time, and what it may not.
NEARLY_A_TIME = (
    r"[0-9]{3,5}-(0[0-9]|1[0-3]|[0-9])-([0-3][0-9]|[0-9])[Tt _]([0-2][0-9]|[0-9]):[0-6][0-9](:[0-6][0-9])?"
    r"([.,]([0-9]{1,10})?)?([Zz]|[+-][0-2][0-9](:?[0-6][0-9])?(:[0-9]{2})?|)[\"\\u ]?"
)


@given(st.from_regex(NEARLY_A_TIME, fullmatch=True) | TEXT)
def test_the_quick_reader_of_times_reads_and_refuses_what_the_exact_one_does(text: str) -> None:
    def read(reader: Callable[[str], datetime]) -> datetime | None:
        try:
            return reader(text)
        except ValueError:
            return None

    assert read(events.instant) == read(events.cut_to_microseconds)


# Content: what makes two events the same


EQUAL = {
    "a float and an integer": (b'"properties":{"a":[100]}', b'"properties":{"a":[100.0]}'),
    "an exponent and an integer": (b'"properties":{"a":[100]}', b'"properties":{"a":[1E+2]}'),
    "a float and an exponent": (b'"device_info":{"a":0.001}', b'"device_info":{"a":1e-3}'),
    "minus zero": (b'"properties":{"a":0}', b'"properties":{"a":-0.0}'),
    "beyond 2^53": (b'"properties":{"a":9007199254740992}', b'"properties":{"a":9007199254740992.0}'),
    "beyond 2^64": (b'"properties":{"a":123456789012345670000}', b'"properties":{"a":1.2345678901234567e20}'),
    "a sequence number as a float": (b'"sequence_number":100', b'"sequence_number":100.0'),
    "a sequence number beyond 2^53": (b'"sequence_number":-9007199254740993', b'"sequence_number":-9007199254740993.0'),
    "a sequence number with an exponent": (
        b'"sequence_number":100,"properties":{"a":1}',
        b'"sequence_number":1e2,"properties":{"a":1.0}',
    ),
    "10^30": (b'"properties":{"a":1%b}' % (b"0" * 30), b'"properties":{"a":1E30}'),
    "an instant": (b'"timestamp":"2026-02-28T12:00:00Z"', b'"timestamp":"2026-02-28T14:00:00.000+02:00"'),
    "what is cut of a time": (b'"timestamp":"2026-02-28T12:00:00.123456Z"', b'"timestamp":"2026-02-28T12:00:00.123456999Z"'),
    "no properties": (b'"source":null', b'"properties":{}'),
    "no device": (b'"source":null', b'"device_info":{}'),
    "the default priority": (b'"source":null', b'"priority":"normal"'),
    "a leap second": (
        b'"timestamp":"2026-02-28T23:59:60Z","priority":"normal"',
        b'"timestamp":"2026-02-28T23:59:60+00:00"',
    ),
}


@pytest.mark.parametrize(("one", "other"), EQUAL.values(), ids=EQUAL)
def test_what_is_equal_by_value_is_the_same_content(one: bytes, other: bytes) -> None:
    assert prepared(with_field(one)).digest == prepared(with_field(other)).digest


DIFFERENT = {
    "integers beyond 2^53": (b'"properties":{"a":9007199254740993}', b'"properties":{"a":9007199254740992}'),
    "a number and its text": (b'"properties":{"a":1}', b'"properties":{"a":"1"}'),
    "a number and true": (b'"properties":{"a":1}', b'"properties":{"a":true}'),
    "a microsecond": (b'"timestamp":"2026-02-28T12:00:00Z"', b'"timestamp":"2026-02-28T12:00:00.000001Z"'),
    "null inside": (b'"properties":{"a":null}', b'"properties":{}'),
    "another priority": (b'"priority":"high"', b'"priority":"normal"'),
    "an empty text": (b'"source":""', b'"source":null'),
    "another field": (b'"source":"x"', b'"user_id":"x"'),
}


@pytest.mark.parametrize(("one", "other"), DIFFERENT.values(), ids=DIFFERENT)
def test_what_differs_by_value_is_other_content(one: bytes, other: bytes) -> None:
    assert prepared(with_field(one)).digest != prepared(with_field(other)).digest


@pytest.mark.parametrize("field", [b'"properties":{"a":100.0,"b":1e2}', b'"device_info":{"a":1e30}'])
def test_numbers_are_stored_as_they_were_sent(field: bytes) -> None:
    name, value = json.loads(b"{%b}" % field).popitem()
    assert repr(stored(with_field(field))[name]) == repr(value)


RULE_1 = {
    "as it is canonical": (b'"timestamp":"2026-02-28T12:00:00Z","properties":{"b":1,"a":2}', "67351b783c280529"),
    "all that today's rule takes for equal": (
        b'"timestamp":"2026-02-28T12:00:00.1234567+02:00","properties":{"a":100.0},"device_info":{},"priority":"normal"',
        "839a715986130287",
    ),
}


@pytest.mark.parametrize(("field", "begin"), RULE_1.values(), ids=RULE_1)
def test_the_digest_of_the_release_before_is_made_as_it_made_it(field: bytes, begin: str) -> None:
    assert prepared(with_field(field)).digest_1.hex().startswith(begin)


@given(DOCUMENTS, st.randoms(use_true_random=False), st.sampled_from([None, 1, "\t"]), st.booleans())
def test_order_of_names_white_space_and_escapes_are_not_content(document: Any, random: Any, indent: Any, escape: bool) -> None:
    other = json.dumps(shuffled(document, random), indent=indent, ensure_ascii=escape).encode()
    assert prepared(other).digest == content(document)


def shuffled(value: Any, random: Any) -> Any:
    if isinstance(value, dict):
        names = list(value)
        random.shuffle(names)
        return {name: shuffled(value[name], random) for name in names}
    return [shuffled(item, random) for item in value] if isinstance(value, list) else value


@given(DOCUMENTS, st.sampled_from(sorted(OPTIONAL)))
def test_null_is_the_same_content_as_absent(document: Any, name: str) -> None:
    document.pop(name, None)
    assert content(document | {name: None}) == content(document)


def meaning(value: Any) -> str:
    """JSON that is equal where the values are; a default is nothing."""
    if value in ({}, "normal"):
        return "null"
    text = json.dumps(value, sort_keys=True)
    whole = json.loads(text, parse_float=lambda number: int(float(number)) if float(number).is_integer() else float(number))
    return json.dumps(whole, sort_keys=True)


@given(DOCUMENTS, st.data())
def test_one_changed_field_is_other_content(document: Any, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(OPTIONAL)))
    value = data.draw(OPTIONAL[name])
    assume(meaning(value) != meaning(document.get(name)))
    assert content(document | {name: value}) != content(document)


@given(OBJECTS, st.data())
def test_one_changed_value_deep_inside_is_other_content(inner: Any, data: st.DataObject) -> None:
    before, after = data.draw(VALUES), data.draw(VALUES)
    assume(meaning(before) != meaning(after))
    one, other = ({"event_type": "log", "event_name": "n", "properties": {"a": [inner, v]}} for v in (before, after))
    assert content(one) != content(other)


def test_time_of_receipt_key_and_assigned_id_are_not_content() -> None:
    event = events.parse(b"{%b}" % SMALLEST)
    rows = [events.prepare(event, now=NOW + timedelta(n), key_id=str(n), rules=events.Rules()) for n in range(3)]
    assert len({row.digest for row in rows}) == 1
    assert len({row.event_id for row in rows}) == 3


# The row


@given(DOCUMENTS)
def test_a_row_is_the_clients_fields_and_the_servers_and_valid_json(document: Any) -> None:
    row = prepared(json.dumps(document).encode())
    found = row_of(row)
    server = {"key_id": "web", "content": row.digest.hex(), "event_id": row.event_id}
    fingerprint = {"fingerprint": found.get("fingerprint")} if document["event_type"] == "error" else {}
    expected = document | server | fingerprint
    expected["timestamp"] = found.get("timestamp")
    assert json.dumps(found | {"timestamp": expected["timestamp"]}, sort_keys=True) == json.dumps(expected, sort_keys=True)


@given(TEXT)
def test_a_key_id_cannot_break_out_of_its_place(key_id: str) -> None:
    row = events.prepare(events.parse(b"{%b}" % SMALLEST), now=NOW, key_id=key_id, rules=events.Rules())
    assert row_of(row)["key_id"] == key_id


def test_an_event_without_id_gets_the_one_that_is_made() -> None:
    row = events.prepare(events.parse(b"{%b}" % SMALLEST), now=NOW, key_id="k", rules=events.Rules(), new_id=lambda: "made")
    assert (row.event_id, row_of(row)["event_id"]) == ("made", "made")


@pytest.mark.parametrize(("kind", "has"), [(b"error", True), (b"log", False)])
def test_only_an_error_gets_a_fingerprint(kind: bytes, has: bool) -> None:
    assert ("fingerprint" in stored(b'{"event_type":"%b","event_name":"n"}' % kind)) is has


def test_every_field_of_the_contract_is_taken_as_it_was_sent() -> None:
    fields: dict[str, Any] = dict.fromkeys(events.Event.__struct_fields__, "x")
    fields |= {"event_type": "record", "timestamp": "2026-03-01T11:00:00+02:00", "sequence_number": -(2**63), "priority": "high"}
    document = fields | {"properties": {"a": [1, 2.5, None, True]}, "device_info": {"os": "ü"}}
    expected = document | {"timestamp": "2026-03-01T09:00:00Z"}
    assert stored(json.dumps(document).encode()).items() >= expected.items()


# Ids


@given(st.integers(0, 2**48 - 1), st.binary(min_size=10, max_size=10))
def test_an_id_is_a_uuid_of_version_7_that_holds_its_time(milliseconds: int, random: bytes) -> None:
    made = uuid.UUID(events.uuid7(milliseconds, lambda _: random))
    assert (made.version, made.variant, made.int >> 80) == (7, uuid.RFC_4122, milliseconds)


@given(st.binary(min_size=10, max_size=10))
def test_74_random_bits_reach_the_id(random: bytes) -> None:
    mask = (1 << 80) - 1 & ~(0xF << 76) & ~(0x3 << 62)
    assert uuid.UUID(events.uuid7(0, lambda _: random)).int & mask == int.from_bytes(random, "big") & mask


@given(st.integers(0, 2**48 - 2), st.binary(min_size=10, max_size=10), st.binary(min_size=10, max_size=10))
def test_an_id_that_is_made_later_sorts_later(milliseconds: int, one: bytes, other: bytes) -> None:
    assert events.uuid7(milliseconds, lambda _: one) < events.uuid7(milliseconds + 1, lambda _: other)


def test_by_default_an_id_holds_the_time_of_now_and_is_no_twin() -> None:
    before = datetime.now(UTC).timestamp() * 1_000
    ids = {events.uuid7() for _ in range(1_000)}
    after = datetime.now(UTC).timestamp() * 1_000
    assert len(ids) == 1_000
    assert all(int(before) <= uuid.UUID(made).int >> 80 <= after for made in ids)


# What msgspec says


@pytest.mark.parametrize(
    ("path", "pointer"),
    [("$", ""), ("$.a", "/a"), ("$.properties[...]", "/properties/*"), ("$.a[0].b", "/a/0/b"), ("$[3]", "/3")],
)
def test_a_path_of_the_parser_becomes_a_json_pointer(path: str, pointer: str) -> None:
    assert events.explain(msgspec.ValidationError(f"no - at `{path}`")).pointer == pointer


@given(st.text(max_size=300))
def test_any_text_of_the_parser_is_explained_shortly(text: str) -> None:
    for error in (msgspec.ValidationError(text), msgspec.DecodeError(text)):
        problem = events.explain(error)
        assert max(len(problem.detail), len(problem.pointer)) <= errors.MAX_DETAIL
