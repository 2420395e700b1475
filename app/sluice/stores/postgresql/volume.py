"""Events over time in PostgreSQL: counted where they are few, else sampled, so that it costs the same however many there are.

How many there are is counted in the index on `created_at`; of what kind they are is read in some rows of each part of the time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from psycopg import sql

from sluice.stores.volume import Accuracy, Span, Split, Volume, Window, summed

# Events whose rows are read: all of them where there are no more, else a sample.
READ, SAMPLED = 20_000, 5_000
# Events that are counted in a sample of the time, and at most in any part of it.
COUNTED, MOST = 100_000, 300_000
# Shares of the time that are looked at, one after the other, until there are ENOUGH to tell how many there are in all of it.
LOOKS, ENOUGH = (1 / 4096, 1 / 512, 1 / 64, 1 / 8), 500
# Parts of a span that are looked at, counted in, and read from.
LOOKED_AT, COUNTED_IN, READ_FROM = 250, 1_000, 250
Query = Callable[[Any, Any], list[Any]]

# A level is looked for in logs only: their properties are small.
STATUS = """CASE WHEN event_type = 'error' THEN 'error' WHEN event_type <> 'log' THEN 'ok' ELSE
    CASE WHEN lower(properties ->> 'level') IN ('error', 'err', 'critical', 'fatal', 'alert', 'emergency', 'panic') THEN 'error'
    WHEN lower(properties ->> 'level') IN ('warn', 'warning') THEN 'warning' ELSE 'ok' END END"""
NAMES: dict[Split, str] = {"event_type": "event_type", "status": STATUS, "source": "coalesce(source, '')"}
# ORDER BY and LIMIT: an index walk for each window.
FOUND = "SELECT {columns} FROM sluice.events WHERE created_at >= w.a AND created_at < w.b ORDER BY created_at LIMIT %(each)s"
OF_EACH = "unnest(%(starts)s::timestamptz[], %(ends)s::timestamptz[]) WITH ORDINALITY AS w (a, b, place) CROSS JOIN LATERAL"
COUNTS = "SELECT w.place, e.number FROM {windows} (SELECT count(*) AS number FROM ({found}) AS found) AS e"
GROUPS = "SELECT w.place, e.name, count(*), count(*) FILTER (WHERE e.failed) FROM {windows} ({found}) AS e GROUP BY 1, 2"
COUNT = sql.SQL(COUNTS.format(windows=OF_EACH, found=FOUND.format(columns="1")))
NAMED = {
    by: sql.SQL(GROUPS.format(windows=OF_EACH, found=FOUND.format(columns=f"{name} AS name, event_type = 'error' AS failed")))
    for by, name in NAMES.items()
}


def read(query: Query, span: Span, by: Split) -> Volume:
    """The volume of a span; raises StoreUnavailable and QueryTimeout."""
    (there,) = counted(query, [Window(0, span.start, span.end)], 2 * COUNTED + 1)
    if there <= READ:
        seen, failed = named(query, span.parts(1), READ, by)
        return summed(span, by, "exact", [0] * span.bars, seen, failed)
    share = share_of(query, span) if there > 2 * COUNTED else 1.0
    windows = span.parts(1) if share == 1 else span.sample(each_bar(span, COUNTED_IN), share)
    counts = counted(query, windows, MOST)
    sums = [0] * span.bars
    for window, count in zip(windows, counts, strict=True):
        sums[window.bar] += round(count / share)
    accuracy: Accuracy = "at_least" if max(counts) == MOST else "about" if share < 1 else "shares"
    parts = span.parts(each_bar(span, READ_FROM))
    seen, failed = named(query, parts, max(1, SAMPLED // len(parts)), by)
    return summed(span, by, accuracy, sums, seen, failed)


def named(query: Query, windows: Sequence[Window], each: int, by: Split) -> tuple[Counter[tuple[int, str]], Counter[int]]:
    """How many of the first events of each window have a name, by bar and name; and the errors among them, by bar."""
    seen: Counter[tuple[int, str]] = Counter()
    failed: Counter[int] = Counter()
    for place, name, count, errors in query(NAMED[by], {**bounds(windows), "each": each}):
        bar = windows[place - 1].bar
        seen[bar, name] += count
        failed[bar] += errors
    return seen, failed


def share_of(query: Query, span: Span) -> float:
    """The share of the time in which there are about COUNTED events; 1 when there are not twice as many in all of it."""
    for look in LOOKS:
        found = sum(counted(query, span.sample(each_bar(span, LOOKED_AT), look), MOST))
        if found >= ENOUGH:
            break
    share = COUNTED * look / max(found, 1)
    return share if share < 1 / 2 else 1.0


def counted(query: Query, windows: Sequence[Window], most: int) -> list[int]:
    """How many events each window has, up to `most`."""
    found = dict(query(COUNT, {**bounds(windows), "each": most}))
    return [found[place] for place in range(1, len(windows) + 1)]


def each_bar(span: Span, windows: int) -> int:
    return max(1, windows // span.bars)


def bounds(windows: Sequence[Window]) -> dict[str, Any]:
    return {"starts": [each.start for each in windows], "ends": [each.end for each in windows]}
