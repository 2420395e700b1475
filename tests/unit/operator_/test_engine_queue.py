"""The queue of KeySets."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from sluice_operator.queue import LONGEST_DELAY, Errands, Key, Queue

A, B = Key("space", "a"), Key("space", "b")


def run(work: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(asyncio.wait_for(work, 10))


def test_what_is_added_twice_comes_up_once() -> None:
    async def work() -> None:
        queue = Queue()
        queue.add(A)
        queue.add(A)
        queue.add(B, 0.02)
        assert await queue.take() == A
        queue.done(A)
        assert await queue.take() == B

    run(work())


def test_the_earliest_time_counts() -> None:
    async def work() -> None:
        queue = Queue()
        queue.add(A, 60)
        queue.add(A, 0.01)
        queue.add(A, 30)
        assert await queue.take() == A

    run(work())


def test_nobody_else_works_on_the_same_one() -> None:
    async def work() -> None:
        queue = Queue()
        queue.add(A)
        assert await queue.take() == A
        queue.add(A)
        second = asyncio.create_task(queue.take())
        await asyncio.sleep(0.02)
        assert not second.done()
        queue.done(A)
        assert await second == A

    run(work())


def test_an_errand_runs_beside_the_workers_and_makes_its_keyset_due() -> None:
    async def work() -> None:
        queue = Queue()
        errands, going, started = Errands(queue), asyncio.Event(), []

        async def errand() -> float | None:
            started.append(1)
            await going.wait()
            return 0.0

        for _ in range(3):
            errands.start(A, "ask", errand)
        await asyncio.sleep(0)
        assert (started, queue.is_due(A)) == ([1], False), "of one name one at a time"
        going.set()
        assert await asyncio.wait_for(queue.take(), 5) == A

    run(work())


def test_an_errand_that_found_nothing_new_or_failed_holds_nobody_up() -> None:
    async def nothing() -> float | None:
        return None

    async def failing() -> float | None:
        raise OSError("no route")

    async def work() -> None:
        queue = Queue()
        errands = Errands(queue)
        errands.start(A, "ask", nothing)
        errands.start(B, "ask", failing)
        await asyncio.sleep(0.01)
        assert not queue.is_due(A)
        assert not queue.is_due(B)
        assert B in queue._due, "it is tried again later"
        errands.start(A, "ask", nothing)
        await asyncio.sleep(0)
        errands.stop()

    run(work())


def test_each_failure_in_a_row_waits_longer_up_to_a_bound() -> None:
    queue = Queue(lambda: 0.0)
    delays = [queue.failed(A) for _ in range(20)]
    assert all(0.1 * 2**n <= delay <= 0.2 * 2**n for n, delay in enumerate(delays[:7]))
    assert max(delays) <= LONGEST_DELAY
    queue.succeeded(A)
    assert queue.failed(A) <= 0.2


def test_two_failures_are_not_equally_far_apart() -> None:
    assert len({Queue(lambda: 0.0).failed(A) for _ in range(20)}) == 20
