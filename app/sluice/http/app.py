"""The Flask application of one worker process: the only module that knows Flask."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, cast

import flask
from flask import Flask
from flask_cors import CORS
from prometheus_client import CollectorRegistry
from prometheus_flask_exporter import PrometheusMetrics
from werkzeug.exceptions import HTTPException
from werkzeug.routing import BaseConverter

from sluice import errors, logs, origins, stores
from sluice.http import docs, ingest, openapi, probes, problems, read, volume  # noqa: F401 - each declares its routes
from sluice.http.context import CONTEXT, METHODS, Middleware, RequestContext
from sluice.http.responses import Response
from sluice.http.routes import OPERATIONS, PAGES, Operation, Page
from sluice.http.services import ReadyState, Services, assemble
from sluice.metrics import Metrics
from sluice.settings import Settings
from sluice.stores import Store

# What a page may read of a response beside what every page may.
EXPOSED = (
    "X-Request-ID",
    "traceparent",
    "RateLimit",
    "RateLimit-Policy",
    "Retry-After",
    "Idempotent-Replayed",
    "WWW-Authenticate",
    "Accept-Patch",
    "Accept-Post",
    "Allow",
    "ETag",
    "Link",
    "Location",
)


class AnyText(BaseConverter):
    """Slashes, line ends and all: an event id may be any text, and no other path is near it."""

    regex = r"[\s\S]+"
    part_isolating = False


class Service(Flask):
    """Flask with our responses. `parts`: what this process is made of."""

    parts: Services
    registry: CollectorRegistry

    def ensure_sync(self, func: Callable[..., Any]) -> Callable[..., Any]:
        # No view here is a coroutine, and Flask would look at each of them for every request.
        return func


def create_app(
    settings: Settings,
    *,
    store: Store | None = None,
    shared: ReadyState | None = None,
    stopping: Callable[[], bool] = lambda: False,
) -> Service:
    """The application. Nothing is waited for: it serves while the database is still away.

    `store`: as the caller has it already, else the one of the settings. `shared`: the state that `serve` shares with its workers.
    `stopping`: whether this process takes no more requests.
    """
    logs.configure(settings.log_level)
    app = Service("sluice", static_folder=None)
    # A redirect to another path would be one to another event's.
    app.url_map.merge_slashes = False
    app.url_map.converters["path"] = AnyText
    registry = app.registry = CollectorRegistry()
    PrometheusMetrics(app, registry=registry, path=None, group_by=route)
    app.parts = assemble(settings, store or stores.open(settings), Metrics(registry), shared, stopping)
    for operation in OPERATIONS:
        rule = rule_of(operation)
        app.add_url_rule(rule, f"{operation.method} {rule}", view(app.parts, operation), methods=[operation.method])
    for each in PAGES if settings.console else ():
        app.add_url_rule(each.path, f"{each.method} {each.path}", view(app.parts, each), methods=[each.method])
    app.before_request(hide_from_metrics)
    app.register_error_handler(Exception, refused)
    if settings.allowed_origins:
        # Keys are in headers that a page sets itself, so no credentials of the browser are let in.
        allowed = [origins.pattern(origin) for origin in settings.allowed_origins]
        CORS(app, origins=allowed, expose_headers=EXPOSED, max_age=43_200, send_wildcard=True)
    app.wsgi_app = Middleware(app.wsgi_app, log_all=settings.log_level == "debug")  # type: ignore[method-assign]
    return app


def rule_of(operation: Operation) -> str:
    """The path as werkzeug writes it: a parameter of format uuid, or with a pattern, is one segment, any other takes all that is
    left."""
    schemas = {each["name"]: each["schema"] for each in operation.parameters if each["in"] == "path"}

    def converter(name: str) -> str:
        return "uuid" if schemas[name].get("format") == "uuid" else "string" if "pattern" in schemas[name] else "path"

    return re.sub(r"{(\w+)}", lambda found: f"<{converter(found[1])}:{found[1]}>", operation.path)


def view(parts: Services, operation: Operation | Page) -> Callable[..., flask.Response]:
    return lambda **path: flask_response(operation.serve(parts, current(), **path))


def refused(error: Exception) -> flask.Response:
    return flask_response(problems.response_to(of_framework(error) if isinstance(error, HTTPException) else error, current()))


def flask_response(response: Response) -> flask.Response:
    made = flask.Response(response.body, response.status, response.headers, content_type=response.content_type)
    if response.content_type is None:
        made.headers.remove("Content-Type")  # Flask's default, though there is no body
    return made


def current() -> RequestContext:
    return cast(RequestContext, flask.request.environ[CONTEXT])


def route(_: object) -> str:
    """The label `route` of the HTTP metrics: the URL rule, never the path, which a client may choose freely."""
    return flask.request.url_rule.rule if flask.request.url_rule else "none"


def hide_from_metrics() -> None:
    """The exporter labels by method, and a client may invent methods without end."""
    if flask.request.method not in METHODS:
        flask.request.prom_do_not_track = True  # type: ignore[attr-defined]


def of_framework(error: HTTPException) -> errors.ApiError:
    """What Flask and werkzeug raise by themselves: no such path, no such method, a request they cannot read."""
    if error.code == 404:
        return errors.NotFound("there is nothing here; /openapi.json lists what is")
    if error.code == 405:
        allowed = ", ".join(sorted(getattr(error, "valid_methods", None) or ()))
        return errors.MethodNotAllowed(f"this path takes {allowed}", headers={"Allow": allowed})
    if error.code is not None and 400 <= error.code < 500:
        return errors.BadRequest("the request cannot be read", error="invalid_request")
    return errors.InternalServerError("something here is broken; the log has the request id")
