"""How long ago each watch was heard of. kopf does not tell: bookmarks never reach a handler.

kopf's own HTTP session gets a response class that listens: to each watch that is opened, each piece that comes, and each list.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import aiohttp

WATCH = "watch"


class Stream:
    """One watch. `lists`: how often its objects were listed; from the second on, deletions may have been missed."""

    def __init__(self) -> None:
        self.lists = 0
        self.heard: float | None = None


class Hearing:
    """Streams by the path of their objects."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self.streams: dict[str, Stream] = {}
        self.relisted: Callable[[], None] = lambda: None

    def stream(self, path: str) -> Stream:
        return self.streams.setdefault(path, Stream())

    def listed(self, path: str) -> None:
        stream = self.stream(path)
        stream.lists += 1
        if stream.lists > 1:
            self.relisted()

    def heard(self, path: str) -> None:
        self.stream(path).heard = self._monotonic()

    def age(self, path: str) -> float | None:
        """Seconds since the watch of `path` was heard of; None: it was never open."""
        heard = self.stream(path).heard
        return None if heard is None else self._monotonic() - heard

    def response_class(self) -> type[aiohttp.ClientResponse]:
        """For the session that kopf watches with."""
        hearing = self

        class Heard(aiohttp.ClientResponse):
            async def start(self, connection: Any) -> aiohttp.ClientResponse:
                await super().start(connection)
                path = self.url.path
                if self.status >= 400 or self.method != "GET" or "/namespaces/" not in path:
                    return self
                if self.url.query.get(WATCH) == "true":
                    hearing.heard(path)
                    self.content = Content(self.content, lambda: hearing.heard(path))  # type: ignore[assignment]
                elif "continue" not in self.url.query:
                    hearing.listed(path)
                return self

        return Heard


class Content:
    """A response's content that tells of each piece as it is read."""

    def __init__(self, content: aiohttp.StreamReader, tell: Callable[[], None]) -> None:
        self._content = content
        self._tell = tell

    async def iter_chunked(self, size: int) -> AsyncIterator[bytes]:
        async for piece in self._content.iter_chunked(size):
            self._tell()
            yield piece

    def __getattr__(self, name: str) -> Any:
        return getattr(self._content, name)
