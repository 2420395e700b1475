"""How a page is made: who may see it, what it asks of the API, how it is rendered, and what an error looks like.

All pages that link to others are siblings in one folder, /console/, and name each other without it: so their links hold below
any path at which a proxy serves them. What names one of many (an id) is in the query or the form, for it may have slashes.
"""

from __future__ import annotations

import functools
import io
from collections.abc import Callable
from importlib import resources
from typing import Any
from urllib.parse import parse_qsl, urlencode

import jinja2
import msgspec

from sluice import __version__, errors
from sluice.console import session as sessions
from sluice.console import show
from sluice.console.session import Session
from sluice.http import auth, bodies, problems
from sluice.http.bodies import InputBody
from sluice.http.context import RequestContext
from sluice.http.responses import Response
from sluice.http.routes import OPERATIONS, View, page
from sluice.http.services import Services

HTML = "text/html; charset=utf-8"
# No script but ours, none inline, no style inline, nothing of another host.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; form-action 'self';"
    " base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {"Content-Security-Policy": POLICY, "Referrer-Policy": "same-origin", "Cache-Control": "no-store"}
FOLDER = "/console/"
SIGN_IN = "sign-in"
MAX_FORM = 16 << 10
Form = dict[str, str]


@functools.cache
def templates() -> jinja2.Environment:
    found = jinja2.Environment(
        loader=jinja2.PackageLoader("sluice.console"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters.update(at=show.at, pretty=show.pretty, when=show.when, query=urlencode)
    return found


def html(name: str, code: int = 200, **values: Any) -> Response:
    text = templates().get_template(name).render(version=__version__, **values)
    return Response(code, text.encode(), HTML, HEADERS)


def see(page: str, **headers: str) -> Response:
    """To another page, by GET (RFC 9110 section 15.4.4), seen from this one."""
    return Response(303, b"", None, {**HEADERS, "Location": page, **headers})


def ask(
    parts: Services, session: Session, path: str, query: dict[str, str] | None = None, method: str = "GET", **place: Any
) -> Any:
    """`data` of what the API answers to the key of this session; raises what the API's view raises."""
    operation = next(each for each in OPERATIONS if (each.method, each.path) == (method, path))
    if operation.access not in ("any", "open"):
        session.must(str(operation.access))
    context = RequestContext(method, path, {}, InputBody(io.BytesIO()), urlencode(query or {}))
    context.entry, context.key_id = session.entry, session.entry.key_id
    response = operation.view(parts, context, **place)
    body = response.body if isinstance(response.body, bytes) else b"".join(response.body)
    found = msgspec.json.decode(body)
    return found["data"] if isinstance(found, dict) and "success" in found else found


def form_of(parts: Services, context: RequestContext) -> Form:
    """The fields of a form; raises Forbidden when another site sent it."""
    sessions.must_be_own(context)
    if context.media_type != "application/x-www-form-urlencoded":
        raise errors.UnsupportedMediaType("send the page's own form")
    with parts.memory.reservation() as reservation:
        body = bodies.whole(context, parts.settings, reservation)
    if len(body) > MAX_FORM:
        raise errors.ContentTooLarge(f"a form has at most {MAX_FORM} bytes")
    return dict(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True))


def shown(name: str) -> Callable[[Callable[..., Response]], View]:
    """Declare the page `name`: `view(parts, context, session)`. Without a session it leads to the sign-in."""

    def decorate(view: Callable[..., Response]) -> View:
        @page("GET", FOLDER + name)
        def show_page(parts: Services, context: RequestContext) -> Response:
            return guarded(parts, context, lambda session: view(parts, context, session))

        return show_page

    return decorate


def done(name: str) -> Callable[[Callable[..., Response]], View]:
    """Declare what POST `name` does: `view(parts, context, session, form)`; the form carries the session's token."""

    def decorate(view: Callable[..., Response]) -> View:
        @page("POST", FOLDER + name)
        def do(parts: Services, context: RequestContext) -> Response:
            def act(session: Session) -> Response:
                form = form_of(parts, context)
                sessions.must_match(session, form.get("token", ""))
                return view(parts, context, session, form)

            return guarded(parts, context, act)

        return do

    return decorate


def guarded(parts: Services, context: RequestContext, work: Callable[[Session], Response]) -> Response:
    """What `work` returns for the session; an error as a page."""
    session = None
    try:
        session = sessions.current(parts, context)
        if session is None:
            return see(SIGN_IN)
        auth.count_request(parts, context, session.entry)
        return work(session)
    except Exception as error:
        return problem(error, context, session)


def problem(error: Exception, context: RequestContext, session: Session | None = None) -> Response:
    found = problems.api_error(error)
    context.error, context.reason = found.error, found.reason
    page = html("problem.html", found.status, session=session, problem=found, request_id=context.request_id, here="")
    page.headers = {**page.headers, **found.headers}
    return page


@functools.cache
def asset(name: str) -> bytes:
    return (resources.files("sluice.console") / "static" / name).read_bytes()


def serve_asset(name: str, kind: str) -> None:
    @page("GET", FOLDER + name)
    def send(_parts: Services, _context: RequestContext) -> Response:
        return Response(200, asset(name), kind, {**HEADERS, "Cache-Control": "no-cache"})


serve_asset("console.css", "text/css; charset=utf-8")
serve_asset("console.js", "text/javascript; charset=utf-8")
