"""Which of its namespaces the operator can read. One that is gone, and its Role with it, must not stop the work in the others."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence

import structlog

from sluice_operator.api import Api, ApiError, Forbidden
from sluice_operator.resources import ESSENTIAL, SELECTORS, WATCHED, Resource

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
                    "namespace left out", namespace=namespace, fix="restore it and its Role, or take it out of WATCH_NAMESPACES"
                )
            if found:
                return found
        await asyncio.sleep(RETRY_SECONDS)


async def changed(api: Api, namespaces: Sequence[str], read: Sequence[str], watched: Sequence[Resource] = WATCHED) -> None:
    """Return once others of `namespaces` can be read than `read`, or others than `watched` be watched: a new process does that.

    What is open stays open: no watch of a namespace that is gone tells of it. Seen twice in a row, for an API server that starts
    refuses everything for a moment.
    """
    here = (tuple(read), tuple(watched))
    before, pause = here, EVERY_SECONDS
    while True:
        await asyncio.sleep(pause)
        try:
            spaces = await readable(api, namespaces)
            now = (spaces, await watchable(api, spaces))
        except ApiError as error:
            log.warning("api server not reached", told=error.told)
            continue
        if spaces and now == before != here:
            return
        before, pause = now, EVERY_SECONDS if not spaces or now == here else RETRY_SECONDS


async def readable(api: Api, namespaces: Sequence[str]) -> tuple[str, ...]:
    """Those of `namespaces` in which all can be listed without which nothing is planned; raises ApiError when nobody can tell."""
    return tuple([namespace for namespace in namespaces if await can_read(api, namespace, ESSENTIAL)])


async def watchable(api: Api, namespaces: Sequence[str]) -> tuple[Resource, ...]:
    """What can be watched in all of `namespaces`: one watch that is refused would end the others."""
    others = [each for each in WATCHED if each not in ESSENTIAL]
    refused = {each for each in others for namespace in namespaces if not await can_read(api, namespace, [each])}
    return tuple(each for each in WATCHED if each not in refused)


async def can_read(api: Api, namespace: str, resources: Iterable[Resource]) -> bool:
    try:
        for resource in resources:
            await api.glance(resource, namespace, SELECTORS.get(resource, ""))
    except Forbidden:
        return False
    return True
