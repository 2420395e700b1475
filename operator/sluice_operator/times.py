"""Durations and moments as the API writes them, and the two clocks that every decision is held against.

Durations are metav1.Duration (Go's time.ParseDuration) in whole hours, minutes and seconds: `720h`, `24h`, `1h30m`, `45s`.
Moments are RFC 3339 in UTC, whole seconds.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from msgspec import Struct

DURATION = re.compile(r"(?:(?P<hours>[0-9]{1,6})h)?(?:(?P<minutes>[0-9]{1,6})m)?(?:(?P<seconds>[0-9]{1,6})s)?")
STAMP = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z", re.ASCII)
SECOND = timedelta(seconds=1)
# Every moment that is read lies in here: whatever is added to it or taken from it is still a date. The CRD has the same bounds.
FIRST, LAST = datetime(1970, 1, 1, tzinfo=UTC), datetime(9000, 1, 1, tzinfo=UTC)


class Duration(timedelta):
    """A timedelta that the API writes as `1h30m`."""


class Clock(Struct, frozen=True):
    """Two clocks: `here` is ours, `server` the API server's (the Date of its latest answer). Both aware.

    One of them may be wrong by an hour. What is judged to have passed has passed on both (`earliest`), and a term that
    starts now starts on the later one (`latest`): so nothing ends early because one clock was wrong.
    """

    here: datetime
    server: datetime

    @property
    def earliest(self) -> datetime:
        return min(self.here, self.server)

    @property
    def latest(self) -> datetime:
        return max(self.here, self.server)

    @property
    def skew(self) -> timedelta:
        return self.latest - self.earliest


def at(moment: datetime) -> Clock:
    """Both clocks at `moment`."""
    return Clock(moment, moment)


def duration(text: str) -> Duration:
    """Raises ValueError when `text` is no such duration, or none at all ("")."""
    found = DURATION.fullmatch(text)
    if not text or found is None:
        raise ValueError("not a duration: use whole hours, minutes and seconds, for example 720h or 1h30m")
    return Duration(**{unit: int(number) for unit, number in found.groupdict("0").items()})


def show(length: timedelta) -> str:
    """As `duration` reads it, rounded down to the second: 1h30m, 0s."""
    minutes, seconds = divmod(int(length.total_seconds()), 60)
    hours, minutes = divmod(minutes, 60)
    return "".join(f"{number}{unit}" for number, unit in ((hours, "h"), (minutes, "m"), (seconds, "s")) if number) or "0s"


def within(moment: datetime) -> datetime:
    """An aware `moment` in UTC, not before FIRST and not after LAST. Near the ends of the calendar UTC may have no such date."""
    return FIRST if moment <= FIRST else LAST if moment >= LAST else moment.astimezone(UTC)


def whole_second(moment: datetime) -> datetime:
    """`moment` in UTC, rounded up: what ends later never ended early."""
    moment = moment.astimezone(UTC)
    return moment.replace(microsecond=0) + (SECOND if moment.microsecond else timedelta())


def stamp(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def read_stamp(text: str | None) -> datetime | None:
    """What `stamp` wrote; None for anything else: annotations can be edited by anyone."""
    if text is None or not STAMP.fullmatch(text):
        return None
    try:
        return within(datetime.fromisoformat(text))
    except ValueError:
        return None
