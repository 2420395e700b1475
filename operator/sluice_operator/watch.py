"""kopf as the watch engine, and as nothing else: `on.event` writes nothing, keeps nothing and needs no finalizer.

Handlers only hand over what they are given: an error in one would be lost. All that changes an object of the cluster is api.py.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

import kopf

from sluice_operator import connection, names
from sluice_operator.cache import Cache
from sluice_operator.hearing import Hearing
from sluice_operator.resources import SELECTORS, Resource
from sluice_operator.settings import Settings

# Waits between attempts of a watch; a missing right is told after so many seconds instead of after a minute.
BACKOFFS = (0.5, 1, 2, 3)
RECONNECT_SECONDS = 1.0
INACTIVITY_SECONDS = 75.0
# kopf keeps a task for every object that it just saw.
IDLE_SECONDS = 0.1
EMPTY: Any = {}


class NoDiffs(kopf.DiffBaseStorage):
    """Of no object anything is known. kopf would copy each one that it sees, and keep it in an annotation: a Secret, too."""

    def build(self, **_: Any) -> Any:
        return EMPTY

    def fetch(self, **_: Any) -> None:
        return None

    def store(self, **_: Any) -> None:
        return None


class NoProgress(kopf.ProgressStorage):
    """No handler has any progress."""

    def fetch(self, **_: Any) -> None:
        return None

    def store(self, **_: Any) -> None:
        return None

    def purge(self, **_: Any) -> None:
        return None

    def touch(self, **_: Any) -> None:
        return None

    def clear(self, *, essence: Any) -> Any:
        return essence


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
    chosen.persistence.finalizer = f"{names.GROUP}/never-set"
    chosen.persistence.progress_storage = NoProgress()
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
        info = connection.login(settings)
        return kopf.AiohttpSession(server=info.server, aiohttp_session=connection.session(info, hearing.response_class()))

    for resource in resources:
        kopf.on.event(*selector_of(resource), registry=made, id=resource.plural)(handler(resource, cache))
    return made


def handler(resource: Resource, cache: Cache) -> Callable[..., Any]:
    async def seen(event: Any, **_: Any) -> None:
        raw = event["object"]
        if event["type"] == "DELETED":
            metadata = raw["metadata"]
            cache.remove(resource, metadata["namespace"], metadata["name"], metadata.get("uid"))
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
    """Watch `namespaces` until cancelled, or until a watch can not go on: then this raises or returns, and the process ends.

    `started` is called once kopf has taken the signals of the process for itself.
    """
    ours = asyncio.all_tasks()
    tasks = await kopf.spawn_tasks(
        registry=registry(settings, resources, cache, hearing),
        settings=options(),
        standalone=True,
        namespaces=list(namespaces),
    )
    started()
    await kopf.run_tasks(tasks, ignored=ours)
