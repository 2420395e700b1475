"""One operator process, from its start to its end: watches, waits for the Lease, works, and lets the next one have it."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import signal
from collections.abc import Coroutine, Iterable, Sequence
from functools import partial
from typing import Any

import structlog
import yaml

from sluice_operator import api_types, client, health, telemetry, watch
from sluice_operator.api_types import API_KEYS, CONFIG_MAPS, ESSENTIAL, KEY_SETS, LEASES, SELECTORS, WATCHED, ApiKey, Resource
from sluice_operator.cache import Cache, Kept, Unreadable, keysets_of
from sluice_operator.client import AlreadyExists, Api, ApiError, Forbidden, NotFound
from sluice_operator.execute import Doer, Enforcer
from sluice_operator.health import Gauges, Health
from sluice_operator.leader import Claims, Lease
from sluice_operator.observe import Observer
from sluice_operator.pods import Asker
from sluice_operator.queue import Errands, Key, Queue
from sluice_operator.reconcile import Engine
from sluice_operator.settings import Settings
from sluice_operator.watch import Hearing, Sync
from sluice_operator.world import Published, Secret

log = structlog.get_logger()

# Until the first can be read, and then whether it is still so.
RETRY_SECONDS = 2.0
EVERY_SECONDS = 10.0


async def wait(api: Api, namespaces: Sequence[str]) -> tuple[str, ...]:
    """Those that can be read, once there is one."""
    while True:
        try:
            found = await readable(api, namespaces)
        except NotFound as error:  # they may be installed a moment after us
            log.error("kinds not installed", missing=error.resource)
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


BOOTSTRAP_SECONDS = (1, 2, 5, 10, 30)


class Bootstrap:
    """`done`: whether both objects are made, or never will be."""

    def __init__(self, api: Api, namespace: str, configmap: str, lease: str) -> None:
        self._api = api
        self._namespace = namespace
        self._configmap = configmap
        self._lease = lease
        self.done = False

    async def keep_trying(self) -> None:
        """Until it is done, or cannot be."""
        for seconds in itertools.chain(BOOTSTRAP_SECONDS, itertools.repeat(BOOTSTRAP_SECONDS[-1])):
            try:
                await self.make()
                break
            except NotFound as error:
                log.error("bootstrap not possible", configmap=self._configmap, told=str(error))
                break
            except ApiError as error:
                log.warning("bootstrap waits", configmap=self._configmap, told=str(error))
            except Exception:  # nothing in a ConfigMap may end the process
                log.exception("bootstrap failed", configmap=self._configmap)
                return
            await asyncio.sleep(seconds)
        self.done = True

    async def make(self) -> None:
        """The chart's ApiKey and KeySet, once for each ConfigMap; the KeySet last, so where there is one both were made."""
        found = await self._api.get(CONFIG_MAPS, self._namespace, self._configmap)
        key, keyset = (yaml.safe_load(found["data"][each]) for each in ("apikey.yaml", "keyset.yaml"))
        name = keyset["metadata"]["name"]
        mark = f"{found['metadata']['uid']}/{name}"
        lease = await self._api.get(LEASES, self._namespace, self._lease)
        if mark in ((lease["metadata"].get("annotations") or {}).get(api_types.BOOTSTRAPPED) or "").split():
            return
        there = await self._api.list(KEY_SETS, self._namespace, keep=lambda raw: raw["metadata"]["name"])
        for resource, document in ((API_KEYS, key), (KEY_SETS, keyset)) if name not in there.items else ():
            with contextlib.suppress(AlreadyExists):
                await self._api.create(resource, self._namespace, document)
        notes = {"metadata": {"annotations": {api_types.BOOTSTRAPPED: mark}}}
        await self._api.merge(LEASES, self._namespace, self._lease, notes)
        log.info("bootstrap done", keyset=name)


# None of them waits for a Pod; some may wait for a webhook that is slow.
WORKERS = 16
STOP = "told to stop"
# kopf closes its streams; a task that waits longer is ended by the end of the process.
GOODBYE_SECONDS = 2.0


class Process:
    """Everything of one operator, put together."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.api = Api(partial(client.login, settings))
        self.queue = Queue()
        self.cache = Cache(self._changed)
        self.hearing = Hearing()
        self.asker = Asker()
        self.errands = Errands(self.queue)
        self.observer = Observer(self.api, self.cache, self.asker)
        self.sync = Sync(self.api, self.cache, self.queue, self.observer, self.hearing, settings.watch_namespaces)
        self.lease = Lease(self.api, settings.pod_namespace, settings.lease_name, settings.pod_name)
        self.claims = Claims(self.api, (), self._release, self._gained)
        self.bootstrap: Bootstrap | None = None
        if settings.bootstrap_configmap is not None:
            self.bootstrap = Bootstrap(self.api, settings.pod_namespace, settings.bootstrap_configmap, settings.lease_name)
        self.health = Health(self.api, self.hearing, self.sync, self.lease, lambda: self.bootstrap is None or self.bootstrap.done)
        self._stop = asyncio.Event()
        self._ended = asyncio.Event()
        self._tasks: list[asyncio.Task[Any]] = []

    async def run(self) -> int:
        """Until SIGTERM (0), or until it cannot go on (1)."""
        self._listen()
        spaces, leads = self._settings.watch_namespaces, lambda: self.lease.held
        telemetry.REGISTRY.register(Gauges(self.cache, self.hearing, spaces, self.sync.paths(), leads))
        runner, port = await health.serve(self.health, telemetry.REGISTRY, self._settings.host, self._settings.port)
        log.info("operator starts", port=port, namespaces=self._settings.watch_namespaces, enforce=self._settings.enforce)
        self._start(self._stop.wait(), STOP)
        self._start(self.health.keep(), "loop lag")
        self._start(self._work(), "work")
        await self._ended.wait()
        code = self._tell()
        await self._end()
        await runner.cleanup()
        return code

    @property
    def _release(self) -> str:
        """Who claims a namespace: whichever process of this release leads."""
        return f"{self._settings.pod_namespace}/{self._settings.lease_name}"

    async def _work(self) -> None:
        """What the first plan needs, in its order; all else is a task of its own."""
        resources = await self._reach()
        watches = watch.run(self._settings, self.sync.namespaces, resources, self.cache, self.hearing, self._listen)
        self._start(watches, "watches")
        await self.sync.first()
        log.info("cache complete")
        await self.lease.acquire()
        telemetry.LEADER.set(1)
        self.health.leading = True
        self._start(self.lease.keep(), "lease")
        self.claims = Claims(self.api, self.sync.namespaces, self._release, self._gained)
        self._start(self.claims.keep(), "claims")
        if self.bootstrap is not None:
            self._start(self.bootstrap.keep_trying(), "bootstrap", ends=False)
        self._start(self.sync.keep(), "sync")
        doer = Doer(self.api, self.cache, self.asker, self.observer, self.errands, self._settings.pod_name)
        enforcer = Enforcer(self.api, self.cache, self._settings.enforce)
        engine = Engine(self.api, self.cache, self.queue, self.observer, doer, enforcer, self.errands, self._may_write)
        await asyncio.gather(*(engine.work() for _ in range(WORKERS)))

    def _may_write(self, key: Key) -> bool:
        return self.lease.held and self.claims.holds(key.namespace)

    def _gained(self, namespace: str) -> None:
        log.info("namespace claimed", namespace=namespace)
        self.sync.everything()

    async def _reach(self) -> tuple[Resource, ...]:
        """Settle which namespaces this process works in, and what it watches there."""
        wanted = self._settings.watch_namespaces
        self.sync.namespaces = spaces = await wait(self.api, wanted)
        self.sync.resources = resources = await watchable(self.api, spaces)
        self.health.namespaces = True
        if len(wanted) > 1 or resources != WATCHED:
            self._start(changed(self.api, wanted, spaces, resources), "something else can be read")
        return resources

    def _changed(self, namespace: str, before: Kept | None, now: Kept | None) -> None:
        """An object changed: its KeySets are due."""
        for kept in (before, now):
            if kept is not None:
                if isinstance(kept, Secret | Published):
                    self.observer.unseen.forget(namespace, kept.metadata.name)
                    self.observer.seals.forget(namespace, kept.metadata.name)
                if isinstance(kept, ApiKey) and kept.client_secret is not None:
                    self.observer.unseen.forget(namespace, kept.client_secret)
                gone = now is None or now.metadata.uid != kept.metadata.uid
                for name in keysets_of(self.cache, namespace, kept, self.observer.owners.known):
                    if gone and isinstance(kept, ApiKey | Unreadable) and kept.revoked:
                        self._bury(Key(namespace, name), kept.metadata.name)
                    self.queue.add(Key(namespace, name))

    def _bury(self, key: Key, name: str) -> None:
        """An ApiKey that was revoked is gone, maybe before anybody looked."""
        published = self.cache.secret(key.namespace, api_types.published_secret(key.keyset))
        if isinstance(published, Published) and published.document is not None:
            self.observer.memory(key).end(name, published.document)

    def _listen(self) -> None:
        """kopf takes these signals for itself when it starts."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)

    def _start(self, work: Coroutine[Any, Any, Any], name: str, ends: bool = True) -> None:
        """`ends`: the process ends when it does; with an error any does."""
        task = asyncio.create_task(work, name=name)
        task.add_done_callback(lambda task: self._ended.set() if ends or task.exception() is not None else None)
        self._tasks.append(task)

    def _tell(self) -> int:
        """Why it ends; the exit code."""
        ended = [task for task in self._tasks if task.done() and (task.get_name() != "bootstrap" or task.exception() is not None)]
        for task in ended:
            error = None if task.cancelled() else task.exception()
            log.info("operator ends", why=task.get_name(), error=None if error is None else f"{type(error).__name__}: {error}")
        return 0 if all(task.get_name() == STOP for task in ended) else 1

    async def _end(self) -> None:
        """Nobody writes any more; then the Lease is free."""
        self.errands.stop()
        for task in self._tasks:
            if task.get_name() != "watches":
                task.cancel()
        await asyncio.wait(self._tasks, timeout=0.5)
        telemetry.LEADER.set(0)
        await asyncio.gather(self.lease.release(), self.claims.release())
        for task in self._tasks:
            task.cancel()
        await asyncio.wait(self._tasks, timeout=GOODBYE_SECONDS)
        await self.asker.close()
        await self.api.close()
