"""Lists everything that is watched: before the first plan, regularly, and whenever a watch may have missed a deletion."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterable

import structlog

from sluice_operator.api import Api, ApiError
from sluice_operator.cache import Cache
from sluice_operator.hearing import Hearing
from sluice_operator.model import ApiKey
from sluice_operator.observe import Observer
from sluice_operator.queue import Key, Queue
from sluice_operator.resources import ESSENTIAL, SELECTORS, WATCHED

EVERY_SECONDS = 300.0
# After a watch began anew: others will have, too.
RELIST_SECONDS = 1.0
RETRY_SECONDS = 2.0
POLL_SECONDS = 0.05

log = structlog.get_logger()


class Sync:
    """`done`: whether the cache was ever complete. `namespaces`: all at first, then those that can be read (reach.py)."""

    def __init__(
        self, api: Api, cache: Cache, queue: Queue, observer: Observer, hearing: Hearing, namespaces: Iterable[str]
    ) -> None:
        self._api = api
        self._cache = cache
        self._queue = queue
        self._observer = observer
        self._hearing = hearing
        self.namespaces = tuple(namespaces)
        self._wanted = asyncio.Event()
        self.done = False
        hearing.relisted = self._wanted.set

    def paths(self) -> list[tuple[str, str, str]]:
        """Of everything that is watched: namespace, resource, path."""
        return [(space, each.plural, each.path(space)) for space in self.namespaces for each in WATCHED]

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
            for resource in WATCHED:
                try:
                    listing = await self._api.list(resource, space, SELECTORS.get(resource, ""))
                except ApiError as error:
                    log.warning("not listed", namespace=space, verb=error.verb, resource=error.resource, told=error.told)
                    whole = whole and resource not in ESSENTIAL
                else:
                    self._cache.replace(resource, space, listing.items, listing.resource_version)
            self._observer.forget(space)
        return whole
