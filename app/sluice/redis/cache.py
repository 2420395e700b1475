"""Answers of expensive reads, kept in Redis for some seconds and made by one process at a time."""

from __future__ import annotations

import contextlib
import secrets
import time
from collections.abc import Callable

from sluice.redis.connection import Away, Connection

# How long others wait for the one that makes an answer, and for how long it may be away before another one tries.
WAIT, FILLING_MS = 2.0, 6_000
STEP = 0.02


class RedisCache:
    """As http.services.Cache. Groups have a number that `forget` changes: what was kept under another one is never read again.

    (A number of chance, set and not counted up: so nothing that stands in its place keeps it.)
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def through(self, group: str, name: str, seconds: float, fill: Callable[[], bytes]) -> bytes:
        try:
            number = self._connection.call("cache", lambda client: client.get(numbered(group))) or b"0"
            key = f"{numbered(group)}:{number.decode('latin-1')}:{name}"
            for _ in range(int(WAIT / STEP)):
                kept = self._connection.call("cache", lambda client: client.get(key))
                if kept is not None:
                    return bytes(kept)
                if self._connection.call("cache", lambda client: client.set(filling(key), b"", nx=True, px=FILLING_MS)):
                    return self._fill(key, seconds, fill)
                time.sleep(STEP)
        except Away:
            pass
        return fill()

    def forget(self, group: str) -> None:
        """While Redis is away, what it keeps of `group` lives for its seconds."""
        with contextlib.suppress(Away):
            self._connection.call("cache", lambda client: client.set(numbered(group), secrets.randbits(53)))

    def _fill(self, key: str, seconds: float, fill: Callable[[], bytes]) -> bytes:
        try:
            # Another one may have made it between our two questions.
            with contextlib.suppress(Away):
                kept = self._connection.call("cache", lambda client: client.get(key))
                if kept is not None:
                    return bytes(kept)
            made = fill()
            with contextlib.suppress(Away):
                self._connection.call("cache", lambda client: client.set(key, made, px=int(seconds * 1_000)))
            return made
        finally:
            with contextlib.suppress(Away):
                self._connection.call("cache", lambda client: client.delete(filling(key)))


def numbered(group: str) -> str:
    return f"sluice:cache:{group}"


def filling(key: str) -> str:
    return f"{key}:filling"
