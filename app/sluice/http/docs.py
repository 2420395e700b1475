"""/docs: the OpenAPI document as Swagger UI shows it. The extra `docs` brings its files; nothing comes from elsewhere."""

from __future__ import annotations

import functools
import gzip
import importlib.util
from pathlib import Path

from sluice import errors
from sluice.http.context import RequestContext
from sluice.http.responses import Response
from sluice.http.routes import OPEN, Example, View, route
from sluice.http.services import Services
from sluice.http.stream_slots import Chunks

# Of it only the files are used: to import it would bring Flask in here.
PACKAGE = "flask_swagger_ui"
PAGE = b"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>Sluice: API</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="docs/swagger-ui.css">
</head>
<body>
<div id="swagger-ui"></div>
<noscript>This page needs JavaScript. The document itself is <a href="openapi.json">openapi.json</a>.</noscript>
<script src="docs/swagger-ui-bundle.js"></script>
<script src="docs/start.js"></script>
</body>
</html>
"""
# A key that is typed in stays in the memory of the page, and the document is sent to no validator.
START = b"""SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#swagger-ui",
  deepLinking: true,
  persistAuthorization: false,
  validatorUrl: null,
});
"""
# No script but those files, none inline, and no other host.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self';"
    " base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {"Content-Security-Policy": POLICY, "Referrer-Policy": "no-referrer"}
# Every browser takes gzip, and a request that does not speak of codings takes any (RFC 9110 section 12.5.3).
CACHED = {**HEADERS, "Content-Encoding": "gzip", "Cache-Control": "public, max-age=3600"}
MISSING = {501: "Swagger UI is not installed"}
# What a socket takes at once, whether its client reads or not.
LARGE = 64 << 10
FILES = {"swagger-ui.css": "text/css; charset=utf-8", "swagger-ui-bundle.js": "text/javascript; charset=utf-8"}


def file(name: str) -> bytes:
    """A file of Swagger UI, compressed; raises NotSupported."""
    found = importlib.util.find_spec(PACKAGE)
    if found is None or found.origin is None:
        raise errors.NotSupported(
            "install Swagger UI to see this page: pip install 'sluice[docs]'; the document is at /openapi.json",
            error="not_installed",
        )
    return compressed(Path(found.origin).parent / "dist" / name)


@functools.cache
def compressed(path: Path) -> bytes:
    return gzip.compress(path.read_bytes(), mtime=0)


@route(
    "GET",
    "/docs",
    summary="This document, to look at and to try",
    access=OPEN,
    answers={200: ("text/html", str)},
    refusals=MISSING,
    example=Example(answer=PAGE.decode()),
)
def page(_parts: Services, _context: RequestContext) -> Response:
    file("swagger-ui.css")
    return Response(200, PAGE, "text/html; charset=utf-8", HEADERS)


@route(
    "GET",
    "/docs/start.js",
    summary="What starts the page",
    access=OPEN,
    answers={200: ("text/javascript", str)},
    example=Example(answer=START.decode()),
)
def start(_parts: Services, _context: RequestContext) -> Response:
    return Response(200, START, "text/javascript; charset=utf-8", HEADERS)


def view(name: str) -> View:
    def send(parts: Services, _context: RequestContext) -> Response:
        data = file(name)
        if len(data) < LARGE:
            return Response(200, data, FILES[name], CACHED)
        # It needs no key: readers that take their time must not take every thread. (No key id begins with a slash.)
        return Response(200, Chunks(iter((data,)), parts.streams.take("/docs")), FILES[name], CACHED)

    return send


for name, kind in FILES.items():
    route(
        "GET",
        f"/docs/{name}",
        summary="A file of Swagger UI",
        access=OPEN,
        answers={200: (kind.partition(";")[0], str)},
        refusals={**MISSING, 503: "too many read it"},
        example=Example(answer="..."),
    )(view(name))
