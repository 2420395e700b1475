"""kopf as the watch engine, and as nothing else: `on.event` writes nothing, keeps nothing and needs no finalizer.

Handlers only hand over what they are given: an error in one would be lost. What changes an object of the cluster is client.py.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any

import aiohttp
import kopf
import structlog

from sluice_operator import api_types
from sluice_operator.api_types import ESSENTIAL, SELECTORS, WATCHED, ApiKey, Resource
from sluice_operator.cache import Cache
from sluice_operator.client import FIELD_MANAGER, Api, ApiError, connection
from sluice_operator.observe import Observer
from sluice_operator.queue import Key, Queue
from sluice_operator.settings import Settings

log = structlog.get_logger()


WATCH = "watch"


class Hearing:
    """When each watch was last heard of, by the path of its objects. `relisted`: deletions may have been missed."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._listed: set[str] = set()
        self._heard: dict[str, float] = {}
        self.relisted: Callable[[], None] = lambda: None

    def listed(self, path: str) -> None:
        if path in self._listed:
            self.relisted()
        self._listed.add(path)

    def heard(self, path: str) -> None:
        self._heard[path] = self._monotonic()

    def age(self, path: str) -> float | None:
        """Seconds since the watch of `path` was heard of; None: it was never open."""
        heard = self._heard.get(path)
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


# Waits between attempts of a watch; a missing right is told after so many seconds instead of after a minute.
BACKOFFS = (0.5, 1, 2, 3)
RECONNECT_SECONDS = 1.0
INACTIVITY_SECONDS = 75.0
# kopf keeps a task for every object that it just saw.
IDLE_SECONDS = 0.1
EMPTY: Any = {}
# By itself kopf makes one of the user's name, and a user that the cluster chose has none. There are no peers to tell it.
IDENTITY: Any = FIELD_MANAGER


class NoDiffs(kopf.DiffBaseStorage):
    """Of no object anything is known. kopf would copy each one that it sees, and keep it in an annotation: a Secret, too."""

    def build(self, **_: Any) -> Any:
        return EMPTY

    def fetch(self, **_: Any) -> None:
        return None

    def store(self, **_: Any) -> None:
        return None


def options() -> kopf.OperatorSettings:
    """Everything of kopf that would write is off or has a name of ours."""
    chosen = kopf.OperatorSettings()
    chosen.posting.enabled = False
    chosen.posting.loggers = False
    chosen.peering.standalone = True
    chosen.scanning.disabled = True
    chosen.networking.request_timeout = 30
    chosen.networking.connect_timeout = 3
    chosen.networking.error_backoffs = BACKOFFS
    chosen.watching.reconnect_backoff = RECONNECT_SECONDS
    chosen.watching.inactivity_timeout = INACTIVITY_SECONDS
    chosen.watching.chunk_size = 500
    chosen.queueing.idle_timeout = IDLE_SECONDS
    chosen.queueing.exit_timeout = 0.5
    chosen.persistence.finalizer = f"{api_types.GROUP}/never-set"
    chosen.persistence.progress_storage = kopf.MultiProgressStorage([])  # none: no handler has any progress
    chosen.persistence.diffbase_storage = NoDiffs()
    for resource, selector in SELECTORS.items():
        chosen.watching.label_selectors[selector_of(resource)] = selector
    return chosen


def selector_of(resource: Resource) -> Any:
    return (resource.group, resource.version, resource.plural)


def registry(settings: Settings, resources: Iterable[Resource], cache: Cache, hearing: Hearing) -> kopf.OperatorRegistry:
    """The handlers: one for each kind, and one that logs in."""
    made = kopf.OperatorRegistry()

    @kopf.on.login(registry=made)
    async def login(**_: Any) -> kopf.AiohttpSession:
        """Read again each time: tokens of ServiceAccounts are replaced every hour."""
        server, context, headers = await connection(settings)
        session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, ssl=context),
            headers=headers,
            response_class=hearing.response_class(),
            trust_env=False,  # the API server is inside the cluster
        )
        return kopf.AiohttpSession(server=server, aiohttp_session=session)

    for resource in resources:
        kopf.on.event(*selector_of(resource), registry=made, id=resource.plural)(handler(resource, cache))
    return made


def handler(resource: Resource, cache: Cache) -> Callable[..., Any]:
    async def seen(event: Any, **_: Any) -> None:
        raw = event["object"]
        if event["type"] == "DELETED":
            metadata = raw["metadata"]
            cache.remove(resource, metadata["namespace"], metadata["name"], metadata.get("uid"), raw)
        else:
            cache.put(resource, raw, older=event["type"] is None)

    return seen


async def run(
    settings: Settings,
    namespaces: Iterable[str],
    resources: Iterable[Resource],
    cache: Cache,
    hearing: Hearing,
    started: Callable[[], None],
) -> None:
    """Watch `namespaces` until cancelled, or until a watch cannot go on: then this raises or returns, and the process ends.

    `started` is called once kopf has taken the signals of the process for itself.
    """
    ours = asyncio.all_tasks()
    tasks = await kopf.spawn_tasks(
        registry=registry(settings, resources, cache, hearing),
        settings=options(),
        standalone=True,
        identity=IDENTITY,
        namespaces=list(namespaces),
    )
    started()
    await kopf.run_tasks(tasks, ignored=ours)


EVERY_SECONDS = 300.0
# After a watch began anew: others will have, too.
RELIST_SECONDS = 1.0
RETRY_SECONDS = 2.0
POLL_SECONDS = 0.05


class Sync:
    """`done`: whether the cache was ever complete. `namespaces`, `resources`: all at first, then those that can be read."""

    def __init__(
        self, api: Api, cache: Cache, queue: Queue, observer: Observer, hearing: Hearing, namespaces: Iterable[str]
    ) -> None:
        self._api = api
        self._cache = cache
        self._queue = queue
        self._observer = observer
        self._hearing = hearing
        self.namespaces = tuple(namespaces)
        self.resources: tuple[Resource, ...] = WATCHED
        self._wanted = asyncio.Event()
        self.done = False
        hearing.relisted = self._wanted.set

    def paths(self) -> list[tuple[str, str, str]]:
        """Of everything that is watched: namespace, resource, path."""
        return [(space, each.plural, each.path(space)) for space in self.namespaces for each in self.resources]

    def deaf(self) -> list[str]:
        """What no watch was ever open for."""
        return [path for _, _, path in self.paths() if self._hearing.age(path) is None]

    async def first(self) -> None:
        """Wait until every watch is open, then list: so no deletion is missed between the two."""
        while self.deaf():
            await asyncio.sleep(POLL_SECONDS)
        while not self.done:
            self.done = await self._all()
            if not self.done:
                await asyncio.sleep(RETRY_SECONDS)

    async def keep(self) -> None:
        """For ever."""
        while True:
            try:
                await asyncio.wait_for(self._wanted.wait(), EVERY_SECONDS * random.uniform(0.9, 1.1))  # noqa: S311 - jitter
                await asyncio.sleep(RELIST_SECONDS)
            except TimeoutError:
                pass
            self._wanted.clear()
            if not await self._all():
                self._wanted.set()
                await asyncio.sleep(RETRY_SECONDS)
            self.everything()

    def everything(self) -> None:
        """Every KeySet, and every name of one that an ApiKey asks for, is due."""
        for space in self.namespaces:
            found = {each.name for each in self._cache.key_sets(space)}
            found |= {each.spec.key_set_ref.name for each in self._cache.api_keys(space) if isinstance(each, ApiKey)}
            for name in found:
                self._queue.add(Key(space, name))

    async def _all(self) -> bool:
        """Whether all could be listed that is needed to plan."""
        whole = True
        for space in self.namespaces:
            for resource in self.resources:
                try:
                    await self._observer.refresh(resource, space)
                except ApiError as error:
                    log.warning("not listed", namespace=space, verb=error.verb, resource=error.resource, told=error.told)
                    whole = whole and resource not in ESSENTIAL
            self._observer.forget(space)
        return whole
