"""Rate limits: each worker grants its share, a key's own limits come first, and a refusal says when to come again."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice import errors, keys, limiter
from sluice.limiter import Allowance, Limiter


class Clock:
    """The time that the `limits` library sees; the middle of a second, so that no rounding is by chance."""

    now = 1_772_366_400.5

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(time, "time", clock)
    return clock


def key(key_id: str = "web", requests: int | None = None, events: int | None = None) -> keys.KeyEntry:
    own = keys.RateLimit(requests_per_minute=requests, events_per_minute=events)
    return keys.KeyEntry(digest=keys.digest("k"), key_id=key_id, owner="shop", scopes=frozenset({"ingest"}), rate_limit=own)


WEB = key()


def refusal(limits: Limiter, entry: keys.KeyEntry = WEB, count: int | None = None) -> errors.TooManyRequests:
    with pytest.raises(errors.TooManyRequests) as caught:
        limits.request(entry) if count is None else limits.events(entry, count)
    return caught.value


def granted(limits: Limiter, entry: keys.KeyEntry = WEB, tries: int = 100) -> int:
    return sum(allowed(limits, entry) for _ in range(tries))


def allowed(limits: Limiter, entry: keys.KeyEntry) -> bool:
    try:
        limits.request(entry)
    except errors.TooManyRequests:
        return False
    return True


@pytest.mark.parametrize(("limit", "workers", "share"), [(10, 1, 10), (10, 2, 5), (10, 3, 4), (1, 64, 1), (3, 2, 2)])
def test_a_worker_grants_its_share_of_the_limit_rounded_up(clock: Clock, limit: int, workers: int, share: int) -> None:
    assert granted(Limiter(workers, limit, 0)) == share


@given(st.integers(1, 10**9), st.integers(1, 64))
def test_the_shares_of_all_workers_make_the_limit_and_less_than_one_a_worker_more(limit: int, workers: int) -> None:
    assert limit <= limiter.share(limit, workers) * workers < limit + workers


def test_a_minute_later_everything_is_granted_again(clock: Clock) -> None:
    limits = Limiter(1, 3, 0)
    assert granted(limits) == 3
    clock.now += limiter.WINDOW - 1
    assert granted(limits) == 0
    clock.now += 1
    assert granted(limits) == 3


def test_retry_after_is_the_time_that_really_helps_and_t_of_the_header(clock: Clock) -> None:
    limits = Limiter(1, 1, 0)
    limits.request(WEB)
    clock.now += 13.2
    error = refusal(limits)
    assert isinstance(error, limiter.LimitExceeded)
    assert (error.headers["Retry-After"], error.allowance.reset) == ("47", 47)
    clock.now += 47
    assert limits.request(WEB)


def test_a_refused_request_costs_nothing(clock: Clock) -> None:
    limits = Limiter(1, 0, 10)
    limits.events(WEB, 8)
    for _ in range(5):
        assert refusal(limits, count=3).reason == "events"
    assert limits.events(WEB, 2) == Allowance("events", 10, 0, 60)


def test_events_are_counted_all_or_none(clock: Clock) -> None:
    limits = Limiter(1, 0, 10)
    assert limits.events(WEB, 10) == Allowance("events", 10, 0, 60)
    assert refusal(limits, count=1).detail == "this key may send 10 events a minute"


def test_more_at_once_than_a_worker_ever_grants_is_told_as_such(clock: Clock) -> None:
    error = refusal(Limiter(2, 0, 10), count=6)
    assert "6 at once are more than a worker ever grants (5)" in error.detail
    assert (error.error, error.status) == ("rate_limit_exceeded", 429)


def test_zero_is_no_limit(clock: Clock) -> None:
    limits = Limiter(1, 0, 0)
    assert limits.request(WEB) is None
    assert limits.events(WEB, 10**9) is None


OWN = {
    "its own": (key(requests=2), 2),
    "none of its own": (key(), 5),
    "no limits at all": (keys.KeyEntry(digest=keys.digest("k"), key_id="w", owner="o", scopes=frozenset({"read"})), 5),
    "only one for events": (key(events=1), 5),
    "more than the service's": (key(requests=7), 7),
}


@pytest.mark.parametrize(("entry", "share"), OWN.values(), ids=OWN)
def test_a_keys_own_limit_comes_before_the_services(clock: Clock, entry: keys.KeyEntry, share: int) -> None:
    assert granted(Limiter(1, 5, 5), entry) == share


def test_a_key_with_zero_of_its_own_has_no_limit(clock: Clock) -> None:
    assert granted(Limiter(1, 5, 5), key(requests=0), tries=200) == 200


def test_keys_and_kinds_are_counted_apart(clock: Clock) -> None:
    limits = Limiter(1, 1, 1)
    for entry in (key("web"), key("web/1"), key("batch")):
        assert limits.request(entry)
        assert limits.events(entry, 1)
        assert refusal(limits, entry).reason == "requests"
        assert refusal(limits, entry, 1).reason == "events"


def test_two_versions_of_a_key_share_its_limit(clock: Clock) -> None:
    limits = Limiter(1, 1, 0)
    assert limits.request(WEB)
    assert not allowed(limits, keys.KeyEntry(digest=keys.digest("new"), key_id="web", version=2, owner="o", scopes=WEB.scopes))


def test_a_verdict_tells_the_pods_limit_and_what_this_worker_still_grants(clock: Clock) -> None:
    limits = Limiter(2, 10, 0)
    assert limits.request(WEB) == Allowance("requests", 10, 4, 60)
    clock.now += 20
    assert limits.request(WEB) == Allowance("requests", 10, 3, 40)


def test_the_headers_read_as_the_draft_writes_them() -> None:
    verdicts = [Allowance("requests", 60, 59, 30), Allowance("events", 1_000, 0, 7)]
    assert dict(limiter.headers(verdicts)) == {
        "RateLimit-Policy": '"requests";q=60;w=60, "events";q=1000;w=60',
        "RateLimit": '"requests";r=59;t=30, "events";r=0;t=7',
    }


def test_without_limits_there_are_no_headers() -> None:
    assert not limiter.headers([])


def test_many_threads_together_get_the_share_and_not_one_more(clock: Clock) -> None:
    limits = Limiter(1, 500, 0)
    with ThreadPoolExecutor(16) as threads:
        storm = sum(threads.map(lambda _: granted(limits, tries=50), range(32)))
    assert storm + granted(limits, tries=600) == 500


def test_counters_of_keys_that_went_quiet_are_forgotten(clock: Clock) -> None:
    limits = Limiter(1, 5, 0)
    for number in range(1_000):
        limits.request(key(f"key-{number}"))
    assert len(limits._counters.storage) == 1_000
    clock.now += limiter.WINDOW + 1
    limits._counters.timer.function()
    assert not limits._counters.storage


def test_a_counter_that_is_forgotten_twice_at_once_is_no_error(clock: Clock) -> None:
    limits = Limiter(1, 5, 0)
    limits.request(WEB)

    class Stale(type(limits._counters.expirations)):  # type: ignore[misc]
        """Lists a counter that another sweep forgets before it is looked at."""

        def keys(self) -> list[str]:
            return [*super().keys(), "requests/gone"]

    limits._counters.expirations = Stale(limits._counters.expirations)
    limits._counters.timer.function()
    assert list(limits._counters.storage) == [f"requests/{WEB.key_id}"]


def test_a_storm_of_requests_starts_few_threads_to_forget_counters(clock: Clock) -> None:
    limits = Limiter(1, 0, 10**9)
    sweeps = set()
    for _ in range(2_000):
        limits.events(WEB, 1)
        sweeps.add(limits._counters.timer)
    assert len(sweeps) <= 3
