"""Probes on the service port, for load balancers that know no other. The admin port's come from the parent (sluice.admin)."""

from __future__ import annotations

from datetime import UTC, datetime

from flask import Blueprint, Response

from sluice.http import answers, shapes
from sluice.http.read import service_state
from sluice.http.services import services

blueprint = Blueprint("probes", __name__)


@blueprint.get("/liveness")
def liveness() -> Response:
    """This worker answers, so it lives."""
    state = service_state(services())
    return answers.json_response(answers.encode(shapes.Liveness(alive=True, uptime=state.uptime, version=state.version)))


@blueprint.get("/readiness")
def readiness() -> Response:
    ready, reason = services().ready()
    return answers.json_response(answers.encode(shapes.Readiness(ready, reason)), 200 if ready else 503)


@blueprint.get("/health")
def health() -> Response:
    parts = services()
    ready, reason = parts.ready()
    state = service_state(parts)
    data = shapes.Health(
        status="healthy" if ready else "unhealthy",
        timestamp=datetime.now(UTC),
        version=state.version,
        services={"readiness": reason},
        uptime=state.uptime,
    )
    return answers.json_response(answers.encode(data), 200 if ready else 503)
