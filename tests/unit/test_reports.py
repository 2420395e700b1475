"""The bodies of seeds 000 and 004, as events."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice import errors, events
from sluice.parsing import legacy

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
ROOM = events.Rules().max_event_bytes
REPORT = {"service": "shop", "endpoint": "/cart", "error": "declined", "traceback": "Traceback ...\n  File"}


def body(document: Any) -> bytes:
    return json.dumps(document).encode()


def report(sent: bytes) -> events.Event:
    return legacy.error_report(sent, ROOM)


def stored(event: events.Event) -> Any:
    record = events.prepare(event, now=NOW, key_id="k", rules=events.Rules())
    return json.loads(events.encode_as_sent(record.event)) | {"fingerprint": record.fingerprint}


def test_an_error_report_is_an_error_event() -> None:
    event = stored(legacy.error_report(body(REPORT), ROOM))
    assert (event["event_type"], event["source"], event["event_name"]) == ("error", "shop", "/cart")
    assert event["properties"] == REPORT
    assert event["fingerprint"]


def test_error_and_traceback_may_be_absent_and_other_fields_are_not_read() -> None:
    event = stored(legacy.error_report(b'{"service":"s","endpoint":"e","host":"h"}', ROOM))
    assert event["properties"] == {"service": "s", "endpoint": "e", "error": "", "traceback": ""}


def test_null_is_absent_in_an_error_report() -> None:
    event = stored(report(body({"service": "s", "endpoint": "e", "error": None, "traceback": None})))
    assert event["properties"] == {"service": "s", "endpoint": "e", "error": "", "traceback": ""}


def test_a_label_that_is_too_long_is_cut_with_a_mark_and_kept_whole_in_properties() -> None:
    sent = {**REPORT, "endpoint": "/" + "e" * 1_999, "service": "\u00fc" * 256}
    event = stored(report(body(sent)))
    assert (event["event_name"], event["source"]) == (sent["endpoint"][:255], "\u00fc" * 255)
    assert event["properties"] == {**sent, "truncated": ["endpoint", "service"]}


@pytest.mark.parametrize("room", [8_192, ROOM])
@pytest.mark.parametrize("names", [["traceback"], ["error"], ["endpoint"], ["error", "traceback"], [*REPORT]])
def test_a_report_that_is_too_large_for_an_event_keeps_its_beginning_and_its_end(names: list[str], room: int) -> None:
    sent = {**REPORT, **{name: f"begin {name} " + "\u0001x" * 300_000 + " end" for name in names}}
    event = legacy.error_report(body(sent), room)
    record = events.prepare(event, now=NOW, key_id="k", rules=events.Rules(max_event_bytes=room))
    assert len(record.canonical) <= room
    properties = event.properties or {}
    assert set(properties["truncated"]) >= {name for name in names if name in ("error", "traceback")}
    for name in properties["truncated"]:
        assert (str(properties[name])[:5], str(properties[name])[-3:]) == ("begin", "end")


REFUSED = {
    "no service": (b'{"endpoint":"e"}', "validation_error", "missing_field", "/service"),
    "no endpoint": (b'{"service":"s"}', "validation_error", "missing_field", "/endpoint"),
    "an empty service": (b'{"service":"","endpoint":"e"}', "validation_error", "invalid_value", "/service"),
    "a service that is null": (b'{"service":null,"endpoint":"e"}', "validation_error", "missing_field", "/service"),
    "a service that is no text": (b'{"service":5,"endpoint":"e"}', "validation_error", "invalid_value", "/service"),
    "a traceback of lines": (b'{"service":"s","endpoint":"e","traceback":[]}', "validation_error", "invalid_value", "/traceback"),
    "an array": (b"[]", "validation_error", "invalid_value", ""),
    "no JSON": (b"service=s", "invalid_json", "invalid_json", ""),
    "half a surrogate pair": (b'{"service":"\\ud800","endpoint":"e"}', "invalid_json", "invalid_json", ""),
    "not UTF-8": (b'{"service":"\xff","endpoint":"e"}', "invalid_json", "not_utf8", ""),
}


@pytest.mark.parametrize(("sent", "error", "reason", "pointer"), REFUSED.values(), ids=REFUSED)
def test_what_is_no_error_report_is_refused(sent: bytes, error: str, reason: str, pointer: str) -> None:
    with pytest.raises(errors.BadRequest) as caught:
        legacy.error_report(sent, ROOM)
    assert (caught.value.error, caught.value.reason) == (error, reason)
    assert caught.value.errors[0]["pointer"] == pointer


@pytest.mark.parametrize("parse", [report, legacy.log_object])
def test_an_empty_body_is_told_as_such(parse: Any) -> None:
    with pytest.raises(errors.BadRequest) as caught:
        parse(b"")
    assert (caught.value.error, caught.value.reason) == ("invalid_json", "empty_body")


def test_a_report_with_u0000_is_invalid_where_it_stands() -> None:
    event = report(body(REPORT | {"traceback": "a\0b"}))
    with pytest.raises(errors.InvalidEvent) as caught:
        stored(event)
    assert (caught.value.reason, caught.value.pointer) == ("nul_character", "/properties/traceback")


JSON = st.recursive(st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text(), st.lists, max_leaves=5)


@given(st.dictionaries(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])), JSON))
def test_any_object_is_a_log_event_with_properties_equal_to_it(document: dict[str, Any]) -> None:
    event = legacy.log_object(body(document))
    assert (event.event_type, event.event_name, event.properties) == ("log", "log", document)


@pytest.mark.parametrize("sent", [b"[]", b"5", b"null", b'"text"'])
def test_a_log_that_is_no_object_is_refused(sent: bytes) -> None:
    with pytest.raises(errors.BadRequest) as caught:
        legacy.log_object(sent)
    assert (caught.value.error, caught.value.reason) == ("validation_error", "invalid_value")


@pytest.mark.parametrize(
    ("sent", "reason"), [(b'{"a":NaN}', "invalid_json"), (b'{"a":' * 10_000, "too_deep"), (b"{", "invalid_json")]
)
def test_a_log_that_is_no_json_is_refused(sent: bytes, reason: str) -> None:
    with pytest.raises(errors.BadRequest) as caught:
        legacy.log_object(sent)
    assert (caught.value.error, caught.value.reason) == ("invalid_json", reason)


def error_of(parse: Callable[[bytes], events.Event], sent: bytes) -> str | None:
    try:
        parse(sent)
    except errors.BadRequest as error:
        return error.error
    return None


@given(st.binary(max_size=100))
def test_any_bytes_are_an_event_or_a_bad_request_and_nothing_else(sent: bytes) -> None:
    for parse in (report, legacy.log_object):
        assert error_of(parse, sent) in (None, "invalid_json", "validation_error")
