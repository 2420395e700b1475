"""A route declares once what it serves: the application, its guard and the OpenAPI document are made from the declaration."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Concatenate

from sluice import filters
from sluice.env import one_of
from sluice.http import auth
from sluice.http.context import RequestContext
from sluice.http.responses import JSON, Response, Success
from sluice.http.services import Services
from sluice.keys import Scope

NDJSON = "application/x-ndjson"
Schema = dict[str, Any]
View = Callable[Concatenate[Services, RequestContext, ...], Response]
# No key is needed.
OPEN = "open"
# Any valid key will do.
ANY_KEY = "any"


@dataclass(frozen=True, kw_only=True)
class Example:
    """One request and the response to it, as the document shows and tests/integration/test_examples.py runs them.

    `path`, `query`, `headers`: the request's parameters by name. `body`: what is sent, `answer`: what comes back; each the value
    whose JSON that is (a Struct, a dict), or a text for any other media type. `status`: by default the first of the operation's
    answers. `answer_headers`: those worth showing. `after`: operations ("POST /tasks") whose examples run before it; a text of
    their responses that the server makes (an id, an ETag) may be repeated here: the test sends what the server really made.
    """

    path: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Any = None
    status: int | None = None
    answer: Any = None
    answer_headers: Mapping[str, str] = field(default_factory=dict)
    after: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Operation:
    """One method of one path.

    `access`: the scope that a key needs, ANY_KEY or OPEN. `body`: media type -> type. `answers`: status -> media type (None: no
    body) and type. `refusals`: status -> text. `example`: no operation without one (a test fails).
    """

    method: str
    path: str
    view: View
    summary: str
    access: Scope | str
    answers: Mapping[int, tuple[str | None, Any]]
    body: Mapping[str, Any] = field(default_factory=dict)
    refusals: Mapping[int, str] = field(default_factory=dict)
    parameters: tuple[Schema, ...] = ()
    example: Example | None = None

    @property
    def keyed(self) -> bool:
        return self.access != OPEN

    def serve(self, parts: Services, context: RequestContext, **path: str) -> Response:
        """Admit the request and ask the view."""
        context.route = self.path
        if self.keyed:
            auth.admit(parts, context, None if self.access == ANY_KEY else self.access)
        return self.view(parts, context, **path)


OPERATIONS: list[Operation] = []


def route(method: str, path: str, **declared: Any) -> Callable[[View], View]:
    """Declare that a view serves `method path`; `{name}` in it is an argument. `declared`: the other fields of Operation."""

    def decorate(view: View) -> View:
        OPERATIONS.append(Operation(method=method, path=path, view=view, **declared))
        return view

    return decorate


@dataclass(frozen=True, kw_only=True)
class Page:
    """One method of one path for people, not in the OpenAPI document. `path`: as werkzeug writes rules."""

    method: str
    path: str
    view: View

    def serve(self, parts: Services, context: RequestContext, **path: str) -> Response:
        context.route = self.path
        return self.view(parts, context, **path)


PAGES: list[Page] = []


def page(method: str, path: str) -> Callable[[View], View]:
    """Declare that a view serves `method path` of the console."""

    def decorate(view: View) -> View:
        PAGES.append(Page(method=method, path=path, view=view))
        return view

    return decorate


def envelope(data: Any) -> tuple[str, Any]:
    return JSON, Success[data]


def success(message: str, data: Any) -> Success[Any]:
    """The answer of an Example in the envelope."""
    return Success(True, message, data)


def parameter(name: str, schema: Schema, description: str, place: str = "query") -> Schema:
    """A Parameter Object (OpenAPI 3.1 section 4.8.12)."""
    return {"name": name, "in": place, "required": place == "path", "schema": schema, "description": description}


def flags(context: RequestContext, **known: tuple[str, ...]) -> dict[str, str]:
    """The query parameters of a view that takes only those `known`, with these choices; raises BadRequest for any other."""
    return filters.values(context.query, {name: one_of(*choices) for name, choices in known.items()})
