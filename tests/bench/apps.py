"""The applications that are compared, all on the same gunicorn, worker class and settings. Named as `module:factory()`."""

from __future__ import annotations

import os

import msgspec
from flask import Flask, Response, request

from sluice.http.app import Service, create_app
from sluice.server import fast_worker, worker
from sluice.server.worker_state import Heartbeat, SharedState
from sluice.settings import Settings
from sluice.stores.postgresql import statements


def settings_and_board() -> tuple[Settings, SharedState]:
    settings = Settings.from_env(os.environ)
    if settings.run_dir is None:
        raise RuntimeError("start this by `python -m tests.bench`")
    return settings, SharedState(settings.run_dir)


def complete() -> Service:
    """The service as it is."""
    app = assembled()
    fast_worker.serve(app.parts, app.registry)
    return app


def with_functions() -> Service:
    """The service as `serve` starts it, with the optional functions."""
    from sluice import functions  # noqa: F401, PLC0415 - declares their routes

    return complete()


def uncounted() -> Service:
    """The service without error groups: errors are stored like any other event."""
    statements.INSERT_ERRORS = statements.INSERT_EVENTS
    return complete()


def assembled() -> Service:
    settings, shared = settings_and_board()
    app = create_app(settings, shared=shared, stopping=worker.stopping)
    Heartbeat(shared, app.parts.keyring).start()
    return app


def bare() -> Flask:
    """A Flask route that parses the body and answers: no key, no limits, no metrics, no store."""
    assembled()  # the heartbeat that readiness waits for
    return parse_only()


def parse_only() -> Flask:
    app = Flask("bare", static_folder=None)

    @app.post("/api/v1/ingest")
    def ingest() -> Response:
        msgspec.json.decode(request.get_data())
        return Response(b'{"success":true}', 201, content_type="application/json")

    return app
