"""Events over time: a span of equal bars, and what was counted in each. Pure."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Set
from datetime import UTC, datetime, timedelta
from typing import Literal, NamedTuple, get_args

import msgspec

Split = Literal["event_type", "status", "source"]
SPLITS: tuple[Split, ...] = get_args(Split)
# Of `status`: what an event says of itself.
STATUSES = ("error", "warning", "ok")
MOST_BARS = 60
# Seconds of one bar; beyond the last, whole weeks.
STEPS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1_800, 3_600, 7_200, 10_800, 21_600, 43_200, 86_400)
WEEK = 7 * 86_400
# Names that have a series of their own; the rest is one.
NAMED = 6
# Windows of a bar that is sampled: more of them are nearer to the truth where events come in batches.
WINDOWS = 4


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

    def windows(self, share: float) -> list[Window]:
        """The bars, or `share` (below 1) of the time of each in WINDOWS windows, the same ones each time."""
        step = timedelta(seconds=self.seconds)
        bars = ((bar, self.start + bar * step) for bar in range(self.bars))
        if share >= 1:
            return [Window(bar, at, at + step) for bar, at in bars]
        chance = random.Random(self.start.timestamp())  # noqa: S311 - no secret: where to look
        part, length = step / WINDOWS, step / WINDOWS * share
        starts = ((bar, at + part * (n + chance.random() * (1 - share))) for bar, at in bars for n in range(WINDOWS))
        return [Window(bar, at, at + length) for bar, at in starts]


def span(start: datetime, end: datetime) -> Span:
    """The span that holds `start` to `end`, its bars at round times, MOST_BARS and one at most."""
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
    `errors`: events of type error. `looked_at`: the share of the time in which events were counted; below 1 every number is about
    what it says. `exact`: whether all were counted.
    """

    start: datetime
    end: datetime
    seconds: int
    by: Split
    total: int
    errors: int
    exact: bool
    looked_at: float
    series: list[Series]
    other: list[int]


def summed(
    span: Span, by: Split, counts: Mapping[tuple[int, str], int], errors: int, *, share: float = 1.0, exact: bool = True
) -> Volume:
    """`counts`: by bar and name, of `share` of the time."""
    totals: Counter[str] = Counter()
    for (_, name), count in counts.items():
        totals[name] += count
    names = STATUSES if by == "status" else [name for name, _ in sorted(totals.items(), key=lambda each: (-each[1], each[0]))]
    named = [name for name in names[:NAMED] if totals[name]]

    def column(wanted: Set[str]) -> list[int]:
        found = [0] * span.bars
        for (bar, name), count in counts.items():
            if name in wanted:
                found[bar] += count
        return [round(count / share) for count in found]

    series = [Series(name, column({name})) for name in named]
    other = column(totals.keys() - set(named))
    return Volume(
        start=span.start,
        end=span.end,
        seconds=span.seconds,
        by=by,
        total=sum(other) + sum(sum(each.counts) for each in series),
        errors=round(errors / share),
        exact=exact and share >= 1,
        looked_at=round(share, 6),
        series=series,
        other=other,
    )
