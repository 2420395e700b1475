"""The first page: events over time, to zoom into by links, and the newest unresolved errors."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from urllib.parse import urlencode

from sluice import errors
from sluice.console import site
from sluice.console.chart import Chart
from sluice.console.session import Session
from sluice.console.site import html, shown
from sluice.env import one_of
from sluice.filters import moment, values
from sluice.http.context import RequestContext
from sluice.http.responses import Response
from sluice.http.services import Services
from sluice.stores.volume import SPLITS

RANGES = {
    "1h": timedelta(hours=1),
    "6h": timedelta(hours=6),
    "24h": timedelta(hours=24),
    "7d": timedelta(days=7),
    "30d": timedelta(days=30),
}
READERS: dict[str, Any] = {
    "range": one_of(*RANGES),
    "by": one_of(*SPLITS),
    "start": partial(moment, "start"),
    "end": partial(moment, "end"),
}


@shown("")
def overview(parts: Services, context: RequestContext, session: Session) -> Response:
    """Of `range`, or from `start` to `end`, and split `by`: the address reproduces it."""
    if not session.may("read"):
        return html("overview.html", session=session, here="overview", readable=False)
    now = datetime.now(UTC)
    chart, fault, code = None, "", 200
    chosen, by = "1h", str(SPLITS[0])
    try:
        given = values(((name, value) for name, value in context.query if value), READERS)
        by = given.get("by", by)
        chosen, start, end = frame(given, now)
        query = {"created_start_time": start.isoformat(), "created_end_time": end.isoformat(), "by": by}
        chart = Chart(site.ask(parts, session, "/api/v1/volume", query), now)
    except errors.BadRequest as error:
        code, fault = 400, error.detail
    except errors.NotSupported:
        fault = "This store does not count events over time."
    except errors.QueryTimeout:
        fault = "Counting took too long. Choose a shorter time."
    return html(
        "overview.html",
        code=code,
        session=session,
        here="overview",
        readable=True,
        chart=chart,
        fault=fault,
        groups=unresolved(parts, session),
        ranges={name: link(name, by) for name in RANGES},
        chosen=chosen,
        splits={
            split: link(chosen, split) if chosen or chart is None else chart.zoom(chart.start, chart.end, split)
            for split in SPLITS
        },
        by=by,
    )


def frame(given: Mapping[str, Any], now: datetime) -> tuple[str, datetime, datetime]:
    """The name of a range or none, from when, and until when."""
    if "start" in given and "range" not in given:
        return "", given["start"], given.get("end", now)
    chosen = given.get("range", "1h")
    return chosen, now - RANGES[chosen], now


def link(chosen: str, by: str) -> str:
    return f"?{urlencode({'range': chosen or '1h', 'by': by})}"


def unresolved(parts: Services, session: Session) -> list[dict[str, Any]] | None:
    """The newest; None where the store has no error groups."""
    try:
        found = site.ask(parts, session, "/api/v1/errors", {"status": "unresolved", "page_size": "5"})
    except errors.NotSupported:
        return None
    groups: list[dict[str, Any]] = found["errors"]
    return groups
