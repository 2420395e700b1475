"""The link to the broker that the service publishes by."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from sluice import errors
from sluice.queue.link import Link, Message
from sluice.queue.sink import Publisher


class Mute:
    """A link to a broker that takes connections and confirms nothing."""

    blocked = False
    max_bytes = 1
    closed = False

    def close(self) -> None:
        self.closed = True

    def probe(self) -> None:
        raise errors.QueueUnavailable("queue_timeout")

    def publish(self, queue: str, messages: Iterable[Message]) -> list[str | None]:
        raise AssertionError


def test_a_link_that_does_not_work_is_closed_before_the_next_one_is_made() -> None:
    links: list[Mute] = []

    def connect() -> Link:
        links.append(Mute())
        return links[-1]  # type: ignore[return-value] # what a Publisher calls

    publisher = Publisher(connect, pause=3600)
    for _ in range(3):
        publisher.look()
    with pytest.raises(errors.QueueUnavailable, match="queue_timeout"):
        publisher.publish([b"{}"])
    assert len(links) >= 3
    assert all(link.closed for link in links)
