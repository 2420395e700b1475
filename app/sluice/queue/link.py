"""What the service and its worker need of a broker, and the connection that QUEUE_URL names. Nothing of a driver crosses it."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from sluice.parsing.weight import weight
from sluice.queue import EVENTS


@dataclass(frozen=True)
class Message:
    """`tag`, `redelivered`: of one that was delivered. `sent_at`: seconds since the epoch, when the message says it."""

    body: bytes
    content_type: str | None = None
    headers: Mapping[str, Any] = field(default_factory=dict)
    message_id: str | None = None
    sent_at: int | None = None
    tag: int = 0
    redelivered: bool = False

    @functools.cached_property
    def weight(self) -> int:
        """What the body takes when it is parsed (sluice.parsing.weight)."""
        return weight(self.body)


class Link(Protocol):
    """Belongs to one thread at a time. Every method but `close` may raise QueueUnavailable.

    `blocked`: the broker takes no messages now. `max_bytes`: what the events of one message may have together.
    """

    blocked: bool
    max_bytes: int

    def close(self) -> None:
        """Never waits for a broker that does not answer, and never fails. What is not acknowledged is back in its place."""

    def publish(self, queue: str, messages: Iterable[Message]) -> list[str | None]:
        """Per message why it was not taken, or None: then it is durable there."""

    def probe(self) -> None:
        """Keep the connection alive, and learn whether the broker takes messages: `blocked`. Raises when it does not answer."""

    def tick(self) -> None:
        """Keep the connection, and what was delivered by it, without reading more."""

    def consume(self, queue: str, prefetch: int) -> None:
        """From now on `next` has messages of `queue`."""

    def next(self, seconds: float) -> Message | None:
        """The next message of `consume`; None when none comes within `seconds`."""

    def get(self, queue: str) -> Message | None:
        """One message, held until `ack` or `close`."""

    def ack(self, tag: int, *, multiple: bool = False) -> None:
        """Remove a message for good; `multiple`: and all that were delivered before it."""

    def depth(self, queue: str) -> int:
        """How many messages wait there."""


def connect(url: str, *queues: str) -> Link:
    """A connection to the broker; `queues` are made where they are not there."""
    if url.startswith("sqs:"):
        from sluice.queue.sqs import SqsLink  # noqa: PLC0415 - extra `sqs`

        return SqsLink(url, *queues)
    from sluice.queue import broker  # noqa: PLC0415 - extra `queue`

    return broker.Link(url, *queues)


def check(url: str) -> None:
    """Return when events can be published there."""
    with contextlib.closing(connect(url, EVENTS)) as link:
        link.probe()
