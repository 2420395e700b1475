"""Pages of a store followed from the first to the last, also while others write."""

from __future__ import annotations

import contextlib
import itertools
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import msgspec
from tests.integration.sample import NOW, row

from sluice import filters
from sluice.filters import Filter
from sluice.stores import Page, Store


def ids(page: Page) -> list[str]:
    return [msgspec.json.decode(log)["event_id"] for log in page.logs]


def parsed(**parameters: str) -> Filter:
    return filters.parse(parameters.items())


def walk(store: Store, query: Filter, between: Callable[[], None] = lambda: None) -> list[str]:
    """The event ids of every page, following next_cursor; `between` is called after each."""
    found: list[str] = []
    for _ in range(1_000):
        page = store.page(query)
        found += ids(page)
        between()
        if page.next_cursor is None:
            return found
        query = msgspec.structs.replace(query, cursor=page.next_cursor)
    raise AssertionError("the walk does not end")


@contextlib.contextmanager
def ingest(store: Store, among: int) -> Iterator[Callable[[], None]]:
    """Three threads that write; each call of the result lets one of them insert five events among so many old ones."""
    permits, stop = threading.Semaphore(0), threading.Event()

    def writer(number: int) -> None:
        for turn in itertools.count():
            permits.acquire()
            if stop.is_set():
                return
            some = [row(f"old{(turn * 5 + place) * 37 % among:05}+{number}-{turn}") for place in range(5)]
            store.insert(some, NOW + timedelta(microseconds=turn % 3 - 1))

    with ThreadPoolExecutor(3) as pool:
        writers = [pool.submit(writer, number) for number in range(3)]
        try:
            yield permits.release
        finally:
            stop.set()
            permits.release(3)
    assert [future.result() for future in writers] == [None] * 3
