"""Query parameters: each becomes a condition or a named refusal."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice import cursors, errors, events, filters
from sluice.filters import BadParameter, Filter, Match

Parameters = list[tuple[str, str]]
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def problems(*parameters: tuple[str, str], paged: bool = True) -> list[BadParameter]:
    with pytest.raises(errors.BadRequest) as caught:
        filters.parse(parameters, paged=paged)
    return problems_of(caught.value)


def problems_of(error: errors.BadRequest) -> list[BadParameter]:
    """What the error names; its code is the first one's, so that of the others is not known."""
    codes = [error.error, *["validation_error"] * (len(error.errors) - 1)]
    return [BadParameter(each["parameter"], each["detail"], code) for each, code in zip(error.errors, codes, strict=True)]


def problem(name: str, value: str) -> BadParameter:
    found = problems((name, value))
    assert len(found) == 1
    return found[0]


def test_no_parameters_are_the_newest_fifty() -> None:
    assert filters.parse([]) == Filter((), "created_at", descending=True, page=1, page_size=50, cursor=None)


CONDITIONS = {
    **{name: ("x", Match(name, "=", "x")) for name in filters.TEXTS},
    "event_type": ("error", Match("event_type", "=", "error")),
    "priority": ("high", Match("priority", "=", "high")),
    "id": ("17", Match("id", "=", 17)),
    "sequence_number": ("-9223372036854775808", Match("sequence_number", "=", -(2**63))),
    "start_time": ("2026-03-01T12:00:00Z", Match("timestamp", ">=", NOON)),
    "end_time": ("2026-03-01T14:00:00+02:00", Match("timestamp", "<=", NOON)),
    "created_start_time": ("2026-03-01T12:00:00.000Z", Match("created_at", ">=", NOON)),
    "created_end_time": ("2026-03-01T12:00:00Z", Match("created_at", "<=", NOON)),
    "provider_name": ("aws", Match("properties", "=", "aws", ("tags", "provider"))),
    "properties.a": ("x", Match("properties", "=", "x", ("a",))),
    "properties.a.b": ("x", Match("properties", "=", "x", ("a", "b"))),
    "properties.ключ.0": ("", Match("properties", "=", "", ("ключ", "0"))),
    "device_info.os": ("x", Match("device_info", "=", "x", ("os",))),
}


@pytest.mark.parametrize("name", CONDITIONS)
def test_a_parameter_is_a_condition(name: str) -> None:
    value, match = CONDITIONS[name]
    assert filters.parse([(name, value)]).matches == (match,)


def test_all_conditions_hold_together_and_in_order() -> None:
    given = [(name, value) for name, (value, _) in CONDITIONS.items()]
    assert filters.parse(given).matches == tuple(match for _, match in CONDITIONS.values())


REFUSED = {
    "unknown": ("user", "x", "unknown_parameter"),
    "no name": ("", "x", "unknown_parameter"),
    "a document as a whole": ("properties", "x", "unknown_parameter"),
    "an empty path": ("properties.", "x", "unknown_parameter"),
    "another document": ("metadata.a", "x", "unknown_parameter"),
    "a hole in the path": ("properties.a..b", "x", "validation_error"),
    "17 steps": ("properties." + ".".join("a" * 17), "x", "validation_error"),
    "U+0000 in a value": ("user_id", "a\0b", "validation_error"),
    "U+0000 in a name": ("properties.\0", "x", "validation_error"),
    "U+0000 in a cursor's neighbour": ("event_type", "error\0", "validation_error"),
    "no such type": ("event_type", "errors", "invalid_event_type"),
    "an empty type": ("event_type", "", "invalid_event_type"),
    "no such priority": ("priority", "HIGH", "invalid_priority"),
    "2^63": ("sequence_number", str(2**63), "validation_error"),
    "-2^63-1": ("sequence_number", str(-(2**63) - 1), "validation_error"),
    "5,000 digits": ("id", "9" * 5_000, "validation_error"),
    "digits of another script": ("id", "٣", "validation_error"),
    "no number": ("id", "1.0", "validation_error"),
    "a line end after a number": ("id", "1\n", "validation_error"),
    "page 0": ("page", "0", "validation_error"),
    "page -1": ("page", "-1", "validation_error"),
    "page of words": ("page", "two", "validation_error"),
    "page size 0": ("page_size", "0", "validation_error"),
    "page size 1,001": ("page_size", "1001", "validation_error"),
    "no such order": ("sort_order", "up", "validation_error"),
    "no such column": ("sort_by", "properties", "validation_error"),
    "SQL": ("sort_by", "id; DROP TABLE events", "validation_error"),
}


@pytest.mark.parametrize(("name", "value", "code"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_used_is_refused_with_its_stable_code(name: str, value: str, code: str) -> None:
    found = problem(name, value)
    assert (found.error, found.parameter) == (code, name.replace("\0", "")[:64])
    assert "\0" not in found.detail


TIMES = {
    "no offset": "2026-03-01T12:00:00",
    "a date": "2026-03-01",
    "seconds since 1970": "1705314600",
    "seconds after year 9999": "253402300800",
    "words": "yesterday",
    "empty": "",
    "a + that became a space": "2026-03-01T12:00:00 00:00",
    "year 0": "0000-01-01T00:00:00Z",
    "year 0 in UTC": "0001-01-01T00:00:00+14:00",
    "year 10000": "10000-01-01T00:00:00Z",
    "half a surrogate pair": "\ud800",
}


@pytest.mark.parametrize("value", TIMES.values(), ids=TIMES)
@pytest.mark.parametrize("name", filters.TIMES)
def test_a_time_that_is_not_rfc_3339_is_refused_with_a_code_of_its_own(name: str, value: str) -> None:
    assert problem(name, value).error == f"invalid_{name}"


def test_the_last_second_of_the_calendar_is_a_time() -> None:
    last = datetime(9999, 12, 31, 23, 59, 59, tzinfo=timezone(-timedelta(hours=14)))
    assert filters.parse([("end_time", last.isoformat())]).matches[0].value == datetime.max.replace(tzinfo=UTC)


@pytest.mark.parametrize("name", filters.TIMES)
def test_a_moment_of_the_first_day_counts_in_utc_whatever_its_offset(name: str) -> None:
    first = filters.parse([(name, "0001-01-01T23:00:00-23:00")]).matches[0].value
    # What looks a day further back must not fall out of the calendar.
    assert isinstance(first, datetime)
    assert (str(first), first - events.MAX_AHEAD) == ("0001-01-02 22:00:00+00:00", first - timedelta(days=1))


def test_a_time_before_all_events_is_not_blamed_for_its_form() -> None:
    assert problem("start_time", "0001-01-01T00:00:00Z").detail == "is before 0001-01-02, as no event is; leave it out"


TWICE = {"sort_by": "id", "sort_order": "asc", "page": "2", "page_size": "5", "cursor": "x", "user_id": "u", "properties.a": "1"}


@pytest.mark.parametrize("name", TWICE)
def test_a_parameter_that_is_given_twice_is_refused(name: str) -> None:
    assert BadParameter(name, "is given twice") in problems((name, TWICE[name]), (name, TWICE[name]))


@pytest.mark.parametrize("column", filters.SORTS)
@pytest.mark.parametrize(("order", "descending"), [("asc", False), ("desc", True), ("ASC", False)])
def test_every_column_sorts_both_ways(column: str, order: str, descending: bool) -> None:
    found = filters.parse([("sort_by", column), ("sort_order", order)])
    assert (found.sort_by, found.descending) == (column, descending)


def test_a_page_is_what_it_skips() -> None:
    found = filters.parse([("page", "3"), ("page_size", "20")])
    assert (found.page, found.page_size, found.offset) == (3, 20, 40)


@pytest.mark.parametrize(
    ("page", "size", "good"), [("101", "1000", True), ("102", "1000", False), ("2001", None, True), ("2002", None, False)]
)
def test_a_page_may_skip_100_000_rows_and_not_one_more(page: str, size: str | None, good: bool) -> None:
    parameters = [("page", page)] + ([("page_size", size)] if size else [])
    if good:
        assert filters.parse(parameters).offset == filters.MAX_OFFSET
    else:
        assert "next_cursor" in problems(*parameters)[0].detail


def test_a_cursor_and_a_page_contradict_each_other() -> None:
    assert filters.parse([("cursor", "x"), ("page_size", "5")]).cursor == "x"
    assert problems(("cursor", "x"), ("page", "1"))[0].parameter == "page"


def test_every_problem_is_reported_at_once_and_in_order() -> None:
    found = problems(("nope", "1"), ("event_type", "x"), ("id", "x"), ("page", "0"), ("page_size", "0"))
    assert [p.parameter for p in found] == ["nope", "event_type", "id", "page", "page_size"]


@pytest.mark.parametrize("name", filters.PAGE_FIELDS)
def test_an_export_knows_no_paging(name: str) -> None:
    assert problems((name, "1"), paged=False)[0].error == "unknown_parameter"


@pytest.mark.parametrize("name", [*CONDITIONS, *filters.PAGE_FIELDS])
def test_the_newest_events_know_a_limit_and_nothing_else(name: str) -> None:
    with pytest.raises(errors.BadRequest) as caught:
        filters.newest([("limit", "7"), (name, "1")])
    assert problems_of(caught.value) == [BadParameter(name, "is not a parameter of this endpoint", "unknown_parameter")]
    assert filters.newest([("limit", "7")]) == Filter(page_size=7, counted=False)
    assert filters.newest([]).page_size == 50


@pytest.mark.parametrize("limits", [["abc"], ["0"], ["1001"], [""], ["-1"], ["1.0"], ["1", "2"]])
def test_a_limit_that_cannot_be_used_is_blamed_by_its_name(limits: list[str]) -> None:
    with pytest.raises(errors.BadRequest) as caught:
        filters.newest([("limit", text) for text in limits])
    assert [each.parameter for each in problems_of(caught.value)] == ["limit"]


PATHS = {
    "properties.tags.provider": ("tags", "provider"),
    'properties["http.status_code"]': ("http.status_code",),
    "properties.http\\.status_code": ("http.status_code",),
    'properties.resource["service.name"].x': ("resource", "service.name", "x"),
    'properties["a"]["b.c"]': ("a", "b.c"),
    'properties["a\\"b"]': ('a"b',),
    'properties["a\\\\b"]': ("a\\b",),
    'properties["\\u00fc"]': ("\u00fc",),
    "properties.a\\\\b": ("a\\b",),
    "properties.a\\b": ("a\\b",),
    "properties.a\\": ("a\\",),
    "properties.items[0]": ("items[0]",),
    "properties.items.0": ("items", "0"),
    'properties[""]': ("",),
    'properties["]"]': ("]",),
    "properties. ": (" ",),
}


@pytest.mark.parametrize(("name", "steps"), PATHS.items(), ids=PATHS)
def test_a_path_may_hold_names_with_dots_in_quotes_or_after_a_backslash(name: str, steps: tuple[str, ...]) -> None:
    assert filters.parse([(name, "v")]).matches == (Match("properties", "=", "v", steps),)


NO_PATHS = [
    'properties["a',
    'properties["a"',
    'properties["a"]b',
    "properties[a]",
    "properties[0]",
    "properties['a']",
    "properties[]",
    'properties["\\x"]',
    'properties["\\ud800"]',
    'properties["\\u0000"]',
    "properties.a.",
    "properties..a",
    'properties.["a"]',
]


@pytest.mark.parametrize("name", NO_PATHS)
def test_a_path_that_can_never_match_is_refused(name: str) -> None:
    found = problem(name, "v")
    assert (found.parameter, found.error) == (name, "validation_error")


@given(
    st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])), min_size=1, max_size=filters.MAX_PATH)
)
def test_every_name_can_be_written_in_quotes(names: list[str]) -> None:
    written = "device_info" + "".join(f"[{json.dumps(name)}]" for name in names)
    assert filters.parse([(written, "v")]).matches == (Match("device_info", "=", "v", tuple(names)),)


def test_a_long_name_is_not_repeated_as_a_whole() -> None:
    for name in ("x" * 10_000, "properties." + "a." * 5_000, "\0" + "x" * 10_000):
        assert len(problem(name, "x").parameter) <= 64


def parsed(parameters: Parameters, **choices: bool) -> Filter | list[BadParameter]:
    try:
        return filters.parse(parameters, **choices)
    except errors.BadRequest as refused:
        return problems_of(refused)


NAMES = st.sampled_from([*CONDITIONS, *filters.PAGE_FIELDS]) | st.text() | st.text().map("properties.{}".format)
WORDS = st.text() | st.integers().map(str) | st.datetimes().map(datetime.isoformat) | st.floats().map(str)


@given(st.lists(st.tuples(NAMES, WORDS), max_size=8), st.booleans())
def test_any_parameters_are_a_filter_or_refused_and_nothing_else(parameters: Parameters, paged: bool) -> None:
    found = parsed(parameters, paged=paged)
    if isinstance(found, Filter):
        assert found.offset <= filters.MAX_OFFSET
        assert not any("\0" in str(part) for match in found.matches for part in (match.value, *match.path))
        assert len(found.matches) == sum(not (paged and name in filters.PAGE_FIELDS) for name, _ in parameters)
    else:
        assert found


def test_no_reader_of_a_parameter_gets_u_0000_but_that_of_a_cursor_which_has_its_own_code() -> None:
    known: dict[str, Callable[[str], Any]] = {"name": str, "cursor": cursors.given}
    with pytest.raises(errors.BadRequest) as caught:
        filters.values([("name", "a\0")], known)
    assert (caught.value.error, caught.value.errors) == ("validation_error", [{"parameter": "name", "detail": filters.NUL}])
    assert filters.values([("cursor", "\0")], known) == {"cursor": "\0"}
