"""/livez, /readyz and /metrics.

/livez fails for what a restart mends: an event loop that hangs, a watch that is silent although the API server answers, a Lease
that is not renewed, a clock that jumped. /readyz is true once every step of the start has happened, also of a process that waits
for the Lease: so a rollout waits for the next one to be able to take over. `?verbose` lists the checks.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from http import HTTPStatus

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from sluice_operator.api import Api
from sluice_operator.bootstrap import Bootstrap
from sluice_operator.hearing import Hearing
from sluice_operator.lease import DEADLINE_SECONDS, Lease
from sluice_operator.sync import Sync

LAG_SECONDS = 1.0
TICK_SECONDS = 0.5
# Bookmarks come every minute.
SILENCE_SECONDS = 150.0
ANSWERED_SECONDS = 30.0
SKEW_SECONDS = 300.0

Checks = Mapping[str, Callable[[], bool]]


class Loop:
    """How long the event loop last kept something waiting that was due."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self.lag = 0.0

    async def keep(self) -> None:
        while True:
            before = self._monotonic()
            await asyncio.sleep(TICK_SECONDS)
            self.lag = self._monotonic() - before - TICK_SECONDS


class Clocks:
    """Whether the wall clock went on as the monotonic one did since the start."""

    def __init__(self, wall: Callable[[], float] = time.time, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._wall = wall
        self._monotonic = monotonic
        self._offset = wall() - monotonic()

    @property
    def skew(self) -> float:
        return abs(self._wall() - self._monotonic() - self._offset)


class Health:
    def __init__(
        self,
        api: Api,
        hearing: Hearing,
        sync: Sync,
        lease: Lease,
        bootstrap: Bootstrap | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._bootstrap = bootstrap
        self.kinds = self.namespaces = False
        self._api = api
        self._hearing = hearing
        self._sync = sync
        self._lease = lease
        self._monotonic = monotonic
        self.loop = Loop()
        self.clocks = Clocks()
        self.leading = False

    @property
    def alive(self) -> Checks:
        return {"loop": self._loops, "watches": self._hears, "lease": self._renews, "clock": self._keeps_time}

    @property
    def ready(self) -> Checks:
        """What of the start has happened. Who waits for the Lease makes nothing, and is ready without."""
        return {
            "kinds": lambda: self.kinds,
            "namespaces": lambda: self.namespaces,
            "cache": lambda: self._sync.done,
            "bootstrap": lambda: self._bootstrap is None or not self.leading or self._bootstrap.done,
        }

    def _loops(self) -> bool:
        return self.loop.lag < LAG_SECONDS

    def _hears(self) -> bool:
        """An API server that does not answer is no reason to restart."""
        if self._monotonic() - self._api.answered > ANSWERED_SECONDS:
            return True
        ages = (self._hearing.age(path) for _, _, path in self._sync.paths())
        return all(age is None or age < SILENCE_SECONDS for age in ages)

    def _renews(self) -> bool:
        return not self.leading or self._lease.age < DEADLINE_SECONDS

    def _keeps_time(self) -> bool:
        return self.clocks.skew < SKEW_SECONDS


def application(health: Health, registry: CollectorRegistry) -> web.Application:
    async def livez(request: web.Request) -> web.Response:
        return told(health.alive, "verbose" in request.query)

    async def readyz(request: web.Request) -> web.Response:
        return told(health.ready, "verbose" in request.query)

    async def metrics(_request: web.Request) -> web.Response:
        return web.Response(body=generate_latest(registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    made = web.Application()
    made.add_routes([web.get("/livez", livez), web.get("/readyz", readyz), web.get("/metrics", metrics)])
    return made


def told(checks: Checks, verbose: bool) -> web.Response:
    """As the API server's own /livez and /readyz: `ok`, or the checks, + for those that hold and - for those that do not."""
    results = {name: check() for name, check in checks.items()}
    good = all(results.values())
    lines = [f"[{'+' if held else '-'}]{name} {'ok' if held else 'failed'}" for name, held in results.items()]
    text = "ok" if good and not verbose else "\n".join(lines)
    return web.Response(text=f"{text}\n", status=HTTPStatus.OK if good else HTTPStatus.SERVICE_UNAVAILABLE)


async def serve(health: Health, registry: CollectorRegistry, host: str, port: int) -> tuple[web.AppRunner, int]:
    """Started; the port that it has."""
    runner = web.AppRunner(application(health, registry), access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, host, port)
    await site.start()
    return runner, int(runner.addresses[0][1])
