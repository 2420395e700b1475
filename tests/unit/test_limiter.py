"""Rate limits: the workers of a pod grant a limit together, and a refusal says when to come again."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice import errors, keys, limiter
from sluice.limiter import Allowance, Limiter, SharedCounters


class Clock:
    """The middle of a second, so that no rounding is by chance."""

    now = 1_772_366_400.5

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def limits_of(clock: Clock, requests: int, events: int) -> Limiter:
    return Limiter(SharedCounters(None, 1, clock), requests, events)


def key(key_id: str = "web", requests: int | None = None, events: int | None = None) -> keys.KeyEntry:
    own = keys.RateLimit(requests_per_minute=requests, events_per_minute=events)
    return keys.KeyEntry(digest=keys.digest("k"), key_id=key_id, owner="shop", scopes=frozenset({"ingest"}), rate_limit=own)


WEB = key()


def refusal(limits: Limiter, entry: keys.KeyEntry = WEB, count: int | None = None) -> limiter.LimitExceeded:
    with pytest.raises(limiter.LimitExceeded) as caught:
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


def test_a_minute_later_everything_is_granted_again(clock: Clock) -> None:
    limits = limits_of(clock, 3, 0)
    assert granted(limits) == 3
    clock.now += limiter.WINDOW - 1
    assert granted(limits) == 0
    clock.now += 1
    assert granted(limits) == 3


def test_retry_after_is_the_time_that_really_helps_and_t_of_the_header(clock: Clock) -> None:
    limits = limits_of(clock, 1, 0)
    limits.request(WEB)
    clock.now += 13.2
    error = refusal(limits)
    assert (error.headers["Retry-After"], error.allowance.reset) == ("47", 47)
    clock.now += 47
    assert limits.request(WEB)


def test_a_refused_request_costs_nothing(clock: Clock) -> None:
    limits = limits_of(clock, 0, 10)
    limits.events(WEB, 8)
    for _ in range(5):
        assert refusal(limits, count=3).reason == "events"
    assert limits.events(WEB, 2) == Allowance("events", 10, 0, 60)


def test_events_are_counted_all_or_none(clock: Clock) -> None:
    limits = limits_of(clock, 0, 10)
    assert limits.events(WEB, 10) == Allowance("events", 10, 0, 60)
    assert refusal(limits, count=1).detail == "this key may send 10 events a minute"


def test_more_at_once_than_the_whole_limit_can_never_work_and_names_no_time(clock: Clock) -> None:
    limits = limits_of(clock, 0, 10)
    with pytest.raises(errors.UnprocessableContent) as caught:
        limits.events(WEB, 11)
    assert "11 events at once are more than the 10 that this key may send a minute" in caught.value.detail
    assert (caught.value.error, caught.value.reason, caught.value.headers) == ("batch_too_large", "rate_limit", {})
    assert limits.events(WEB, 10)


def test_zero_is_no_limit(clock: Clock) -> None:
    limits = limits_of(clock, 0, 0)
    assert limits.request(WEB) is None
    assert limits.events(WEB, 10**9) is None


OWN = {
    "its own": (key(requests=2), 2),
    "none of its own": (key(), 5),
    "no limits at all": (keys.KeyEntry(digest=keys.digest("k"), key_id="w", owner="o", scopes=frozenset({"read"})), 5),
    "only one for events": (key(events=1), 5),
    "more than the service's": (key(requests=7), 7),
}


@pytest.mark.parametrize(("entry", "limit"), OWN.values(), ids=OWN)
def test_a_keys_own_limit_comes_before_the_services(clock: Clock, entry: keys.KeyEntry, limit: int) -> None:
    assert granted(limits_of(clock, 5, 5), entry) == limit


def test_a_key_with_zero_of_its_own_has_no_limit(clock: Clock) -> None:
    assert granted(limits_of(clock, 5, 5), key(requests=0), tries=200) == 200


def test_keys_and_kinds_are_counted_apart(clock: Clock) -> None:
    limits = limits_of(clock, 1, 1)
    for entry in (key("web"), key("web/1"), key("batch")):
        assert limits.request(entry)
        assert limits.events(entry, 1)
        assert refusal(limits, entry).reason == "requests"
        assert refusal(limits, entry, 1).reason == "events"


def test_two_versions_of_a_key_share_its_limit(clock: Clock) -> None:
    limits = limits_of(clock, 1, 0)
    assert limits.request(WEB)
    assert not allowed(limits, keys.KeyEntry(digest=keys.digest("new"), key_id="web", version=2, owner="o", scopes=WEB.scopes))


def test_an_allowance_has_the_limit_what_is_left_and_the_seconds_to_the_next_window(clock: Clock) -> None:
    limits = limits_of(clock, 10, 0)
    assert limits.request(WEB) == Allowance("requests", 10, 9, 60)
    clock.now += 20
    assert limits.request(WEB) == Allowance("requests", 10, 8, 40)


def test_the_headers_read_as_the_draft_writes_them() -> None:
    verdicts = [Allowance("requests", 60, 59, 30), Allowance("events", 1_000, 0, 7)]
    assert dict(limiter.headers(verdicts)) == {
        "RateLimit-Policy": '"requests";q=60;w=60, "events";q=1000;w=60',
        "RateLimit": '"requests";r=59;t=30, "events";r=0;t=7',
    }


def test_without_limits_there_are_no_headers() -> None:
    assert not limiter.headers([])


def test_many_threads_together_get_the_limit_and_not_one_more(clock: Clock) -> None:
    limits = limits_of(clock, 500, 0)
    with ThreadPoolExecutor(16) as threads:
        storm = sum(threads.map(lambda _: granted(limits, tries=50), range(32)))
    assert storm + granted(limits, tries=600) == 500


def test_a_name_beyond_the_last_slot_takes_the_one_with_the_oldest_window(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SharedCounters, "SLOTS", 4)
    limits = limits_of(clock, 1, 0)
    for number in range(4):
        clock.now += 1
        assert allowed(limits, key(f"key-{number}"))
    assert allowed(limits, key("another"))
    assert [allowed(limits, key(f"key-{number}")) for number in (1, 2, 3)] == [False] * 3
    assert not allowed(limits, key("another"))


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(1, 5), st.floats(0, 30)), max_size=60))
def test_within_one_window_no_key_ever_gets_more_than_its_limit(hits: list[tuple[int, int, float]]) -> None:
    clock = Clock()
    limits = limits_of(clock, 0, 7)
    windows: dict[int, tuple[float, int]] = {}
    for number, cost, pause in hits:
        clock.now += pause
        end, spent = windows.get(number, (0.0, 0))
        if clock.now >= end:
            end, spent = int(clock.now) + limiter.WINDOW, 0
        fits = spent + cost <= 7
        windows[number] = end, spent + cost * fits
        if fits:
            limits.events(key(f"key-{number}"), cost)
        else:
            assert refusal(limits, key(f"key-{number}"), cost).allowance.remaining == 7 - spent


WORKER = """
import sys, time
from pathlib import Path
from sluice.limiter import SharedCounters
path, workers, limit, tries = Path(sys.argv[1]), *map(int, sys.argv[2:])
counters = SharedCounters(path, workers)
print("ready", flush=True)
sys.stdin.readline()
print(sum(counters.spend("requests/web", 1, limit)[0] for _ in range(tries)), flush=True)
sys.stdin.readline()
"""


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[Callable[[int, int], subprocess.Popen[str]]]:
    """Starts a process that asks as often as it is told when it gets a line, and prints how often it was granted."""
    started: list[subprocess.Popen[str]] = []

    def start(limit: int, tries: int) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", WORKER, str(tmp_path / "limits"), "4", str(limit), str(tries)]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        started.append(process)
        assert said(process) == "ready"
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def said(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def go_on(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


@pytest.mark.parametrize("limit", [1, 40, 100, 30_000])
def test_workers_that_ask_at_the_same_time_get_the_limit_together(
    worker: Callable[..., subprocess.Popen[str]], limit: int
) -> None:
    workers = [worker(limit, 10_000) for _ in range(4)]
    for process in workers:
        go_on(process)
    assert sum(int(said(process)) for process in workers) == limit


def test_what_a_killed_worker_granted_stays_counted_and_its_cell_goes_to_its_successor(
    worker: Callable[..., subprocess.Popen[str]],
) -> None:
    granted = 0
    # More workers, one after the other, than there are cells.
    for _ in range(10):
        process = worker(100, 7)
        go_on(process)
        granted += int(said(process))
        process.send_signal(signal.SIGKILL)
        process.wait()
    last = worker(100, 100)
    go_on(last)
    assert granted + int(said(last)) == 100
