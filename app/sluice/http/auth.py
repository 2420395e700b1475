"""Who asks, and may they: the key of a request, its scope and its limits."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar, cast

from sluice import errors
from sluice.http.context import Call, Request, current
from sluice.http.services import Services, services
from sluice.keys import KeyEntry
from sluice.limiter import TooMany, Verdict

View = TypeVar("View", bound=Callable[..., Any])
CHALLENGE = 'Bearer realm="sluice"'
ANONYMOUS = KeyEntry(digest="sha256:" + "0" * 64, key_id="anonymous", owner="anonymous", scopes=frozenset(("ingest",)))


def needs(scope: str | None) -> Callable[[View], View]:
    """A view that only a valid key with `scope` reaches (None: any valid key). It is on the request: `entry`, `key_id`."""

    def decorate(view: View) -> View:
        @functools.wraps(view)
        def guarded(*args: Any, **kwargs: Any) -> Any:
            admit(services(), current(), scope)
            return view(*args, **kwargs)

        return cast(View, guarded)

    return decorate


def admit(parts: Services, request: Request, scope: str | None) -> None:
    """Check key, scope and request limit, in this order, before a byte of the body is read."""
    call = request.call
    call.route = request.url_rule.rule if request.url_rule else None
    entry = call.entry = entry_of(parts, request)
    call.key_id = entry.key_id
    if scope is not None and scope not in entry.scopes:
        parts.metrics.auth("forbidden")
        raise errors.Forbidden(f"this key lacks the scope {scope}", reason="scope")
    parts.metrics.auth("ok")
    limited(parts, call, parts.limiter.request, entry)


def count_events(parts: Services, request: Request, count: int) -> None:
    """Count `count` events of this request against the key's limit."""
    limited(parts, request.call, parts.limiter.events, entry_on(request), count)


def entry_on(request: Request) -> KeyEntry:
    """The entry that `admit` found."""
    entry = request.call.entry
    if entry is None:
        raise TypeError("a view without auth.needs asked who asks")
    return entry


def limited(parts: Services, call: Call, hit: Callable[..., Verdict | None], *args: Any) -> None:
    """Count against a limit and remember what the answer's headers tell of it."""
    try:
        verdict = hit(*args)
    except TooMany as error:
        parts.metrics.rate_limited(error.verdict.kind)
        call.verdicts = (error.verdict,)
        raise
    if verdict is not None:
        call.verdicts = (*(v for v in call.verdicts if v.kind != verdict.kind), verdict)


def entry_of(parts: Services, request: Request) -> KeyEntry:
    """The entry of the request's key; raises Unauthorized with its reason."""
    try:
        presented = presented_key(request)
        if presented is not None:
            return parts.keyring.verify(presented)
        if request.path in parts.settings.anonymous_paths:
            return ANONYMOUS
        raise errors.Unauthorized("send a key as 'Authorization: Bearer KEY' or 'X-API-Key: KEY'", reason="missing")
    except errors.Unauthorized as error:
        parts.metrics.auth(str(error.reason))
        error.headers.setdefault("WWW-Authenticate", CHALLENGE)
        raise


def presented_key(request: Request) -> str | None:
    """The key of the request; `Authorization` beats `X-API-Key`, also when it is wrong. A bare key is taken, as by seed 001."""
    given: str | None = request.environ.get("HTTP_AUTHORIZATION")
    if given is None:
        return request.environ.get("HTTP_X_API_KEY")
    scheme, _, rest = given.strip().partition(" ")
    if not rest:
        return scheme
    if scheme.lower() != "bearer":
        raise errors.Unauthorized("Authorization takes the scheme Bearer", reason="malformed")
    return rest.strip()
