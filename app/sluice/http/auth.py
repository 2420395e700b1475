"""Who asks, and may they: the key of a request, its scope and its limits."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar, cast

from flask import g, request

from sluice import errors
from sluice.http.services import Services, services
from sluice.keys import KeyEntry

View = TypeVar("View", bound=Callable[..., Any])
CHALLENGE = 'Bearer realm="sluice"'
ANONYMOUS = KeyEntry(
    digest="sha256:" + "0" * 64, key_id="anonymous", version=1, owner="anonymous", scopes=frozenset(("ingest",)), state="active"
)


def needs(scope: str | None) -> Callable[[View], View]:
    """A view that only a valid key with `scope` reaches (None: any valid key). The key is on `g.entry`, its id on `g.key_id`."""

    def decorate(view: View) -> View:
        @functools.wraps(view)
        def guarded(*args: Any, **kwargs: Any) -> Any:
            admit(scope)
            return view(*args, **kwargs)

        return cast(View, guarded)

    return decorate


def admit(scope: str | None) -> None:
    """Check key, scope and request limit, in this order, before a byte of the body is read."""
    parts = services()
    entry = entry_of(parts)
    g.entry, g.key_id = entry, entry.key_id
    if scope is not None and scope not in entry.scopes:
        parts.metrics.auth("forbidden")
        raise errors.Forbidden(f"this key lacks the scope {scope}", reason="scope")
    parts.metrics.auth("ok")
    limited(parts, parts.limiter.request, entry)


def limited(parts: Services, hit: Callable[..., Any], *args: Any) -> None:
    """Count against a limit and remember what the answer's headers tell of it."""
    try:
        verdict = hit(*args)
    except errors.TooManyRequests as error:
        parts.metrics.rate_limited(str(error.reason))
        raise
    if verdict is not None:
        g.verdicts.append(verdict)


def count_events(count: int) -> None:
    """Count `count` events of this request against the key's limit."""
    parts = services()
    limited(parts, parts.limiter.events, g.entry, count)


def entry_of(parts: Services) -> KeyEntry:
    presented = presented_key()
    if presented is None and request.path in parts.settings.anonymous_paths:
        return ANONYMOUS
    try:
        if presented is None:
            raise errors.Unauthorized("send a key as 'Authorization: Bearer KEY' or 'X-API-Key: KEY'", reason="missing")
        return parts.keyring.verify(presented)
    except errors.Unauthorized as error:
        parts.metrics.auth(str(error.reason))
        error.headers.setdefault("WWW-Authenticate", CHALLENGE)
        raise


def presented_key() -> str | None:
    """The key of the request. `Authorization` comes before `X-API-Key`, also when it is wrong; a bare key is taken, as seed 001 did."""
    given = request.environ.get("HTTP_AUTHORIZATION")
    if given is None:
        return request.environ.get("HTTP_X_API_KEY")
    scheme, _, rest = given.strip().partition(" ")
    if not rest:
        return cast(str, scheme)
    if scheme.lower() != "bearer":
        raise malformed()
    return cast(str, rest.strip())


def malformed() -> errors.Unauthorized:
    services().metrics.auth("malformed")
    return errors.Unauthorized(
        "Authorization takes the scheme Bearer", reason="malformed", headers={"WWW-Authenticate": CHALLENGE}
    )
