"""Chunks of NDJSON: whatever pieces the network makes, the same lines come out in the same order, within bounds."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice import errors
from sluice.parsing import ndjson
from sluice.parsing.ndjson import Chunker


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def chunker(max_lines: int = 1_000, max_line_bytes: int = 1_000, clock: Clock | None = None, max_age: float = 1.0) -> Chunker:
    return Chunker(max_lines, max_line_bytes, clock or Clock(), max_age)


def texts(pieces: Iterable[bytes], max_lines: int = 1_000) -> list[bytes]:
    """All chunks of a body that comes whole."""
    chunks = chunker(max_lines)
    found: list[bytes] = []
    for piece in pieces:
        chunks.add(piece)
        found += chunks.take()
    chunks.end()
    return [*found, *chunks.finish()]


def lines(text: bytes) -> list[bytes]:
    return [line for line in text.split(b"\n") if line.strip()]


def cut(data: bytes, places: Iterable[int]) -> list[bytes]:
    edges = [0, *sorted(place for place in places if place < len(data)), len(data)]
    return [data[start:end] for start, end in itertools.pairwise(edges)]


BODIES = st.lists(st.sampled_from([b"a", b"\n", b"\r\n", b"bc", b" ", b'{"x":1}', "ü".encode()]), max_size=60).map(b"".join)


@given(BODIES, st.lists(st.integers(0, 200), max_size=20), st.integers(1, 5))
def test_any_split_of_a_body_gives_the_same_lines_in_the_same_order(body: bytes, places: list[int], max_lines: int) -> None:
    for found in (texts(cut(body, places), max_lines), texts(cut(body, range(len(body))), max_lines)):
        assert [line for text in found for line in lines(text)] == lines(body)
        assert all(len(lines(text)) <= max_lines for text in found)


def test_empty_pieces_change_nothing() -> None:
    assert b"".join(texts([b"", b"a", b"", b"\n", b"", b"b", b""])) == b"a\nb\n"


def test_a_chunk_is_due_with_its_last_line_and_not_before() -> None:
    chunks = chunker(max_lines=3)
    chunks.add(b"a\nb\nc")
    assert (chunks.due, list(chunks.take())) == (False, [])
    chunks.add(b"\nd")
    assert (chunks.due, list(chunks.take())) == (True, [b"a\nb\nc\n"])
    assert not chunks.due


def test_full_chunks_come_first_and_the_rest_waits() -> None:
    chunks = chunker(max_lines=2)
    chunks.add(b"1\n2\n3\n4\n5\n6")
    assert list(chunks.take()) == [b"1\n2", b"3\n4"]
    chunks.end()
    assert list(chunks.finish()) == [b"5\n6\n"]


def test_a_chunk_of_long_lines_is_due_by_its_bytes() -> None:
    chunks = chunker(max_line_bytes=ndjson.CHUNK_BYTES)
    line = b"x" * (ndjson.CHUNK_BYTES // 2) + b"\n"
    chunks.add(line)
    assert not chunks.due
    chunks.add(line)
    assert list(chunks.take()) == [line * 2]


def test_lines_are_due_when_the_first_of_them_is_old_enough() -> None:
    clock = Clock()
    chunks = chunker(clock=clock, max_age=1.0)
    assert (chunks.due, chunks.wait) == (False, 1.0)
    chunks.add(b"a\n")
    clock.now += 0.75
    chunks.add(b"b\n")
    assert (chunks.due, chunks.wait) == (False, 0.25)
    clock.now += 0.25
    assert (chunks.due, list(chunks.take())) == (True, [b"a\nb\n"])
    assert (chunks.due, chunks.wait) == (False, 1.0)


def test_the_age_begins_anew_with_the_next_line() -> None:
    clock = Clock()
    chunks = chunker(max_lines=1, clock=clock)
    chunks.add(b"a\n")
    assert list(chunks.take()) == [b"a\n"]
    clock.now += 50
    chunks.add(b"b")
    assert (chunks.due, chunks.wait) == (False, 1.0)


def test_a_part_of_a_line_alone_is_never_due() -> None:
    clock = Clock()
    chunks = chunker(clock=clock)
    chunks.add(b"half")
    clock.now += 3_600
    assert (chunks.due, list(chunks.take()), list(chunks.finish())) == (False, [], [])


@pytest.mark.parametrize("size", [1, 7, 8_000], ids="pieces of {}".format)
def test_a_line_without_an_end_is_refused(size: int) -> None:
    chunks = chunker(max_line_bytes=1_000)
    for _ in range(8_000 // size):
        chunks.add(b"x" * size)
    with pytest.raises(errors.ContentTooLarge) as caught:
        chunks.add(b"x" * 7)
    assert (caught.value.status, caught.value.reason) == (413, "line_too_long")


def test_what_came_in_whole_lines_survives_a_line_without_an_end() -> None:
    chunks = chunker(max_line_bytes=10)
    with pytest.raises(errors.ContentTooLarge):
        chunks.add(b"a\nb\n" + b"x" * 100)
    assert list(chunks.finish()) == [b"a\nb\n"]


def test_a_body_that_broke_off_gives_its_whole_lines_only() -> None:
    chunks = chunker()
    chunks.add(b"a\nb\nhal")
    assert list(chunks.finish()) == [b"a\nb\n"]


@pytest.mark.parametrize("rest", [b"", b" ", b"\r", b"\t \r"])
def test_white_space_at_the_end_is_no_line(rest: bytes) -> None:
    assert texts([b"a\n" + rest]) == [b"a\n"]


def test_a_long_line_in_tiny_pieces_costs_no_more_than_its_length() -> None:
    chunks = chunker(max_line_bytes=2 << 20)
    start = time.process_time()
    for _ in range(200_000):
        chunks.add(b"x" * 64)
    assert time.process_time() - start < 2
