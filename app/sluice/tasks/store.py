"""The rows of tasks: sluice.tasks in PostgreSQL. Each function may raise errors.StoreUnavailable, and is safe to repeat."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from sluice import cursors, errors
from sluice.cursors import Cursor
from sluice.stores.postgresql.connections import Connection
from sluice.stores.postgresql.database import Database
from sluice.tasks.requests import Query, Status

NO_TASK = "no task has this id"


class Task(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A follow-up task; what it has not is left out. `version` counts its changes, and its ETag is `"<version>"`."""

    id: str
    title: str
    priority: str
    status: Status
    created_at: datetime
    completed_at: datetime | None = None
    due_at: datetime | None = None
    event_id: str | None = None
    fingerprint: str | None = None
    key_id: str
    version: int

    @property
    def etag(self) -> str:
        return f'"{self.version}"'


COLUMNS = """task_id::text, title, priority, CASE WHEN completed_at IS NULL THEN 'pending' ELSE 'completed' END,
    created_at, completed_at, due_at, event_id, fingerprint, key_id, version"""
SETTABLE = ("title", "priority", "due_at", "event_id", "fingerprint")
# Statements of our own names only; values are parameters.
INSERT = f"""
INSERT INTO sluice.tasks (task_id, key_id, request, {", ".join(SETTABLE)})
VALUES (%(task_id)s, %(key_id)s, %(request)s, {", ".join(f"%({name})s" for name in SETTABLE)})
ON CONFLICT (task_id) DO NOTHING RETURNING {COLUMNS}"""  # noqa: S608
GET = f"SELECT {COLUMNS} FROM sluice.tasks WHERE task_id = %s"  # noqa: S608
GET_WITH_REQUEST = f"SELECT {COLUMNS}, request FROM sluice.tasks WHERE task_id = %s"  # noqa: S608
LOCK = f"{GET} FOR UPDATE"
COMPLETE = f"UPDATE sluice.tasks SET completed_at = now(), version = version + 1 WHERE task_id = %s RETURNING {COLUMNS}"  # noqa: S608
CHANGE = f"""
UPDATE sluice.tasks SET {", ".join(f"{name} = %({name})s" for name in SETTABLE)}, version = version + 1
WHERE task_id = %(task_id)s RETURNING {COLUMNS}"""  # noqa: S608
DELETE = "DELETE FROM sluice.tasks WHERE task_id = %s"
CONDITIONS = {
    "pending": "completed_at IS NULL",
    "completed": "completed_at IS NOT NULL",
    "priority": "priority = %(priority)s",
    "event_id": "event_id = %(event_id)s",
    "fingerprint": "fingerprint = %(fingerprint)s",
    "after": "id > %(after)s",
}


def task_of(row: tuple[Any, ...]) -> Task:
    return Task(**dict(zip(Task.__struct_fields__, row, strict=False)))


def create(
    database: Database, task_id: UUID, key_id: str, request: bytes | None, columns: Mapping[str, Any]
) -> tuple[Task, bool]:
    """The new task, or the one that was made with this id before, and whether it was.

    Raises IdempotencyKeyReused when that one was made by another `request`.
    """

    def work(connection: Connection) -> tuple[Task, bool]:
        values = {"task_id": task_id, "key_id": key_id, "request": request, **columns}
        if row := connection.execute(INSERT, values).fetchone():
            return task_of(row), False
        row = connection.execute(GET_WITH_REQUEST, [task_id]).fetchone()
        if row is None:  # deleted between the two statements
            raise errors.StoreUnavailable("database_busy", retry_after=1)
        if request is not None and bytes(row[-1] or b"") != request:
            raise errors.IdempotencyKeyReused
        return task_of(row), request is not None

    return database.run(work)


def get(database: Database, task_id: UUID) -> Task:
    """Raises NotFound."""
    rows = database.query(GET, [task_id])
    if not rows:
        raise errors.NotFound(NO_TASK)
    return task_of(rows[0])


def page(database: Database, secret: bytes, query: Query) -> tuple[list[Task], str | None]:
    """Tasks in the order in which they came, and the cursor of the next page; raises InvalidCursor."""
    scope = cursors.scope_of("tasks", query.status, query.priority, query.event_id, query.fingerprint)
    values = {**msgspec.structs.asdict(query), "more": query.limit + 1}
    wanted = [CONDITIONS[name] for name in ("priority", "event_id", "fingerprint") if values[name] is not None]
    if query.status is not None:
        wanted.append(CONDITIONS[query.status])
    if query.cursor is not None:
        values["after"] = cursors.decode(query.cursor, secret, scope).id
        wanted.append(CONDITIONS["after"])
    where = f"WHERE {' AND '.join(wanted)}" if wanted else ""
    rows = database.query(f"SELECT {COLUMNS}, id FROM sluice.tasks {where} ORDER BY id LIMIT %(more)s", values)  # noqa: S608
    kept = rows[: query.limit]
    following = None
    if len(rows) > query.limit:
        following = cursors.encode(Cursor(value="", id=kept[-1][-1], total=0, exact=False), secret, scope)
    return [task_of(row) for row in kept], following


def complete(database: Database, task_id: UUID, etags: frozenset[str] | None) -> tuple[Task, bool]:
    """The completed task, and whether it was completed now; `etags`: as in `change`, unless it is completed already."""

    def work(connection: Connection) -> tuple[Task, bool]:
        with connection.transaction():
            task = locked(connection, task_id)
            if task.status == "completed":
                return task, False
            must_match(task, etags)
            return task_of(connection.execute(COMPLETE, [task_id]).fetchall()[0]), True

    return database.run(work)


def change(database: Database, task_id: UUID, columns: Mapping[str, Any], etags: frozenset[str] | None) -> tuple[Task, bool]:
    """The task with `columns` set, and whether that changed it.

    Raises NotFound, and PreconditionFailed when its ETag is not in `etags`. A change that is there already is none, whatever
    `etags` says (RFC 9110 section 13.1.1): so a retry gets the first answer.
    """

    def work(connection: Connection) -> tuple[Task, bool]:
        with connection.transaction():
            task = locked(connection, task_id)
            before = {name: getattr(task, name) for name in SETTABLE}
            after = {**before, **columns}
            if after == before:
                return task, False
            must_match(task, etags)
            return task_of(connection.execute(CHANGE, {"task_id": task_id, **after}).fetchall()[0]), True

    return database.run(work)


def delete(database: Database, task_id: UUID, etags: frozenset[str] | None) -> None:
    """Raises NotFound, and PreconditionFailed as `change` does."""

    def work(connection: Connection) -> None:
        with connection.transaction():
            must_match(locked(connection, task_id), etags)
            connection.execute(DELETE, [task_id])

    database.run(work)


def locked(connection: Connection, task_id: UUID) -> Task:
    """The task, which nobody else changes until the end of the transaction; raises NotFound."""
    row = connection.execute(LOCK, [task_id]).fetchone()
    if row is None:
        raise errors.NotFound(NO_TASK)
    return task_of(row)


def must_match(task: Task, etags: frozenset[str] | None) -> None:
    if etags is not None and task.etag not in etags:
        detail = f"the task has changed: its ETag is {task.etag} now; get it, look at it and send your change again"
        if f"W/{task.etag}" in etags:
            detail = f"a weak ETag matches none, and a proxy that compresses makes ours weak: send If-Match: {task.etag}"
        raise errors.PreconditionFailed(detail)
