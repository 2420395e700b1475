"""What may be asked of the list of error groups: query parameters to a `Query`, or what is wrong with them. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from functools import partial
from typing import Any, Literal, get_args

import msgspec

from sluice import cursors, filters
from sluice.env import one_of, whole

Status = Literal["unresolved", "resolved", "ignored"]
Sort = Literal["last_seen", "first_seen", "count", "users"]
# A group brings an event along, and an event may have 256 KiB.
MAX_PAGE_SIZE = 100
TIMES = {
    "first_seen_from": ("first_seen", ">="),
    "first_seen_to": ("first_seen", "<="),
    "last_seen_from": ("last_seen", ">="),
    "last_seen_to": ("last_seen", "<="),
}


class Query(msgspec.Struct, frozen=True):
    """Conditions (all must hold), order and page. `times`: column, operator, moment."""

    status: Status | None = None
    service: str | None = None
    times: tuple[tuple[str, str, datetime], ...] = ()
    sort_by: Sort = "last_seen"
    descending: bool = True
    page_size: int = 50
    cursor: str | None = None


# Parameter -> field of Query, and how it is read; raises ValueError.
PAGE: dict[str, tuple[str, Callable[[str], Any]]] = {
    "page_size": ("page_size", whole(1, MAX_PAGE_SIZE)),
    "cursor": ("cursor", cursors.given),
}
FIELDS: dict[str, tuple[str, Callable[[str], Any]]] = {
    **PAGE,
    "status": ("status", one_of(*get_args(Status))),
    "service": ("service", str),
    "sort_by": ("sort_by", one_of(*get_args(Sort))),
    "sort_order": ("descending", lambda text: one_of("asc", "desc")(text) == "desc"),
}


def of_list(parameters: Iterable[tuple[str, str]]) -> Query:
    """Raises BadRequest that names every bad parameter."""
    return parse(parameters, FIELDS, TIMES)


def of_events(parameters: Iterable[tuple[str, str]]) -> Query:
    """Of the events of one group only the page may be asked."""
    return parse(parameters, PAGE, {})


def parse(
    parameters: Iterable[tuple[str, str]], fields: dict[str, tuple[str, Callable[[str], Any]]], times: dict[str, tuple[str, str]]
) -> Query:
    readers = {name: read for name, (_, read) in fields.items()} | {name: partial(filters.moment, name) for name in times}
    given = filters.values(parameters, readers)
    moments = tuple((*times[name], moment) for name, moment in given.items() if name in times)
    return Query(times=moments, **{fields[name][0]: value for name, value in given.items() if name in fields})
