"""The budget of body bytes: never exceeded, always given back."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from sluice import errors
from sluice.ingest.memory_budget import MemoryBudget


def test_what_is_more_than_is_left_is_refused_and_takes_nothing() -> None:
    memory = MemoryBudget(10)
    memory.take(4)
    with pytest.raises(errors.ServiceUnavailable) as caught:
        memory.take(7)
    assert (caught.value.error, caught.value.reason) == ("overloaded", "inflight_bytes")
    assert caught.value.headers == {"Retry-After": "1"}
    assert memory.used == 4


def test_a_share_is_given_back_as_a_whole() -> None:
    memory = MemoryBudget(10)
    with memory.reservation() as reservation:
        reservation.take(3)
        reservation.take(4)
        assert (memory.used, reservation.held) == (7, 7)
    assert (memory.used, reservation.held) == (0, 0)


def test_a_share_is_given_back_when_its_request_fails() -> None:
    memory = MemoryBudget(10)

    def request() -> None:
        with memory.reservation() as reservation:
            reservation.take(6)
            reservation.take(5)

    with pytest.raises(errors.ServiceUnavailable):
        request()
    assert memory.used == 0


def test_one_share_refused_leaves_room_for_a_smaller_one() -> None:
    memory = MemoryBudget(10)
    with memory.reservation() as big, memory.reservation() as small:
        big.take(8)
        with pytest.raises(errors.ServiceUnavailable):
            small.take(3)
        small.take(2)
        assert memory.used == 10


def test_many_threads_never_hold_more_than_the_budget_and_leave_nothing_behind() -> None:
    memory = MemoryBudget(100)

    def request(size: int) -> bool:
        try:
            with memory.reservation() as reservation:
                reservation.take(size)
                reservation.take(size)
                return memory.used <= memory.limit
        except errors.ServiceUnavailable:
            return True

    with ThreadPoolExecutor(16) as threads:
        assert all(threads.map(request, [n % 40 for n in range(5_000)]))
    assert memory.used == 0
