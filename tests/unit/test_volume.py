"""Events over time: which bars a span has, where a sample looks, and what comes of the counts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from sluice.stores.volume import MOST_BARS, WINDOWS, span, summed

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


def test_a_sample_looks_into_each_bar_and_never_beside_it() -> None:
    found = span(NOW - timedelta(hours=1), NOW)
    windows = found.windows(0.1)
    assert len(windows) == WINDOWS * found.bars
    for window in windows:
        start = found.start + timedelta(seconds=60 * window.bar)
        assert start <= window.start < window.end <= start + timedelta(seconds=60)
        assert window.end - window.start == timedelta(seconds=60 / WINDOWS * 0.1)
    assert windows == found.windows(0.1)


def test_rare_names_are_one_series_and_a_sample_is_scaled() -> None:
    found = span(NOW - timedelta(seconds=2), NOW)
    counts = {(0, f"n{n}"): 10 - n for n in range(8)} | {(1, "n0"): 1}
    volume = summed(found, "source", counts, 5, share=0.1)
    assert [(each.name, each.counts) for each in volume.series[:2]] == [("n0", [100, 10]), ("n1", [90, 0])]
    assert (len(volume.series), volume.other, volume.total, volume.errors) == (6, [70, 0], 530, 50)
    assert (volume.exact, volume.looked_at) == (False, 0.1)
