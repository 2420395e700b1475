"""Who is signed in: a signed cookie with the digest of a key, and never the key. It ends with the key."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import zlib
from datetime import UTC, datetime, timedelta

import msgspec
from itsdangerous import BadData, URLSafeTimedSerializer

from sluice import errors
from sluice.http import auth
from sluice.http.context import RequestContext
from sluice.http.services import Services
from sluice.keys import KeyEntry, RateLimit

COOKIE = "sluice_console"
# Not by http.cookies, which reads none where one of another program of this host has an odd form.
OURS = re.compile(rf"(?:^|;)[ \t]*{COOKIE}=([\w.-]+)", re.ASCII)
SECONDS = 12 * 3600
# Wrong keys of one address in a minute, which is a proxy's where there is one: so no good key is ever kept out by them.
TRIES = 20
# Addresses are counted in so many places: they are the client's choice, and each takes the place of a key's counter.
PLACES = 256


class Session(msgspec.Struct, frozen=True):
    """`token`: what each form of this session carries, so that no other site can send one. `queue`: whether there is one."""

    entry: KeyEntry
    token: str
    queue: bool

    def may(self, scope: str) -> bool:
        return scope in self.entry.scopes

    def must(self, scope: str) -> None:
        """Raise Forbidden without it."""
        if not self.may(scope):
            raise errors.Forbidden(f"this key lacks the scope {scope}", reason="scope")


def serializer(parts: Services) -> URLSafeTimedSerializer:
    return URLSafeTimedSerializer(
        parts.store.cursor_secret, salt="sluice.console", signer_kwargs={"digest_method": hashlib.sha384}
    )


def sign_in(parts: Services, context: RequestContext, key: str) -> str:
    """The cookie of a new session; raises Unauthorized, and LimitExceeded after too many wrong keys."""
    try:
        entry = parts.keyring.verify(key.strip())
    except errors.Unauthorized as error:
        parts.metrics.auth(str(error.reason))
        place = zlib.crc32(str(context.headers.get("REMOTE_ADDR", "")).encode()) % PLACES
        limit = RateLimit(requests_per_minute=TRIES)
        parts.limiter.request(msgspec.structs.replace(auth.ANONYMOUS, key_id=f"console {place}", rate_limit=limit))
        raise
    parts.metrics.auth("ok")
    value = serializer(parts).dumps([entry.digest, secrets.token_urlsafe(18)])
    return cookie(context, str(value), SECONDS)


def cookie(context: RequestContext, value: str, seconds: int) -> str:
    # The browser says by which scheme it came; nothing that a proxy reports is believed.
    secure = "; Secure" if str(context.headers.get("HTTP_ORIGIN", "")).startswith("https://") else ""
    # Without a Path it is sent to the folder that the browser sees this page in (RFC 6265 section 5.1.4): /console, or what a
    # proxy makes of it.
    return f"{COOKIE}={value}; Max-Age={seconds}; HttpOnly; SameSite=Lax{secure}"


def current(parts: Services, context: RequestContext) -> Session | None:
    """The session of the request, whose key is still good; or None."""
    found = OURS.search(context.headers.get("HTTP_COOKIE", ""))
    if found is None:
        return None
    try:
        given, at = serializer(parts).loads(found[1], return_timestamp=True)
        digest, token = msgspec.convert(given, tuple[str, str])
        entry = parts.keyring.current(digest)
    except (BadData, msgspec.ValidationError, ValueError, errors.Unauthorized):
        return None
    # (One of a pod whose clock is ahead is from the future.)
    if datetime.now(UTC) - at > timedelta(seconds=SECONDS):
        return None
    context.entry, context.key_id = entry, entry.key_id
    return Session(entry, token, parts.settings.queue_url is not None)


def must_be_own(context: RequestContext) -> None:
    """A form comes from a page of this site; raises Forbidden. (Old browsers send no Origin: the token is checked beside.)"""
    # The browser's own word, which no page can write and no proxy changes. By plain http it sends none.
    if context.headers.get("HTTP_SEC_FETCH_SITE") == "same-origin":
        return
    origin = context.headers.get("HTTP_ORIGIN")
    if origin is not None and origin.partition("://")[2] != context.headers.get("HTTP_HOST"):
        raise errors.Forbidden(
            "this form was sent by another site, or by way of a proxy that changes Host; let it pass Host on, port included",
            reason="origin",
        )


def must_match(session: Session, token: str) -> None:
    if not hmac.compare_digest(session.token.encode(), token.encode()):
        raise errors.Forbidden(
            "this form is of another session; go back, load the page again and send it once more", reason="token"
        )
