"""The OpenAPI 3.1 document, generated from the routes' declarations and the types that the code itself decodes and encodes."""

from __future__ import annotations

import functools
import re
from typing import Any

import msgspec

from sluice import __version__
from sluice.http import problems
from sluice.http.context import RequestContext
from sluice.http.responses import JSON, Response
from sluice.http.routes import OPEN, OPERATIONS, Example, Operation, Schema, route
from sluice.http.services import Services
from sluice.parsing import decompression

# What any request may meet before its view runs.
ALWAYS = {400: "the request cannot be used"}
KEYED = {
    401: "no valid key",
    403: "the key lacks the scope",
    429: "over the key's limit",
    503: "the store is away; send it again",
}


@route(
    "GET",
    "/openapi.json",
    summary="This document",
    access=OPEN,
    answers={200: (JSON, dict[str, Any])},
    example=Example(answer={"openapi": "3.1.0", "info": {"title": "Sluice"}, "paths": {}}),
)
def openapi(_parts: Services, _context: RequestContext) -> Response:
    return Response(body=msgspec.json.encode(document()))


@functools.cache
def document() -> Schema:
    """The OpenAPI document."""
    kinds: list[Any] = [problems.Problem]
    for operation in OPERATIONS:
        kinds += operation.body.values()
        kinds += [kind for _, kind in operation.answers.values() if kind is not None]
    kinds = list({repr(kind): kind for kind in kinds}.values())
    schemas, components = msgspec.json.schema_components(kinds, ref_template="#/components/schemas/{name}")
    named = dict(zip(map(repr, kinds), schemas, strict=True))
    paths: dict[str, Schema] = {}
    for operation in OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method.lower()] = described(operation, named)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Sluice",
            "version": __version__,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        # Where this document is, whatever path a proxy serves it at (OpenAPI 3.1 section 4.8.5).
        "servers": [{"url": "."}],
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "apiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
            },
        },
    }


def described(operation: Operation, named: dict[str, Schema]) -> Schema:
    """One operation object (OpenAPI 3.1 section 4.8.10)."""
    found: Schema = {
        "summary": operation.summary,
        # By the package or the module that serves it: ingest, read, tasks.
        "tags": [operation.view.__module__.removesuffix(".routes").rpartition(".")[2]],
        "operationId": operation.method.lower() + re.sub(r"[^a-z0-9]+", "_", operation.path),
        "parameters": parameters(operation),
        "responses": responses(operation, named),
        "security": [{"bearer": []}, {"apiKey": []}] if operation.keyed else [],
    }
    if operation.body:
        content = {media: {"schema": named[repr(kind)]} for media, kind in operation.body.items()}
        if operation.example is not None:
            content[next(iter(content))]["example"] = msgspec.to_builtins(operation.example.body)
        description = f"may be coded as {', '.join(decompression.ENCODINGS)}"
        found["requestBody"] = {"required": True, "description": description, "content": content}
    return found


def parameters(operation: Operation) -> list[Schema]:
    """The Parameter Objects, with the values of the example."""
    example = operation.example or Example()
    shown = {"path": example.path, "query": example.query, "header": example.headers}
    return [
        {**each, "example": shown[each["in"]][each["name"]]} if each["name"] in shown[each["in"]] else each
        for each in operation.parameters
    ]


def responses(operation: Operation, named: dict[str, Schema]) -> Schema:
    slow = {504: "the query took too long"} if operation.access == "read" else {}
    refusals = {**ALWAYS, **(KEYED if operation.keyed else {}), **slow, **operation.refusals}
    found = {
        str(status): {"description": text, "content": {problems.PROBLEM: {"schema": named[repr(problems.Problem)]}}}
        for status, text in refusals.items()
    }
    for status, (media, kind) in operation.answers.items():
        found[str(status)] = {"description": operation.summary}
        if media is not None:
            found[str(status)]["content"] = {media: {"schema": named[repr(kind)]}}
    if (example := operation.example) is not None:
        shown: Schema = found[str(status_of(operation))]
        for content in shown.get("content", {}).values():
            content["example"] = msgspec.to_builtins(example.answer)
        if example.answer_headers:
            shown["headers"] = {
                name: {"schema": {"type": "string"}, "example": value} for name, value in example.answer_headers.items()
            }
    return found


def status_of(operation: Operation) -> int:
    """The status of the operation's example."""
    return (operation.example and operation.example.status) or next(iter(operation.answers))
