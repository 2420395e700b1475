"""The applications that are compared, all on the same gunicorn, worker class and settings. Named as `module:factory()`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import msgspec
from flask import Flask, Response, request

from sluice.board import Board, Heart
from sluice.events import Row
from sluice.http.app import create_app
from sluice.http.services import Services
from sluice.outcomes import Outcome
from sluice.settings import Settings


def settings_and_board() -> tuple[Settings, Board]:
    settings = Settings.from_env(os.environ)
    if settings.run_dir is None:
        raise RuntimeError("start this by `python -m tests.bench`")
    return settings, Board(settings.run_dir)


def complete() -> Flask:
    """The service as it is."""
    settings, board = settings_and_board()
    app = create_app(settings, board=board)
    Heart(board, app.extensions["sluice"].keyring).start()
    return app


class OwnCommits:
    """Stands where the committer does, and shares nothing."""

    def __init__(self, insert: Any) -> None:
        self._insert = insert

    def submit(self, rows: Sequence[Row]) -> list[Outcome]:
        found: list[Outcome] = self._insert(rows)
        return found


def own_commits() -> Flask:
    """The service with a commit for each request."""
    app = complete()
    parts: Services = app.extensions["sluice"]
    parts.pipeline._committer = OwnCommits(parts.pipeline._insert)  # type: ignore[assignment]
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
