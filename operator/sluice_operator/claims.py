"""Which of its namespaces this release may work in: each has one operator, be there several releases that watch it.

A claim is a Lease in that namespace, held by the release: by whichever of its processes leads. A namespace that another release
has claimed is left alone, and told; when nobody renews a claim, it is taken.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

import structlog

from sluice_operator import names
from sluice_operator.api import PASSED_OVER, Api
from sluice_operator.lease import Lease, Lost, Term

TERM = Term(duration=30, deadline=25, period=8)

log = structlog.get_logger()


class Claims:
    """`gained` is told of each namespace that may be worked in from now on."""

    def __init__(self, api: Api, namespaces: Iterable[str], release: str, gained: Callable[[str], None]) -> None:
        self._api = api
        self._gained = gained
        self._leases = {space: Lease(api, space, names.CLAIM_LEASE, release, term=TERM) for space in namespaces}
        # Where the API server refuses the Lease itself: that right is missing is no reason to let keys go unrevoked.
        self._refused: set[str] = set()

    def holds(self, namespace: str) -> bool:
        return namespace in self._refused or (namespace in self._leases and self._leases[namespace].held)

    async def keep(self) -> None:
        """For ever."""
        await asyncio.gather(*(self._keep(space, lease) for space, lease in self._leases.items()))

    async def _keep(self, space: str, lease: Lease) -> None:
        while True:
            try:
                await lease.acquire(lambda holder: self._tell(space, holder))
                self._api.refusals.clear(space, "claim", "namespaces")
                self._refused.discard(space)
                self._gained(space)
                await lease.keep()
            except Lost:
                log.warning("namespace lost", namespace=space)
            except PASSED_OVER:
                if space not in self._refused:
                    self._refused.add(space)
                    self._gained(space)
                await asyncio.sleep(TERM.duration / 3)

    def _tell(self, space: str, holder: str) -> None:
        told = f"the release {holder} has it; take it out of WATCH_NAMESPACES of one of the two"
        self._api.refusals.note(space, "claim", "namespaces", told)
