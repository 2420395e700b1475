"""The applications that are compared, all on the same gunicorn, worker class and settings. Named as `module:factory()`."""

from __future__ import annotations

import os

import msgspec
from flask import Flask, Response, request

from sluice.http.app import create_app
from sluice.server import worker
from sluice.server.worker_state import Heartbeat, SharedState
from sluice.settings import Settings
from sluice.stores.postgresql import statements


def complete() -> Flask:
    """The service as `sluice serve` starts it."""
    from sluice.server.wsgi import app  # noqa: PLC0415 - imported in a worker only

    return app


def uncounted() -> Flask:
    """The service without error groups: errors are stored like any other event."""
    statements.INSERT_ERRORS = statements.INSERT_EVENTS
    return complete()


def bare() -> Flask:
    """A Flask route that parses the body and answers: no key, no limits, no metrics, no store."""
    settings = Settings.from_env(os.environ)
    if settings.run_dir is None:
        raise RuntimeError("start this by `python -m tests.bench`")
    shared = SharedState(settings.run_dir)
    # The heartbeat that readiness waits for.
    Heartbeat(shared, create_app(settings, shared=shared, stopping=worker.stopping).parts.keyring).start()
    return parse_only()


def parse_only() -> Flask:
    app = Flask("bare", static_folder=None)

    @app.post("/api/v1/ingest")
    def ingest() -> Response:
        msgspec.json.decode(request.get_data())
        return Response(b'{"success":true}', 201, content_type="application/json")

    return app
