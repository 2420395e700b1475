"""Error groups over HTTP: the list, one group with its events, and its state."""

from __future__ import annotations

import hashlib
import re
from datetime import UTC, datetime
from typing import cast, get_args

import msgspec

from sluice import errors, stores
from sluice.error_groups import fold, query, store
from sluice.error_groups.query import Sort, Status
from sluice.filters import Filter, Match
from sluice.http import auth, read, responses
from sluice.http.context import RequestContext
from sluice.http.responses import Log, Response
from sluice.http.routes import Example, envelope, flags, parameter, route, success
from sluice.http.services import CACHE_SECONDS, Services

FINGERPRINT = r"[0-9]{1,9}:[0-9a-f]{32}"
ONE = parameter("fingerprint", {"type": "string", "pattern": f"^{FINGERPRINT}$"}, "of the group", "path")
PAGE = (
    parameter("page_size", {"type": "integer", "minimum": 1, "maximum": query.MAX_PAGE_SIZE, "default": 50}, "rows a page"),
    parameter("cursor", {"type": "string"}, "next_cursor of the page before, with the same filters"),
)
NO_GROUP = {404: "no error has this fingerprint"}


class HourCount(msgspec.Struct):
    hour: datetime
    count: int


class ErrorGroup(msgspec.Struct):
    """Events of type error with one fingerprint. `count` stays exact when retention removes the events.

    `users`: how many were touched, exact up to 1,000 (then `users_exact` is false). `services`: up to 100. `regressed`: it was
    resolved, and an event with a later timestamp reopened it. `changed_by`: id of the key that resolved, reopened or ignored it
    last. `histogram`: by the hour of the events' timestamps, the last day in a list and 30 days of one group; hours without
    events are left out. `example`: the newest event that is still kept.
    """

    fingerprint: str
    status: Status
    count: int
    first_seen: datetime
    last_seen: datetime
    services: list[str]
    services_exact: bool
    users: int
    users_exact: bool
    regressed: bool
    regressed_at: datetime | None
    changed_at: datetime | None
    changed_by: str | None
    histogram: list[HourCount]
    example: Log | None


class ErrorPage(msgspec.Struct):
    """One page. `counts_exact`: false only while more errors come than can be added up before the answer."""

    errors: list[ErrorGroup]
    total_count: int
    total_count_exact: bool
    counts_exact: bool
    page_size: int
    next_cursor: str | None


class ErrorEvents(msgspec.Struct):
    """One group, and a page of those of its events that are still kept, newest first."""

    error: ErrorGroup
    counts_exact: bool
    events: list[Log]
    next_cursor: str | None


HOUR = datetime(2026, 1, 31, 12, tzinfo=UTC)
GROUP = ErrorGroup(
    fingerprint="2:9f86d081884c7d659a2feaa0c55ad015",
    status="unresolved",
    count=3,
    first_seen=HOUR,
    last_seen=HOUR,
    services=["checkout"],
    services_exact=True,
    users=2,
    users_exact=True,
    regressed=False,
    regressed_at=None,
    changed_at=None,
    changed_by=None,
    histogram=[HourCount(HOUR, 3)],
    example=read.LOG,
)
SHOWN = {"fingerprint": GROUP.fingerprint}
LISTED = ("GET /api/v1/errors",)


@route(
    "GET",
    "/api/v1/errors",
    summary="Errors, by group",
    access="read",
    answers={200: envelope(ErrorPage)},
    parameters=(
        parameter("status", {"enum": list(get_args(Status))}, "equals"),
        parameter("service", {"type": "string"}, "one of the group's services"),
        *(parameter(name, {"type": "string", "format": "date-time"}, " ".join(query.TIMES[name])) for name in query.TIMES),
        parameter("sort_by", {"enum": list(get_args(Sort)), "default": "last_seen"}, "order"),
        parameter("sort_order", {"enum": ["asc", "desc"], "default": "desc"}, "direction"),
        *PAGE,
    ),
    example=Example(
        after=read.STORED,
        query={"service": "checkout", "sort_by": "count"},
        answer=success("errors found", ErrorPage([GROUP], 1, True, True, 50, None)),
    ),
)
def listed(parts: Services, context: RequestContext) -> Response:
    asked = query.of_list(context.query)
    name = hashlib.sha256(repr(asked).encode()).hexdigest()
    text = parts.cache.through("errors", name, CACHE_SECONDS, lambda: responses.encode(page_of(parts, asked)))
    return responses.success(msgspec.Raw(text), "errors found")


def page_of(parts: Services, asked: query.Query) -> ErrorPage:
    database, now = stores.database(parts.store), parts.pipeline.clock()
    exact = fold.drain(database, now)
    page = store.page(database, parts.store.cursor_secret, asked, now)
    return ErrorPage(
        errors=cast(list[ErrorGroup], page.logs),  # JSON text of such objects, as the database wrote it
        total_count=page.total,
        total_count_exact=page.exact,
        counts_exact=exact,
        page_size=asked.page_size,
        next_cursor=page.next_cursor,
    )


@route(
    "GET",
    "/api/v1/errors/{fingerprint}",
    summary="One error with its events",
    access="read",
    answers={200: envelope(ErrorEvents)},
    refusals=NO_GROUP,
    parameters=(ONE, *PAGE),
    example=Example(after=LISTED, path=SHOWN, answer=success("error found", ErrorEvents(GROUP, True, [read.LOG], None))),
)
def one(parts: Services, context: RequestContext, fingerprint: str) -> Response:
    asked = query.of_events(context.query)
    exact, group = found(parts, fingerprint)
    match = Match("fingerprint", "=", fingerprint)
    page = parts.store.page(Filter(matches=(match,), page_size=asked.page_size, cursor=asked.cursor, counted=False))
    data = ErrorEvents(cast(ErrorGroup, group), exact, cast(list[Log], page.logs), page.next_cursor)
    return responses.success(data, "error found")


def state_route(action: str, status: Status, summary: str) -> None:
    """Declare the route that gives a group this state. Twice changes nothing: the first time counts, and who it was."""

    @route(
        "POST",
        f"/api/v1/errors/{{fingerprint}}/{action}",
        summary=summary,
        access="admin",
        answers={200: envelope(ErrorGroup)},
        refusals={**NO_GROUP, 504: "the database took too long"},
        parameters=(ONE,),
        example=Example(
            after=LISTED,
            path=SHOWN,
            answer=success(
                f"the error is {status}",
                msgspec.structs.replace(GROUP, status=status, changed_at=HOUR, changed_by="checkout-admin"),
            ),
        ),
    )
    def change(parts: Services, context: RequestContext, fingerprint: str) -> Response:
        flags(context)
        # What was stored before this request is counted before it, and reopens nothing.
        found(parts, fingerprint)
        store.change(stores.database(parts.store), fingerprint, status, parts.pipeline.clock(), auth.entry_on(context).key_id)
        parts.cache.forget("errors")
        return responses.success(found(parts, fingerprint)[1], f"the error is {status}")


state_route("resolve", "resolved", "An error is fixed: an event after this reopens it")
state_route("reopen", "unresolved", "An error is not fixed, or not to be ignored any more")
state_route("ignore", "ignored", "An error is of no interest: it is counted and stays as it is")


def found(parts: Services, fingerprint: str) -> tuple[bool, msgspec.Raw]:
    """Whether all is counted, and the group; raises NotFound."""
    database, now = stores.database(parts.store), parts.pipeline.clock()
    if re.fullmatch(FINGERPRINT, fingerprint):
        exact = fold.drain(database, now)
        if (group := store.get(database, fingerprint, now)) is not None:
            return exact, group
    raise errors.NotFound("no error has this fingerprint")
