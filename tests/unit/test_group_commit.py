"""Group commit: concurrent callers share a commit, each gets its own answer, and nothing wedges it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime

import pytest

from sluice import outcomes
from sluice.events import Event, Record
from sluice.ingest import group_commit
from sluice.ingest.group_commit import GroupCommit
from sluice.outcomes import Outcome

DEADLINE = 10.0
NOW = datetime(2024, 6, 1, tzinfo=UTC)


class Gated:
    """An insert that stands still at `gate` and remembers its calls; ids with "bad" raise `error`."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.calls: list[list[str]] = []
        self.entered = threading.Event()
        self.gate = threading.Event()
        self.error = error

    def __call__(self, rows: Sequence[Record], _at: datetime) -> list[Outcome]:
        self.calls.append([row.event_id for row in rows])
        self.entered.set()
        assert self.gate.wait(DEADLINE)
        if self.error is not None and any("bad" in row.event_id for row in rows):
            raise self.error
        return [outcomes.created(row.event_id, len(row.event_id)) for row in rows]


def rows(*ids: str) -> list[Record]:
    event = Event(event_type="log", event_name="test")
    return [Record(event, event_id, None, b"", b"", b"", "key") for event_id in ids]


def ids(found: list[Outcome]) -> list[str | None]:
    return [outcome.event_id for outcome in found]


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(16) as threads:
        yield threads


def eventually(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def queued(pool: ThreadPoolExecutor, shared: GroupCommit, *groups: Sequence[str]) -> list[Future[list[Outcome]]]:
    """Callers that wait behind a commit under way, in order."""
    futures = []
    for group in groups:
        before = len(shared._waiting)
        futures.append(pool.submit(shared.submit, rows(*group), NOW))
        eventually(lambda before=before: len(shared._waiting) == before + 1)  # type: ignore[misc]
    return futures


def behind_a_commit(
    pool: ThreadPoolExecutor, insert: Gated, *groups: Sequence[str], max_records: int = 1_000
) -> list[Future[list[Outcome]]]:
    """The future of a first caller that holds the commit, then those of `groups`; the gate is open when this returns."""
    shared = GroupCommit(insert, max_records)
    first = pool.submit(shared.submit, rows("first"), NOW)
    assert insert.entered.wait(DEADLINE)
    futures = [first, *queued(pool, shared, *groups)]
    insert.gate.set()
    return futures


def test_a_lone_caller_commits_at_once_and_alone() -> None:
    insert = Gated()
    insert.gate.set()
    assert ids(GroupCommit(insert).submit(rows("a", "b"), NOW)) == ["a", "b"]
    assert insert.calls == [["a", "b"]]


def test_whoever_comes_during_a_commit_shares_the_next_one(pool: ThreadPoolExecutor) -> None:
    insert = Gated()
    futures = behind_a_commit(pool, insert, "a", "bc", "d", "efg")
    assert [ids(future.result(DEADLINE)) for future in futures] == [["first"], ["a"], ["b", "c"], ["d"], ["e", "f", "g"]]
    assert insert.calls == [["first"], ["a", "b", "c", "d", "e", "f", "g"]]


def test_a_group_never_holds_more_rows_than_it_may(pool: ThreadPoolExecutor) -> None:
    insert = Gated()
    futures = behind_a_commit(pool, insert, "ab", "cd", "e", "fghi", "j", max_records=3)
    assert [len(future.result(DEADLINE)) for future in futures] == [1, 2, 2, 1, 4, 1]
    assert insert.calls == [["first"], ["a", "b"], ["c", "d", "e"], ["f", "g", "h", "i"], ["j"]]


@pytest.mark.parametrize("error", [RuntimeError("away"), SystemExit(1), KeyboardInterrupt()], ids=repr)
def test_an_error_reaches_every_caller_of_its_group_and_nobody_else(pool: ThreadPoolExecutor, error: BaseException) -> None:
    insert = Gated(error)
    futures = behind_a_commit(pool, insert, ["a"], ["bad"], ["c"], ["d", "e"], max_records=3)
    raised = [future.exception(DEADLINE) for future in futures]
    assert [repr(one) for one in raised] == [repr(one) for one in (None, error, error, error, None)]
    assert len({id(one) for one in raised[1:4]}) == 3
    assert ids(futures[-1].result(DEADLINE)) == ["d", "e"]


@pytest.mark.parametrize("error", [RuntimeError("away"), SystemExit(1), KeyboardInterrupt()], ids=repr)
def test_after_an_error_of_a_lone_caller_the_next_one_is_served(error: BaseException) -> None:
    insert = Gated(error)
    insert.gate.set()
    shared = GroupCommit(insert)
    with pytest.raises(type(error)):
        shared.submit(rows("bad"), NOW)
    assert ids(shared.submit(rows("good"), NOW)) == ["good"]


def test_every_group_after_a_failed_one_still_commits(pool: ThreadPoolExecutor) -> None:
    insert = Gated(RuntimeError("away"))
    futures = behind_a_commit(pool, insert, *([[f"{name}{n}"] for n in range(5) for name in ("bad", "good")]), max_records=1)
    results = [future.exception(DEADLINE) is None for future in futures]
    assert results == [True, *([False, True] * 5)]


def test_64_callers_with_200_submits_each_get_exactly_their_own() -> None:
    seen: list[str] = []
    sizes: list[int] = []

    def insert(given: Sequence[Record], _at: datetime) -> list[Outcome]:
        sizes.append(len(given))
        seen.extend(row.event_id for row in given)
        return [outcomes.created(row.event_id, 1) for row in given]

    shared = group_commit.GroupCommit(insert, max_records=20)

    def caller(number: int) -> bool:
        wanted = [[f"{number}/{n}/{i}" for i in range(n % 3 + 1)] for n in range(200)]
        return all(ids(shared.submit(rows(*group), NOW)) == group for group in wanted)

    with ThreadPoolExecutor(64) as threads:
        assert all(threads.map(caller, range(64)))
    assert len(seen) == len(set(seen)) == 64 * sum(n % 3 + 1 for n in range(200))
    assert max(sizes) <= 20


def test_one_commit_runs_at_a_time() -> None:
    running = threading.Lock()

    def insert(given: Sequence[Record], _at: datetime) -> list[Outcome]:
        assert running.acquire(blocking=False)
        time.sleep(0)
        running.release()
        return [outcomes.created(row.event_id, 1) for row in given]

    shared = GroupCommit(insert)
    with ThreadPoolExecutor(32) as threads:
        assert all(threads.map(lambda n: shared.submit(rows(str(n)), NOW), range(2_000)))
