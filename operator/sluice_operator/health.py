"""/livez, /readyz and /metrics.

/livez fails for what a restart cures: an event loop that hangs, a watch that is silent although the API server answers, a Lease
that is not renewed, a clock that jumped. /readyz is true once every step of the start has happened, also of a process that waits
for the Lease: so a rollout waits for the next one to be able to take over. `?verbose` lists the checks.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from http import HTTPStatus

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


class Health:
    """`lag`: how long the event loop last kept something waiting that was due."""

    def __init__(
        self,
        api: Api,
        hearing: Hearing,
        sync: Sync,
        lease: Lease,
        bootstrapped: Callable[[], bool] = lambda: True,
        monotonic: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._bootstrapped = bootstrapped
        self.namespaces = False
        self._api = api
        self._hearing = hearing
        self._sync = sync
        self._lease = lease
        self._monotonic = monotonic
        self.lag = 0.0
        self._wall = wall
        self._offset = wall() - monotonic()
        self.leading = False

    async def keep(self) -> None:
        """For ever."""
        while True:
            before = time.monotonic()
            await asyncio.sleep(TICK_SECONDS)
            self.lag = time.monotonic() - before - TICK_SECONDS

    @property
    def alive(self) -> Checks:
        return {
            "loop": lambda: self.lag < LAG_SECONDS,
            "watches": self._hears,
            "lease": lambda: not self.leading or self._lease.age < DEADLINE_SECONDS,
            "clock": lambda: abs(self._wall() - self._monotonic() - self._offset) < SKEW_SECONDS,
        }

    @property
    def ready(self) -> Checks:
        """What of the start has happened. Who waits for the Lease makes nothing, and is ready without."""
        return {
            "namespaces": lambda: self.namespaces,
            "cache": lambda: self._sync.done,
            "bootstrap": lambda: not self.leading or self._bootstrapped(),
        }

    def _hears(self) -> bool:
        """An API server that does not answer is no reason to restart."""
        if self._monotonic() - self._api.answered > ANSWERED_SECONDS:
            return True
        ages = (self._hearing.age(path) for _, _, path in self._sync.paths())
        return all(age is None or age < SILENCE_SECONDS for age in ages)


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


Found = list[tuple[str, ApiKey | KeySet]]
Samples = Iterable[tuple[tuple[str, ...], float]]


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
        heard = (((space, resource), self._hearing.age(path)) for space, resource, path in self._paths)
        ages = ((labels, age) for labels, age in heard if age is not None)
        text = "Seconds since a watch was heard of, by an event or a bookmark"
        yield family("watch_last_event_age_seconds", text, ("namespace", "resource"), ages)
        if not self._leads():
            return
        found = [(space, each) for space in self._namespaces for each in self._objects(space)]
        name, keyset = ("namespace", "name"), ("namespace", "keyset")
        yield family("key_expiry_timestamp_seconds", "When a key expires", name, dates(found, "expiresAt"))
        rotations = dates(found, "nextActionAt", "Rotate")
        yield family("key_next_rotation_timestamp_seconds", "When a key rotates by itself", name, rotations)
        yield family("key_versions_live", "Versions of keys that the published key set accepts", keyset, self._versions())
        yield family("keyset_lagging_pods", "Pods that have not acknowledged the published key set", keyset, lagging_pods(found))
        condition = ("kind", "namespace", "name", "type", "reason")
        yield family("condition", "1: a condition that is not as it should be", condition, bad(found))

    def _objects(self, namespace: str) -> list[ApiKey | KeySet]:
        keys = (each for each in self._cache.api_keys(namespace) if isinstance(each, ApiKey))
        return [*keys, *self._cache.key_sets(namespace)]

    def _versions(self) -> Samples:
        for namespace in self._namespaces:
            for keyset in self._cache.key_sets(namespace):
                found = self._cache.secret(namespace, api_types.published_secret(keyset.name))
                document = found.document if isinstance(found, Published) else None
                entries = document.entries if document is not None else ()
                yield (namespace, keyset.name), sum(entry.state == "active" for entry in entries)


def family(name: str, text: str, labels: tuple[str, ...], samples: Samples) -> GaugeMetricFamily:
    made = GaugeMetricFamily(f"{PREFIX}_{name}", text, labels=labels)
    for values, value in samples:
        made.add_metric(values, value)
    return made


def dates(found: Found, field: str, action: str | None = None) -> Samples:
    """Of each key whose status has such a date, as Unix time; with `action` only where that comes next."""
    for namespace, each in found:
        at = moment(each.status.get(field)) if isinstance(each, ApiKey) else None
        if at is not None and action in (None, each.status.get("nextAction")):
            yield (namespace, each.name), at.timestamp()


def lagging_pods(found: Found) -> Samples:
    for namespace, each in found:
        if isinstance(each, KeySet):
            yield (namespace, each.name), int(each.status.get("pods") or 0) - int(each.status.get("podsAcknowledged") or 0)


def bad(found: Found) -> Samples:
    """A sample for each condition that is not as it should be, and none for the others: a thousand keys have six each."""
    for namespace, each in found:
        kind = api_types.API_KEY if isinstance(each, ApiKey) else api_types.KEY_SET
        for condition in reasons.by_type(each.status.get("conditions")).values():
            if condition.get("status") != GOOD.get(condition["type"], condition.get("status")):
                yield (kind, namespace, each.name, condition["type"], str(condition.get("reason"))), 1
