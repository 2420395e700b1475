"""Events over time: a span of equal bars, and what was counted in each. Pure."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Sequence, Set
from datetime import UTC, datetime, timedelta
from typing import Literal, NamedTuple, get_args

import msgspec

Split = Literal["event_type", "status", "source"]
SPLITS: tuple[Split, ...] = get_args(Split)
Accuracy = Literal["exact", "shares", "about", "at_least"]
# Of `status`: what an event says of itself.
STATUSES = ("error", "warning", "ok")
MOST_BARS = 60
# Seconds of one bar; beyond the last, whole weeks.
STEPS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1_800, 3_600, 7_200, 10_800, 21_600, 43_200, 86_400)
WEEK = 7 * 86_400
EPOCH = datetime.fromtimestamp(0, UTC)
# Names that have a series of their own; the rest is one.
NAMED = 6


class Window(NamedTuple):
    """A part of a bar, from `start` (included) to `end`."""

    bar: int
    start: datetime
    end: datetime


class Span(msgspec.Struct, frozen=True):
    """`bars` bars of `seconds` each, from `start` on."""

    start: datetime
    seconds: int
    bars: int

    @property
    def end(self) -> datetime:
        return self.start + timedelta(seconds=self.seconds * self.bars)

    def parts(self, number: int) -> list[Window]:
        """Each bar in `number` parts, the newest first."""
        part = timedelta(seconds=self.seconds) / number
        ends = ((bar, self.start + timedelta(seconds=self.seconds * bar)) for bar in reversed(range(self.bars)))
        return [Window(bar, at + n * part, at + (n + 1) * part) for bar, at in ends for n in reversed(range(number))]

    def sample(self, number: int, share: float) -> list[Window]:
        """A window in each part, `share` of it long, and somewhere in it: the same places each time."""
        chance = random.Random(self.start.timestamp())  # noqa: S311 - no secret: where to look
        return [
            Window(bar, at, at + (end - start) * share)
            for bar, start, end in self.parts(number)
            for at in [start + (end - start) * chance.random() * (1 - share)]
        ]


def span(start: datetime, end: datetime) -> Span:
    """The span that holds `start` to `end`, its bars at round times, MOST_BARS and one at most."""
    # Nothing came before; a bar that begins with a round time would begin before the calendar does.
    start = max(start, EPOCH)
    length = (end - start).total_seconds()
    seconds = next((step for step in STEPS if length / step <= MOST_BARS), WEEK * -int(-length // (WEEK * MOST_BARS)))
    first = int(start.timestamp() // seconds) * seconds
    bars = max(1, -int((first - end.timestamp()) // seconds))
    return Span(datetime.fromtimestamp(first, UTC), seconds, bars)


class Series(msgspec.Struct, frozen=True):
    """`counts`: of each bar."""

    name: str
    counts: list[int]


class Volume(msgspec.Struct, frozen=True):
    """Events by the time of their receipt: of each bar of `seconds` from `start` on how many there were, by `by`.

    `series`: the most frequent names, the most frequent first; `other`: all others together. Without a source it is "".
    `errors`: events of type error. `accuracy`: `exact`; `shares`: the sums of the bars are exact, and a sample says how they are
    split; `about`: the sums are estimated too; `at_least`: there were so many at once that the oldest were not counted.
    """

    start: datetime
    end: datetime
    seconds: int
    by: Split
    accuracy: Accuracy
    total: int
    errors: int
    series: list[Series]
    other: list[int]


def summed(
    span: Span,
    by: Split,
    accuracy: Accuracy,
    sums: Sequence[int],
    seen: Mapping[tuple[int, str], int],
    failed: Mapping[int, int],
) -> Volume:
    """`sums`: how many events each bar has. `seen`: those that were read, by bar and name; `failed`: the errors among them."""
    totals: Counter[str] = Counter()
    looked: Counter[int] = Counter()
    for (bar, name), count in seen.items():
        totals[name] += count
        looked[bar] += count
    names = STATUSES if by == "status" else sorted(totals, key=lambda name: (-totals[name], name))
    named = [name for name in names[:NAMED] if totals[name]]
    sums = [max(each, looked[bar]) for bar, each in enumerate(sums)]
    columns = [column(span.bars, seen, {name}) for name in named]
    columns.append(column(span.bars, seen, totals.keys() - set(named)))
    rows = [divided(sums[bar], parts) for bar, parts in enumerate(zip(*columns, strict=True))]
    *counts, other = ([row[place] for row in rows] for place in range(len(columns)))
    return Volume(
        start=span.start,
        end=span.end,
        seconds=span.seconds,
        by=by,
        accuracy=accuracy,
        total=sum(sums),
        errors=round(sum(count * sums[bar] / looked[bar] for bar, count in failed.items())),
        series=[Series(name, each) for name, each in zip(named, counts, strict=True)],
        other=other,
    )


def column(bars: int, seen: Mapping[tuple[int, str], int], names: Set[str]) -> list[int]:
    found = [0] * bars
    for (bar, name), count in seen.items():
        if name in names:
            found[bar] += count
    return found


def divided(whole: int, parts: Sequence[int]) -> list[int]:
    """`whole` in the proportions of `parts`, as whole numbers that add up to it; nothing is said of what nothing was seen of."""
    looked, before, taken = sum(parts), 0, 0
    found = []
    for part in parts:
        before += part
        upto = round(whole * before / looked) if looked else 0
        found.append(upto - taken)
        taken = upto
    return found
