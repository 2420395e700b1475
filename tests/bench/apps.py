"""The applications that are compared, all on the same gunicorn, worker class and settings. Named as `module:factory()`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import datetime
from typing import Any, cast

import msgspec
from flask import Flask, Response, request

from sluice.events import Record
from sluice.http.app import Service, create_app
from sluice.http.services import Services
from sluice.ingest.sinks import DirectSink
from sluice.outcomes import Outcome
from sluice.server import worker
from sluice.server.worker_state import Heartbeat, SharedState
from sluice.settings import Settings


def settings_and_board() -> tuple[Settings, SharedState]:
    settings = Settings.from_env(os.environ)
    if settings.run_dir is None:
        raise RuntimeError("start this by `python -m tests.bench`")
    return settings, SharedState(settings.run_dir)


def complete() -> Service:
    """The service as it is."""
    settings, shared = settings_and_board()
    app = create_app(settings, shared=shared, stopping=worker.stopping)
    Heartbeat(shared, app.parts.keyring).start()
    return app


class OwnCommits:
    """Stands where the group commit does, and shares nothing."""

    def __init__(self, insert: Any) -> None:
        self._insert = insert

    def submit(self, records: Sequence[Record], at: datetime) -> list[Outcome]:
        found: list[Outcome] = self._insert(records, at)
        return found


def own_commits() -> Flask:
    """The service with a commit for each request."""
    app = complete()
    parts: Services = app.parts
    sink = cast(DirectSink, parts.pipeline.sink)
    sink.group_commit = OwnCommits(sink.insert)  # type: ignore[assignment]
    return app


def bare() -> Flask:
    """A Flask route that parses the body and answers: no key, no limits, no metrics, no store."""
    complete()  # the heart that readiness waits for
    return parse_only()


def parse_only() -> Flask:
    app = Flask("bare", static_folder=None)

    @app.post("/api/v1/ingest")
    def ingest() -> Response:
        msgspec.json.decode(request.get_data())
        return Response(b'{"success":true}', 201, content_type="application/json")

    return app
