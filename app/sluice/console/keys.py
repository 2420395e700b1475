"""The keys that this instance knows, for admins: whose, what each may do, and when it was last used. Never a key or a digest."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import NamedTuple

from sluice import keys as rules
from sluice.console.session import Session
from sluice.console.site import html, shown
from sluice.http.context import RequestContext
from sluice.http.responses import Response
from sluice.http.services import Services
from sluice.keyring import name_of
from sluice.keys import KeyEntry

# Of more, some are found by their name or owner: a key set has up to 1,500.
LISTED = 200


class Row(NamedTuple):
    """One version of a key. `requests`, `events`: a minute; 0: no limit. Times as the API writes them."""

    entry: KeyEntry
    state: str
    requests: int
    events: int
    used: str | None
    refused: str | None


@shown("keys")
def keys(parts: Services, context: RequestContext, session: Session) -> Response:
    session.must("admin")
    wanted = dict(context.query).get("q", "").strip().lower()
    entries = parts.keyring.known()
    found = [entry for entry in entries if wanted in f"{entry.key_id}\n{entry.owner}".lower()]
    use = parts.key_use()
    now = datetime.now(UTC)
    rows = [
        Row(
            entry,
            (rules.refusal(entry, now) or "active").replace("_", " "),
            parts.limiter.limit_of(entry, "requests"),
            parts.limiter.limit_of(entry, "events"),
            use.last_used.get(name_of(entry)),
            use.last_refused.get(name_of(entry)),
        )
        for entry in found[:LISTED]
    ]
    revision = parts.keyring.revision
    return html(
        "keys.html",
        session=session,
        here="keys",
        rows=rows,
        found=len(found),
        all=len(entries),
        wanted=wanted,
        revision=revision,
        fault=parts.keyring.last_error,
    )
