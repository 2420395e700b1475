"""Sources and their records over HTTP: seed 003's three paths for the default source, and the same of every source."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Literal, TypeVar, cast

import msgspec

from sluice import cursors, errors, filters
from sluice.cursors import Cursor
from sluice.env import whole
from sluice.filters import MAX_OFFSET, MAX_PAGE_SIZE
from sluice.http import responses
from sluice.http.context import RequestContext
from sluice.http.read import too_large
from sluice.http.responses import JSON, Response, encode
from sluice.http.routes import Example, Schema, envelope, flags, parameter, route, success
from sluice.http.services import Services
from sluice.sources import opening
from sluice.sources.states import RunState, SourceReader, SourceState, Status
from sluice.stores import COUNT_CAP, capped
from sluice.values import SOURCE_NAME

T = TypeVar("T")
RUNS_SHOWN = 20
NAME = parameter("name", {"type": "string", "maxLength": 63}, "of a source", "path")
UNKNOWN = {404: "no such source"}


class PostPage(msgspec.Struct):
    """Records of the default source: their own fields, `ingested_at` (RFC 3339) and `source`."""

    posts: list[dict[str, Any]]
    count: int
    limit: int
    offset: int


class PullStatus(msgspec.Struct, omit_defaults=True):
    """Seed 003's status. `records_ingested`: how many records of the newest run's list are stored, changed or not."""

    last_successful_run: datetime | None
    last_attempt: datetime | None
    status: Status
    records_ingested: int
    error_message: str | None = None


class SourceHistory(msgspec.Struct):
    """A source and its newest runs, the newest first."""

    source: SourceState
    runs: list[RunState]


class SourceRecord(msgspec.Struct):
    """`version` counts the contents that the record has had. `created_at`: of the first, `ingested_at`: of the newest."""

    id: str
    version: int
    content: dict[str, Any]
    created_at: datetime
    ingested_at: datetime


class RecordPage(msgspec.Struct):
    """One page, in the order in which records came first. `total_count` is exact up to 10,000, as `total_count_exact` says."""

    records: list[SourceRecord]
    total_count: int
    total_count_exact: bool
    next_cursor: str | None


class Requested(msgspec.Struct):
    name: str
    requested_at: datetime


def limits(most: int, usual: int) -> Schema:
    return parameter("limit", {"type": "integer", "minimum": 1, "maximum": most, "default": usual}, "how many")


AT = datetime(2026, 1, 31, 12, 0, 1, tzinfo=UTC)
NEXT = datetime(2026, 1, 31, 12, 5, tzinfo=UTC)
CONTENT = {"userId": 1, "id": 1, "title": "a title", "body": "a text"}
POST = {**CONTENT, "ingested_at": "2026-01-31T12:00:01+00:00", "source": "placeholder_api"}
STATE = SourceState(
    "placeholder_api", "https://api.example.com/posts", "every 300 s", True, "success", None, None, AT, AT, 1, NEXT, None
)
RUN = RunState(1, AT, AT, "success", None, None, 1, 1, 0, 0, 0)
RECORD = SourceRecord("1", 1, CONTENT, AT, AT)
OF_NAME = {"name": STATE.name}

OFFSET = parameter("offset", {"type": "integer", "minimum": 0, "maximum": MAX_OFFSET, "default": 0}, "how many are skipped")
CURSOR = parameter("cursor", {"type": "string"}, "next_cursor of the page before")


@route(
    "GET",
    "/posts",
    summary="Records of the default source",
    access="read",
    answers={200: (JSON, PostPage)},
    parameters=(limits(MAX_PAGE_SIZE, 10), OFFSET),
    example=Example(query={"limit": "1"}, answer=PostPage([POST], 1, 1, 0)),
)
def posts(parts: Services, context: RequestContext) -> Response:
    readers = {"limit": whole(1, MAX_PAGE_SIZE), "offset": whole(0, MAX_OFFSET)}
    given = {"limit": 10, "offset": 0, **filters.values(context.query, readers)}
    found, short = reader(parts).posts(given["limit"], given["offset"])
    if short:
        raise too_large("limit", len(found))
    page = PostPage(cast(list[dict[str, Any]], found), len(found), given["limit"], given["offset"])
    return Response(body=encode(page))


@route(
    "GET",
    "/posts/{id}",
    summary="One record of the default source",
    access="read",
    answers={200: (JSON, dict[str, Any])},
    refusals={404: "no such record"},
    parameters=(parameter("id", {"type": "string", "minLength": 1, "maxLength": 255}, "of the record", "path"),),
    example=Example(path={"id": "1"}, answer=POST),
)
def post(parts: Services, context: RequestContext, id: str) -> Response:
    flags(context)
    found = reader(parts).post(id)
    if found is None:
        raise errors.NotFound("the default source has no record with this id")
    return Response(body=bytes(found))


@route(
    "GET",
    "/status",
    summary="Run status of the default source",
    access="read",
    answers={200: (JSON, PullStatus)},
    example=Example(answer=PullStatus(AT, AT, "success", 1)),
)
def status(parts: Services, context: RequestContext) -> Response:
    flags(context)
    state = reader(parts).default()
    if state is None:
        return Response(body=encode(PullStatus(None, None, "never_run", 0)))
    told = PullStatus(state.last_successful_run, state.last_attempt, state.status, state.records_ingested, state.error_message)
    return Response(body=encode(told))


@route(
    "GET",
    "/api/v1/sources",
    summary="Pull sources and how they fare",
    access="read",
    answers={200: envelope(list[SourceState])},
    example=Example(answer=success("pull sources", [STATE])),
)
def sources(parts: Services, context: RequestContext) -> Response:
    flags(context)
    return responses.success(reader(parts).states(), "pull sources")


@route(
    "GET",
    "/api/v1/sources/{name}/records",
    summary="Records of a source",
    access="read",
    answers={200: envelope(RecordPage)},
    refusals=UNKNOWN,
    parameters=(NAME, limits(MAX_PAGE_SIZE, 50), CURSOR),
    example=Example(
        path=OF_NAME, query={"limit": "1"}, answer=success("records of the source", RecordPage([RECORD], 1, True, None))
    ),
)
def records(parts: Services, context: RequestContext, name: str) -> Response:
    given = filters.values(context.query, {"limit": whole(1, MAX_PAGE_SIZE), "cursor": cursors.given})
    limit, sources, secret = given.get("limit", 50), reader(parts), parts.store.cursor_secret
    known(named(name) and sources.known(name))
    scope = cursors.scope_of("sources", name)
    if asked := given.get("cursor"):
        cursor = cursors.decode(asked, secret, scope)
    else:
        cursor = Cursor("", 0, *capped(sources.count(name, COUNT_CAP + 1)))
    rows, more = sources.records(name, cursor, limit)
    following = None
    if more:
        value, id, _ = rows[-1]
        following = cursors.encode(msgspec.structs.replace(cursor, value=value, id=id), secret, scope)
    found = [record for _, _, record in rows]
    page = RecordPage(cast(list[SourceRecord], found), cursor.total, cursor.exact, following)
    return responses.success(page, "records of the source")


@route(
    "GET",
    "/api/v1/sources/{name}/status",
    summary=f"A source and its newest {RUNS_SHOWN} runs",
    access="read",
    answers={200: envelope(SourceHistory)},
    refusals=UNKNOWN,
    parameters=(NAME,),
    example=Example(path=OF_NAME, answer=success("state of the source", SourceHistory(STATE, [RUN]))),
)
def source_status(parts: Services, context: RequestContext, name: str) -> Response:
    flags(context)
    state, runs = known(named(name) and reader(parts).history(name, RUNS_SHOWN))
    return responses.success(SourceHistory(state, runs), "state of the source")


@route(
    "POST",
    "/api/v1/sources/{name}/run",
    summary="Have a source pulled now: by the next puller that is free",
    access="sources",
    answers={202: envelope(Requested)},
    refusals=UNKNOWN,
    parameters=(NAME,),
    example=Example(path=OF_NAME, answer=success("the source will be pulled", Requested(STATE.name, AT))),
)
def run(parts: Services, context: RequestContext, name: str) -> Response:
    flags(context)
    asked = known(named(name) and reader(parts).request(name))
    return responses.success(Requested(name, asked), "the source will be pulled", 202)


def reader(parts: Services) -> SourceReader:
    return opening.reader(parts.store)


def named(name: str) -> bool:
    return SOURCE_NAME.fullmatch(name) is not None


def known(found: T | Literal[False] | None) -> T:
    """`found`; raises NotFound when it is nothing."""
    if not found:
        raise errors.NotFound("no pull source has this name; /api/v1/sources lists them")
    return found
