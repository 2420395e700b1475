"""Durations and moments as the API writes them, and which clock counts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from sluice_operator import api_types

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
def test_a_duration_is_read(text: str, length: timedelta) -> None:
    assert api_types.duration(text) == length


@pytest.mark.parametrize("text", ["", "1d", "1.5h", "30m1h", "h", " 1h", "-1h", "1h ", "1234567h"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"^not a duration: .* 1h30m$"):
        api_types.duration(text)


def test_a_moment_is_rounded_up_to_the_second_in_utc() -> None:
    assert api_types.whole_second(NOON) == NOON
    late = NOON.replace(microsecond=1).astimezone(timezone(timedelta(hours=5)))
    assert api_types.whole_second(late) == NOON + timedelta(seconds=1)
    assert api_types.whole_second(late).tzinfo is UTC


def test_a_stamp_is_read_back() -> None:
    assert api_types.stamp(NOON.astimezone(timezone(timedelta(hours=-3)))) == "2026-03-01T12:00:00Z"
    assert api_types.read_stamp("2026-03-01T12:00:00Z") == NOON


@pytest.mark.parametrize("text", [None, "", "nonsense", "2026-03-01", "2026-03-01T12:00:00+00:00", "2026-13-01T12:00:00Z"])
def test_what_is_no_stamp_is_nothing(text: str | None) -> None:
    assert api_types.read_stamp(text) is None


@pytest.mark.parametrize("hours", [-1, 0, 1])
def test_each_of_two_clocks_may_be_the_later(hours: int) -> None:
    clock = api_types.Clock(NOON + timedelta(hours=hours), NOON)
    assert clock.earliest == min(NOON, NOON + timedelta(hours=hours))
    assert clock.latest == max(NOON, NOON + timedelta(hours=hours))
    assert clock.skew == timedelta(hours=abs(hours))


def test_one_moment_makes_both_clocks() -> None:
    assert api_types.at(NOON) == api_types.Clock(NOON, NOON)


@pytest.mark.parametrize("period", [24, 1.5, None, ["24h"], {"hours": 24}, True])
def test_a_duration_that_is_no_text_is_refused_by_its_place_without_its_value(period: object) -> None:
    spec = {"keySetRef": {"name": "main"}, "owner": "tests", "scopes": ["ingest"], "rotation": {"overlap": period}}
    raw = {"metadata": {"name": "alpha", "creationTimestamp": "2026-03-01T12:00:00Z"}, "spec": spec}
    with pytest.raises(api_types.InvalidObject, match=r"^ApiKey: wrong value at `\$\.spec\.rotation\.overlap`$"):
        api_types.parse(api_types.ApiKey, raw)
