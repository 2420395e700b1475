"""Probes on the service port, for load balancers that know no other. The admin port's are the parent's (sluice.server.admin)."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sluice import __version__
from sluice.http import responses
from sluice.http.context import RequestContext
from sluice.http.responses import JSON, Health, Liveness, Readiness, Response
from sluice.http.routes import OPEN, Example, route
from sluice.http.services import Services

SHOWN_AT = datetime(2026, 1, 31, 12, tzinfo=UTC)


def either(kind: Any) -> dict[int, tuple[str | None, Any]]:
    return {200: (JSON, kind), 503: (JSON, kind)}


def uptime(parts: Services) -> float:
    return (datetime.now(UTC) - parts.started).total_seconds()


@route(
    "GET",
    "/liveness",
    summary="Does the process live",
    access=OPEN,
    answers={200: (JSON, Liveness)},
    example=Example(answer=Liveness(True, "42s", __version__)),
)
def liveness(parts: Services, _context: RequestContext) -> Response:
    """This worker answers, so it lives."""
    return responses.liveness(True, uptime(parts))


@route(
    "GET",
    "/readiness",
    summary="May traffic come",
    access=OPEN,
    answers=either(Readiness),
    example=Example(answer=Readiness(True, "ready")),
)
def readiness(parts: Services, _context: RequestContext) -> Response:
    return responses.readiness(*parts.ready())


@route(
    "GET",
    "/health",
    summary="Details",
    access=OPEN,
    answers=either(Health),
    example=Example(answer=Health("healthy", SHOWN_AT, __version__, {"readiness": "ready"}, "42s")),
)
def health(parts: Services, _context: RequestContext) -> Response:
    ready, reason = parts.ready()
    return responses.health(ready, uptime(parts), {"readiness": reason})
