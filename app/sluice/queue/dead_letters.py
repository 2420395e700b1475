"""What could not be stored: look at it, queue it again, drop it. A message that is looked at is back in its place afterwards."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from sluice import errors
from sluice.queue import DEAD_LETTERS, EVENTS
from sluice.queue.link import Link, Message, connect
from sluice.queue.worker import DETAIL, EVENT_ID, REASON


@dataclass(frozen=True)
class Letter:
    """What is said of a dead letter. `since`: when it was moved there, RFC 3339 unless it says nonsense. `size`: bytes."""

    id: str
    since: str
    reason: str
    event_id: str
    detail: str
    size: int


def described(message: Message) -> Letter:
    reason, event_id, detail = (str(message.headers.get(name, "")) for name in (REASON, EVENT_ID, DETAIL))
    return Letter(message.message_id or "", since(message.sent_at), reason, event_id, detail, len(message.body))


def since(seconds: int | None) -> str:
    """A time that a message says, which may be any number."""
    try:
        return datetime.fromtimestamp(seconds or 0, UTC).isoformat()
    except (ValueError, OverflowError, OSError):
        return str(seconds)


def each(link: Link, most: int | None = None) -> Iterator[Message]:
    """Every dead letter that is there now, oldest first; the `most` oldest.

    Those that are not acknowledged return when the link closes.
    """
    there = link.depth(DEAD_LETTERS)
    for _ in range(there if most is None else min(there, most)):
        if (message := link.get(DEAD_LETTERS)) is None:
            return
        link.tick()
        yield message


def first(link: Link, most: int, max_bytes: int) -> tuple[list[Letter], int]:
    """The oldest, up to `most` and so many that `max_bytes` were read; and how many there are."""
    there, read = link.depth(DEAD_LETTERS), 0
    found: list[Letter] = []
    for message in each(link, most):
        found.append(described(message))
        if (read := read + len(message.body)) >= max_bytes:
            break
    return found, there


def chosen(link: Link, ids: frozenset[str], most: int | None = None) -> Iterator[Message]:
    """Those with one of `ids`, or all without any, among the `most` oldest."""
    left = set(ids)
    for message in each(link, most):
        if not ids or message.message_id in left:
            left.discard(message.message_id or "")
            yield message
        if ids and not left:
            return


def replay(link: Link, ids: frozenset[str], most: int | None = None) -> int:
    """Queue again: how many. Each is in the queue before it leaves here, and the store knows an event that comes twice.

    It keeps its id, by which a message of another program is known.
    """
    moved = 0
    for message in chosen(link, ids, most):
        (refused,) = link.publish(EVENTS, [Message(message.body, message.content_type, message_id=message.message_id)])
        if refused is not None:
            raise errors.QueueUnavailable(refused)
        link.ack(message.tag)
        moved += 1
    return moved


def drop(link: Link, ids: frozenset[str], most: int | None = None) -> int:
    """Remove for good: how many."""
    dropped = 0
    for message in chosen(link, ids, most):
        link.ack(message.tag)
        dropped += 1
    return dropped


@contextlib.contextmanager
def opened(url: str) -> Iterator[Link]:
    with contextlib.closing(connect(url, EVENTS, DEAD_LETTERS)) as link:
        yield link
