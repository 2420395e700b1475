"""Sources and their records over HTTP: seed 003's three paths for the default source, and the same of every source."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Literal, cast

import msgspec

from sluice import cursors, errors, filters
from sluice.cursors import Cursor
from sluice.env import whole
from sluice.filters import MAX_OFFSET, MAX_PAGE_SIZE
from sluice.http import responses
from sluice.http.context import RequestContext
from sluice.http.responses import JSON, Response, encode
from sluice.http.routes import Example, Schema, envelope, flags, parameter, route, success
from sluice.http.services import Services
from sluice.settings import SOURCE_NAME
from sluice.sources import statements
from sluice.stores import COUNT_CAP, capped, database

Status = Literal["never_run", "running", "success", "failure"]
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


class SourceState(msgspec.Struct):
    """`requested_at`: a run was asked for, and has not begun. `reason`: a closed list of words, why the newest run failed."""

    name: str
    url: str
    schedule: str
    is_default: bool
    status: Status
    reason: str | None
    error_message: str | None
    last_attempt: datetime | None
    last_successful_run: datetime | None
    records_ingested: int
    next_run_at: datetime | None
    requested_at: datetime | None


class RunState(msgspec.Struct):
    """One run of the history. Records are `created`, `updated` (a new version) or `unchanged`; `invalid` ones are not stored."""

    id: int
    started_at: datetime
    ended_at: datetime | None
    status: Status
    reason: str | None
    error_message: str | None
    pages: int
    created: int
    updated: int
    unchanged: int
    invalid: int


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
    rows = database(parts.store).query(statements.POST_PAGE, [given["limit"], given["offset"]])
    found = [msgspec.Raw(row[0].encode()) for row in rows]
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
    rows = database(parts.store).query(statements.POST_OF, [id]) if "\0" not in id else []
    if not rows:
        raise errors.NotFound("the default source has no record with this id")
    return Response(body=rows[0][0].encode())


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
    rows = database(parts.store).query(statements.STATE_OF_DEFAULT)
    if not rows:
        return Response(body=encode(PullStatus(None, None, "never_run", 0)))
    state = SourceState(*rows[0])
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
    found = [SourceState(*row) for row in database(parts.store).query(statements.ALL_STATES)]
    return responses.success(found, "pull sources")


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
    given = filters.values(context.query, {"limit": whole(1, MAX_PAGE_SIZE), "cursor": str})
    limit, query, secret = given.get("limit", 50), database(parts.store).query, parts.store.cursor_secret
    known(name, query(statements.KNOWN, [name]) if named(name) else [])
    scope = cursors.scope_of("sources", name)
    if "cursor" in given:
        cursor = cursors.decode(given["cursor"], secret, scope)
    else:
        ((counted,),) = query(statements.COUNT_UP_TO, [name, COUNT_CAP + 1])
        cursor = Cursor("", 0, *capped(counted))
    rows = query(statements.RECORDS, [name, cursor.id, limit + 1])
    following = None
    if len(rows) > limit:
        following = cursors.encode(msgspec.structs.replace(cursor, id=rows[limit - 1][0]), secret, scope)
    found = [msgspec.Raw(row[1].encode()) for row in rows[:limit]]
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
    query = database(parts.store).query
    (row,) = known(name, query(statements.STATE_OF, [name]) if named(name) else [])
    state = SourceState(*row)
    runs = [RunState(*each) for each in query(statements.RUNS, [name, RUNS_SHOWN])]
    if runs and runs[0].status == "running" and state.status != "running":
        # Its puller died, and nobody wrote that down yet.
        runs[0].status, runs[0].reason, runs[0].error_message = state.status, state.reason, state.error_message
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
    found = database(parts.store).run(lambda c: c.execute(statements.REQUEST, [name]).fetchall()) if named(name) else []
    (row,) = known(name, found)
    return responses.success(Requested(name, row[0]), "the source will be pulled", 202)


def named(name: str) -> bool:
    return SOURCE_NAME.fullmatch(name) is not None


def known(name: str, rows: list[Any]) -> list[Any]:
    """`rows`; raises NotFound when there are none."""
    if not rows:
        raise errors.NotFound("no pull source has this name; /api/v1/sources lists them")
    return rows
