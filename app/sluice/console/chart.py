"""The chart of events over time: bars of stacked series, each of which leads to what is inside it. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from urllib.parse import urlencode

from sluice.console.show import HEIGHT, WIDTH

UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))
ZOOM_OUT = 4


class Column(NamedTuple):
    """One series. `colour`: a class of console.css. `link`: its events, where they can be searched for."""

    label: str
    colour: str
    total: int
    share: float
    path: str
    link: str


class Bar(NamedTuple):
    """One bar. `area`: what is clicked on. `link`: the same chart of this bar only, or the events of the shortest one."""

    time: str
    label: str
    area: str
    link: str
    total: int
    counts: Sequence[int]


class Chart:
    """What the template draws of a Volume of the API. `now`: no link leads beyond it."""

    def __init__(self, found: dict[str, Any], now: datetime) -> None:
        self.by: str = found["by"]
        self.total: int = found["total"]
        self.accuracy: str = found["accuracy"]
        self.step = timedelta(seconds=found["seconds"])
        self.start, self.end = datetime.fromisoformat(found["start"]), datetime.fromisoformat(found["end"])
        self.error_share: float | None = found["errors"] / self.total if self.total else None
        self.rate = self.total / max(1.0, (min(self.end, now) - self.start).total_seconds())
        series: list[tuple[str | None, list[int]]] = [(each["name"], each["counts"]) for each in found["series"]]
        if any(found["other"]):
            series.append((None, found["other"]))
        rows = list(zip(*(counts for _, counts in series), strict=True))
        self.most = max(map(sum, rows), default=0)
        paths = stacked(rows, self.most)
        self.columns = [
            Column(
                name or ("other" if name is None else "no source"),
                f"s-{name}" if self.by == "status" else f"s{place}",
                sum(counts),
                sum(counts) / max(self.total, 1),
                path,
                self._search(name),
            )
            for place, ((name, counts), path) in enumerate(zip(series, paths, strict=True))
        ]
        self.bars = [self._bar(place, row, len(rows)) for place, row in enumerate(rows)]
        middle = self.start + (self.end - self.start) / 2
        self.since, self.middle, self.until = (when(at, self.step) for at in (self.start, middle, self.end))
        self.events = search(self.start, self.end)
        self.moves = dict(self._moves(now))

    @property
    def about(self) -> str:
        """What stands before a sum."""
        return {"about": "about ", "at_least": "at least "}.get(self.accuracy, "")

    @property
    def length(self) -> str:
        """How long one bar is."""
        return duration(round(self.step.total_seconds()))

    def zoom(self, start: datetime, end: datetime, by: str = "") -> str:
        """The page of a part of this time, or of the same by something else."""
        return f"?{urlencode({'start': stamp(start), 'end': stamp(end), 'by': by or self.by}, safe=':')}"

    def _bar(self, place: int, row: Sequence[int], bars: int) -> Bar:
        start = self.start + place * self.step
        end, time, width = start + self.step, when(start, self.step), WIDTH / bars
        parts = ", ".join(f"{column.label} {count:,}" for column, count in zip(self.columns, row, strict=True) if count)
        label = f"{time}: {sum(row):,}{f' ({parts})' if parts else ''}"
        area = f"M{number(place * width)} 0h{number(width)}v{HEIGHT}h-{number(width)}z"
        link = self.zoom(start, end) if self.step > timedelta(seconds=1) else search(start, end)
        return Bar(time, label, area, link, sum(row), row)

    def _search(self, name: str | None) -> str:
        return search(self.start, self.end, **{self.by: name}) if name and self.by != "status" else ""

    def _moves(self, now: datetime) -> list[tuple[str, str]]:
        length = self.end - self.start
        wide = length * ((ZOOM_OUT - 1) / 2)
        found = [("Earlier", self.zoom(self.start - length, self.start))]
        if self.end < now:
            # Addresses have whole seconds.
            found.append(("Later", self.zoom(self.end, max(self.end + timedelta(seconds=1), min(self.end + length, now)))))
        return [*found, ("Zoom out", self.zoom(self.start - wide, min(self.end + wide, now)))]


def stacked(rows: Sequence[Sequence[int]], most: int) -> list[str]:
    """The path of each column of `rows`, one on the other, `most` as high as the chart."""
    width = WIDTH / max(len(rows), 1)
    paths: list[list[str]] = [[] for _ in rows[0]] if rows else []
    for place, row in enumerate(rows):
        y = float(HEIGHT)
        for path, count in zip(paths, row, strict=True):
            if count:
                high = count / most * HEIGHT
                y -= high
                bar = number(width * 0.85)
                path.append(f"M{number(place * width)} {number(y)}h{bar}v{number(high)}h-{bar}z")
    return ["".join(path) for path in paths]


def number(value: float) -> str:
    """As short as a picture needs it."""
    return f"{value:.1f}".removesuffix(".0")


def duration(seconds: int) -> str:
    size, unit = next(each for each in UNITS if seconds % each[0] == 0)
    return f"{seconds // size} {unit}"


def when(at: datetime, step: timedelta) -> str:
    """The beginning of a bar, UTC, as exactly as its length asks for."""
    return at.strftime("%Y-%m-%d %H:%M:%S" if step < timedelta(minutes=1) else "%Y-%m-%d %H:%M")


def stamp(at: datetime) -> str:
    """For an address: whole seconds are enough for a chart."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def search(start: datetime, end: datetime, **more: str) -> str:
    """The events that were received from `start` until before `end`."""
    last = (end - timedelta(microseconds=1)).isoformat().replace("+00:00", "Z")
    return f"events?{urlencode({**more, 'created_start_time': stamp(start), 'created_end_time': last}, safe=':')}"
