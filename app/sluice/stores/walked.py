"""Pages and exports of stores that walk along their events and look at each, for their engine has no words for the conditions."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

import msgspec

from sluice import cursors
from sluice.cursors import Cursor
from sluice.filters import Filter
from sluice.stores import EXPORT_BYTES, PAGE_BYTES, Page, within

EXPORT_ROWS = 1_000
# Places in order, each with its log, or None where the log is not to be shown.
Walk = Iterator[tuple[str, msgspec.Raw | None]]


def page_of(query: Filter, secret: bytes, walk: Callable[[str | None], Walk], enough: Callable[[int], bool]) -> Page:
    """Raises InvalidCursor. `walk`: from behind a place on. `enough`: whether one page may look at no more than so many."""
    scope = cursors.scope_of(query.matches, query.sort_by, query.descending)
    cursor = cursors.decode(query.cursor, secret, scope) if query.cursor else None
    rows: list[tuple[str, msgspec.Raw]] = []
    following, size = None, 0
    for number, (place, log) in enumerate(walk(cursor.value if cursor else None), 1):
        if log is not None:
            rows.append((place, log))
            size += len(bytes(log))
        if len(rows) > query.page_size:
            following = rows[query.page_size - 1][0]
            break
        if enough(number) or size > PAGE_BYTES:
            following = place
            break
    # Counting would read everything: it is exact where this page is all there is, and "at least" elsewhere.
    total, exact = (cursor.total, cursor.exact) if cursor else (len(rows), following is None)
    after = cursors.encode(Cursor(following, 0, total, exact), secret, scope) if following is not None else None
    return Page([log for _, log in rows[: query.page_size]], total, exact, after)


def lines_of(walk: Walk) -> Iterator[bytes]:
    """All of a walk as chunks of NDJSON."""
    texts = (b"" if log is None else bytes(log) + b"\n" for _, log in walk)
    while chunk := within(itertools.islice(texts, EXPORT_ROWS), bytes, EXPORT_BYTES)[0]:
        if lines := b"".join(chunk):
            yield lines
