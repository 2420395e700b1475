"""One operator process, from its start to its end: watches, waits for the Lease, works, and lets the next one have it."""

from __future__ import annotations

import asyncio
import itertools
import signal
from collections.abc import Coroutine
from functools import partial
from typing import Any

import structlog

from sluice_operator import api, health, metrics, reach, watch
from sluice_operator.api import Api, ApiError
from sluice_operator.asking import Asker
from sluice_operator.bootstrap import Bootstrap
from sluice_operator.cache import Cache, keysets_of
from sluice_operator.claims import Claims
from sluice_operator.doing import Doer
from sluice_operator.enforce import Enforcer
from sluice_operator.engine import Engine
from sluice_operator.gauges import Gauges
from sluice_operator.health import Health
from sluice_operator.hearing import Hearing
from sluice_operator.lease import Lease
from sluice_operator.model import ApiKey
from sluice_operator.observe import Observer
from sluice_operator.queue import Errands, Key, Queue
from sluice_operator.reading import Kept
from sluice_operator.resources import OF_KIND, WATCHED, Resource
from sluice_operator.settings import Settings
from sluice_operator.sync import Sync
from sluice_operator.world import Published, Secret

# None of them waits for a Pod; some may wait for a webhook that is slow.
WORKERS = 16
STOP = "told to stop"
# Until the API server knows our kinds: they may be installed a moment after us.
WAIT_SECONDS = (0.5, 1, 2, 5)
# kopf closes its streams; whoever waits longer is ended by the end of the process.
GOODBYE_SECONDS = 2.0

log = structlog.get_logger()


class Process:
    """Everything of one operator, put together."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.api = Api(partial(api.login, settings))
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
        self.health = Health(self.api, self.hearing, self.sync, self.lease, self.bootstrap)
        self._stop = asyncio.Event()
        self._ended = asyncio.Event()
        self._tasks: list[asyncio.Task[Any]] = []

    async def run(self) -> int:
        """Until SIGTERM (0), or until it can not go on (1)."""
        self._listen()
        metrics.REGISTRY.register(self._gauges())
        runner, port = await health.serve(self.health, metrics.REGISTRY, self._settings.host, self._settings.port)
        log.info("operator starts", port=port, namespaces=self._settings.watch_namespaces, enforce=self._settings.enforce)
        self._start(self._stop.wait(), STOP)
        self._start(self.health.loop.keep(), "loop lag")
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
        await self._known()
        resources = await self._reach()
        watches = watch.run(self._settings, self.sync.namespaces, resources, self.cache, self.hearing, self._listen)
        self._start(watches, "watches")
        await self.sync.first()
        log.info("cache complete")
        await self.lease.acquire()
        metrics.LEADER.set(1)
        self.health.leading = True
        self._start(self.lease.keep(), "lease")
        self.claims = Claims(self.api, self.sync.namespaces, self._release, self._gained)
        self._start(self.claims.keep(), "claims")
        if self.bootstrap is not None:
            self._start(self.bootstrap.keep_trying(), "bootstrap", ends=False)
        self._start(self.sync.keep(), "sync")
        engine = self._engine()
        await asyncio.gather(*(engine.work() for _ in range(WORKERS)))

    def _gained(self, namespace: str) -> None:
        log.info("namespace claimed", namespace=namespace)
        self.sync.everything()

    async def _known(self) -> None:
        """Wait until the API server answers and has our kinds."""
        for seconds in itertools.chain(WAIT_SECONDS, itertools.repeat(WAIT_SECONDS[-1])):
            try:
                missing = set(OF_KIND) - await self.api.kinds()
                if not missing:
                    self.health.kinds = True
                    return
                log.error("kinds not installed", missing=sorted(missing))
            except ApiError as error:
                log.warning("api server not reached", told=error.told)
            await asyncio.sleep(seconds)

    async def _reach(self) -> tuple[Resource, ...]:
        """Settle which namespaces this process works in, and what it watches there."""
        wanted = self._settings.watch_namespaces
        self.sync.namespaces = spaces = await reach.wait(self.api, wanted)
        resources = await reach.watchable(self.api, spaces)
        self.health.namespaces = True
        if len(wanted) > 1 or resources != WATCHED:
            self._start(reach.changed(self.api, wanted, spaces, resources), "something else can be read")
        return resources

    def _engine(self) -> Engine:
        doer = Doer(self.api, self.cache, self.asker, self.observer, self.errands, self._settings.pod_name)
        enforcer = Enforcer(self.api, self.cache, self._settings.enforce)
        may_write = lambda key: self.lease.held and self.claims.holds(key.namespace)  # noqa: E731
        return Engine(self.api, self.cache, self.queue, self.observer, doer, enforcer, self.errands, may_write)

    def _gauges(self) -> Gauges:
        return Gauges(self.cache, self.hearing, self._settings.watch_namespaces, self.sync.paths(), lambda: self.lease.held)

    def _changed(self, namespace: str, before: Kept | None, now: Kept | None) -> None:
        """An object changed: its KeySets are due."""
        for kept in (before, now):
            if kept is not None:
                if isinstance(kept, Secret | Published):
                    self.observer.unseen.forget(namespace, kept.metadata.name)
                    self.observer.seals.forget(namespace, kept.metadata.name)
                if isinstance(kept, ApiKey) and kept.client_secret is not None:
                    self.observer.unseen.forget(namespace, kept.client_secret)
                for name in keysets_of(self.cache, namespace, kept):
                    self.queue.add(Key(namespace, name))

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
        metrics.LEADER.set(0)
        await self.lease.release()
        for task in self._tasks:
            task.cancel()
        await asyncio.wait(self._tasks, timeout=GOODBYE_SECONDS)
        await self.asker.close()
        await self.api.close()
