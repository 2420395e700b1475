"""What a reader may ask for: query parameters to a `Filter`, or a list of what is wrong with them. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, get_args

import msgspec

from sluice import cursors, errors, events
from sluice.env import one_of, whole

TEXTS = ("event_id", "event_name", "user_id", "session_id", "app_version", "source", "key_id", "fingerprint")
CHOICES = {"event_type": get_args(events.EventType), "priority": get_args(events.Priority)}
NUMBERS = ("id", "sequence_number")
TIMES = {
    "start_time": ("timestamp", ">="),
    "end_time": ("timestamp", "<="),
    "created_start_time": ("created_at", ">="),
    "created_end_time": ("created_at", "<="),
}
DOCUMENTS = ("properties", "device_info")
SORTS = (
    "created_at",
    "timestamp",
    "id",
    "event_id",
    "event_type",
    "event_name",
    "user_id",
    "session_id",
    "app_version",
    "source",
    "priority",
)
MAX_PAGE_SIZE = 1_000
# Rows that OFFSET may skip: it reads and throws away every one of them. Beyond it a cursor costs nothing more.
MAX_OFFSET = 100_000
MAX_PATH = 16
NUL = "holds the character U+0000, which cannot be stored"
LATEST = datetime.max.replace(tzinfo=UTC)
# One name of a path: `.name`, in which a backslash makes a dot, a bracket or a backslash plain, or `["name"]` as JSON writes it.
STEP = re.compile(r'\.((?:[^.\\\[]|\[(?!")|\\[.\\\[]?)+)|\[("(?:[^"\\]|\\.)*")\]')


class Match(msgspec.Struct, frozen=True):
    """One condition: `column` `operator` `value`; with `path`, on the text at that path inside a JSON column."""

    column: str
    operator: str
    value: str | int | datetime
    path: tuple[str, ...] = ()


class Filter(msgspec.Struct, frozen=True):
    """Conditions (all must hold), order and page of one read. `counted`: whether the total is asked for."""

    matches: tuple[Match, ...] = ()
    sort_by: str = "created_at"
    descending: bool = True
    page: int = 1
    page_size: int = 50
    cursor: str | None = None
    counted: bool = True

    @property
    def offset(self) -> int:
        return (self.page - 1) * self.page_size


class BadParameter(msgspec.Struct, frozen=True):
    """One query parameter that cannot be used. `error` is the stable code."""

    parameter: str
    detail: str
    error: str = "validation_error"


def refusal(problems: Sequence[BadParameter]) -> errors.BadRequest:
    """The error that names every bad parameter; its code is the first one's."""
    first = problems[0]
    details = [{"parameter": each.parameter, "detail": each.detail} for each in problems]
    return errors.BadRequest(f"{first.parameter} {first.detail}", error=first.error, reason="query", errors=details)


def values(parameters: Iterable[tuple[str, str]], known: Mapping[str, Callable[[str], Any]]) -> dict[str, Any]:
    """What was given of the parameters `known`, by their readers; raises BadRequest with every problem.

    A reader raises ValueError, or returns a BadParameter that has a code of its own.
    """
    found: dict[str, Any] = {}
    problems: list[BadParameter] = []
    for name, text in parameters:
        if name not in known:
            problems.append(unknown(name))
        elif name in found:
            problems.append(BadParameter(name, "is given twice"))
        else:
            try:
                # A cursor has a code of its own, and is no value of a row.
                nul = "\0" in text and known[name] is not cursors.given
                found[name] = BadParameter(name, NUL) if nul else known[name](text)
            except ValueError as error:
                found[name] = BadParameter(name, str(error))
            if isinstance(found[name], BadParameter):
                problems.append(found[name])
    if problems:
        raise refusal(problems)
    return found


def parse(parameters: Iterable[tuple[str, str]], *, paged: bool = True) -> Filter:
    """Query parameters to a Filter; raises BadRequest with every problem. `paged` False: no page, cursor or sort (the export)."""
    problems: list[BadParameter] = []
    matches: list[Match] = []
    paging: dict[str, str] = {}
    names: set[str] = set()
    for name, value in parameters:
        if name in names:
            # Of two values no event has both.
            problems.append(BadParameter(name[:64], "is given twice"))
            continue
        names.add(name)
        if paged and name in PAGE_FIELDS:
            paging[name] = value
            continue
        found = match(name, value)
        (problems if isinstance(found, BadParameter) else matches).append(found)  # type: ignore[arg-type]
    fields = page_fields(paging, problems)
    if problems:
        raise refusal(problems)
    return Filter(matches=tuple(matches), **fields)


def newest(parameters: Iterable[tuple[str, str]]) -> Filter:
    """The newest events, as many as `limit` says; raises BadRequest."""
    given = values(parameters, {"limit": whole(1, MAX_PAGE_SIZE)})
    return Filter(page_size=given.get("limit", 50), counted=False)


def match(name: str, value: str) -> Match | BadParameter:
    """One condition, or what is wrong with it."""
    if "\0" in value or "\0" in name:
        return BadParameter(name.replace("\0", "")[:64], NUL)
    if name == "provider_name":
        return Match("properties", "=", value, ("tags", "provider"))
    if name in TIMES:
        return time_match(name, value)
    if name in NUMBERS:
        if not re.fullmatch(r"-?[0-9]{1,19}", value) or not -(2**63) <= int(value) < 2**63:
            return BadParameter(name, "must be a whole number of 64 bits")
        return Match(name, "=", int(value))
    if name in CHOICES and value not in CHOICES[name]:
        return BadParameter(name, f"must be one of {', '.join(CHOICES[name])}", f"invalid_{name}")
    if name in TEXTS or name in CHOICES:
        return Match(name, "=", value)
    return path_match(name, value)


def time_match(name: str, value: str) -> Match | BadParameter:
    found = moment(name, value)
    return found if isinstance(found, BadParameter) else Match(*TIMES[name], found)


def moment(name: str, value: str) -> datetime | BadParameter:
    """The moment that a parameter gives, in UTC, or what is wrong with it."""
    try:
        found = events.instant(value)
    except ValueError:
        return BadParameter(name, f"{events.TIME_DETAIL} (+ is %2B in a URL)", f"invalid_{name}")
    if found < events.EARLIEST:
        return BadParameter(name, "is before 0001-01-02, as no event is; leave it out", f"invalid_{name}")
    try:
        return found.astimezone(UTC)
    except OverflowError:
        # The last day of year 9999, west of Greenwich.
        return LATEST


def path_match(name: str, value: str) -> Match | BadParameter:
    """`properties.tags.provider=x`: the text at that path. `properties["http.status_code"]`: a name with dots in it."""
    column = re.split(r"[.\[]", name, maxsplit=1)[0]
    if column not in DOCUMENTS or name in (column, f"{column}."):
        return unknown(name)
    try:
        return Match(column, "=", value, path(name.removeprefix(column)))
    except ValueError as error:
        return BadParameter(name[:64], str(error))


def path(text: str) -> tuple[str, ...]:
    """The names of a path such as `.tags.provider` or `["http.status_code"]`; raises ValueError for what no event can have."""
    steps: list[str] = []
    at = 0
    while at < len(text):
        step = STEP.match(text, at)
        if step is None:
            raise ValueError(
                'is no path: names are joined by dots, and one with dots in it is written properties["http.status_code"] or'
                r" properties.http\.status_code"
            )
        try:
            steps.append(re.sub(r"\\([.\\\[])", r"\1", step[1]) if step[1] else msgspec.json.decode(step[2], type=str))
        except (msgspec.DecodeError, UnicodeEncodeError) as error:
            raise ValueError("holds a name in quotes that is no JSON string") from error
        at = step.end()
    if len(steps) > MAX_PATH or any("\0" in step for step in steps):
        raise ValueError(f"must have 1 to {MAX_PATH} names, without U+0000")
    return tuple(steps)


def unknown(name: str) -> BadParameter:
    return BadParameter(name[:64], "is not a parameter of this endpoint", "unknown_parameter")


# Parameter -> field of Filter, and how it is read; raises ValueError.
PAGE_FIELDS: dict[str, tuple[str, Callable[[str], Any]]] = {
    "sort_by": ("sort_by", one_of(*SORTS)),
    "sort_order": ("descending", lambda text: one_of("asc", "desc")(text) == "desc"),
    "page": ("page", whole(1, 10**9)),
    "page_size": ("page_size", whole(1, MAX_PAGE_SIZE)),
    "cursor": ("cursor", cursors.given),
}


def page_fields(paging: Mapping[str, str], problems: list[BadParameter]) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for name, text in paging.items():
        field, read = PAGE_FIELDS[name]
        try:
            fields[field] = read(text)
        except ValueError as error:
            problems.append(BadParameter(name, str(error)))
    if fields.get("cursor") and "page" in fields:
        problems.append(BadParameter("page", "cannot be combined with a cursor, which says where the page begins"))
    if (fields.get("page", 1) - 1) * fields.get("page_size", 50) > MAX_OFFSET:
        problems.append(BadParameter("page", f"skips more than {MAX_OFFSET} rows; follow next_cursor instead"))
    return fields
