"""Events over time: which bars a span has, where a sample looks, and what comes of the counts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from sluice.stores.volume import MOST_BARS, divided, span, summed

NOW = datetime(2026, 1, 31, 12, 0, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("length", "seconds", "bars"),
    [
        (timedelta(microseconds=1), 1, 1),
        (timedelta(hours=1), 60, 61),
        (timedelta(days=1), 1_800, 49),
        (timedelta(days=7), 10_800, 57),
        (timedelta(days=3_650), 9 * 7 * 86_400, 59),
    ],
)
def test_a_span_has_round_bars_that_hold_all_of_it(length: timedelta, seconds: int, bars: int) -> None:
    found = span(NOW - length, NOW)
    assert (found.seconds, found.bars) == (seconds, bars)
    assert found.start <= NOW - length < NOW <= found.end
    assert found.start.timestamp() % seconds == 0
    assert found.bars <= MOST_BARS + 1


@pytest.mark.parametrize("end", [NOW, datetime(1, 1, 3, tzinfo=UTC)])
def test_a_span_from_the_beginning_of_the_calendar_begins_with_the_epoch(end: datetime) -> None:
    found = span(datetime(1, 1, 2, tzinfo=UTC), end)
    assert found.start == datetime(1970, 1, 1, tzinfo=UTC)
    assert found.end >= end
    assert 1 <= found.bars <= MOST_BARS + 1


def test_a_sample_looks_into_each_part_of_each_bar_and_never_beside_it() -> None:
    found = span(NOW - timedelta(hours=1), NOW)
    parts, windows = found.parts(4), found.sample(4, 0.1)
    assert len(windows) == len(parts) == 4 * found.bars
    assert (parts[-1].start, parts[0].end) == (found.start, found.end)
    for part, window in zip(parts, windows, strict=True):
        assert part.start <= window.start < window.end <= part.end
        assert (window.bar, window.end - window.start) == (part.bar, timedelta(seconds=1.5))
    assert windows == found.sample(4, 0.1)


def test_rare_names_are_one_series_and_a_sample_is_scaled_to_the_sums() -> None:
    found = span(NOW - timedelta(seconds=2), NOW)
    seen = {(0, f"n{n}"): 10 - n for n in range(8)} | {(1, "n0"): 3}
    volume = summed(found, "source", "shares", [520, 1], seen, {0: 26})
    assert [(each.name, each.counts) for each in volume.series[:2]] == [("n0", [100, 3]), ("n1", [90, 0])]
    assert (len(volume.series), volume.other, volume.total, volume.errors) == (6, [70, 0], 523, 260)


def test_parts_add_up_to_the_whole() -> None:
    for whole in range(100):
        assert sum(divided(whole, [1, 1, 1, 4, 0])) == whole
    assert divided(5, [0, 0]) == [0, 0]
