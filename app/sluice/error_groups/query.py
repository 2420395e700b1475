"""What may be asked of the list of error groups: query parameters to a `Query`, or what is wrong with them. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any, Literal, get_args

import msgspec

from sluice import filters
from sluice.env import one_of, whole
from sluice.filters import BadParameter

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
    "cursor": ("cursor", str),
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
    given: dict[str, Any] = {}
    moments: dict[str, tuple[str, str, datetime]] = {}
    problems: list[BadParameter] = []
    for name, text in parameters:
        if name in given or name in moments:
            problems.append(BadParameter(name, "is given twice"))
        elif "\0" in text:
            problems.append(BadParameter(name.replace("\0", "")[:64], "holds the character U+0000, which no event can hold"))
        elif name in times:
            moment = filters.moment(name, text)
            if isinstance(moment, BadParameter):
                problems.append(moment)
            else:
                moments[name] = (*times[name], moment)
        elif name in fields:
            try:
                given[name] = fields[name][1](text)
            except ValueError as error:
                problems.append(BadParameter(name, str(error)))
        else:
            problems.append(filters.unknown(name))
    if problems:
        raise filters.refusal(problems)
    return Query(times=tuple(moments.values()), **{fields[name][0]: value for name, value in given.items()})
