"""Events out: filters, pages, export, and what the service knows of itself."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import cast

from flask import Blueprint, Response

from sluice import __version__, errors, events, filters, janitor, limiter
from sluice.http import answers, auth, shapes
from sluice.http.context import current
from sluice.http.ingest import flags
from sluice.http.services import Services, services
from sluice.stores import Page

blueprint = Blueprint("read", __name__)


@blueprint.get("/api/v1/logs/filter")
@auth.needs("read")
def filtered() -> Response:
    query = filters.parse(current().args.items(multi=True))
    page = services().store.page(query)
    return answers.success(page_data(page, query), "events found")


@blueprint.get("/api/v1/logs/recent")
@auth.needs("read")
def recent() -> Response:
    given = dict(current().args)
    query = filters.parse([("page_size", given.pop("limit", "50")), *given.items()], matched=False)
    return answers.success(services().store.page(query).logs, "newest events")


@blueprint.get("/api/v1/events/<path:event_id>")
@auth.needs("read")
def event(event_id: str) -> Response:
    flags(current())
    log = services().store.get(event_id) if "\0" not in event_id else None
    if log is None:
        raise errors.NotFound("no event has this id")
    return answers.success(log, "event found")


@blueprint.get("/api/v1/export")
@auth.needs("read")
def export() -> Response:
    query = filters.parse(current().args.items(multi=True), paged=False)
    chunks = services().store.export(query)
    # The first chunk now, so that a store that is away is still a 503 and not a broken answer.
    first = next(chunks, b"")
    return Response(chained(first, chunks), content_type="application/x-ndjson")


def chained(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    yield from rest


def page_data(page: Page, query: filters.Filter) -> shapes.LogPage:
    return shapes.LogPage(
        logs=cast(list[shapes.Log], page.logs),  # JSON text of such objects, as the store wrote it
        total_count=page.total,
        total_count_exact=page.exact,
        page=query.page,
        page_size=query.page_size,
        total_pages=-(-page.total // query.page_size),
        next_cursor=page.next_cursor,
    )


@blueprint.get("/api/v1/metrics")
@auth.needs("read")
def metrics() -> Response:
    flags(current())
    return answers.success(services().store.figures(datetime.now(UTC)), "figures of the stored events")


@blueprint.get("/api/v1/status")
@auth.needs("read")
def status() -> Response:
    """Truthful and never a 5xx: a database that is away is what it tells."""
    flags(current())
    parts = services()
    try:
        figures = parts.store.figures(datetime.now(UTC))
    except errors.StoreUnavailable as error:
        database = shapes.DatabaseState(status="down", total_logs=None, reason=error.reason)
        return answers.success(shapes.State(service_state(parts), database, None), "state of the service")
    database = shapes.DatabaseState(status="up", total_logs=figures.total_logs)
    return answers.success(shapes.State(service_state(parts), database, figures), "state of the service")


def service_state(parts: Services) -> shapes.ServiceState:
    uptime = int((datetime.now(UTC) - parts.started).total_seconds())
    return shapes.ServiceState(name="sluice", version=__version__, uptime=f"{uptime}s", started_at=parts.started)


@blueprint.get("/api/v1/limits")
@auth.needs(None)
def limits() -> Response:
    flags(current())
    parts, entry = services(), auth.entry_on(current())
    settings = parts.settings
    data = shapes.Limits(
        max_event_bytes=settings.max_event_bytes,
        max_body_bytes=settings.max_body_bytes,
        max_inflated_bytes=settings.max_inflated_bytes,
        max_batch_size=settings.max_batch_size,
        max_depth=events.MAX_DEPTH,
        max_page_size=filters.MAX_PAGE_SIZE,
        max_seconds_ahead=int(events.MAX_AHEAD.total_seconds()),
        retention_days=settings.retention_days,
        requests_per_minute=parts.limiter.limit_of(entry, "requests"),
        events_per_minute=parts.limiter.limit_of(entry, "events"),
        window_seconds=limiter.WINDOW,
        idempotency_key_hours=janitor.ANSWER_HOURS,
        deduplication="exact for as long as an event is kept",
    )
    return answers.success(data, "limits of this key")


@blueprint.get("/api/v1/whoami")
@auth.needs(None)
def whoami() -> Response:
    flags(current())
    entry = auth.entry_on(current())
    data = shapes.Whoami(entry.key_id, entry.version, entry.owner, sorted(entry.scopes), entry.not_after)
    return answers.success(data, "this key")
