"""GET /api/v1/volume: events over time, for a chart."""

from __future__ import annotations

import functools
from datetime import UTC, datetime, timedelta

import msgspec

from sluice import filters, stores
from sluice.env import one_of
from sluice.filters import BadParameter
from sluice.http import responses
from sluice.http.context import RequestContext
from sluice.http.responses import Response
from sluice.http.routes import Example, envelope, parameter, route, success
from sluice.http.services import CACHE_SECONDS, Services
from sluice.stores.volume import SPLITS, Series, Volume, span

START, END = "created_start_time", "created_end_time"
DEFAULT = timedelta(hours=1)
NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
TIME = {"type": "string", "format": "date-time"}


@route(
    "GET",
    "/api/v1/volume",
    summary="Events over time, by type, status or source; sampled where they are many",
    access="read",
    answers={200: envelope(Volume)},
    parameters=(
        parameter(START, TIME, "from when on; an hour before the end"),
        parameter(END, TIME, "until when; now, and no later"),
        parameter(
            "by",
            {"enum": list(SPLITS), "default": SPLITS[0]},
            "`status`: error (events of type error, logs of `properties.level` error or worse), warning (such logs), ok",
        ),
    ),
    example=Example(
        after=("POST /api/v1/ingest",),
        query={"by": "status"},
        answer=success(
            "events over time",
            Volume(
                start=NOON - DEFAULT,
                end=NOON + timedelta(minutes=1),
                seconds=60,
                by="status",
                accuracy="exact",
                total=1,
                errors=1,
                series=[Series("error", [0] * 60 + [1])],
                other=[0] * 61,
            ),
        ),
    ),
)
def volume(parts: Services, context: RequestContext) -> Response:
    readers = {name: functools.partial(filters.moment, name) for name in (START, END)}
    given = filters.values(context.query, {**readers, "by": one_of(*SPLITS)})
    now = datetime.now(UTC)
    end = min(given.get(END, now), now)
    start = given.get(START, end - DEFAULT)
    if start >= end:
        raise filters.refusal([BadParameter(START, f"must be before {END}, and in the past")])
    by, over = given.get("by", SPLITS[0]), span(start, end)
    name = f"volume {by} {over.start.timestamp():.0f} {over.seconds} {over.bars}"
    text = parts.cache.through("events", name, CACHE_SECONDS, lambda: responses.encode(stores.volume_of(parts.store, over, by)))
    return responses.success(msgspec.Raw(text), "events over time")
