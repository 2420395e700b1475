"""What an import promises: nothing dropped in silence, the same ids every time, and no input that breaks it."""

from __future__ import annotations

import gzip
import io
import json
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from typing import Any, cast
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice.client import files, framing, identity, importer
from sluice.client.files import Format, Input
from sluice.client.importer import Importer, Item, Refused
from sluice.parsing.timestamps import Timestamps

BERLIN = ZoneInfo("Europe/Berlin")
NOW = datetime(2025, 12, 1, tzinfo=UTC)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


class Trickle(io.BytesIO):
    """A pipe whose every read gives one byte."""

    def read1(self, _size: int | None = -1, /) -> bytes:
        return super().read1(1)


def read(
    data: bytes, format: Format | None = None, *, source: str = "s", zone: tzinfo = UTC, pipe: bool = False
) -> list[Item | Refused]:
    opened = Input(Trickle(data) if pipe else io.BytesIO(data))
    return list(Importer(source, zone).read(opened.stream, format or opened.format))


def events(data: bytes, format: Format | None = None, **options: Any) -> list[dict[str, Any]]:
    return [json.loads(entry.json) for entry in read(data, format, **options) if isinstance(entry, Item)]


def reasons(data: bytes, format: Format | None = None) -> list[tuple[int, str]]:
    return [(entry.number, entry.reason) for entry in read(data, format) if isinstance(entry, Refused)]


def ids(data: bytes, format: Format | None = None, **options: Any) -> list[str]:
    return [event["event_id"] for event in events(data, format, **options)]


@given(st.binary() | st.binary().map(gzip.compress), st.sampled_from([*files.FORMATS, None]))
def test_no_bytes_raise_and_every_run_gives_the_same(data: bytes, format: Format | None) -> None:
    assert read(data, format) == read(data, format) == read(data, format, pipe=True)


@given(st.lists(st.sampled_from(b'[]{},:"\\u0a\n \xff\x00').map(lambda code: bytes([code]))).map(b"".join))
def test_nothing_that_looks_a_bit_like_json_raises(text: bytes) -> None:
    assert read(b"[" + text, "json") == read(b"[" + text, "json", pipe=True)
    read(text, "ndjson")


@given(st.lists(st.binary().filter(lambda line: b"\n" not in line and not line.startswith((b"\x1f\x8b", b"\xef\xbb\xbf")))))
def test_every_line_becomes_one_event_or_is_counted_as_blank(texts: list[bytes]) -> None:
    data = b"".join(text + b"\n" for text in texts)
    reader = Importer("s")
    found = list(reader.read(Input(io.BytesIO(data)).stream, "lines"))
    assert (len(found) + reader.blank, [entry for entry in found if isinstance(entry, Refused)]) == (len(texts), [])


@given(st.lists(st.dictionaries(st.text(), JSON, max_size=4), max_size=6))
def test_an_array_gives_the_events_that_its_items_give_as_lines(values: list[dict[str, Any]]) -> None:
    lines = b"".join(json.dumps(value).encode() + b"\n" for value in values)
    for indent in (None, 2):
        array = json.dumps(values, indent=indent).encode()
        assert events(array, "json", pipe=True) == events(array, "json") == events(lines, "ndjson")


@given(st.lists(st.text(st.characters(exclude_characters="\n\r", exclude_categories=["Cs"]), min_size=1), min_size=1))
def test_ids_are_unique_within_a_file_and_the_same_in_the_next_run(texts: list[str]) -> None:
    data = "\n".join(texts).encode()
    assert len(set(ids(data, "lines"))) == len(ids(data, "lines"))
    assert ids(data, "lines") == ids(data, "lines")


def test_two_identical_lines_stay_two_events() -> None:
    first, second = events(b"same\nsame\n")
    assert first.pop("event_id") != second.pop("event_id")
    assert first == second


def test_an_id_does_not_depend_on_the_lines_around_it() -> None:
    assert ids(b"a\nb\nb\n")[1:] == ids(b"b\nx\nb\n")[::2]


def test_the_id_of_a_known_line_never_changes() -> None:
    assert ids(b"2025-06-24 14:36:25 startup archives unpack\n") == ["fa2bb520-4ec0-5319-b7ba-c497e654166e"]


def test_another_source_or_zone_makes_other_ids() -> None:
    line = b"2025-01-01 00:00:00 x"
    assert len({*ids(line), *ids(line, source="other"), *ids(line, zone=BERLIN)}) == 3


def test_the_order_of_names_in_an_object_makes_no_other_id() -> None:
    assert ids(b'{"a": 1, "b": 2}') == ids(b'{"b":2,"a":1}')


def test_a_plain_line_becomes_a_log_event() -> None:
    (event,) = events(b"2025-06-24 14:36:25 startup\r\n", source="dpkg.log")
    assert event.pop("event_id")
    assert event == {
        "event_type": "log",
        "event_name": "log_line",
        "source": "dpkg.log",
        "timestamp": "2025-06-24T14:36:25Z",
        "properties": {"line": "2025-06-24 14:36:25 startup"},
    }


def test_an_object_that_looks_like_an_event_passes_as_it_is() -> None:
    given = {"event_type": "error", "event_name": "e", "event_id": "mine", "odd": [1.5, None]}
    assert events(json.dumps(given).encode()) == [given]


def test_an_event_with_a_null_id_gets_one() -> None:
    (event,) = events(b'{"event_type":"log","event_name":"e","event_id":null}')
    assert len(event["event_id"]) == 36


def test_any_other_object_becomes_the_properties_of_a_log_event() -> None:
    (event,) = events(b'{"level":"info","time":"2025-01-01T00:00:00+01:00"}')
    assert (event["event_type"], event["event_name"], event["source"]) == ("log", "log_record", "s")
    assert event["properties"] == {"level": "info", "time": "2025-01-01T00:00:00+01:00"}
    assert event["timestamp"] == "2024-12-31T23:00:00Z"


@pytest.mark.parametrize(
    ("head", "format"),
    [
        (b'{"a":1}\n', "ndjson"),
        (b"  {}\n", "ndjson"),
        (b'[{"a":1}]', "json"),
        (b"\n [\n  {", "json"),
        (b"[]", "json"),
        (b'{\n  "a": 1\n}', "json"),
        (b'{"Records":[{"a":1}]}', "json"),
        (b"\xef\xbb\xbf[{}]", "json"),
        (b"[    0.000000] Linux version 6.1", "lines"),
        (b"[2025-01-01 00:00:00] started", "lines"),
        (b"[]: no such thing\n", "lines"),
        (b"{not json}", "lines"),
        (b"", "lines"),
    ],
)
def test_the_format_is_known_by_the_first_bytes(head: bytes, format: Format) -> None:
    assert Input(io.BytesIO(head)).format == Input(io.BytesIO(gzip.compress(head))).format == format


@pytest.mark.parametrize("pipe", [False, True])
def test_gzip_is_known_by_its_bytes_and_may_have_several_members(pipe: bool) -> None:
    assert read(gzip.compress(b"a\n") + gzip.compress(b"b\n"), pipe=pipe) == read(b"a\nb\n")


def test_a_cut_off_gzip_gives_what_can_be_read_and_says_that_there_is_more() -> None:
    data = b"".join(b"line %d\n" % number for number in range(20_000))
    *found, last = read(gzip.compress(data)[:-2000])
    assert read(data)[: len(found)] == found
    assert len(found) > 100
    assert isinstance(last, Refused)
    assert last.reason == "unreadable"


def test_a_byte_order_mark_is_no_part_of_the_first_line() -> None:
    assert ids(b"\xef\xbb\xbfline") == ids(b"line")


@pytest.mark.parametrize("format", ["lines", "ndjson", "json"])
def test_invalid_utf8_and_nul_are_kept_as_escapes(format: Format) -> None:
    text = {"lines": b"a\xff\0b", "ndjson": b'{"line":"a\xff\\u0000b"}', "json": b'[{"line":"a\xff\\u0000b"}]'}[format]
    (event,) = events(text, format)
    assert event["properties"]["line"] == r"a\xff\x00b"


def test_the_text_that_only_looks_like_an_escaped_nul_stays() -> None:
    (event,) = events(rb'{"a":"\\u0000","b":"\\\u0000\u0000"}')
    assert event["properties"] == {"a": r"\u0000", "b": r"\\x00\x00"}


@pytest.mark.parametrize("size", [600, 1 << 16, (2 << 20) + 5])
def test_a_hole_in_a_file_is_no_part_of_the_line_behind_it(size: int) -> None:
    text = b"before\n" + bytes(size) + b"behind\nnext\n" + bytes(size)
    assert [event["properties"]["line"] for event in events(text)] == ["before", "behind", "next"]


def test_an_over_long_line_is_refused_and_the_next_one_is_read() -> None:
    longest = framing.MAX_RAW_BYTES
    data = b"\n".join([b"x" * longest, b"x" * (longest + 1), b"x" * longest * 2, b"last"])
    assert reasons(data) == [(2, "too_large"), (3, "too_large")]
    assert [event["properties"]["line"][-4:] for event in events(data)] == ["xxxx", "last"]


def test_an_over_long_item_is_refused_and_the_next_one_is_read() -> None:
    data = b'[{"a":"%b"},{"b":1}]' % (b"x" * framing.MAX_RAW_BYTES)
    assert reasons(data) == [(1, "too_large")]
    assert [event["properties"] for event in events(data)] == [{"b": 1}]


def test_a_million_brackets_are_one_refused_item() -> None:
    assert reasons(b"[" * 1_000_000, "json") == [(1, "truncated")]
    assert reasons(b"[" + b"[" * 100_000 + b"]" * 100_000 + b"]", "json") == [(1, "too_deep")]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"{bad}", "invalid_json"),
        (b'{"a":1} trailing', "invalid_json"),
        (rb'{"a":"\ud800"}', "invalid_json"),
        (b'{"a":NaN}', "invalid_json"),
        (b"[1]", "not_an_object"),
        (b"1", "not_an_object"),
        (b'"text"', "not_an_object"),
    ],
)
def test_a_bad_line_of_ndjson_is_refused_and_its_neighbours_are_not(line: bytes, reason: str) -> None:
    data = b'{"a":1}\n' + line + b'\n{"a":2}\n'
    assert reasons(data, "ndjson") == [(2, reason)]
    assert len(events(data, "ndjson")) == 2


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (b"", [(1, "truncated")]),
        (b"[", [(1, "truncated")]),
        (b"[{}", [(1, "truncated")]),
        (b'[{},{"a', [(2, "truncated")]),
        (b"[{}] x", [(2, "not_json")]),
        (b"[{}] x [{}]", [(2, "not_json")]),
        (b"[{}],[{}]", [(2, "not_json")]),
        (b"[{}]]", [(2, "not_json")]),
        (b"{}}", [(2, "not_json")]),
        (b"text", [(1, "not_json")]),
        (b'"text', [(1, "truncated")]),
        (b'{"a": [1', [(1, "truncated")]),
        (b'{"Records":[{}', [(1, "truncated")]),
        (b"[{}][{}]", []),
        (b"[{},]", [(2, "invalid_json")]),
        (b"[,{}]", [(1, "invalid_json")]),
        (b"[{bad}, {}]", [(1, "invalid_json")]),
        (b"[]\n", []),
    ],
)
def test_what_is_wrong_with_an_array_is_reported(text: bytes, found: list[tuple[int, str]]) -> None:
    assert reasons(text, "json") == found


@pytest.mark.parametrize(
    "text",
    [
        b'[{"a": [1, {}]}, {"b": "}]"}]',
        b'{\n "a": [1, {}]\n}\n{\n "b": "}]"\n}\n',
        b'{"a": [1, {}]}{"b": "}]"}',
        b'{"Records": [{"a": [1, {}]}, {"b": "}]"}]}',
        b'{"records":[{"a": [1, {}]}]}\n{"records":[],"b": "}]"}',
        b'[{"a": [1, {}]}]\n[]\n[{"b": "}]"}]\n',
    ],
)
@pytest.mark.parametrize("size", [1, 7, 1000])
def test_json_is_cut_into_its_objects_however_it_is_laid_out(text: bytes, size: int) -> None:
    framer = framing.Framer()
    found = [each for at in range(0, len(text), size) for each in framer.feed(text[at : at + size])]
    framer.end()
    assert [json.loads(each) for each in found] == [{"a": [1, {}]}, {"b": "}]"}]


@pytest.mark.parametrize(
    ("text", "utc"),
    [
        ("2025-06-24T14:36:25Z up", "2025-06-24T14:36:25Z"),
        ("2025-06-24T14:36:25.123456789+02:00 up", "2025-06-24T12:36:25.123456Z"),
        ("2025-06-24 14:36:25,5 up", "2025-06-24T14:36:25.500000Z"),
        ("[2025-06-24 14:36:25] up", "2025-06-24T14:36:25Z"),
        ("2025-06-24 14:36:25 +0200 up", "2025-06-24T12:36:25Z"),
        ("2025-06-24 14:36:25.250 UTC [7] LOG", "2025-06-24T14:36:25.250000Z"),
        ("2025-06-24 14:36:25: up", None),
        ("Jun 24 14:36:25 host up", "2025-06-24T14:36:25Z"),
        ("up since 2025-06-24 14:36:25", None),
        ("2025-06-24", None),
        ("2025-02-30 00:00:00", None),
        ("2025-06-24 24:61:00", None),
        ("2025-06-24T14:36:25+99:99", None),
        ("0001-01-01T00:00:00+14:00", None),
    ],
)
def test_a_timestamp_is_taken_from_the_beginning_of_a_line_or_not_at_all(text: str, utc: str | None) -> None:
    assert Timestamps(now=NOW).of_line(text) == utc


@pytest.mark.parametrize(
    ("text", "utc"),
    [
        ("2025-06-24 14:36:25", "2025-06-24T12:36:25Z"),
        ("2025-01-24 14:36:25", "2025-01-24T13:36:25Z"),
        ("2025-10-26 02:30:00", "2025-10-26T00:30:00Z"),
        ("1890-01-01 00:00:00", "1889-12-31T23:06:32Z"),
        ("2025-06-24 14:36:25Z", "2025-06-24T14:36:25Z"),
    ],
    ids=["summer", "winter", "the hour that comes twice", "an offset with seconds", "an offset of its own"],
)
def test_a_naive_timestamp_is_in_the_zone(text: str, utc: str) -> None:
    assert Timestamps(BERLIN).of_line(text) == utc


@given(st.text())
def test_no_text_breaks_the_timestamp(text: str) -> None:
    Timestamps(BERLIN).of_line(text)
    Timestamps(BERLIN).of_line("2025-06-24 14:36:25" + text)


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("app.log", "app.log"),
        ("app.log.gz", "app.log"),
        ("\udcff.log", r"\udcff.log"),
        ("x" * 300, "x" * 255),
    ],
)
def test_the_source_is_the_name_of_the_file(name: str, source: str) -> None:
    assert identity.storable(identity.stem_of(name)) == source


def test_a_batch_is_bounded_in_events_and_bytes() -> None:
    big = b"x" * 200_000
    entries = [Item(number, big if number < 30 else b"{}") for number in range(60)]
    sizes = [len(batch) for batch in importer.batches(entries, 25, lambda _refused: None)]
    assert sizes == [20, 25, 15]


def test_size_and_position_show_how_much_of_a_file_is_read(tmp_path: Path) -> None:
    log = tmp_path / "app.log"
    log.write_bytes(b"a line\n" * 5000)
    with log.open("rb") as opened:
        given = Input(cast("io.BufferedIOBase", opened))
        assert given.size == log.stat().st_size
        list(Importer("s").read(given.stream, given.format))
        assert given.position == given.size
    assert Input(io.BytesIO(b"")).size is None


@pytest.mark.parametrize(
    "whole",
    [
        [b"Traceback (most recent call last):", b'  File "x.py", line 1, in f', b"KeyError: 1"],
        [b"2026-11-30T10:00:00Z stdout P one ", b"2026-11-30T10:00:01Z stdout F two"],
    ],
)
def test_a_pause_between_the_parts_of_an_event_does_not_part_them(whole: list[bytes]) -> None:
    parts = [each for piece in whole for each in (piece, None)]
    found = [entry for entry in Importer("x").entries([*parts, None], "lines") if isinstance(entry, Item)]
    assert len(found) == 1
    assert found == list(Importer("x").read(io.BytesIO(b"\n".join(whole)), "lines"))


def test_the_first_part_of_a_containers_line_is_waited_for_while_its_file_is_open() -> None:
    part = b"2026-11-30T10:00:00Z stdout P one \n"
    growing = Importer("x", growth=lambda: "open")
    assert (list(growing.read(io.BytesIO(part), "lines")), growing.left) == ([], 1)
    (ended,) = Importer("x").read(io.BytesIO(part), "lines")
    assert isinstance(ended, Item)
    event = json.loads(ended.json)
    assert (ended.number, event["timestamp"], event["properties"]["line"]) == (1, "2026-11-30T10:00:00Z", "one ")
