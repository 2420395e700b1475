"""Erasure over HTTP: `DELETE /api/v1/events?user_id=`, sent again with the cursor of each answer until it says `done`."""

from __future__ import annotations

from datetime import datetime, timedelta

import msgspec

from sluice import cursors, events, filters, stores
from sluice.cursors import Cursor
from sluice.erasure import store
from sluice.erasure.store import Place
from sluice.http import auth, responses
from sluice.http.context import RequestContext
from sluice.http.responses import Response
from sluice.http.routes import Example, envelope, parameter, route, success
from sluice.http.services import Services

MAX_USER_ID = 255
# No event is stored longer than this after its receipt: a request, and the wait for a connection, have shorter deadlines.
LATE = timedelta(seconds=15)


class Erasure(msgspec.Struct):
    """`erasure`: id of the record (sluice.erasures). `events`: how many of the user's events went, over all its requests.

    Not `done`: there may be more, so send the request again with `next_cursor`. `looked_until`: what came until then is gone.
    """

    erasure: str
    events: int
    done: bool
    next_cursor: str | None
    looked_until: datetime | None


@route(
    "DELETE",
    "/api/v1/events",
    summary="Erase all events of a user, for some seconds; error groups forget the user",
    access="admin",
    answers={200: envelope(Erasure)},
    refusals={504: "the database took too long"},
    parameters=(
        {
            **parameter("user_id", {"type": "string", "minLength": 1, "maxLength": MAX_USER_ID}, "whose events go"),
            "required": True,
        },
        parameter("cursor", {"type": "string"}, "next_cursor of the answer before, for the same user"),
    ),
    example=Example(
        query={"user_id": "user-42"},
        answer=success("events erased", Erasure("019c1e5d-6b00-7000-8000-3f1c2d4e5a6b", 1, True, None, None)),
    ),
)
def erase(parts: Services, context: RequestContext) -> Response:
    user_id, given = asked(context.query)
    database, secret, scope = stores.database(parts.store), parts.store.cursor_secret, cursors.scope_of("erasure", user_id)
    if given is None:
        erasure, place = events.uuid7(), Place()
        key_id = auth.entry_on(context).key_id
        store.begin(database, erasure, key_id, context.request_id, parts.pipeline.clock())
    else:
        cursor = cursors.decode(given, secret, scope)
        erasure, _, received = cursor.value.partition(" ")
        place = Place(received, cursor.id)
    removed, following = store.remove(database, erasure, user_id, place)
    parts.metrics.erased.inc(removed)
    if following is None:
        # Once more over the last moments: a commit may have come behind the walk with an earlier time of receipt.
        moments = Place((parts.pipeline.clock() - LATE).isoformat())
        removed, following = store.remove(database, erasure, user_id, moments)
        parts.metrics.erased.inc(removed)
    if following is None:
        store.finish(database, erasure, user_id, parts.pipeline.clock())
    # An example of an error may have been theirs.
    parts.cache.forget("errors")
    total = store.erased(database, erasure)
    data = Erasure(erasure, total, following is None, None, None)
    if following is not None:
        value = f"{erasure} {following.received}"
        data.next_cursor = cursors.encode(Cursor(value, following.id, total, exact=True), secret, scope)
        data.looked_until = datetime.fromisoformat(following.received)
    return responses.success(data, "events erased")


def asked(parameters: list[tuple[str, str]]) -> tuple[str, str | None]:
    """The user and the cursor; raises BadRequest. Nobody erases by mistake what a misspelt or empty parameter leaves open."""
    missing = [] if "user_id" in dict(parameters) else [("user_id", "")]
    given = filters.values([*parameters, *missing], {"user_id": user, "cursor": cursors.given})
    return given["user_id"], given.get("cursor")


def user(text: str) -> str:
    if not 1 <= len(text) <= MAX_USER_ID:
        raise ValueError(f"must be given, with 1 to {MAX_USER_ID} characters")
    return text
