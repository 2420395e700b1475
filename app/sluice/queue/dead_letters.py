"""What could not be stored: look at it, queue it again, drop it. A message that is looked at is back in its place afterwards."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from sluice import errors
from sluice.queue import DEAD_LETTERS, EVENTS
from sluice.queue.link import Link, Message, connect


def each(link: Link) -> Iterator[Message]:
    """Every dead letter that is there now, oldest first. Those that are not acknowledged return when the link closes."""
    for _ in range(link.depth(DEAD_LETTERS)):
        if (message := link.get(DEAD_LETTERS)) is None:
            return
        link.tick()
        yield message


def chosen(link: Link, ids: frozenset[str]) -> Iterator[Message]:
    """Those with one of `ids`, or all without any."""
    return (message for message in each(link) if not ids or message.message_id in ids)


def replay(link: Link, ids: frozenset[str]) -> int:
    """Queue again: how many. Each is in the queue before it leaves here, and the store knows an event that comes twice."""
    moved = 0
    for message in chosen(link, ids):
        (refused,) = link.publish(EVENTS, [Message(message.body, message.content_type)])
        if refused is not None:
            raise errors.QueueUnavailable(refused)
        link.ack(message.tag)
        moved += 1
    return moved


def drop(link: Link, ids: frozenset[str]) -> int:
    """Remove for good: how many."""
    dropped = 0
    for message in chosen(link, ids):
        link.ack(message.tag)
        dropped += 1
    return dropped


@contextlib.contextmanager
def opened(url: str) -> Iterator[Link]:
    with contextlib.closing(connect(url, EVENTS, DEAD_LETTERS)) as link:
        yield link
