"""Which of its namespaces the operator can read. One that is gone, and its Role with it, must not stop the work in the others."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import structlog

from sluice_operator.api import Api, ApiError, Forbidden
from sluice_operator.resources import SELECTORS, WATCHED

# Until the first can be read, and then whether it is still so.
RETRY_SECONDS = 2.0
EVERY_SECONDS = 10.0

log = structlog.get_logger()


async def wait(api: Api, namespaces: Sequence[str]) -> tuple[str, ...]:
    """Those that can be read, once there is one."""
    while True:
        try:
            found = await readable(api, namespaces)
        except ApiError as error:
            log.warning("api server not reached", told=error.told)
        else:
            for namespace in set(namespaces) - set(found):
                log.error(
                    "namespace left out", namespace=namespace, mend="restore it and its Role, or take it out of WATCH_NAMESPACES"
                )
            if found:
                return found
        await asyncio.sleep(RETRY_SECONDS)


async def changed(api: Api, namespaces: Sequence[str], read: Sequence[str]) -> None:
    """Return once others of `namespaces` can be read than `read`: a new process works in those.

    What is open stays open: no watch of a namespace that is gone tells of it. Seen twice in a row, for an API server that starts
    refuses everything for a moment.
    """
    before, pause = tuple(read), EVERY_SECONDS
    while True:
        await asyncio.sleep(pause)
        try:
            now = await readable(api, namespaces)
        except ApiError as error:
            log.warning("api server not reached", told=error.told)
            continue
        if now and now == before != tuple(read):
            return
        before, pause = now, EVERY_SECONDS if now in ((), tuple(read)) else RETRY_SECONDS


async def readable(api: Api, namespaces: Sequence[str]) -> tuple[str, ...]:
    """Those of `namespaces` in which everything can be listed that is watched; raises ApiError when nobody can tell."""
    return tuple([namespace for namespace in namespaces if await can_read(api, namespace)])


async def can_read(api: Api, namespace: str) -> bool:
    try:
        for resource in WATCHED:
            await api.glance(resource, namespace, SELECTORS.get(resource, ""))
    except Forbidden:
        return False
    return True
