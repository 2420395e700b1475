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


def log(sent: bytes) -> events.Event:
    return legacy.log_object(sent, NOW, events.Rules(retention_days=30))


def stored(event: events.Event) -> Any:
    record = events.prepare(event, now=NOW, key_id="k", rules=events.Rules())
    return json.loads(events.encode_as_sent(record.event)) | {"fingerprint": record.fingerprint}


def test_an_error_report_is_an_error_event() -> None:
    event = stored(report(body(REPORT)))
    assert (event["event_type"], event["source"], event["event_name"]) == ("error", "shop", "/cart")
    assert event["properties"] == REPORT
    assert event["fingerprint"]


@pytest.mark.parametrize("more", [{"host": "h"}, {"error": None, "traceback": None}])
def test_error_and_traceback_may_be_absent_or_null_and_other_fields_are_not_read(more: dict[str, Any]) -> None:
    event = stored(report(body({"service": "s", "endpoint": "e", **more})))
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


Parse = Callable[[bytes], events.Event]
REFUSED: dict[str, tuple[Parse, bytes, str, str, str | None]] = {
    "no service": (report, b'{"endpoint":"e"}', "validation_error", "missing_field", "/service"),
    "no endpoint": (report, b'{"service":"s"}', "validation_error", "missing_field", "/endpoint"),
    "an empty service": (report, b'{"service":"","endpoint":"e"}', "validation_error", "invalid_value", "/service"),
    "a service that is null": (report, b'{"service":null,"endpoint":"e"}', "validation_error", "missing_field", "/service"),
    "a service that is no text": (report, b'{"service":5,"endpoint":"e"}', "validation_error", "invalid_value", "/service"),
    "lines": (report, b'{"service":"s","endpoint":"e","traceback":[]}', "validation_error", "invalid_value", "/traceback"),
    "an array": (report, b"[]", "validation_error", "invalid_value", ""),
    "no JSON": (report, b"service=s", "invalid_json", "invalid_json", ""),
    "an empty report": (report, b"", "invalid_json", "empty_body", None),
    "an empty log": (log, b"", "invalid_json", "empty_body", None),
    **{f"a log {sent!r}": (log, sent, "validation_error", "invalid_value", "") for sent in (b"[]", b"5", b"null", b'"x"')},
    "a log with NaN": (log, b'{"a":NaN}', "invalid_json", "invalid_json", ""),
    "a deep log": (log, b'{"a":' * 100_000, "invalid_json", "too_deep", ""),
    "half a log": (log, b"{", "invalid_json", "invalid_json", ""),
}


@pytest.mark.parametrize(("parse", "sent", "error", "reason", "pointer"), REFUSED.values(), ids=REFUSED)
def test_what_is_no_error_report_or_log_is_refused(
    parse: Parse, sent: bytes, error: str, reason: str, pointer: str | None
) -> None:
    with pytest.raises(errors.BadRequest) as caught:
        parse(sent)
    assert (caught.value.error, caught.value.reason) == (error, reason)
    assert [problem["pointer"] for problem in caught.value.errors] == ([] if pointer is None else [pointer])


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        (rb"a\u0000b", "a\ufffdb"),
        (rb"cut \ud83d", "cut \ufffd"),
        (rb"\uDE00 \ud83d\ud83d\ude00\ude00", "\ufffd \ufffd\U0001f600\ufffd"),
        (b"caf\xe9", "caf\ufffd"),
        (rb"C:\\u0000 \\\ud83d", "C:\\u0000 \\\ufffd"),
    ],
)
def test_what_is_no_character_in_a_report_or_a_log_is_replaced_with_a_mark(sent: bytes, kept: str) -> None:
    assert log(b'{"a":"' + sent + b'"}').properties == {"a": kept}
    event = stored(report(b'{"service":"shop","endpoint":"/cart","error":"\xef\xbf\xbd","traceback":"' + sent + b'"}'))
    assert event["properties"] == {**REPORT, "error": "\ufffd", "traceback": kept, "truncated": ["error", "traceback"]}


def test_whole_characters_of_a_report_are_kept_as_they_are() -> None:
    sent = rb'{"service":"shop","endpoint":"/cart","error":"\ud83d\ude00 \\ud83d","traceback":"' + b"\xef\xbf\xbd" + b'"}'
    assert stored(report(sent))["properties"] == {**REPORT, "error": "\U0001f600 \\ud83d", "traceback": "\ufffd"}


TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))
JSON = st.recursive(st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | TEXT, st.lists, max_leaves=5)


@given(st.dictionaries(TEXT, JSON))
def test_any_object_is_a_log_event_with_properties_equal_to_it(document: dict[str, Any]) -> None:
    event = log(body(document))
    assert (event.event_type, event.event_name, event.properties) == ("log", "log", document)


@pytest.mark.parametrize(
    ("record", "time"),
    [
        # winston, pino, bunyan; slog, zap, zerolog
        ({"timestamp": "2026-02-28T09:00:00.5Z", "level": "info"}, "2026-02-28T09:00:00.500000Z"),
        ({"level": 30, "time": 1772269200500, "msg": "a"}, "2026-02-28T09:00:00.500000Z"),
        ({"time": "2026-02-28T10:00:00.123456789+01:00", "level": "ERROR"}, "2026-02-28T09:00:00.123456Z"),
        ({"ts": 1772269200.5, "level": "error"}, "2026-02-28T09:00:00.500000Z"),
        # ECS and logstash-logback-encoder, Log4j's JsonLayout, GELF, Fluent Bit
        ({"@timestamp": "2026-02-28T09:00:00.123+0000", "log.level": "ERROR"}, "2026-02-28T09:00:00.123000Z"),
        ({"instant": {"epochSecond": 1772269200, "nanoOfSecond": 500}, "thrown": {}}, "2026-02-28T09:00:00Z"),
        ({"version": "1.1", "short_message": "a", "timestamp": 1772269200.0}, "2026-02-28T09:00:00Z"),
        ({"date": 1772269200.0, "log": "a"}, "2026-02-28T09:00:00Z"),
        (
            {"text": "", "record": {"time": {"repr": "2026-02-28 10:00:00+01:00", "timestamp": 1772269200.5}}},
            "2026-02-28T09:00:00.500000Z",
        ),
        # python-json-logger and syslog-ng do not say of which zone they are
        ({"asctime": "2026-02-28 09:00:00,123", "message": "a"}, None),
        ({"DATE": "Feb 28 09:00:00", "date": "Feb 28 09:00:00"}, None),
        # what no event may have
        ({"time": "2026-03-03T00:00:00Z"}, None),
        ({"time": "2026-01-01T00:00:00Z"}, None),
        ({"time": 12, "date": "tomorrow", "timestamp": None, "t": [], "instant": {"a": 1}}, None),
    ],
)
def test_the_time_that_a_logger_wrote_is_that_of_the_event(record: dict[str, Any], time: str | None) -> None:
    for event in (log(body(record)), *legacy.logs(body([record, record]), NOW, events.Rules(retention_days=30))):
        assert isinstance(event, events.Event)
        assert (event.timestamp, stored(event)["properties"]) == (time, record)


@pytest.mark.parametrize(
    ("sent", "found"),
    [
        (b'{"a":1}\n', ["log"]),
        (b'{"a":1}\n\n{"a":2}\n', ["log", "log"]),
        (b'\n\xef\xbb\xbf{"a":1}\r\n5\n{"a":"\xff"}', ["log", "invalid_value", "log"]),
        (b'{"a":1} {"a":2}\n{"a":3}', ["invalid_json", "log"]),
        (b'{\n"a":\n1}\n', ["log"]),
    ],
)
def test_an_object_may_have_several_lines_and_each_line_an_object(sent: bytes, found: list[str]) -> None:
    items = legacy.logs(sent, NOW, events.Rules())
    assert [item.event_name if isinstance(item, events.Event) else item.reason for item in items] == found


def test_lines_that_are_as_they_should_be_are_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(legacy, "storable")
    assert len(legacy.logs(b'{"a":"\\u0430"}\n' * 2, NOW, events.Rules())) == 2


@pytest.mark.parametrize("sent", [b"levelname=ERROR&msg=a", b"2026-03-01 ERROR a", b"\x0a\xce\x01", b"<event/>", b"[{", b'["a"'])
def test_what_is_no_log_is_told_what_to_send(sent: bytes) -> None:
    with pytest.raises(errors.BadRequest, match=f"; {legacy.SHAPE}$"):
        legacy.logs(sent, NOW, events.Rules())


def error_of(parse: Parse, sent: bytes) -> str | None:
    try:
        parse(sent)
    except errors.BadRequest as error:
        return error.error
    return None


@given(st.binary(max_size=100))
def test_any_bytes_are_an_event_or_a_bad_request_and_nothing_else(sent: bytes) -> None:
    for parse in (report, log):
        assert error_of(parse, sent) in (None, "invalid_json", "validation_error")
