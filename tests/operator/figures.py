"""What the long tests of the operator measured: figures beside what was promised of them."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Sequence

import msgspec


class Figure(msgspec.Struct):
    """`bound`: what was promised, in words; empty: nothing was."""

    what: str
    seen: str
    bound: str = ""
    holds: bool = True


def seconds(what: str, times: Sequence[float], quantile: float, most: float) -> Figure:
    """A quantile of `times` in seconds, which should be `most` at the most."""
    found = at(times, quantile)
    told = f"median {at(times, 0.5):.1f} s, p{quantile * 100:.0f} {found:.1f} s, longest {max(times):.1f} s of {len(times)}"
    return Figure(what, told, f"p{quantile * 100:.0f} <= {most:g} s", found <= most)


def at(times: Sequence[float], quantile: float) -> float:
    """The smallest of `times` that so many are not above (nearest rank)."""
    return sorted(times)[max(0, math.ceil(quantile * len(times)) - 1)]


def most(what: str, seen: float, bound: float, unit: str, show: Callable[[float], str] = "{:,.0f}".format) -> Figure:
    """A number that should be `bound` at the most."""
    return Figure(what, f"{show(seen)} {unit}".strip(), f"<= {show(bound)} {unit}".strip(), seen <= bound)


def timed(work: Callable[[], object]) -> float:
    """Seconds that `work` took."""
    began = time.monotonic()
    work()
    return time.monotonic() - began


def bounded(what: str, taken: float, bound: float | None = None) -> Figure:
    """Seconds, with a promise or without."""
    return Figure(what, f"{taken:.1f} s") if bound is None else most(what, taken, bound, "s", "{:.1f}".format)


def table(figures: Iterable[Figure]) -> list[str]:
    rows = [f"| {each.what} | {each.seen} | {each.bound or '-'}{'' if each.holds else ' **missed**'} |" for each in figures]
    return ["| what | seen | promised |", "|---|---|---|", *rows]
