"""Publishes what the service takes in. Requests that are ready share one confirm window, as they share a commit otherwise."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime

import structlog
from structlog.contextvars import get_contextvars

from sluice import errors, outcomes
from sluice.events import Record
from sluice.ingest.group_commit import GroupCommit
from sluice.metrics import Metrics
from sluice.outcomes import Outcome
from sluice.queue import EVENTS, FIXES, messages
from sluice.queue.link import Link, Message, connect
from sluice.stores import Capability, Claim, Kept, Store, not_supported

log = structlog.get_logger()
# What only a commit can promise before the answer.
NEEDS_THE_STORE: frozenset[Capability] = frozenset(("atomic", "conflicts", "idempotency_keys"))
WINDOW = 10_000
LOOK_SECONDS = 1.0
# Only the very first request of a process waits for its first connection.
FIRST_SECONDS = 0.2


class Publisher:
    """A link that a thread of its own keeps: no request ever waits for a connection. Thread-safe."""

    def __init__(self, connect: Callable[[], Link], pause: float = LOOK_SECONDS) -> None:
        self._connect = connect
        self._pause = pause
        self._link: Link | None = None
        self.max_bytes = messages.MAX_BYTES
        self._reason = ""
        self._lock = threading.Lock()
        self._tried = threading.Event()
        threading.Thread(target=self._run, name="queue", daemon=True).start()

    def publish(self, bodies: Iterable[bytes]) -> list[str | None]:
        """Per message why it was not taken, or None; raises QueueUnavailable when none was sent."""
        self._tried.wait(FIRST_SECONDS)
        with self._lock:
            if self._link is None:
                raise errors.QueueUnavailable(self._reason or "queue_unreachable")
            if self._link.blocked:
                raise errors.QueueUnavailable("queue_blocked")
            try:
                why = self._link.publish(EVENTS, (Message(body, messages.CONTENT_TYPE) for body in bodies))
            except errors.QueueUnavailable as error:
                self._drop(error.reason)
                raise
            for reason in ("queue_missing", "queue_timeout"):
                if reason in why:
                    # A new link declares the queue anew.
                    self._drop(reason)
            return why

    def look(self) -> None:
        """Connect, or see whether the link still works."""
        try:
            if self._link is None:
                link = self._connect()
                try:
                    link.probe()
                except BaseException:
                    link.close()
                    raise
                with self._lock:
                    self._link, self.max_bytes = link, link.max_bytes
                log.info("queue.connected")
                return
            with self._lock:
                if self._link is not None:
                    self._link.probe()
        except errors.QueueUnavailable as error:
            with self._lock:
                self._drop(error.reason)
        finally:
            self._tried.set()

    def _drop(self, reason: str) -> None:
        if self._link is not None or reason != self._reason:
            log.warning("queue.lost", reason=reason, fix=FIXES[reason])
        self._reason = reason
        if self._link is not None:
            self._link.close()
            self._link = None

    def _run(self) -> None:
        while True:
            try:
                self.look()
            except Exception:
                log.exception("queue.failed")
            time.sleep(self._pause)


def open(url: str, store: Store, metrics: Metrics) -> QueueSink:  # noqa: A001 - as stores.open
    """The sink of a process. Nothing is waited for."""
    return QueueSink(Publisher(lambda: connect(url, EVENTS)), store, metrics)


class QueueSink:
    """Implements ingest.sinks.Sink: an event is `queued` once the broker has it on its disk."""

    def __init__(self, publisher: Publisher, store: Store, metrics: Metrics) -> None:
        self._publisher = publisher
        self._store = store
        self._metrics = metrics
        self._windows = GroupCommit(self._publish, WINDOW)

    @property
    def capabilities(self) -> frozenset[Capability]:
        return self._store.capabilities - NEEDS_THE_STORE

    def accept(self, records: Sequence[Record], at: datetime) -> list[Outcome]:
        if traceparent := get_contextvars().get("traceparent"):
            for record in records:
                record.traceparent = traceparent
        found = self._windows.submit(records, at)
        if all(outcome.status == "failed" for outcome in found):
            raise errors.QueueUnavailable(found[0].reason or "queue_unreachable")
        return found

    def accept_all(self, records: Sequence[Record], at: datetime) -> list[Outcome]:
        raise not_supported("atomic")

    def accept_once(
        self, claim: Claim, records: Sequence[Record], found: Sequence[Outcome | None], at: datetime, *, atomic: bool
    ) -> Kept:
        raise not_supported("idempotency_keys")

    def _publish(self, records: Sequence[Record], at: datetime) -> list[Outcome]:
        sizes: list[int] = []

        def bodies() -> Iterable[bytes]:
            for body, size in messages.packed(records, at, self._publisher.max_bytes):
                sizes.append(size)
                yield body

        self._metrics.batch_events.observe(len(records))
        with self._metrics.commit_seconds.time():
            refused = self._publisher.publish(bodies())
        why = [reason for reason, size in zip(refused, sizes, strict=True) for _ in range(size)]
        return [
            Outcome("queued", record.event_id) if reason is None else outcomes.failed(record.event_id, reason)
            for record, reason in zip(records, why, strict=True)
        ]
