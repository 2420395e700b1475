"""The lines of the report, and how they are shown."""

from __future__ import annotations

import statistics
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table
from tests import docs
from tests.bench import servers
from tests.bench.load import Rate

REPORT = servers.ROOT / "docs" / "performance.md"


@dataclass(frozen=True)
class Line:
    """One line of the report: a figure, what it is held against, and the bar (`at_least` or at most)."""

    what: str
    ours: str
    against: str
    ratio: float
    bar: str
    met: bool


def ratio_line(what: str, ours: list[Rate], against: str, theirs: list[Rate], bar: float, unit: str) -> Line:
    ratio = statistics.median(a.rate / b.rate for a, b in zip(ours, theirs, strict=True))
    return Line(
        what,
        f"{middle(ours):,.0f} {unit}",
        f"{against}: {middle(theirs):,.0f}",
        ratio,
        f">= {bar:g}" if bar else "-",
        ratio >= bar,
    )


def absolute_tail(what: str, ours: list[Rate], bar: float) -> Line:
    tail = statistics.median(r.p99 for r in ours)
    return Line(what, f"{tail:.1f} ms", f"{bar:g} ms", tail / bar, "<= 1", tail <= bar)


def absolute(what: str, ours: list[Rate], bar: float, unit: str) -> Line:
    rate = middle(ours)
    p99 = statistics.median(r.p99 for r in ours)
    return Line(what, f"{rate:,.0f} {unit}, p99 {p99:.0f} ms", f"{bar:,.0f}", rate / bar, ">= 1", rate >= bar)


def middle(rates: list[Rate]) -> float:
    return statistics.median(r.rate for r in rates)


HEAD = ("what", "Sluice", "beside", "ratio", "bar", "met")


def cells(line: Line) -> tuple[str, ...]:
    return (
        line.what,
        line.ours,
        line.against,
        f"{line.ratio:.2f}",
        line.bar,
        "-" if line.bar == "-" else "yes" if line.met else "no",
    )


def show(found: list[Line]) -> None:
    table = Table(*HEAD, title="sluice bench")
    for line in found:
        table.add_row(*cells(line), style="" if line.met else "yellow")
    Console().print(table)


def record(found: list[Line]) -> None:
    """Put the table between the marks of docs/performance.md."""
    lines = [
        docs.header("tests.bench"),
        "",
        f"| {' | '.join(HEAD)} |",
        "|" + "---|" * len(HEAD),
        *(f"| {' | '.join(cells(line))} |" for line in found),
    ]
    docs.put(REPORT, "bench", "\n".join(lines))
