"""Durations and moments as the API writes them, and which clock counts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from sluice_operator import times

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "length"),
    [
        ("720h", timedelta(days=30)),
        ("1h30m", timedelta(minutes=90)),
        ("45s", timedelta(seconds=45)),
        ("1h1m1s", timedelta(seconds=3661)),
        ("0s", timedelta()),
    ],
)
def test_a_duration_is_read_and_shown(text: str, length: timedelta) -> None:
    assert times.duration(text) == length
    assert times.show(length) == text


@pytest.mark.parametrize("text", ["", "1d", "1.5h", "30m1h", "h", " 1h", "-1h", "1h ", "1234567h"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"^not a duration: .* 1h30m$"):
        times.duration(text)


def test_a_duration_is_shown_rounded_down() -> None:
    assert times.show(timedelta(seconds=59, microseconds=999_999)) == "59s"
    assert times.show(timedelta(days=2)) == "48h"


def test_a_moment_is_rounded_up_to_the_second_in_utc() -> None:
    assert times.whole_second(NOON) == NOON
    late = NOON.replace(microsecond=1).astimezone(timezone(timedelta(hours=5)))
    assert times.whole_second(late) == NOON + timedelta(seconds=1)
    assert times.whole_second(late).tzinfo is UTC


def test_a_stamp_is_read_back() -> None:
    assert times.stamp(NOON.astimezone(timezone(timedelta(hours=-3)))) == "2026-03-01T12:00:00Z"
    assert times.read_stamp("2026-03-01T12:00:00Z") == NOON


@pytest.mark.parametrize("text", [None, "", "nonsense", "2026-03-01", "2026-03-01T12:00:00+00:00", "2026-13-01T12:00:00Z"])
def test_what_is_no_stamp_is_nothing(text: str | None) -> None:
    assert times.read_stamp(text) is None


@pytest.mark.parametrize("hours", [-1, 0, 1])
def test_each_of_two_clocks_may_be_the_later(hours: int) -> None:
    clock = times.Clock(NOON + timedelta(hours=hours), NOON)
    assert clock.earliest == min(NOON, NOON + timedelta(hours=hours))
    assert clock.latest == max(NOON, NOON + timedelta(hours=hours))
    assert clock.skew == timedelta(hours=abs(hours))


def test_one_moment_makes_both_clocks() -> None:
    assert times.at(NOON) == times.Clock(NOON, NOON)
