"""Exports of stores that look at each event: a chunk ends by what was looked at, and by what it holds."""

from __future__ import annotations

import msgspec

from sluice.stores import EXPORT_BYTES, walked


def test_a_log_is_returned_although_few_places_have_one() -> None:
    looked_at = iter(range(10 * walked.EXPORT_ROWS))
    walk = ((str(place), msgspec.Raw(b"{}") if place == 0 else None) for place in looked_at)
    assert next(walked.lines_of(walk)) == b"{}\n"
    assert next(looked_at) == walked.EXPORT_ROWS


def test_a_chunk_of_large_logs_has_few_of_them_and_none_is_passed_over() -> None:
    logs = [msgspec.Raw(b'"%d%b"' % (number, b"x" * (EXPORT_BYTES // 2))) for number in range(1, 8)]
    chunks = list(walked.lines_of((str(number), log) for number, log in enumerate(logs)))
    assert [chunk.count(b"\n") for chunk in chunks] == [2, 2, 2, 1]
    assert b"".join(chunks) == b"".join(bytes(log) + b"\n" for log in logs)
