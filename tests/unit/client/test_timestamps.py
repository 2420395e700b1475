"""The times of lines and records. What whole logs look like: test_corpus.py."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.client.keeper import Keeper, Run

from sluice.parsing.timestamps import Timestamps

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
TIMES = Timestamps(now=NOW)


@pytest.mark.parametrize(
    ("line", "utc"),
    [
        ("10.0.0.1 - - [10/Oct/2026:13:55:36 -0700] GET", "2026-10-10T20:55:36Z"),
        ("2026/11/28 10:00:00 [error]", "2026-11-28T10:00:00Z"),
        ("2026-11-28 10:00:00 INFO x", "2026-11-28T10:00:00Z"),
        ("2026-11-28 10:00:00.5 CEST x", "2026-11-28T08:00:00.500000Z"),
        ("2026-11-28T10:00:00.999999999+05:30 x", "2026-11-28T04:30:00.999999Z"),
        ("<34>1 2026-11-28T10:00:00.003Z host", "2026-11-28T10:00:00.003000Z"),
        ("Feb 28 10:00:00 host x", "2026-02-28T10:00:00Z"),
        ("Mar  2 11:00:00 host x", "2026-03-02T11:00:00Z"),
        ("Mar  2 13:00:00 host x", "2025-03-02T13:00:00Z"),
        ("Dec 31 23:59:59.123456 host x", "2025-12-31T23:59:59.123456Z"),
        ("Feb 29 10:00:00 host x", "2024-02-29T10:00:00Z"),
        ("W0228 10:00:00.000001 1 x.go:1] x", "2026-02-28T10:00:00.000001Z"),
        ("1700000000 x", "2023-11-14T22:13:20Z"),
        ("1700000000.5 x", "2023-11-14T22:13:20.500000Z"),
        ("1700000000123 x", "2023-11-14T22:13:20.123000Z"),
        ("1700000000123456 x", "2023-11-14T22:13:20.123456Z"),
        ("1700000000123456789 x", "2023-11-14T22:13:20.123456Z"),
        ("17000000001 x", None),
        ("0123456789 a phone number", None),
        ("2026-11-28 10:00:00 IST x", None),
        ("Sat Nov 28 10:00:00 AST 2026 x", None),
        ("03/04/2026 10:00:00 x", None),
        ("Mayor 12 10:00:00 x", None),
        ("Nov 31 10:00:00 x", None),
        ("[99/Oct/2026:13:55:36 -0700]", None),
        ("[    0.000000] Linux", None),
        ("2026-11-28 25:00:00 x", None),
    ],
)
def test_the_time_of_a_line(line: str, utc: str | None) -> None:
    assert TIMES.of_line(line) == utc


@pytest.mark.parametrize(
    ("record", "utc"),
    [
        ({"__REALTIME_TIMESTAMP": "1700000000123456"}, "2023-11-14T22:13:20.123456Z"),
        ({"time": 1700000000123}, "2023-11-14T22:13:20.123000Z"),
        ({"ts": 1700000000.25}, "2023-11-14T22:13:20.250000Z"),
        ({"@t": "2026-11-28T10:00:00.1234567Z"}, "2026-11-28T10:00:00.123456Z"),
        ({"@timestamp": "2026-11-28T10:00:00,5+01:00"}, "2026-11-28T09:00:00.500000Z"),
        ({"time": "10/Oct/2026:13:55:36 -0700"}, "2026-10-10T20:55:36Z"),
        ({"timestamp": "Sat, 28 Nov 2026 10:00:00 GMT"}, "2026-11-28T10:00:00Z"),
        ({"timestamp": None, "time": "2026-11-28T10:00:00Z"}, "2026-11-28T10:00:00Z"),
        ({"t": {"$date": 1700000000123}}, "2023-11-14T22:13:20.123000Z"),
        ({"timeUnixNano": "1700000000123456789"}, "2023-11-14T22:13:20.123456Z"),
        ({"time": 12.5}, None),
        ({"time": -1700000000}, None),
        ({"time": True}, None),
        ({"time": 1e300}, None),
        ({"time": ["2026-11-28T10:00:00Z"]}, None),
        ({"created": "2026-11-28T10:00:00Z"}, None),
    ],
)
def test_the_time_of_a_record(record: dict[str, Any], utc: str | None) -> None:
    assert TIMES.of_record(record) == utc


def test_of_one_record_no_more_than_four_fields_are_tried() -> None:
    bad = {"timestamp": "Feb 30 10:00:00 +0000", "@timestamp": "x" * 1_000_000, "time": 7}
    assert TIMES.of_record({**bad, "ts": 1700000000}) == "2023-11-14T22:13:20Z"
    assert TIMES.of_record({**bad, "ts": None, "t": 1700000000}) is None


@pytest.mark.parametrize(
    ("format", "line", "utc"),
    [
        ("%d.%m.%Y %H:%M:%S", "x: 28.11.2026  10:00:00 y", "2026-11-28T09:00:00Z"),
        ("%m/%d/%Y %I:%M %p", "03/04/2026 10:00 PM x", "2026-03-04T21:00:00Z"),
        ("%H:%M:%S,%f %d/%b", "10:00:00,123456789 28/Feb x", "2026-02-28T09:00:00.123456Z"),
        ("%d/%b %H:%M:%S", "29/Feb 10:00:00", "2024-02-29T09:00:00Z"),
        ("100%%Y %d/%b %H:%M:%S", "100%Y 28/Feb 10:00:00", "2026-02-28T09:00:00Z"),
        ("%Y-%m-%dT%H:%M:%S%z", "2026-11-28T10:00:00+0530", "2026-11-28T04:30:00Z"),
        ("100%% %Y%m%d", "100% 20261128", "2026-11-27T23:00:00Z"),
        ("%d.%m.%Y", "2026-11-28T10:00:00Z", None),
        ("%d.%m.%Y", "99.99.2026", None),
    ],
)
def test_a_time_that_is_written_as_one_says(format: str, line: str, utc: str | None) -> None:
    assert Timestamps(ZoneInfo("Europe/Berlin"), now=NOW, format=format).of_line(line) == utc


@pytest.mark.parametrize(
    ("format", "why"),
    [("%Q", "%Q is not known"), ("%", "is not known"), ("now", "neither day nor hour"), ("%d %d", "is in it twice")],
)
def test_a_format_that_cannot_be_read_is_refused(format: str, why: str, run: Run) -> None:
    result = run("-", "--time-format", format, stdin=b"x\n")
    assert (result.exit_code, why in result.stderr) == (2, True)


def test_a_field_may_be_named_in_records_and_lines(run: Run, keeper: Keeper) -> None:
    run("-", "--time-field", "meta.at", "--source", "a", stdin=b'{"meta": {"at": 1700000000}, "time": "2026-01-01T00:00:00Z"}\n')
    run("-", "--time-field", "at", "--source", "b", stdin=b'2026-01-01T00:00:00Z level=info at="2026-11-28T10:00:00Z"\n')
    assert [event["timestamp"] for event in keeper.events.values()] == ["2023-11-14T22:13:20Z", "2026-11-28T10:00:00Z"]


def test_the_year_of_a_file_that_has_none_is_that_of_its_last_change(run: Run, keeper: Keeper, tmp_path: Any) -> None:
    import os  # noqa: PLC0415

    log = tmp_path / "syslog"
    log.write_text("Nov 28 10:00:00 host x\n")
    os.utime(log, (0, datetime(2019, 12, 1, tzinfo=UTC).timestamp()))
    run(log)
    assert [event["timestamp"] for event in keeper.events.values()] == ["2019-11-28T10:00:00Z"]


@given(st.text() | st.from_regex(r"[\[<]?(?:Jan|Feb|\d{4}|[A-Z])[-/: .,0-9A-Z+]{0,30}"))
def test_no_text_breaks_it(text: str) -> None:
    for found in (TIMES.of_line(text), TIMES.of_value(text), TIMES.of_record({"time": text})):
        assert found is None or datetime.fromisoformat(found).tzinfo == UTC


@given(st.integers() | st.floats())
def test_no_number_breaks_it(number: float) -> None:
    TIMES.of_value(number)
