"""Who asks, and may they: the key of a request, its scope and its limits."""

from __future__ import annotations

from collections.abc import Callable

from sluice import errors
from sluice.http.context import RequestContext
from sluice.http.services import Services
from sluice.keys import KeyEntry
from sluice.limiter import Allowance, LimitExceeded

CHALLENGE = 'Bearer realm="sluice"'
ANONYMOUS = KeyEntry(digest="sha256:" + "0" * 64, key_id="anonymous", owner="anonymous", scopes=frozenset(("ingest",)))


def admit(parts: Services, context: RequestContext, scope: str | None) -> KeyEntry:
    """Check key, scope (None: any valid key) and request limit, in this order, before a byte of the body is read."""
    entry = identify(parts, context, scope)
    parts.metrics.auth("ok")
    count_request(parts, context, entry)
    return entry


def identify(parts: Services, context: RequestContext, scope: str | None) -> KeyEntry:
    """Check key and scope. Refusals are counted here, the key that is good by the caller."""
    context.entry = check(parts, context, scope)
    return context.entry


def check(parts: Services, context: RequestContext, scope: str | None) -> KeyEntry:
    """The entry of the key, which has `scope` now. What lasts for long asks again: keys end, and scopes are taken away."""
    entry = entry_of(parts, context)
    context.key_id = entry.key_id
    if scope is not None and scope not in entry.scopes:
        parts.metrics.auth("forbidden")
        raise errors.Forbidden(f"this key lacks the scope {scope}", reason="scope")
    return entry


def count_request(parts: Services, context: RequestContext, entry: KeyEntry) -> None:
    """Count this request against the key's limit."""
    limited(parts, context, lambda: parts.limiter.request(entry))


def count_events(parts: Services, context: RequestContext, count: int) -> None:
    """Count `count` events of this request against the key's limit."""
    entry = entry_on(context)
    limited(parts, context, lambda: parts.limiter.events(entry, count))


def entry_on(context: RequestContext) -> KeyEntry:
    """The entry that `admit` found."""
    if context.entry is None:
        raise TypeError("a view without a key asked for the key")
    return context.entry


def limited(parts: Services, context: RequestContext, hit: Callable[[], Allowance | None]) -> None:
    """Count against a limit and remember what the response's headers report of it."""
    try:
        allowance = hit()
    except LimitExceeded as error:
        parts.metrics.rate_limited(error.allowance.kind)
        context.allowances = {error.allowance.kind: error.allowance}
        raise
    if allowance is not None:
        context.allowances[allowance.kind] = allowance


def entry_of(parts: Services, context: RequestContext) -> KeyEntry:
    """The entry of the request's key; raises Unauthorized with its reason."""
    try:
        presented = presented_key(context)
        if presented is not None:
            return parts.keyring.verify(presented, context.last_key)
        if context.path in parts.settings.anonymous_paths:
            return ANONYMOUS
        raise errors.Unauthorized("send a key as 'Authorization: Bearer KEY' or 'X-API-Key: KEY'", reason="missing")
    except errors.Unauthorized as error:
        parts.metrics.auth(str(error.reason))
        error.headers.setdefault("WWW-Authenticate", CHALLENGE)
        raise


def presented_key(context: RequestContext) -> str | None:
    """The key of the request; `Authorization` beats `X-API-Key`, also when it is wrong. A bare key is taken, as by seed 001."""
    given: str | None = context.headers.get("HTTP_AUTHORIZATION")
    if given is None:
        return context.headers.get("HTTP_X_API_KEY") or None
    scheme, _, rest = given.strip().partition(" ")
    if not rest:
        # `Bearer $KEY` of a variable that is not set.
        return None if scheme.lower() in ("", "bearer") else scheme
    if scheme.lower() != "bearer":
        raise errors.Unauthorized("Authorization takes the scheme Bearer", reason="malformed")
    return rest.strip()
