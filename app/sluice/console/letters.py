"""Dead letters: what the queue's worker could not store. Each page opens a link to the broker and closes it again."""

from __future__ import annotations

import msgspec
import structlog

from sluice import errors
from sluice.console import show
from sluice.console.session import Session
from sluice.console.site import Form, done, html, see, shown
from sluice.http.context import RequestContext
from sluice.http.responses import Response
from sluice.http.services import Services
from sluice.queue import dead_letters

log = structlog.get_logger()
# What one page lists, and how much of the queue it reads for that.
LISTED, READ_BYTES = 100, 16 << 20
# Among how many of the oldest one is looked for: each is a question to the broker.
SOUGHT = 1_000
SHOWN_BYTES = 64 << 10
# A field of the form for each chosen one.
CHOSEN = "id:"
PAGE = "dead-letters"
# What the address may say of the step before.
DONE = ("replayed", "dropped")


def queue_url(parts: Services, session: Session) -> str:
    """Raises Forbidden, and NotFound without a queue."""
    session.must("admin")
    if parts.settings.queue_url is None:
        raise errors.NotFound("there is no queue here: QUEUE_URL is not set")
    return parts.settings.queue_url


@shown(PAGE)
def letters(parts: Services, context: RequestContext, session: Session) -> Response:
    with dead_letters.opened(queue_url(parts, session)) as link:
        found, there = dead_letters.first(link, LISTED, READ_BYTES)
    said = [f"{text}: {number}" for text, number in context.query if text in DONE and number.isdecimal()]
    return html("letters.html", session=session, here="letters", letters=found, there=max(there, len(found)), said=said)


@shown("dead-letter")
def letter(parts: Services, context: RequestContext, session: Session) -> Response:
    letter_id = dict(context.query).get("id", "")
    with dead_letters.opened(queue_url(parts, session)) as link:
        message = next(dead_letters.chosen(link, frozenset((letter_id,)), SOUGHT), None)
    if message is None:
        raise errors.NotFound(
            f"no dead letter among the {SOUGHT:,} oldest has this id; it was replayed or dropped, or is further behind"
        )
    body, whole = readable(message.body)
    found = dead_letters.described(message)
    return html("letter.html", session=session, here="letters", letter=found, body=body, whole=whole)


@done("replay")
def replay(parts: Services, _context: RequestContext, session: Session, form: Form) -> Response:
    url, ids = queue_url(parts, session), chosen(form)
    with dead_letters.opened(url) as link:
        number = dead_letters.replay(link, ids, SOUGHT)
    log.info("dead_letters.replayed", key_id=session.entry.key_id, number=number)
    return see(f"{PAGE}?replayed={number}")


@done("drop")
def drop(parts: Services, _context: RequestContext, session: Session, form: Form) -> Response:
    """For good, so it asks first: the page that it returns sends the same form again, with `sure`."""
    url, ids = queue_url(parts, session), chosen(form)
    if "sure" not in form:
        return html("drop.html", session=session, here="letters", ids=sorted(ids))
    with dead_letters.opened(url) as link:
        number = dead_letters.drop(link, ids, SOUGHT)
    log.info("dead_letters.dropped", key_id=session.entry.key_id, number=number)
    return see(f"{PAGE}?dropped={number}")


def chosen(form: Form) -> frozenset[str]:
    """Never empty, for without ids all would be meant."""
    ids = frozenset(name.removeprefix(CHOSEN) for name in form if name.startswith(CHOSEN)) - {""}
    if not ids:
        raise errors.BadRequest("no dead letter was chosen; go back and tick some", error="validation_error")
    return ids


def readable(body: bytes) -> tuple[str, bool]:
    """The beginning of a body as text, JSON with its lines; and whether that is all of it."""
    if len(body) <= SHOWN_BYTES:
        try:
            return show.pretty(msgspec.json.decode(body)), True
        except errors.NOT_JSON:
            return body.decode("utf-8", "replace"), True
    return body[:SHOWN_BYTES].decode("utf-8", "replace"), False
