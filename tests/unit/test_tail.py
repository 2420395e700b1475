"""What waits for the client of a tail: bounded, in order, and honest about what did not fit."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from typing import Any, cast

import pytest

from sluice.filters import Match
from sluice.keys import KeyEntry
from sluice.stores import Fresh, Poll
from sluice.tail import stream
from sluice.tail.hub import HEARTBEAT_SECONDS, LEAST_PAUSE, Hub
from sluice.tail.stream import Tail

KEY = KeyEntry(digest="sha256:" + "0" * 64, key_id="k", owner="o", scopes=frozenset(("read",)))


@pytest.fixture
def tail() -> Tail:
    made = Tail(KEY, (), None)
    made.chunked = False
    return made


def drained(tail: Tail) -> bytes:
    found = b""
    while data := tail.outgoing():
        found += bytes(data)
        tail.sent(len(data))
    return found


def test_a_line_is_a_frame_with_its_position() -> None:
    assert stream.line(Fresh('{"id": 1}', "here", (0,))) == b'id: here\ndata: {"id": 1}\n\n'


def test_what_does_not_fit_is_counted_in_its_place(tail: Tail) -> None:
    frame = b"x" * (stream.MAX_QUEUED // 2)
    for _ in range(5):
        tail.put(frame)
    assert drained(tail) == frame * 2 + b'event: lost\ndata: {"lost":3}\n\n'
    tail.put(b"y")
    assert drained(tail) == b"y"


def test_lines_are_joined_in_their_order_up_to_a_size_and_a_block_that_does_not_fit_counts_all_of_its(tail: Tail) -> None:
    frames = [b"%05d" % number * 200 for number in range(300)]
    blocks = stream.blocks_of(frames)
    assert b"".join(block for block, _ in blocks) == b"".join(frames)
    assert sum(lines for _, lines in blocks) == 300
    assert max(len(block) for block, _ in blocks) <= stream.MAX_BLOCK < 2 * min(len(block) for block, _ in blocks[:-1])
    assert stream.blocks_of([]) == []
    assert stream.blocks_of([b"x" * stream.MAX_QUEUED, b"y"]) == [(b"x" * stream.MAX_QUEUED, 1), (b"y", 1)]
    for block in blocks:
        tail.put(*block)
    sent, _, lost = drained(tail).partition(b"event: lost")
    assert sent == b"".join(frames)[: len(sent)]
    assert lost == b'\ndata: {"lost":%d}\n\n' % (300 - len(sent) // 1_000)


def test_lines_that_were_lost_before_come_first(tail: Tail) -> None:
    tail.lose(2)
    tail.put(b"y")
    assert drained(tail) == b'event: lost\ndata: {"lost":2}\n\ny'


def test_a_frame_that_is_larger_than_the_queue_goes_alone(tail: Tail) -> None:
    large = b"x" * (2 * stream.MAX_QUEUED)
    tail.put(large)
    tail.put(b"y")
    assert drained(tail) == large + b'event: lost\ndata: {"lost":1}\n\n'


def test_bytes_that_were_not_taken_come_again(tail: Tail) -> None:
    tail.put(b"abc")
    tail.sent(len(tail.outgoing()[:1]))
    assert drained(tail) == b"bc"


def test_chunks_are_whole_and_the_last_one_ends_the_body(tail: Tail) -> None:
    tail.chunked = True
    tail.put(b"abc")
    tail.end("draining")
    tail.end("revoked")
    body = b'abcevent: end\ndata: {"reason":"draining"}\n\n'
    assert drained(tail) == b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
    assert not tail.waiting


class Slow:
    """A store, in which it takes `seconds` to find what a tail missed."""

    def __init__(self, seconds: float) -> None:
        self.now, self._seconds = 0.0, seconds
        self.asked: list[str] = []

    def place(self) -> str:
        return "now"

    def poll(self, filters: Sequence[tuple[Match, ...]]) -> Poll:
        return Poll([], [0] * len(filters))

    def since(self, position: str, _matches: tuple[Match, ...]) -> Poll:
        self.asked.append(position)
        self.now += self._seconds
        return Poll([Fresh("{}", f"behind {position}", (0,))], [1])


def close(hub: Hub) -> None:
    for each in (hub._selector, hub._woken, hub._waker):
        each.close()


def test_while_nothing_comes_the_place_behind_the_last_poll_does(tail: Tail) -> None:
    store = Slow(0)
    hub = Hub(cast(Any, None), lambda: store.now)
    ours, client = socket.socketpair()
    with ours, client:
        hub.begin(tail, ours, chunked=False)
        hub._write(tail, HEARTBEAT_SECONDS)
        hub._poll(cast(Any, store), [tail])
        hub._write(tail, 2 * HEARTBEAT_SECONDS)
        assert client.recv(100) == b":\n\n:\n\nid: now\n\n"
    close(hub)


def test_tails_that_go_on_somewhere_take_turns_with_those_that_are_live() -> None:
    store = Slow(0.6)
    hub = Hub(cast(Any, None), lambda: store.now)
    tails = [Tail(KEY, (), position) for position in ("a", "a", "b", "c")]
    assert hub._poll(cast(Any, store), tails) == LEAST_PAUSE
    # What two of them missed is read once, and the last one waits for the next poll.
    assert (store.asked, [tail.position for tail in tails]) == (["a", "b"], [None, None, None, "c"])
    hub._poll(cast(Any, store), tails)
    assert (store.asked, [b"behind" in drained(tail) for tail in tails]) == (["a", "b", "c"], [True] * 4)
    close(hub)
