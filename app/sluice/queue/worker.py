"""`sluice worker`: stores what waits in the queue, a batch in one commit, and acknowledges it only then.

Whatever dies in between, the broker delivers the batch again and the store knows its events by their ids. A message that can
never be stored goes to the dead letters with its reason; while the store is away nothing does.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import Counter as Counted
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from datetime import UTC, datetime
from typing import TypeVar

import structlog
import tenacity
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from sluice import errors, outcomes
from sluice.events import Record, Rules
from sluice.metrics import BATCH_EVENTS, COMMIT_SECONDS
from sluice.outcomes import Outcome
from sluice.queue import DEAD_LETTERS, EVENTS, FIXES, messages
from sluice.queue.link import Link, Message
from sluice.queue.messages import Undecodable
from sluice.stores import Store

log = structlog.get_logger()
T = TypeVar("T")
BATCH, BATCH_SECONDS = 1_000, 0.2
# Commits in flight: two are in the database, and of the third Python makes the parameters.
COMMITS = 3
# What one batch weighs, and how many messages the broker sends ahead: for the batches that are committed and the one behind
# them. What is not read yet waits in sockets.
BATCH_WEIGHT, PREFETCH = messages.MAX_WEIGHT // (COMMITS + 1), (COMMITS + 1) * BATCH
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 10.0
BEAT_SECONDS, DEPTH_SECONDS, RECONNECT_SECONDS = 5.0, 5.0, 1.0
REASONS = ("conflict", "invalid", "undecodable", "unknown_format", "unexpected")
# Headers of a dead letter, and the most characters of one: brokers bound them all together.
MAX_DETAIL = 1_000
REASON, DETAIL, EVENT_ID, TRACEPARENT = "x-sluice-reason", "x-sluice-detail", "x-sluice-event-id", "x-sluice-traceparent"


class NotBuried(errors.QueueUnavailable):
    """The dead letters take nothing now. The messages are kept meanwhile, for a broker counts how often it delivers one."""


class Stopped(Exception):
    """SIGTERM came while the store was away: the batch goes back to the queue."""


class WorkerMetrics:
    """Names of their own, for the service counts what it took in by `sluice_events_total`."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.events = Counter("sluice_worker_events", "Events of the queue by what became of them", ["status"], registry=registry)
        for status in ("created", "duplicate", "conflict", "invalid"):
            self.events.labels(status)
        self.dead = Counter("sluice_worker_dead_letters", "Messages moved to the dead letters", ["reason"], registry=registry)
        for reason in REASONS:
            self.dead.labels(reason)
        self.redelivered = Counter("sluice_worker_redelivered", "Messages delivered a second time", registry=registry)
        self.commit_seconds = Histogram(
            "sluice_worker_commit_seconds", "Seconds that one commit took", registry=registry, buckets=COMMIT_SECONDS
        )
        self.batch_events = Histogram(
            "sluice_worker_batch_events", "Events in one commit", registry=registry, buckets=BATCH_EVENTS
        )
        self.depth = Gauge("sluice_queue_depth", "Messages that wait in the broker", ["queue"], registry=registry)
        self.oldest = Gauge(
            "sluice_queue_oldest_seconds", "Age of the oldest message in hand; 0 when none waits", registry=registry
        )


class Batch:
    """Messages that are committed together, in the order in which they came."""

    def __init__(self) -> None:
        self.messages: list[tuple[Message, list[Record]]] = []
        self.undecodable: list[tuple[Message, Undecodable]] = []
        self.events = self.weight = self.last = 0
        self.sent_at: int | None = None

    def add(self, message: Message, decode: Callable[[Message], list[Record]]) -> None:
        self.sent_at = self.sent_at if self.last else message.sent_at
        self.last = message.tag
        self.weight += message.weight
        try:
            records = decode(message)
        except Undecodable as error:
            self.undecodable.append((message, error))
        else:
            self.messages.append((message, records))
            self.events += len(records)

    @property
    def full(self) -> bool:
        return self.events >= BATCH or self.weight >= BATCH_WEIGHT


class Worker:
    """`run` until `stop` is set. `connect` opens a link that has both queues declared; `rules`: for messages of others."""

    def __init__(
        self,
        store: Store,
        connect: Callable[[], Link],
        rules: Rules,
        metrics: WorkerMetrics,
        stop: threading.Event,
    ) -> None:
        self._store = store
        self._connect = connect
        self._rules = rules
        self._metrics = metrics
        self._stop = stop
        self.state = "starting"
        self.beat = time.monotonic()
        # When the oldest message in hand was sent: its age grows while the store is away.
        self._oldest: int | None = None
        # Batches that are committed, in the order of delivery, for an acknowledgement takes in what was delivered before.
        self._waiting = deque[tuple[Batch, Future[None]]]()
        metrics.oldest.set_function(lambda: 0.0 if (sent_at := self._oldest) is None else max(0.0, time.time() - sent_at))

    def run(self) -> None:
        while not self._stop.is_set():
            try:
                with contextlib.closing(self._connect()) as link:
                    self._consume(link)
            except errors.QueueUnavailable as error:
                self._oldest = None
                self._report(error)
                self.beat = time.monotonic()
                self._stop.wait(RECONNECT_SECONDS)
            except Stopped:
                return

    def _consume(self, link: Link) -> None:
        """Read and decode a batch while those before it are committed; raises QueueUnavailable, and Stopped."""
        with ThreadPoolExecutor(COMMITS, "commit") as commits:
            self._finished(link, commits.submit(self._patiently, self._store.check))
            link.consume(EVENTS, PREFETCH)
            log.info("worker.consuming")
            self.state = "ready"
            waiting = self._waiting = deque()
            while waiting or not self._stop.is_set():
                self.beat = time.monotonic()
                batch = Batch() if self._stop.is_set() else self._read(link)
                if batch.last:
                    waiting.append((batch, commits.submit(self._done, batch)))
                while waiting and (len(waiting) == COMMITS or not batch.last or waiting[0][1].done()):
                    self._settle(link)
                self._oldest = waiting[0][0].sent_at if waiting else None

    def _read(self, link: Link) -> Batch:
        """What comes until the batch is full, or until BATCH_SECONDS after its first message; empty when none comes."""
        batch = Batch()
        give_up = time.monotonic() + BATCH_SECONDS
        while not batch.full and (message := link.next(max(0.0, give_up - time.monotonic()))) is not None:
            if not batch.last:
                give_up = time.monotonic() + BATCH_SECONDS
            self._metrics.redelivered.inc(message.redelivered)
            held = message.weight + batch.weight
            while self._waiting and held + sum(each.weight for each, _ in self._waiting) > messages.MAX_WEIGHT:
                self._settle(link)
            batch.add(message, self._records)
        return batch

    def _settle(self, link: Link) -> None:
        """Acknowledge the oldest batch once it is committed and its dead letters are where they belong."""
        batch, commit = self._waiting.popleft()
        self._finished(link, commit)
        link.ack(batch.last, multiple=True)
        self.state = "ready"

    def _finished(self, link: Link, work: Future[T]) -> T:
        """What `work` returns or raises; the link belongs to this thread and is kept meanwhile."""
        while not wait([work], BEAT_SECONDS).done:
            link.tick()
        return work.result()

    def _records(self, message: Message) -> list[Record]:
        try:
            return messages.unpacked(message, datetime.now(UTC), self._rules)
        except Undecodable:
            raise
        except Exception as error:
            log.exception("worker.unexpected")
            raise Undecodable("unexpected", type(error).__name__) from error

    def _done(self, batch: Batch) -> None:
        """Commit, and bury what cannot be stored."""
        dead = [dead_letter(message, error.reason, str(error)) for message, error in batch.undecodable]
        dead += self._stored(batch.messages)
        if dead:
            self._patiently(lambda: self._bury(dead), NotBuried)

    def _stored(self, waiting: Sequence[tuple[Message, list[Record]]]) -> list[Message]:
        """Commit; the dead letters that have to be made. What goes wrong in a way nobody knows is found by halves."""
        records = [record for _, several in waiting for record in several]
        if not records:
            return []
        self._metrics.batch_events.observe(len(records))
        try:
            with self._metrics.commit_seconds.time():
                found = self._patiently(lambda: self._insert(records))
        except Stopped:
            raise
        except Exception as error:
            if len(waiting) > 1:
                middle = len(waiting) // 2
                return [*self._stored(waiting[:middle]), *self._stored(waiting[middle:])]
            log.exception("worker.unexpected")
            return [dead_letter(waiting[0][0], "unexpected", type(error).__name__)]
        for status, number in outcomes.count(found).items():
            if number:
                self._metrics.events.labels(status).inc(number)  # type: ignore[arg-type]
        return [
            dead_letter(of_record(record), outcome.status, outcome.detail or "", record)
            for record, outcome in zip(records, found, strict=True)
            if outcome.status not in ("created", "duplicate")
        ]

    def _insert(self, records: Sequence[Record]) -> list[Outcome]:
        """Raises StoreUnavailable also when only some could not be stored: those that were are then duplicates."""
        found = self._store.insert(records, datetime.now(UTC))
        if failed := next((outcome for outcome in found if outcome.status == "failed"), None):
            raise errors.StoreUnavailable(failed.reason or "database_error")
        return found

    def _patiently(self, work: Callable[[], T], away: type[Exception] = errors.StoreUnavailable) -> T:
        """What `work` returns, tried until it raises `away` no longer."""

        def sleep(seconds: float) -> None:
            give_up = time.monotonic() + seconds
            while (left := give_up - time.monotonic()) > 0:
                self.beat = time.monotonic()
                if self._stop.wait(min(left, BEAT_SECONDS)):
                    raise Stopped

        trying = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(away),
            wait=tenacity.wait_random_exponential(multiplier=FIRST_PAUSE, max=LONGEST_PAUSE),
            sleep=sleep,
            before_sleep=lambda state: self._report(state.outcome.exception() if state.outcome else None),
        )
        return trying(work)

    def _report(self, error: BaseException | None) -> None:
        reason = getattr(error, "reason", "unexpected")
        if self.state != reason:
            log.warning("worker.waits", reason=reason, fix=FIXES.get(reason, "`sluice doctor` says more"))
        self.state = reason

    def _bury(self, dead: list[Message]) -> None:
        """Move them to the dead letters; raises NotBuried, and then `dead` has those that are not there yet.

        On a link of its own: a broker that blocks publishers would block the acknowledgements, too.
        """
        with contextlib.closing(self._connect()) as link:
            found = link.publish(DEAD_LETTERS, dead)
        reasons = Counted(letter.headers[REASON] for letter, why in zip(dead, found, strict=True) if why is None)
        for reason, number in reasons.items():
            self._metrics.dead.labels(reason).inc(number)
        if reasons:
            log.warning("worker.dead_letters", reasons=reasons, fix="sluice dead-letters list")
        dead[:] = [letter for letter, why in zip(dead, found, strict=True) if why is not None]
        if refused := next(filter(None, found), None):
            raise NotBuried(refused)

    def watch_depths(self) -> None:
        """Keep the depth of both queues, on a link of its own: the worker's own answer would come behind what is delivered."""
        while not self._stop.is_set():
            with contextlib.suppress(errors.QueueUnavailable), contextlib.closing(self._connect()) as link:
                while not self._stop.wait(DEPTH_SECONDS):
                    for queue in (EVENTS, DEAD_LETTERS):
                        self._metrics.depth.labels(queue).set(link.depth(queue))
            self._stop.wait(RECONNECT_SECONDS)


def of_record(record: Record) -> Message:
    """A message of this event alone, as it was accepted."""
    return Message(messages.body([record], record.accepted or datetime.now(UTC)), messages.CONTENT_TYPE)


def dead_letter(message: Message, reason: str, detail: str, record: Record | None = None) -> Message:
    headers = {REASON: reason, DETAIL: detail[:MAX_DETAIL]}
    if record is not None:
        headers |= {EVENT_ID: record.event_id, TRACEPARENT: record.traceparent or ""}
    return Message(message.body, message.content_type, headers, message.message_id)
