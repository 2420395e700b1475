"""/livez, /readyz and /metrics.

/livez fails for what a restart mends: an event loop that hangs, a watch that is silent although the API server answers, a Lease
that is not renewed, a clock that jumped. /readyz is true once every step of the start has happened, also of a process that waits
for the Lease: so a rollout waits for the next one to be able to take over. `?verbose` lists the checks.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from http import HTTPStatus
from typing import Any

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from sluice_operator import api_types, reasons
from sluice_operator.api_types import ApiKey, KeySet
from sluice_operator.cache import Cache, moment
from sluice_operator.client import Api
from sluice_operator.leader import DEADLINE_SECONDS, Lease
from sluice_operator.telemetry import PREFIX
from sluice_operator.watch import Hearing, Sync
from sluice_operator.world import Published

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
        bootstrapped: Callable[[], bool] = lambda: True,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._bootstrapped = bootstrapped
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
            "bootstrap": lambda: not self.leading or self._bootstrapped(),
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


# The status that each condition has while all is well; others are nobody's alarm.
GOOD = {
    "Ready": "True",
    "Converged": "True",
    "TargetFound": "True",
    "ProbesWired": "True",
    "Degraded": "False",
    "Expiring": "False",
    "PreviousInUse": "False",
    "Refused": "False",
}


class Gauges(Collector):
    """`leads`: whether this process does. `paths`: namespace, resource and path of everything that is watched."""

    def __init__(
        self,
        cache: Cache,
        hearing: Hearing,
        namespaces: Iterable[str],
        paths: Iterable[tuple[str, str, str]],
        leads: Callable[[], bool],
    ) -> None:
        self._cache = cache
        self._hearing = hearing
        self._namespaces = tuple(namespaces)
        self._paths = tuple(paths)
        self._leads = leads

    def collect(self) -> Iterator[GaugeMetricFamily]:
        yield self._ages()
        if not self._leads():
            return
        found = [(space, each) for space in self._namespaces for each in self._objects(space)]
        yield dates("key_expiry_timestamp_seconds", "When a key expires", found, expiry)
        yield dates("key_next_rotation_timestamp_seconds", "When a key rotates by itself", found, next_rotation)
        yield self._versions()
        yield lagging_pods(found)
        yield bad(found)

    def _objects(self, namespace: str) -> list[ApiKey | KeySet]:
        keys = (each for each in self._cache.api_keys(namespace) if isinstance(each, ApiKey))
        return [*keys, *self._cache.key_sets(namespace)]

    def _ages(self) -> GaugeMetricFamily:
        text = "Seconds since a watch was heard of, by an event or a bookmark"
        family = GaugeMetricFamily(f"{PREFIX}_watch_last_event_age_seconds", text, labels=["namespace", "resource"])
        for namespace, resource, path in self._paths:
            age = self._hearing.age(path)
            if age is not None:
                family.add_metric([namespace, resource], age)
        return family

    def _versions(self) -> GaugeMetricFamily:
        text = "Versions of keys that the published key set accepts"
        family = GaugeMetricFamily(f"{PREFIX}_key_versions_live", text, labels=["namespace", "keyset"])
        for namespace in self._namespaces:
            for keyset in self._cache.key_sets(namespace):
                found = self._cache.secret(namespace, api_types.published_secret(keyset.name))
                document = found.document if isinstance(found, Published) else None
                entries = document.entries if document is not None else ()
                family.add_metric([namespace, keyset.name], sum(entry.state == "active" for entry in entries))
        return family


Found = list[tuple[str, ApiKey | KeySet]]


def dates(name: str, text: str, found: Found, date: Callable[[ApiKey], Any]) -> GaugeMetricFamily:
    """Of each key that has such a date, as Unix time."""
    family = GaugeMetricFamily(f"{PREFIX}_{name}", text, labels=["namespace", "name"])
    for namespace, each in found:
        at = moment(date(each)) if isinstance(each, ApiKey) else None
        if at is not None:
            family.add_metric([namespace, each.metadata.name], at.timestamp())
    return family


def expiry(key: ApiKey) -> Any:
    return key.status.get("expiresAt")


def next_rotation(key: ApiKey) -> Any:
    return key.status.get("nextActionAt") if key.status.get("nextAction") == "Rotate" else None


def lagging_pods(found: Found) -> GaugeMetricFamily:
    text = "Pods that have not acknowledged the published key set"
    family = GaugeMetricFamily(f"{PREFIX}_keyset_lagging_pods", text, labels=["namespace", "keyset"])
    for namespace, each in found:
        if isinstance(each, KeySet):
            late = int(each.status.get("pods") or 0) - int(each.status.get("podsAcknowledged") or 0)
            family.add_metric([namespace, each.name], late)
    return family


def bad(found: Found) -> GaugeMetricFamily:
    """A sample for each condition that is not as it should be, and none for the others: a thousand keys have six each."""
    text = "1: a condition that is not as it should be"
    family = GaugeMetricFamily(f"{PREFIX}_condition", text, labels=["kind", "namespace", "name", "type", "reason"])
    for namespace, each in found:
        kind = api_types.API_KEY if isinstance(each, ApiKey) else api_types.KEY_SET
        for condition in reasons.by_type(each.status.get("conditions")).values():
            good = GOOD.get(condition["type"])
            if good is not None and condition.get("status") != good:
                labels = [kind, namespace, each.metadata.name, condition["type"], str(condition.get("reason"))]
                family.add_metric(labels, 1)
    return family
