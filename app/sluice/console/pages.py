"""The pages of the console, and GET /."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode, urlsplit
from uuid import UUID

import msgspec

from sluice import __version__, errors, filters
from sluice.console import keys, letters, overview, show, site  # noqa: F401 - each declares its pages
from sluice.console import session as sessions
from sluice.console.session import Session
from sluice.console.site import done, html, see, shown
from sluice.http.context import RequestContext
from sluice.http.responses import JSON, Response
from sluice.http.routes import OPEN, Example, page, route
from sluice.http.services import Services
from sluice.tail import routes as tails

FILTERS = ("event_type", "source", "event_name", "user_id", "start_time", "end_time")
# A media type of an Accept header, and its weight.
ACCEPTED = re.compile(r"([^,;\s]+)(?:\s*;\s*(?:q=([01](?:\.\d{0,3})?)|[^,;]*))*", re.IGNORECASE)
ACTIONS = {"resolve": "Resolve", "reopen": "Reopen", "ignore": "Ignore"}


class Description(msgspec.Struct):
    """What answers here, and where to read the rest, seen from here."""

    name: str
    version: str
    openapi: str
    docs: str


DESCRIPTION = Description("sluice", __version__, "openapi.json", "docs")


@route(
    "GET",
    "/",
    summary="What this is; a browser is led to the console",
    access=OPEN,
    answers={200: (JSON, Description)},
    example=Example(answer=DESCRIPTION),
)
def root(parts: Services, context: RequestContext) -> Response:
    if parts.settings.console and prefers_html(str(context.headers.get("HTTP_ACCEPT", ""))):
        return see("console/", Vary="Accept")
    return Response(body=msgspec.json.encode(DESCRIPTION), headers={"Vary": "Accept"})


def prefers_html(accept: str) -> bool:
    """Whether HTML is asked for by name, and nothing says that JSON would be better (RFC 9110 section 12.5.1)."""
    weights = {kind.lower(): float(weight or 1) for kind, weight in ACCEPTED.findall(accept)}
    return weights.get("text/html", 0.0) > 0 and weights["text/html"] >= weights.get("application/json", 0.0)


@page("GET", site.FOLDER.removesuffix("/"))
def bare(_parts: Services, context: RequestContext) -> Response:
    return see(f"console/?{context.query_string}" if context.query_string else "console/")


@page("GET", site.FOLDER + site.SIGN_IN)
def sign_in_page(_parts: Services, _context: RequestContext) -> Response:
    return html("signin.html", session=None, fault="", here="")


@page("POST", site.FOLDER + site.SIGN_IN)
def sign_in(parts: Services, context: RequestContext) -> Response:
    try:
        form = site.form_of(parts, context)
        cookie = sessions.sign_in(parts, context, form.get("key", ""))
    except errors.Unauthorized as error:
        context.error, context.reason = error.error, error.reason
        return html("signin.html", 401, session=None, fault=error.detail, here="")
    except Exception as error:
        return site.problem(error, context)
    return see("./", **{"Set-Cookie": cookie})


@done("sign-out")
def sign_out(_parts: Services, context: RequestContext, _session: Session, _form: site.Form) -> Response:
    return see(site.SIGN_IN, **{"Set-Cookie": sessions.cookie(context, "", 0)})


@shown("events")
def search(parts: Services, context: RequestContext, session: Session) -> Response:
    """By the parameters of the API: the address of this page and `filter` both reproduce it."""
    given = asked(context)
    found: Any = None
    fault: Any = None
    try:
        found = site.ask(parts, session, "/api/v1/logs/filter", {"page_size": "50", **given})
    except errors.BadRequest as error:
        fault = error
    more = urlencode({**given, "cursor": found["next_cursor"]}) if found and found["next_cursor"] else ""
    where = {name: value for name, value in given.items() if name != "cursor"}
    return html(
        "search.html",
        code=400 if fault else 200,
        session=session,
        here="events",
        found=found,
        fault=fault,
        more=more,
        given=where,
        fields=FILTERS,
        free=written({name: value for name, value in where.items() if name not in FILTERS}),
        types=filters.CHOICES["event_type"],
        api=f"/api/v1/logs/filter?{urlencode(where)}",
    )


def asked(context: RequestContext) -> dict[str, str]:
    """The filters of a form: empty fields ask nothing, and `where` holds any others, NAME=VALUE line by line."""
    given = {name: value for name, value in context.query if value and name != "where"}
    for line in dict(context.query).get("where", "").splitlines():
        name, _, value = line.strip().partition("=")
        if name:
            given[name] = value
    return given


def written(given: dict[str, str]) -> str:
    return "\n".join(f"{name}={value}" for name, value in given.items())


@shown("event")
def event(parts: Services, context: RequestContext, session: Session) -> Response:
    event_id = dict(context.query).get("event_id", "")
    log = site.ask(parts, session, "/api/v1/events/{event_id}", event_id=event_id)
    trace = show.trace_of(log["properties"])
    return html("event.html", session=session, here="events", log=log, trace=trace, raised=show.folded(trace))


@shown("tail")
def tail(_parts: Services, context: RequestContext, session: Session) -> Response:
    session.must("read")
    given = asked(context)
    return html("tail.html", session=session, here="tail", where=written(given), types=filters.CHOICES["event_type"])


@page("GET", site.FOLDER + "tail/stream")
def stream(parts: Services, context: RequestContext) -> Response:
    """The tail of the API, for the session's key. An error is the API's own: a script reads it."""
    session = sessions.current(parts, context)
    if session is None or not session.may("read"):
        raise errors.Unauthorized("sign in again", reason="missing")
    given = asked(context)
    after = given.pop("after", None)
    matches = filters.parse(given.items(), paged=False).matches
    return tails.opened(parts, context, session.entry, matches, after)


@shown("errors")
def groups(parts: Services, context: RequestContext, session: Session) -> Response:
    given = {"status": "unresolved", **asked(context)}
    if given["status"] == "all":
        del given["status"]
    found = site.ask(parts, session, "/api/v1/errors", {"page_size": "25", **given})
    now = datetime.now(UTC)
    for group in found["errors"]:
        group["bars"] = show.bars(show.hours(group["histogram"], now), 120, 24)
    more = urlencode({**given, "cursor": found["next_cursor"]}) if found["next_cursor"] else ""
    return html("errors.html", session=session, here="errors", found=found, status=given.get("status", "all"), more=more)


@shown("error")
def group(parts: Services, context: RequestContext, session: Session) -> Response:
    fingerprint = dict(context.query).get("fingerprint", "")
    found = site.ask(parts, session, "/api/v1/errors/{fingerprint}", {"page_size": "20"}, fingerprint=fingerprint)
    error = found["error"]
    example = error["example"] or {"properties": {}}
    trace = show.trace_of(example["properties"])
    return html(
        "error.html",
        session=session,
        here="errors",
        error=error,
        events=found["events"],
        trace=trace,
        raised=show.folded(trace),
        bars=show.bars(show.hours(error["histogram"], datetime.now(UTC))),
        actions={name: label for name, label in ACTIONS.items() if name in open_actions(error["status"])},
    )


def open_actions(status: str) -> tuple[str, ...]:
    return ("resolve", "ignore") if status == "unresolved" else ("reopen",)


@done("change-error")
def change_group(parts: Services, _context: RequestContext, session: Session, form: site.Form) -> Response:
    action, fingerprint = form.get("action", ""), form.get("fingerprint", "")
    if action not in ACTIONS:
        raise errors.BadRequest("an error can be resolved, reopened or ignored", error="validation_error")
    site.ask(parts, session, f"/api/v1/errors/{{fingerprint}}/{action}", method="POST", fingerprint=fingerprint)
    return see(f"error?{urlencode({'fingerprint': fingerprint})}")


@shown("tasks")
def tasks(parts: Services, _context: RequestContext, session: Session) -> Response:
    board = {
        status: site.ask(parts, session, "/tasks", {"status": status, "limit": "100"}) for status in ("pending", "completed")
    }
    return html("tasks.html", session=session, here="tasks", board=board)


@done("complete-task")
def complete(parts: Services, _context: RequestContext, session: Session, form: site.Form) -> Response:
    try:
        task_id = UUID(form.get("task_id", ""))
    except ValueError as error:
        raise errors.NotFound("no such task") from error
    site.ask(parts, session, "/tasks/{task_id}/complete", method="POST", task_id=task_id)
    return see("tasks")


@shown("sources")
def sources(parts: Services, _context: RequestContext, session: Session) -> Response:
    found = site.ask(parts, session, "/api/v1/sources")
    for source in found:
        source["runs"] = site.ask(parts, session, "/api/v1/sources/{name}/status", name=source["name"])["runs"][:5]
    return html("sources.html", session=session, here="sources", sources=found)


@done("run-source")
def run(parts: Services, _context: RequestContext, session: Session, form: site.Form) -> Response:
    site.ask(parts, session, "/api/v1/sources/{name}/run", method="POST", name=form.get("name", ""))
    return see("sources")


@shown("about")
def about(parts: Services, _context: RequestContext, session: Session) -> Response:
    ready, reason = parts.ready()
    state = site.ask(parts, session, "/api/v1/status") if session.may("read") else None
    queue = urlsplit(parts.settings.queue_url).hostname if parts.settings.queue_url else None
    return html(
        "about.html",
        session=session,
        here="about",
        state=state,
        ready="ready" if ready else reason,
        limits=site.ask(parts, session, "/api/v1/limits"),
        whoami=site.ask(parts, session, "/api/v1/whoami"),
        store=parts.settings.storage_type,
        queue=queue,
    )
