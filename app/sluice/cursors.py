"""The place in a list where the next page begins, signed so that only we can make one.

A cursor is bound to the filters and the order it was made for. Its signing key comes from the database, so that every
process on the same database accepts it, before and after a restart.
"""

from __future__ import annotations

import hashlib
import re
from typing import Any

import msgspec
from itsdangerous import BadData, URLSafeSerializer

from sluice.errors import InvalidCursor

# All that a cursor of ours is written with: base64 readers skip other characters, and a changed text would pass.
WRITTEN = re.compile(r"[A-Za-z0-9_.-]{1,2048}")


class Cursor(msgspec.Struct, array_like=True, frozen=True):
    """After which row: its sort value as text and its id; `total` is the count that the first page gave."""

    value: str
    id: int
    total: int
    exact: bool


def given(text: str) -> str | None:
    """The parameter of a request. An empty one is none: clients begin with it, and httpx sends it for None."""
    return text or None


def encode(cursor: Cursor, secret: bytes, scope: str) -> str:
    """URL-safe text. `scope` names the filters and the order."""
    return str(serializer(secret, scope).dumps(msgspec.to_builtins(cursor)))


def decode(text: str, secret: bytes, scope: str) -> Cursor:
    """The cursor; raises InvalidCursor when it was tampered with, or made for another database or other filters."""
    if not WRITTEN.fullmatch(text):
        raise InvalidCursor
    try:
        return msgspec.convert(serializer(secret, scope).loads(text), Cursor)
    except (BadData, msgspec.ValidationError, ValueError) as error:
        raise InvalidCursor from error


def serializer(secret: bytes, scope: str) -> URLSafeSerializer:
    # 384 bits fill their 64 base64 characters; of SHA-256's 43 the last holds two bits that nobody reads.
    return URLSafeSerializer(secret, salt=f"sluice.cursor.{scope}", signer_kwargs={"digest_method": hashlib.sha384})


def scope_of(*parts: Any) -> str:
    """A short digest of whatever a cursor must not outlive."""
    return hashlib.sha256(msgspec.json.encode(parts)).hexdigest()[:32]
