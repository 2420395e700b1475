"""Probes on the service port, for load balancers that know no other. The admin port's are the parent's (sluice.server.admin)."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sluice.http.context import RequestContext
from sluice.http.read import service_state
from sluice.http.responses import JSON, Health, Liveness, Readiness, Response, encode
from sluice.http.routes import OPEN, route
from sluice.http.services import Services


def either(kind: Any) -> dict[int, tuple[str | None, Any]]:
    return {200: (JSON, kind), 503: (JSON, kind)}


@route("GET", "/liveness", summary="Does the process live", access=OPEN, answers={200: (JSON, Liveness)})
def liveness(parts: Services, _context: RequestContext) -> Response:
    """This worker answers, so it lives."""
    state = service_state(parts)
    return Response(body=encode(Liveness(alive=True, uptime=state.uptime, version=state.version)))


@route("GET", "/readiness", summary="May traffic come", access=OPEN, answers=either(Readiness))
def readiness(parts: Services, _context: RequestContext) -> Response:
    ready, reason = parts.ready()
    return Response(200 if ready else 503, encode(Readiness(ready, reason)))


@route("GET", "/health", summary="Details", access=OPEN, answers=either(Health))
def health(parts: Services, _context: RequestContext) -> Response:
    ready, reason = parts.ready()
    state = service_state(parts)
    data = Health(
        status="healthy" if ready else "unhealthy",
        timestamp=datetime.now(UTC),
        version=state.version,
        services={"readiness": reason},
        uptime=state.uptime,
    )
    return Response(200 if ready else 503, encode(data))
