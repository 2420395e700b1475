"""Events over time in PostgreSQL: counted where they are few, else sampled, so that it costs the same however many they are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from psycopg import sql

from sluice.stores.volume import Span, Split, Volume, Window, summed

# Rows that one volume reads, and entries of the index that a look at how many there are should find.
READ, ENOUGH = 30_000, 500
# Shares of the time that are looked at for that, one after the other.
LOOKS = (1 / 4096, 1 / 512, 1 / 64, 1 / 8)
Query = Callable[[Any, Any], list[Any]]

# A level is looked for in logs only: their properties are small.
STATUS = """CASE WHEN event_type = 'error' THEN 'error' WHEN event_type <> 'log' THEN 'ok' ELSE
    CASE lower(properties ->> 'level') WHEN 'error' THEN 'error' WHEN 'err' THEN 'error' WHEN 'critical' THEN 'error'
    WHEN 'fatal' THEN 'error' WHEN 'alert' THEN 'error' WHEN 'emergency' THEN 'error' WHEN 'panic' THEN 'error'
    WHEN 'warn' THEN 'warning' WHEN 'warning' THEN 'warning' ELSE 'ok' END END"""
NAMES: dict[Split, str] = {"event_type": "event_type", "status": STATUS, "source": "coalesce(source, '')"}
# LIMIT: an index walk for each window, and no more rows than were thought of.
WITHIN = """
FROM unnest(%(starts)s::timestamptz[], %(ends)s::timestamptz[]) WITH ORDINALITY AS w (a, b, place)
CROSS JOIN LATERAL (
    SELECT {columns} FROM sluice.events WHERE created_at >= w.a AND created_at < w.b LIMIT %(most)s
) AS e
"""
LOOK = sql.SQL("SELECT count(*) " + WITHIN.format(columns="1"))
GROUPS = "SELECT w.place, e.name, count(*), count(*) FILTER (WHERE e.failed) {within} GROUP BY 1, 2"
COUNTED = {
    by: sql.SQL(GROUPS.format(within=WITHIN.format(columns=f"{name} AS name, event_type = 'error' AS failed")))
    for by, name in NAMES.items()
}


def read(query: Query, span: Span, by: Split) -> Volume:
    """The volume of a span; raises StoreUnavailable and QueryTimeout."""
    share = share_of(query, span)
    windows = span.windows(share)
    counts: Counter[tuple[int, str]] = Counter()
    seen: Counter[int] = Counter()
    errors = 0
    for place, name, count, failed in query(COUNTED[by], values(windows, READ)):
        window = windows[place - 1]
        counts[window.bar, name] += count
        seen[place] += count
        errors += failed
    return summed(span, by, counts, errors, share=share, exact=all(count < READ for count in seen.values()))


def share_of(query: Query, span: Span) -> float:
    """The share of the time in which there are about READ rows; 1 when there are no more in all of it."""
    whole = [Window(0, span.start, span.end)]
    if query(LOOK, values(whole, READ + 1))[0][0] <= READ:
        return 1.0
    for look in LOOKS:
        found = query(LOOK, values(span.windows(look), READ))[0][0]
        if found >= ENOUGH:
            break
    share = READ * look / max(found, 1)
    return share if share < 1 / 2 else 1.0


def values(windows: Sequence[Window], most: int) -> dict[str, Any]:
    return {"starts": [each.start for each in windows], "ends": [each.end for each in windows], "most": most}
