"""What a page makes of the API's answers: charts, folded stack traces, texts. Pure."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import msgspec

from sluice import fingerprint, traces

WIDTH, HEIGHT = 720, 120


class Bar(NamedTuple):
    """One bar of a chart, in the chart's own units."""

    x: float
    y: float
    width: float
    height: float
    label: str


class Part(NamedTuple):
    """Frames of a stack trace that stand together; those of libraries are folded."""

    in_app: bool
    frames: list[traces.Frame]


def pretty(value: Any) -> str:
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode()


def when(text: str | None) -> str:
    """A time of the API as people read it, UTC."""
    return f"{text[:10]} {text[11:19]}" if text else "never"


def at(moment: datetime) -> str:
    return when(moment.astimezone(UTC).isoformat())


def bars(counts: Sequence[tuple[str, int]], width: int = WIDTH, height: int = HEIGHT) -> list[Bar]:
    """A bar for each (label, count), as high as its share of the greatest."""
    most = max((count for _, count in counts), default=0) or 1
    step = width / max(len(counts), 1)
    return [
        Bar(
            round(index * step, 2),
            round(height - count / most * height, 2),
            round(step * 0.85, 2),
            round(count / most * height, 2),
            label,
        )
        for index, (label, count) in enumerate(counts)
    ]


def hours(found: Iterable[dict[str, Any]], now: datetime) -> list[tuple[str, int]]:
    """The last 24 hours of an error group."""
    counts = {each["hour"][:13]: each["count"] for each in found}
    times = [(now.astimezone(UTC) - timedelta(hours=back)).isoformat()[:13] for back in range(23, -1, -1)]
    return [(f"{time[11:]}:00: {counts.get(time, 0):,}", counts.get(time, 0)) for time in times]


def trace_of(properties: dict[str, Any]) -> str:
    return fingerprint.first_text(properties, *fingerprint.TRACES)


def folded(trace: str) -> list[tuple[str, list[Part]]]:
    """Each exception of a trace with its frames, those of the application apart from those of libraries."""
    return [
        (
            f"{raised.type}: {raised.message}",
            [Part(in_app, list(frames)) for in_app, frames in itertools.groupby(raised.frames, lambda frame: frame.in_app)],
        )
        for raised in traces.read(trace)
    ]
