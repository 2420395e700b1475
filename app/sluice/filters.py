"""What a reader may ask for: query parameters to a `Filter`, or a list of what is wrong with them. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, get_args

import msgspec

from sluice import errors, events

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
PAGING = ("sort_by", "sort_order", "page", "page_size", "cursor")
MAX_PAGE_SIZE = 1_000
# Rows that OFFSET may skip: it reads and throws away every one of them. Beyond it a cursor costs nothing more.
MAX_OFFSET = 100_000
MAX_PATH = 16


class Match(msgspec.Struct, frozen=True):
    """One condition: `column` `operator` `value`; with `path`, on the text at that path inside a JSON column."""

    column: str
    operator: str
    value: str | int | datetime
    path: tuple[str, ...] = ()


class Filter(msgspec.Struct, frozen=True):
    """Conditions (all must hold), order and page of one read."""

    matches: tuple[Match, ...] = ()
    sort_by: str = "created_at"
    descending: bool = True
    page: int = 1
    page_size: int = 50
    cursor: str | None = None

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


def parse(parameters: Iterable[tuple[str, str]], *, paged: bool = True, matched: bool = True) -> Filter:
    """Query parameters to a Filter; raises BadRequest with every problem.

    `paged` False: no page, cursor or sort (the export). `matched` False: no conditions (the newest events).
    """
    problems: list[BadParameter] = []
    matches: list[Match] = []
    paging: dict[str, str] = {}
    for name, value in parameters:
        if paged and name in PAGING:
            if name in paging:
                problems.append(BadParameter(name, "is given twice"))
            paging[name] = value
            continue
        found = match(name, value) if matched else unknown(name)
        (problems if isinstance(found, BadParameter) else matches).append(found)  # type: ignore[arg-type]
    fields = page_fields(paging, problems)
    if problems:
        raise refusal(problems)
    return Filter(matches=tuple(matches), **fields)


def match(name: str, value: str) -> Match | BadParameter:
    """One condition, or what is wrong with it."""
    if "\0" in value or "\0" in name:
        return BadParameter(name.replace("\0", "")[:64], "holds the character U+0000, which no event can hold")
    if name == "provider_name":
        return Match("properties", "=", value, ("tags", "provider"))
    if name in TIMES:
        return time_match(name, value)
    if name in NUMBERS:
        return number_match(name, value)
    if name in CHOICES and value not in CHOICES[name]:
        return BadParameter(name, f"must be one of {', '.join(CHOICES[name])}", f"invalid_{name}")
    if name in TEXTS or name in CHOICES:
        return Match(name, "=", value)
    return path_match(name, value)


def time_match(name: str, value: str) -> Match | BadParameter:
    column, operator = TIMES[name]
    try:
        moment = events.instant(value)
    except ValueError:
        moment = events.EARLIEST.replace(year=1, day=1)
    if moment < events.EARLIEST:
        detail = "must be RFC 3339 with an offset, such as 2024-01-15T10:30:00Z (+ is %2B in a URL)"
        return BadParameter(name, detail, f"invalid_{name}")
    return Match(column, operator, moment)


def number_match(name: str, value: str) -> Match | BadParameter:
    if not re.fullmatch(r"-?[0-9]{1,19}", value) or not -(2**63) <= int(value) < 2**63:
        return BadParameter(name, "must be a whole number of 64 bits")
    return Match(name, "=", int(value))


def path_match(name: str, value: str) -> Match | BadParameter:
    """`properties.tags.provider=x`: the text at that path."""
    column, _, path = name.partition(".")
    steps = tuple(path.split("."))
    if column not in DOCUMENTS or not path:
        return unknown(name)
    if len(steps) > MAX_PATH or not all(steps):
        return BadParameter(name[:64], f"must be a path of 1 to {MAX_PATH} names joined by dots")
    return Match(column, "=", value, steps)


def unknown(name: str) -> BadParameter:
    return BadParameter(name[:64], "is not a parameter of this endpoint", "unknown_parameter")


def page_fields(paging: Mapping[str, str], problems: list[BadParameter]) -> dict[str, Any]:
    readers: dict[str, tuple[str, Callable[[str], Any]]] = {
        "sort_by": ("sort_by", sort_column),
        "sort_order": ("descending", is_descending),
        "page": ("page", lambda text: bounded(text, 10**9)),
        "page_size": ("page_size", lambda text: bounded(text, MAX_PAGE_SIZE)),
        "cursor": ("cursor", str),
    }
    fields: dict[str, Any] = {}
    for name, text in paging.items():
        field, read = readers[name]
        try:
            fields[field] = read(text)
        except ValueError as error:
            problems.append(BadParameter(name, str(error)))
    if "cursor" in fields and "page" in fields:
        problems.append(BadParameter("page", "cannot stand beside a cursor, which says where the page begins"))
    if (fields.get("page", 1) - 1) * fields.get("page_size", 50) > MAX_OFFSET:
        problems.append(BadParameter("page", f"skips more than {MAX_OFFSET} rows; follow next_cursor instead"))
    return fields


def sort_column(text: str) -> str:
    if text not in SORTS:
        raise ValueError(f"must be one of {', '.join(SORTS)}")
    return text


def is_descending(text: str) -> bool:
    if text.lower() not in ("asc", "desc"):
        raise ValueError("must be asc or desc")
    return text.lower() == "desc"


def bounded(text: str, high: int) -> int:
    if not re.fullmatch(r"[0-9]{1,10}", text) or not 1 <= int(text) <= high:
        raise ValueError(f"must be a whole number from 1 to {high}")
    return int(text)
