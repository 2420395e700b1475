"""The application of one worker process, put together."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flask import Flask, request
from flask_cors import CORS
from prometheus_client import CollectorRegistry
from prometheus_flask_exporter import PrometheusMetrics

from sluice import logs
from sluice.board import Board
from sluice.events import Rules
from sluice.http import context, ingest, openapi, probes, problems, read, worker
from sluice.http.services import Services
from sluice.inflight import Inflight
from sluice.keyring import Keyring
from sluice.limiter import Limiter
from sluice.metrics import Metrics
from sluice.pipeline import Pipeline, utc_now
from sluice.settings import Settings
from sluice.stores import Store, login, postgresql


def create_app(settings: Settings, *, store: Store | None = None, board: Board | None = None) -> Flask:
    """The Flask application. Nothing is waited for: it serves while the database is still away.

    `store` and `board`: as the caller has them already; without them, made from the settings.
    """
    logs.configure(settings.log_level)
    app = Service("sluice", static_folder=None)
    registry = CollectorRegistry()
    PrometheusMetrics(app, registry=registry, path=None, group_by=route)
    app.extensions["sluice"] = assemble(settings, Metrics(registry), store, board)
    problems.init_app(app)
    for blueprint in (probes.blueprint, ingest.blueprint, read.blueprint, openapi.blueprint):
        app.register_blueprint(blueprint)
    app.before_request(hide_from_metrics)
    allow_origins(app, settings)
    app.wsgi_app = context.Context(app.wsgi_app, log_all=settings.log_level == "debug")  # type: ignore[method-assign]
    return app


class Service(Flask):
    """Flask with our request."""

    request_class = context.Request

    def ensure_sync(self, func: Callable[..., Any]) -> Callable[..., Any]:
        # No view here is a coroutine, and Flask would look at each of them for every request.
        return func


def hide_from_metrics() -> None:
    """The exporter labels by method, and a client may invent methods without end."""
    request = context.current()
    if request.method not in context.METHODS:
        request.prom_do_not_track = True


def route(_: object) -> str:
    """The label of a request in the HTTP metrics: its URL rule, never its path, which a client may choose freely."""
    return request.url_rule.rule if request.url_rule else "none"


def assemble(settings: Settings, metrics: Metrics, store: Store | None, board: Board | None) -> Services:
    if store is None:
        store = postgresql.open_store(login.of_service(settings), settings.db_pool_size)
    if board is None and settings.run_dir is not None:
        board = Board(settings.run_dir)
    rules = Rules(max_event_bytes=settings.max_event_bytes, retention_days=settings.retention_days)
    keyring = Keyring(settings.api_keys, settings.keyset_file, utc_now)
    keyring.poll()
    return Services(
        settings=settings,
        store=store,
        pipeline=Pipeline(store, rules, metrics),
        keyring=keyring,
        limiter=Limiter(settings.workers, settings.rate_limit_requests_per_minute, settings.rate_limit_events_per_minute),
        inflight=Inflight(settings.max_inflight_bytes),
        metrics=metrics,
        draining=draining_of(board),
        ready=ready_of(board),
    )


def draining_of(board: Board | None) -> Callable[[], bool]:
    """Whether a stream is to end with its chunk: the service drains, or this worker is about to be replaced."""
    return (lambda: board.draining or worker.stopping()) if board is not None else worker.stopping


def ready_of(board: Board | None) -> Callable[[], tuple[bool, str]]:
    return (lambda: (board.ready, board.reason)) if board is not None else (lambda: (True, "ready"))


def allow_origins(app: Flask, settings: Settings) -> None:
    if not settings.allowed_origins:
        return
    CORS(app, origins=list(settings.allowed_origins), supports_credentials=True, max_age=43_200)
