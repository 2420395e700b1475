"""The budget of body bytes: never exceeded, always given back."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from sluice import errors
from sluice.inflight import Inflight


def test_the_budget_can_be_used_to_the_last_byte() -> None:
    inflight = Inflight(10)
    inflight.take(10)
    assert inflight.used == 10


def test_what_is_more_than_is_left_is_refused_and_takes_nothing() -> None:
    inflight = Inflight(10)
    inflight.take(4)
    with pytest.raises(errors.ServiceUnavailable) as caught:
        inflight.take(7)
    assert (caught.value.error, caught.value.reason) == ("overloaded", "inflight_bytes")
    assert caught.value.headers == {"Retry-After": "1"}
    assert inflight.used == 4


def test_a_share_is_given_back_as_a_whole() -> None:
    inflight = Inflight(10)
    with inflight.share() as share:
        share.take(3)
        share.take(4)
        assert (inflight.used, share.held) == (7, 7)
    assert (inflight.used, share.held) == (0, 0)


def test_a_share_is_given_back_when_its_request_fails() -> None:
    inflight = Inflight(10)

    def request() -> None:
        with inflight.share() as share:
            share.take(6)
            share.take(5)

    with pytest.raises(errors.ServiceUnavailable):
        request()
    assert inflight.used == 0


def test_one_share_refused_leaves_room_for_a_smaller_one() -> None:
    inflight = Inflight(10)
    with inflight.share() as big, inflight.share() as small:
        big.take(8)
        with pytest.raises(errors.ServiceUnavailable):
            small.take(3)
        small.take(2)
        assert inflight.used == 10


def test_many_threads_never_hold_more_than_the_budget_and_leave_nothing_behind() -> None:
    inflight = Inflight(100)

    def request(size: int) -> bool:
        try:
            with inflight.share() as share:
                share.take(size)
                share.take(size)
                return inflight.used <= inflight.limit
        except errors.ServiceUnavailable:
            return True

    with ThreadPoolExecutor(16) as threads:
        assert all(threads.map(request, [n % 40 for n in range(5_000)]))
    assert inflight.used == 0
