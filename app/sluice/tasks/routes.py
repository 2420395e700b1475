"""Tasks over HTTP, as seed 002 answers them: a bare task, a bare array, the next page by `Link`."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, TypeVar, get_args
from urllib.parse import urlencode
from uuid import UUID

import msgspec

from sluice import errors, events, stores
from sluice.http import auth, bodies, ingest, responses
from sluice.http.context import RequestContext
from sluice.http.responses import JSON, Response
from sluice.http.routes import Example, flags, parameter, route
from sluice.http.services import Services
from sluice.stores import Claim
from sluice.tasks import requests, store
from sluice.tasks.requests import Change, NewTask, Status
from sluice.tasks.store import Task

T = TypeVar("T")

MERGE_PATCH = "application/merge-patch+json"
# The ids of tasks that are made with an Idempotency-Key; a number of our own.
NAMESPACE = uuid.UUID("5f0c6b1e-6a63-4d8c-9f0e-1d0f5d0c7a52")
SLOW = {504: "the query took too long"}
UNKNOWN = {404: "no such task"}
STALE = {412: "the task has another ETag than If-Match names"}
ID = parameter("task_id", {"type": "string", "format": "uuid"}, "as POST /tasks answered", "path")
IF_MATCH = parameter("If-Match", {"type": "string"}, "the ETag of the task as you know it, or *", "header")

AT = datetime(2026, 1, 31, 12, tzinfo=UTC)
TASK = Task(
    id="0198c1f2-7e4b-7d3a-9c55-0d1b2a3c4d5e",
    title="Find out why payments time out",
    priority="high",
    status="pending",
    created_at=AT,
    due_at=datetime(2026, 2, 7, tzinfo=UTC),
    event_id="checkout-7001",
    key_id="checkout",
    version=1,
)
CHANGED = msgspec.structs.replace(TASK, priority="low", due_at=None, version=2)
DONE = msgspec.structs.replace(TASK, status="completed", completed_at=datetime(2026, 2, 1, 9, 30, tzinfo=UTC), version=2)
CREATED = ("POST /tasks",)


@route(
    "POST",
    "/tasks",
    summary="Make a task",
    access="tasks",
    body={JSON: NewTask},
    answers={201: (JSON, Task)},
    refusals={**ingest.BODIED, 422: "Idempotency-Key reused"},
    parameters=(ingest.KEY_PARAMETER,),
    example=Example(
        body=NewTask(title=TASK.title, priority="high", due_at="2026-02-07T00:00:00Z", event_id="checkout-7001"),
        answer=TASK,
        answer_headers={"Location": f"/tasks/{TASK.id}", "ETag": TASK.etag},
    ),
)
def create(parts: Services, context: RequestContext) -> Response:
    """With an Idempotency-Key the id is made of it: the same request makes one task for as long as that is there."""

    def parse(body: bytes) -> tuple[dict[str, Any], Claim | None]:
        return requests.new_task(body), ingest.claim_of(context, body)

    columns, claim = read(parts, context, parse)
    key_id = auth.entry_on(context).key_id
    task_id = uuid.uuid5(NAMESPACE, f"{len(key_id)}:{key_id}:{claim.idempotency_key}") if claim else UUID(events.uuid7())
    request = claim.request if claim else None
    task, replayed = store.create(stores.database(parts.store), task_id, key_id, request, columns)
    if not replayed:
        parts.metrics.task("created")
    return answer(task, 201, {"Location": f"/tasks/{task.id}", **(responses.REPLAYED if replayed else {})})


@route(
    "GET",
    "/tasks",
    summary="Tasks in the order in which they were made; the header Link names the next page",
    access="tasks",
    answers={200: (JSON, list[Task])},
    refusals=SLOW,
    parameters=(
        parameter("status", {"enum": list(get_args(Status))}, "equals"),
        *(parameter(name, {"type": "string"}, "equals") for name in ("priority", "event_id", "fingerprint")),
        parameter("limit", {"type": "integer", "minimum": 1, "maximum": requests.MAX_LIMIT, "default": 100}, "tasks a page"),
        parameter("cursor", {"type": "string"}, "of the Link of the page before, with the same filters"),
    ),
    example=Example(after=CREATED, query={"status": "pending", "event_id": "checkout-7001"}, answer=[TASK]),
)
def listed(parts: Services, context: RequestContext) -> Response:
    query = requests.query(context.query)
    tasks, cursor = store.page(stores.database(parts.store), parts.store.cursor_secret, query)
    headers = {}
    if cursor is not None:
        following = urlencode([*((name, value) for name, value in context.query if name != "cursor"), ("cursor", cursor)])
        headers["Link"] = f'</tasks?{following}>; rel="next"'
    return Response(200, responses.encode(tasks), headers=headers)


@route(
    "GET",
    "/tasks/{task_id}",
    summary="One task",
    access="tasks",
    answers={200: (JSON, Task)},
    refusals={**UNKNOWN, **SLOW},
    parameters=(ID,),
    example=Example(after=CREATED, path={"task_id": TASK.id}, answer=TASK, answer_headers={"ETag": TASK.etag}),
)
def one(parts: Services, context: RequestContext, task_id: UUID) -> Response:
    flags(context)
    return answer(store.get(stores.database(parts.store), task_id))


@route(
    "POST",
    "/tasks/{task_id}/complete",
    summary="Complete a task; again, it changes nothing and gets the same answer",
    access="tasks",
    answers={200: (JSON, Task)},
    refusals={**UNKNOWN, **STALE},
    parameters=(ID, IF_MATCH),
    example=Example(after=CREATED, path={"task_id": TASK.id}, answer=DONE, answer_headers={"ETag": DONE.etag}),
)
def complete(parts: Services, context: RequestContext, task_id: UUID) -> Response:
    flags(context)
    task, now = store.complete(stores.database(parts.store), task_id, requests.etags(if_match(context)))
    if now:
        parts.metrics.task("completed")
    return answer(task)


@route(
    "PATCH",
    "/tasks/{task_id}",
    summary="Change a task as you know it: a JSON Merge Patch, with If-Match",
    access="tasks",
    body={MERGE_PATCH: Change, JSON: Change},
    answers={200: (JSON, Task)},
    refusals={**ingest.BODIED, **UNKNOWN, **STALE, 428: "If-Match is missing"},
    parameters=(ID, IF_MATCH),
    example=Example(
        after=CREATED,
        path={"task_id": TASK.id},
        headers={"If-Match": TASK.etag},
        body={"priority": "low", "due_at": None},
        answer=CHANGED,
        answer_headers={"ETag": CHANGED.etag},
    ),
)
def change(parts: Services, context: RequestContext, task_id: UUID) -> Response:
    """Without If-Match a change could undo another that its sender has not seen (RFC 6585 section 3)."""
    columns = read(parts, context, requests.change)
    given = if_match(context)
    if given is None:
        raise errors.PreconditionRequired("send If-Match with the ETag of the task as you know it, or If-Match: * to change any")
    task, changed = store.change(stores.database(parts.store), task_id, columns, requests.etags(given))
    if changed:
        parts.metrics.task("changed")
    return answer(task)


@route(
    "DELETE",
    "/tasks/{task_id}",
    summary="Delete a task",
    access="tasks",
    answers={204: (None, None)},
    refusals={**UNKNOWN, **STALE},
    parameters=(ID, IF_MATCH),
    example=Example(after=CREATED, path={"task_id": TASK.id}, headers={"If-Match": TASK.etag}),
)
def delete(parts: Services, context: RequestContext, task_id: UUID) -> Response:
    flags(context)
    store.delete(stores.database(parts.store), task_id, requests.etags(if_match(context)))
    parts.metrics.task("deleted")
    return Response(204, b"", None)


def read(parts: Services, context: RequestContext, parse: Callable[[bytes], T]) -> T:
    """What the JSON body of a request says."""
    flags(context)
    bodies.must_be_json(context, *([MERGE_PATCH] if context.method == "PATCH" else ()))
    with parts.memory.reservation() as reservation:
        return parse(bodies.whole(context, parts.settings, reservation))


def if_match(context: RequestContext) -> str | None:
    given: str | None = context.headers.get("HTTP_IF_MATCH")
    return given


def answer(task: Task, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return Response(status, responses.encode(task), headers={"ETag": task.etag, **(headers or {})})
