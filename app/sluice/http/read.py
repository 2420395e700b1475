"""Events out: filters, pages, export, and what the service knows of itself."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import cast

import msgspec

from sluice import __version__, errors, events, filters, limiter, stores
from sluice.http import auth, plain_request, responses
from sluice.http.context import RequestContext
from sluice.http.responses import DatabaseState, Limits, Log, LogPage, Response, ServiceState, State, Whoami, encode
from sluice.http.routes import ANY_KEY, NDJSON, Example, Schema, envelope, flags, parameter, route, success
from sluice.http.services import CACHE_SECONDS, Services
from sluice.http.stream_slots import Chunks
from sluice.stores import Figures, MinuteCount, TypeCount

SHOWN_AT = datetime(2026, 1, 31, 12, tzinfo=UTC)
LOG = Log(
    id=10000,
    event_id="checkout-7001",
    timestamp=SHOWN_AT,
    event_type="error",
    event_name="payment.failed",
    properties={"code": 502, "tags": {"provider": "acme"}},
    user_id="user-1",
    session_id=None,
    app_version=None,
    device_info={},
    source="checkout",
    sequence_number=None,
    priority="normal",
    key_id="checkout",
    fingerprint="9f86d081884c7d65",
    created_at=SHOWN_AT,
    processed_at=SHOWN_AT,
)
STORED = ("POST /api/v1/ingest",)


def filter_parameters(*, paged: bool) -> tuple[Schema, ...]:
    """The query parameters of sluice.filters, as it knows them."""
    found = [parameter(name, {"type": "string"}, "equals") for name in (*filters.TEXTS, "provider_name")]
    found += [parameter(name, {"enum": list(values)}, "equals") for name, values in filters.CHOICES.items()]
    found += [parameter(name, {"type": "integer", "format": "int64"}, "equals") for name in filters.NUMBERS]
    for name, (column, operator) in filters.TIMES.items():
        found.append(parameter(name, {"type": "string", "format": "date-time"}, f"{column} {operator}"))
    if paged:
        size = {"type": "integer", "minimum": 1, "maximum": filters.MAX_PAGE_SIZE, "default": 50}
        page = {"type": "integer", "minimum": 1, "default": 1}
        found += [
            parameter("sort_by", {"enum": list(filters.SORTS), "default": "created_at"}, "order"),
            parameter("sort_order", {"enum": ["asc", "desc"], "default": "desc"}, "direction"),
            parameter("page", page, "for shallow reading; follow next_cursor beyond"),
            parameter("page_size", size, "rows a page"),
            parameter("cursor", {"type": "string"}, "next_cursor of the page before, with the same filters"),
        ]
    return tuple(found)


@route(
    "GET",
    "/api/v1/logs/filter",
    summary='Find events; `properties.<path>=text`, `device_info.<path>=text` look inside; `properties["a.b"]` is one name',
    access="read",
    answers={200: envelope(LogPage)},
    parameters=filter_parameters(paged=True),
    example=Example(
        after=STORED,
        query={"event_type": "error", "user_id": "user-1", "page_size": "1"},
        answer=success("events found", LogPage([LOG], 1, True, 1, 1, 1, None)),
    ),
)
def filtered(parts: Services, context: RequestContext) -> Response:
    query = filters.parse(context.query)
    stores.require(parts.store, "filters")
    if query.sort_by != "created_at":
        stores.require(parts.store, "sorting")
    if query.page > 1:
        stores.require(parts.store, "numbered_pages")
    page = parts.store.page(query)
    if page.short and "page" in dict(context.query):
        # What is left out would be on no numbered page.
        raise too_large("page_size", len(page.logs), ", or leave `page` out and follow next_cursor")
    data = LogPage(
        logs=cast(list[Log], page.logs),  # JSON text of such objects, as the store wrote it
        total_count=page.total,
        total_count_exact=page.exact,
        page=query.page,
        page_size=query.page_size,
        total_pages=-(-page.total // query.page_size),
        next_cursor=page.next_cursor,
    )
    return responses.success(data, "events found")


@route(
    "GET",
    "/api/v1/logs/recent",
    summary="Newest events",
    access="read",
    answers={200: envelope(list[Log])},
    parameters=(
        parameter("limit", {"type": "integer", "minimum": 1, "maximum": filters.MAX_PAGE_SIZE, "default": 50}, "how many"),
    ),
    example=Example(
        after=("POST /log",),
        query={"limit": "1"},
        answer=success("newest events", [msgspec.structs.replace(LOG, event_type="log", properties={"level": "warning"})]),
    ),
)
def recent(parts: Services, context: RequestContext) -> Response:
    query = filters.newest(context.query)
    stores.require(parts.store, "filters")
    page = parts.store.page(query)
    if page.short:
        raise too_large("limit", len(page.logs))
    return responses.success(page.logs, "newest events")


def too_large(name: str, most: int, otherwise: str = "") -> errors.BadRequest:
    """The refusal of a page that would be short, where no cursor goes on: of it, `most` can be had."""
    detail = f"so many of these have more than {stores.PAGE_BYTES} bytes; ask for at most {most}{otherwise}"
    return filters.refusal([filters.BadParameter(name, detail)])


@route(
    "GET",
    "/api/v1/events/{event_id}",
    summary="One event",
    access="read",
    answers={200: envelope(Log)},
    refusals={404: "no such event"},
    parameters=(parameter("event_id", {"type": "string", "minLength": 1, "maxLength": 255}, "as it was sent", "path"),),
    example=Example(after=STORED, path={"event_id": "checkout-7001"}, answer=success("event found", LOG)),
)
def event(parts: Services, context: RequestContext, event_id: str) -> Response:
    flags(context)
    log = parts.store.get(event_id) if "\0" not in event_id else None
    if log is None:
        # One that is queued will be there soon, and nobody here knows of it.
        later = {"Retry-After": "1"} if parts.settings.queue_url else {}
        raise errors.NotFound("no event has this id", headers=later)
    return responses.success(log, "event found")


@route(
    "GET",
    "/api/v1/export",
    summary="All events of a filter as NDJSON, oldest first: by receipt, with `end_time` by timestamp",
    access="read",
    answers={200: (NDJSON, str)},
    parameters=filter_parameters(paged=False),
    example=Example(after=STORED, query={"source": "checkout"}, answer=f"{encode(LOG).decode()}\n"),
)
def export(parts: Services, context: RequestContext) -> Response:
    query = filters.parse(context.query, paged=False)
    stores.require(parts.store, "export")
    give_back = parts.streams.take(auth.entry_on(context).key_id)
    try:
        chunks = parts.store.export(query)
        # The first chunk now, so that a store that is away is still a 503 and not a broken response.
        first = next(chunks, b"")
    except BaseException:
        give_back()
        raise

    def checked() -> Iterator[bytes]:
        yield first
        for chunk in chunks:
            auth.check(parts, context, "read")
            yield chunk

    return Response(body=Chunks(checked(), give_back), content_type=NDJSON)


FIGURES = Figures(
    total_logs=1,
    total_logs_exact=True,
    logs_last_hour=1,
    logs_last_day=1,
    logs_last_day_exact=True,
    average_latency_ms=1.5,
    error_rate_percent=100.0,
    active_sessions=0,
    top_event_types=[TypeCount("error", 1)],
    logs_per_minute=[MinuteCount(SHOWN_AT, 1)],
)


@route(
    "GET",
    "/api/v1/metrics",
    summary="Counts and rates",
    access="read",
    answers={200: envelope(Figures)},
    example=Example(after=STORED, answer=success("figures of the stored events", FIGURES)),
)
def metrics(parts: Services, context: RequestContext) -> Response:
    flags(context)
    stores.require(parts.store, "figures")
    text = parts.cache.through(
        "events", "figures", CACHE_SECONDS, lambda: responses.encode(parts.store.figures(datetime.now(UTC)))
    )
    return responses.success(msgspec.Raw(text), "figures of the stored events")


@route(
    "GET",
    "/api/v1/status",
    summary="State of the service",
    access="read",
    answers={200: envelope(State)},
    example=Example(
        after=STORED,
        answer=success(
            "state of the service",
            State(ServiceState("sluice", __version__, "42s", SHOWN_AT, "on"), DatabaseState("up", 1), FIGURES),
        ),
    ),
)
def status(parts: Services, context: RequestContext) -> Response:
    """Truthful and never a 5xx: it reports a database that is away, or takes no writes."""
    flags(context)
    figures = None
    try:
        if "figures" in parts.store.capabilities:
            figures = parts.store.figures(datetime.now(UTC))
        else:
            parts.store.check()
        fault = parts.writes.fault
        database = responses.DatabaseState("down" if fault else "up", figures.total_logs if figures else None, fault)
    except errors.StoreUnavailable as error:
        database = responses.DatabaseState("down", total_logs=None, reason=error.reason)
    return responses.success(State(service_state(parts), database, figures), "state of the service")


def service_state(parts: Services) -> responses.ServiceState:
    uptime = int((datetime.now(UTC) - parts.started).total_seconds())
    fast_path = plain_request.state(parts.settings.fast_path)
    return responses.ServiceState("sluice", __version__, f"{uptime}s", parts.started, fast_path)


@route(
    "GET",
    "/api/v1/limits",
    summary="Limits of this key",
    access=ANY_KEY,
    answers={200: envelope(Limits)},
    example=Example(
        answer=success(
            "limits of this key",
            Limits(
                max_event_bytes=262_144,
                max_body_bytes=10_485_760,
                max_inflated_bytes=20_971_520,
                max_batch_size=1_000,
                max_depth=events.MAX_DEPTH,
                max_page_size=filters.MAX_PAGE_SIZE,
                max_seconds_ahead=86_400,
                retention_days=None,
                requests_per_minute=1_000,
                events_per_minute=0,
                window_seconds=limiter.WINDOW,
                idempotency_key_hours=24,
                deduplication="exact for as long as an event is kept",
                store=sorted(stores.MEANING),
            ),
        )
    ),
)
def limits(parts: Services, context: RequestContext) -> Response:
    flags(context)
    entry, settings = auth.entry_on(context), parts.settings
    data = Limits(
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
        idempotency_key_hours=int(stores.CLAIM_AGE.total_seconds() // 3600),
        deduplication="exact for as long as an event is kept",
        store=sorted(parts.pipeline.sink.capabilities),
    )
    return responses.success(data, "limits of this key")


@route(
    "GET",
    "/api/v1/whoami",
    summary="This key",
    access=ANY_KEY,
    answers={200: envelope(Whoami)},
    example=Example(answer=success("this key", Whoami("checkout", 2, "checkout team", ["ingest", "read"], None))),
)
def whoami(parts: Services, context: RequestContext) -> Response:
    flags(context)
    entry = auth.entry_on(context)
    data = Whoami(entry.key_id, entry.version, entry.owner, sorted(entry.scopes), entry.not_after)
    return responses.success(data, "this key")
