"""The OpenAPI 3.1 document, generated from the types that the code itself decodes and encodes."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass, field
from typing import Any

import msgspec
from flask import Blueprint, Response

from sluice import __version__, events, filters, stores
from sluice.http import answers, problems, shapes
from sluice.intake import batches, inflate, reports

blueprint = Blueprint("openapi", __name__)

JSON = "application/json"
NDJSON = "application/x-ndjson"
Schema = dict[str, Any]

# What any request may meet before its view is asked.
ALWAYS = {400: "the request can not be used"}
KEYED = {
    401: "no valid key",
    403: "the key lacks the scope",
    429: "over the key's limit",
    503: "the store is away; send it again",
}
BODIED = {408: "the body did not come in time", 413: "too large", 415: "another type or coding than is taken"}


@dataclass(frozen=True, kw_only=True)
class Operation:
    """One method of one path. `answers`: status -> (media type or None, type)."""

    method: str
    path: str
    summary: str
    scope: str | None = None
    keyed: bool = True
    body: dict[str, Any] = field(default_factory=dict)
    answers: dict[int, tuple[str | None, Any]]
    refusals: dict[int, str] = field(default_factory=dict)
    parameters: tuple[Schema, ...] = ()


def query(name: str, schema: Schema, description: str) -> Schema:
    return {"name": name, "in": "query", "required": False, "schema": schema, "description": description}


IDEMPOTENCY_KEY: Schema = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "schema": {"type": "string", "pattern": "^[!#-~]{1,255}$"},
    "description": "The same key and body within 24 hours: the same answer again, with Idempotent-Replayed: true.",
}
RESULTS = query("results", {"enum": ["problems", "all"]}, "which items `results` lists")
ATOMIC = query("atomic", {"enum": ["true", "false"]}, "store all or nothing")
EVENT_ID: Schema = {
    "name": "event_id",
    "in": "path",
    "required": True,
    "schema": {"type": "string", "minLength": 1, "maxLength": 255},
}


def filter_parameters(*, paged: bool) -> tuple[Schema, ...]:
    """The query parameters of sluice.filters, as it knows them."""
    text: Schema = {"type": "string"}
    found = [query(name, text, "equals") for name in (*filters.TEXTS, "provider_name")]
    found += [query(name, {"enum": list(values)}, "equals") for name, values in filters.CHOICES.items()]
    found += [query(name, {"type": "integer", "format": "int64"}, "equals") for name in filters.NUMBERS]
    for name, (column, operator) in filters.TIMES.items():
        found.append(query(name, {"type": "string", "format": "date-time"}, f"{column} {operator}"))
    if paged:
        found += page_parameters()
    return tuple(found)


def page_parameters() -> list[Schema]:
    return [
        query("sort_by", {"enum": list(filters.SORTS), "default": "created_at"}, "order"),
        query("sort_order", {"enum": ["asc", "desc"], "default": "desc"}, "direction"),
        query("page", {"type": "integer", "minimum": 1, "default": 1}, "for shallow reading; follow next_cursor beyond"),
        query(
            "page_size",
            {"type": "integer", "minimum": 1, "maximum": filters.MAX_PAGE_SIZE, "default": 50},
            "rows a page",
        ),
        query("cursor", {"type": "string"}, "next_cursor of the page before, with the same filters"),
    ]


def envelope(data: Any) -> tuple[str, Any]:
    return JSON, shapes.Success[data]


OPERATIONS = (
    Operation(
        method="post",
        path="/api/v1/ingest",
        summary="Store one event",
        scope="ingest",
        body={JSON: events.Event},
        answers={201: envelope(shapes.Stored)},
        refusals={**BODIED, 409: "stored with other content", 422: "key reused"},
        parameters=(IDEMPOTENCY_KEY,),
    ),
    Operation(
        method="post",
        path="/api/v1/batch-ingest",
        summary="Store many events; NDJSON is committed while it comes",
        scope="ingest",
        body={JSON: list[events.Event] | batches.Batch, NDJSON: str},
        answers={201: envelope(answers.BatchData), 200: envelope(answers.BatchData)},
        refusals={**BODIED, 409: "key in use", 422: "atomic batch refused, or key reused"},
        parameters=(ATOMIC, RESULTS, IDEMPOTENCY_KEY),
    ),
    Operation(
        method="post",
        path="/",
        summary="Store an error report",
        scope="ingest",
        body={JSON: reports.ErrorReport},
        answers={204: (None, None)},
        refusals=BODIED,
    ),
    Operation(
        method="post",
        path="/log",
        summary="Store any JSON object as a log event",
        scope="ingest",
        body={JSON: dict[str, Any]},
        answers={202: envelope(shapes.Stored)},
        refusals=BODIED,
    ),
    Operation(
        method="get",
        path="/api/v1/logs/filter",
        scope="read",
        answers={200: envelope(shapes.LogPage)},
        summary="Find events; `properties.<path>=text` and `device_info.<path>=text` look inside",
        parameters=filter_parameters(paged=True),
    ),
    Operation(
        method="get",
        path="/api/v1/logs/recent",
        summary="Newest events",
        scope="read",
        answers={200: envelope(list[shapes.Log])},
        parameters=(
            query("limit", {"type": "integer", "minimum": 1, "maximum": filters.MAX_PAGE_SIZE, "default": 50}, "how many"),
        ),
    ),
    Operation(
        method="get",
        path="/api/v1/events/{event_id}",
        summary="One event",
        scope="read",
        answers={200: envelope(shapes.Log)},
        refusals={404: "no such event"},
        parameters=(EVENT_ID,),
    ),
    Operation(
        method="get",
        path="/api/v1/export",
        summary="All events of a filter as NDJSON, oldest first",
        scope="read",
        answers={200: (NDJSON, str)},
        parameters=filter_parameters(paged=False),
    ),
    Operation(
        method="get", path="/api/v1/metrics", summary="Counts and rates", scope="read", answers={200: envelope(stores.Figures)}
    ),
    Operation(
        method="get", path="/api/v1/status", summary="State of the service", scope="read", answers={200: envelope(shapes.State)}
    ),
    Operation(method="get", path="/api/v1/limits", summary="Limits of this key", answers={200: envelope(shapes.Limits)}),
    Operation(method="get", path="/api/v1/whoami", summary="This key", answers={200: envelope(shapes.Whoami)}),
    Operation(
        method="get",
        path="/health",
        summary="Details",
        keyed=False,
        answers={200: (JSON, shapes.Health), 503: (JSON, shapes.Health)},
    ),
    Operation(
        method="get",
        path="/readiness",
        summary="May traffic come",
        keyed=False,
        answers={200: (JSON, shapes.Readiness), 503: (JSON, shapes.Readiness)},
    ),
    Operation(
        method="get", path="/liveness", summary="Does the process live", keyed=False, answers={200: (JSON, shapes.Liveness)}
    ),
    Operation(method="get", path="/openapi.json", summary="This document", keyed=False, answers={200: (JSON, dict[str, Any])}),
)


@functools.cache
def document() -> Schema:
    """The OpenAPI document."""
    schemas, components = msgspec.json.schema_components(types(), ref_template="#/components/schemas/{name}")
    named = dict(zip((repr(kind) for kind in types()), schemas, strict=True))
    paths: dict[str, Schema] = {}
    for operation in OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method] = described(operation, named)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Sluice",
            "version": __version__,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "apiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
            },
        },
    }


def types() -> list[Any]:
    found = [problems.Problem]
    for operation in OPERATIONS:
        found += operation.body.values()
        found += [kind for _, kind in operation.answers.values() if kind is not None]
    return list({repr(kind): kind for kind in found}.values())


def described(operation: Operation, named: dict[str, Schema]) -> Schema:
    """One operation object (OpenAPI 3.1 section 4.8.10)."""
    told: Schema = {
        "summary": operation.summary,
        "operationId": operation_id(operation),
        "parameters": list(operation.parameters),
        "responses": responses(operation, named),
        "security": [{"bearer": []}, {"apiKey": []}] if operation.keyed else [],
    }
    if operation.body:
        content = {media: {"schema": named[repr(kind)]} for media, kind in operation.body.items()}
        description = f"may be coded as {', '.join(inflate.ENCODINGS)}"
        told["requestBody"] = {"required": True, "description": description, "content": content}
    return told


def operation_id(operation: Operation) -> str:
    return operation.method + re.sub(r"[^a-z0-9]+", "_", operation.path)


def responses(operation: Operation, named: dict[str, Schema]) -> Schema:
    refusals = {**ALWAYS, **(KEYED if operation.keyed else {}), **operation.refusals}
    told = {
        str(status): {"description": text, "content": {problems.PROBLEM: {"schema": named[repr(problems.Problem)]}}}
        for status, text in refusals.items()
    }
    for status, (media, kind) in operation.answers.items():
        told[str(status)] = {"description": operation.summary}
        if media is not None:
            told[str(status)]["content"] = {media: {"schema": named[repr(kind)]}}
    return told


@blueprint.get("/openapi.json")
def openapi() -> Response:
    return answers.json_response(msgspec.json.encode(document()))
