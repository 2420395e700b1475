"""Sends events in batches, several at a time.

Sending a batch again is safe because each event brings its `event_id`: what is stored already is answered as duplicate.
"""

from __future__ import annotations

import uuid
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, TypeVar

import msgspec

from sluice import outcomes
from sluice.client.http import Answer, Client, ClientError, encode, stranger

T = TypeVar("T")
R = TypeVar("R")
Event = Mapping[str, Any] | msgspec.Raw

NOT_STORED: tuple[outcomes.Status, ...] = ("conflict", "invalid", "failed")


class Refusal(msgspec.Struct, frozen=True):
    """One event that was not stored. `index` counts from 0 in the order of `send_batch`'s events."""

    index: int
    status: outcomes.Status
    event_id: str | None = None
    error: str | None = None
    reason: str | None = None
    pointer: str | None = None
    detail: str | None = None
    retryable: bool | None = None


class Counts(msgspec.Struct):
    """`data` of the service's answer to a batch."""

    created: int
    duplicate: int
    conflict: int
    invalid: int
    failed: int
    results: list[Refusal]
    queued: int = 0


@dataclass
class BatchResult:
    """What became of a batch: `counts` by status, and each event that was not stored.

    An event whose first answer was lost on the way and that was sent again counts as duplicate.
    """

    counts: Counter[str] = field(default_factory=Counter)
    refused: list[Refusal] = field(default_factory=list)

    def add(self, counts: Counts, places: Sequence[int]) -> list[Refusal]:
        """Count an answer about the events at `places`; returns, uncounted, what may work when it is sent again."""
        self.counts.update({status: getattr(counts, status) for status in outcomes.STATUSES})
        retryable = []
        for result in counts.results:
            if result.status not in NOT_STORED:
                continue
            refusal = msgspec.structs.replace(result, index=places[result.index])
            if refusal.retryable:
                self.counts[refusal.status] -= 1
                retryable.append(refusal)
            else:
                self.refused.append(refusal)
        return retryable


class IngestClient(Client):
    """A client that stores events."""

    def send_batch(self, events: Sequence[Event]) -> BatchResult:
        """Store up to 1,000 events, each with its `event_id`; raises ClientError when the service takes none of them.

        Events that the service calls retryable are sent again until the deadline; then they count as what they were last.
        What is too large for the service, or for a proxy before it, is sent in halves; one event that is, is not stored.
        """
        try:
            return self._send_whole(events)
        except ClientError as error:
            if error.status != 413:
                raise
            if len(events) == 1:
                return BatchResult(Counter(invalid=1), [Refusal(0, "invalid", reason="too_large", detail=error.detail)])
        middle = len(events) // 2
        first, second = self.send_batch(events[:middle]), self.send_batch(events[middle:])
        moved = [msgspec.structs.replace(refusal, index=middle + refusal.index) for refusal in second.refused]
        return BatchResult(first.counts + second.counts, first.refused + moved)

    def _send_whole(self, events: Sequence[Event]) -> BatchResult:
        deadline = self.deadline()
        result = BatchResult()
        places: Sequence[int] = range(len(events))

        def send() -> list[Refusal]:
            nonlocal places
            answer = self._post("/api/v1/batch-ingest", encode([events[place] for place in places]), deadline)
            retryable = result.add(counts_of(answer, len(places)), places)
            places = [refusal.index for refusal in retryable]
            return retryable

        rest = self.retry(send, deadline, lambda rest: f"{len(rest)} events could not be stored yet" if rest else "")
        result.counts.update(refusal.status for refusal in rest)
        result.refused.extend(rest)
        return result

    def send_report(self, report: Mapping[str, str]) -> None:
        """Post seed 000's error report; raises ClientError.

        It has no id. Under one Idempotency-Key it is stored once, however often it is sent; a service that takes no such key
        (501: with a queue, or in some stores) may store one twice whose answer was lost.
        """
        body, deadline = encode(report), self.deadline()
        try:
            answer = self._post("/", body, deadline, uuid.uuid4().hex)
        except ClientError as error:
            if error.status != 501:
                raise
            answer = self._post("/", body, deadline)
        if answer.status != 204:
            raise stranger(answer.status)

    def deliver(self, send: Callable[[T], R], things: Iterable[T]) -> Generator[tuple[T, R]]:
        """`(thing, send(thing))` for each, in order, with `connections` at work at a time.

        At most twice as many things are held, so input of any length takes bounded memory. The first error to happen ends
        it and is raised. Leaves no thread behind.
        """
        failures: list[Exception] = []

        def guarded(thing: T) -> R:
            try:
                return send(thing)
            except Exception as error:
                # At once, not when its turn comes: the one whose turn it is may be in a long pause.
                failures.append(error)
                self.stop()
                raise

        with ThreadPoolExecutor(self.connections, thread_name_prefix="sender") as pool:
            under_way: deque[tuple[T, Future[R]]] = deque()

            def finished() -> tuple[T, R]:
                thing, future = under_way.popleft()
                return thing, future.result()

            try:
                for thing in things:
                    under_way.append((thing, pool.submit(guarded, thing)))
                    while len(under_way) >= 2 * self.connections or (under_way and under_way[0][1].done()):
                        yield finished()
                while under_way:
                    yield finished()
            except BaseException as error:
                self.stop()
                pool.shutdown(wait=False, cancel_futures=True)
                if error in failures:
                    raise failures[0] from None
                raise

    def _post(self, path: str, body: bytes, deadline: float, key: str | None = None) -> Answer:
        """A 2xx answer; raises ClientError when none comes before `deadline` or waiting would not help."""
        answer = self.request("POST", path, body, deadline, key)
        if not 200 <= answer.status < 300:
            raise self.refusal(answer)
        return answer


def counts_of(answer: Answer, sent: int) -> Counts:
    """The answer to a batch of `sent` events; raises ClientError when it does not account for each of them."""
    counts = answer.data(Counts)
    reported = Counter({status: getattr(counts, status) for status in outcomes.STATUSES})
    listed = Counter(result.status for result in counts.results if 0 <= result.index < sent)
    if reported.total() != sent or any(reported[status] != listed[status] for status in NOT_STORED):
        raise ClientError(f"the answer does not account for all {sent} events", "run it again, which stores nothing twice")
    return counts
