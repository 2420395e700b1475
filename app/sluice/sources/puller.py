"""Pulls sources when they are due: one thread looks, and each run has a thread of its own. None waits for a slow one, but all do
for as many slow ones as may run at a time.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

import structlog
from prometheus_client import CollectorRegistry

from sluice import errors
from sluice.events import Rules
from sluice.ingest.pipeline import utc_now
from sluice.settings import Settings
from sluice.sources import opening
from sluice.sources.definitions import Source
from sluice.sources.metrics import PullMetrics
from sluice.sources.run import Parts, Pull
from sluice.sources.store import Ending
from sluice.stores import Store

log = structlog.get_logger()
TICK = 1.0
# Runs at a time: each holds a page, for which there must be memory.
CONCURRENT = 4
# How long the threads of runs have to end, once their connections are shut.
PATIENCE = 4.0
RESERVE = 2_048
# Of the puller's connections, and how long one of its transactions may take: a page may have many records.
POOL_SIZE, DEADLINE = 4, 30.0


def assemble(settings: Settings, sources: Sequence[Source], store: Store, registry: CollectorRegistry) -> Puller:
    """The puller of a process."""
    parts = Parts(
        store=opening.keeper(store, Rules(max_event_bytes=settings.max_event_bytes), settings.source_runs_days),
        metrics=PullMetrics(registry, sources, utc_now),
        # A record that is stored can become an event, which has a little more in it.
        rules=Rules(max_event_bytes=settings.max_event_bytes - RESERVE),
    )
    return Puller(sources, parts, settings.source_runs_days)


class Puller:
    """`run` it in a thread, or `pull` one source."""

    def __init__(self, sources: Sequence[Source], parts: Parts, runs_days: int) -> None:
        self.sources = {source.name: source for source in sources}
        self._parts = parts
        self._runs_days = runs_days
        self._pulls: dict[str, Pull] = {}
        self._threads: dict[str, threading.Thread] = {}
        # time.monotonic() of the end of the last look, by which liveness is judged; why it saw nothing; whether one ever did.
        self.beat = time.monotonic()
        self.reason = "starting"
        self.ready = False

    def register(self) -> None:
        """Make the sources known to the database; raises StoreUnavailable."""
        self._parts.store.register(list(self.sources.values()))

    def run(self, stop: threading.Event) -> None:
        """Pull whatever is due until `stop`; then end the runs that are under way, which are due at once elsewhere."""
        registered = False
        while not stop.is_set():
            try:
                if not registered:
                    self.register()
                    registered = True
                self._look()
                self.reason, self.ready = "ready", True
            except errors.StoreUnavailable as error:
                self.reason = error.reason
                log.info("sources.wait", reason=error.reason)
            except Exception:
                # It is tried again in the next round.
                log.exception("sources.failed")
            self.beat = time.monotonic()
            stop.wait(TICK)
        self.stop()

    def stop(self) -> None:
        """End all runs, and wait for that."""
        self._parts.stopping.set()
        for pull in list(self._pulls.values()):
            pull.abort()
        give_up = time.monotonic() + PATIENCE
        for thread in self._threads.values():
            thread.join(max(0.0, give_up - time.monotonic()))

    def pull(self, source: Source, *, forced: bool = False) -> Ending | None:
        """Pull a source when it is due (`forced`: or not); None when it is not, or another puller has it.

        Raises StoreUnavailable.
        """
        run = self._parts.store.take(source, forced=forced)
        if run is None:
            return None
        pull = self._pulls[source.name] = Pull(self._parts, source, run)
        try:
            ending = pull.ending()
        except errors.StoreUnavailable:
            self._parts.metrics.ended(source, "database")
            raise
        finally:
            del self._pulls[source.name]
        self._parts.metrics.ended(source, ending.reason)
        write = log.info if ending.reason is None else log.warning
        write("sources.pulled", source=source.name, status=ending.status, reason=ending.reason, detail=ending.error_message)
        self._parts.store.forget(source.name, self._runs_days)
        return ending

    def _look(self) -> None:
        for known in self._parts.store.due(list(self.sources)):
            self._parts.metrics.saw(known.name, known.since)
            self._threads = {name: thread for name, thread in self._threads.items() if thread.is_alive()}
            if known.due and known.name not in self._threads and len(self._threads) < CONCURRENT:
                thread = threading.Thread(target=self._try, args=(self.sources[known.name],), name="pull", daemon=True)
                self._threads[known.name] = thread
                thread.start()

    def _try(self, source: Source) -> None:
        try:
            self.pull(source)
        except errors.StoreUnavailable as error:
            log.warning("sources.not_written", source=source.name, reason=error.reason)
        except Exception:
            log.exception("sources.failed", source=source.name)
