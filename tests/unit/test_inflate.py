"""Inflating: whole bodies come out as they went in, broken ones are refused, and bombs never exist as a whole."""

from __future__ import annotations

import functools
import gzip
import itertools
import time
import tracemalloc
import zlib
from collections.abc import Callable, Iterable, Iterator

import brotli
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from sluice import errors
from sluice.parsing import decompression

Compress = Callable[[bytes], bytes]
MAX_PIECE = 4 << 20
LIMIT = 20 << 20
MIB = 1 << 20


def raw_deflate(data: bytes) -> bytes:
    stream = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return stream.compress(data) + stream.flush()


def halves(compress: Compress) -> Compress:
    return lambda data: compress(data[: len(data) // 2]) + compress(data[len(data) // 2 :])


def zstd(data: bytes) -> bytes:
    return zstandard.ZstdCompressor().compress(data)


CODINGS: dict[str, tuple[str, Compress]] = {
    "gzip": ("gzip", gzip.compress),
    "gzip of several members": ("gzip", halves(gzip.compress)),
    "x-gzip": ("x-gzip", gzip.compress),
    "deflate": ("deflate", zlib.compress),
    "raw deflate": ("deflate", raw_deflate),
    "zstd": ("zstd", zstd),
    "zstd of several frames": ("zstd", halves(zstd)),
    "br": ("br", functools.partial(brotli.compress, quality=5)),
}
each_coding = pytest.mark.parametrize(("encoding", "compress"), CODINGS.values(), ids=CODINGS)
BODIES = st.binary(max_size=2_000) | st.binary(max_size=30).map(lambda part: part * 5_000)
# A slice of zstd gives up to 2 MiB, and the library holds it twice for a moment: in blocks, and joined.
MAX_MEMORY = 5 * (1 << 20)


def cut(data: bytes, size: int) -> Iterator[bytes]:
    return (data[at : at + size] for at in range(0, len(data), size))


def inflated(pieces: Iterable[bytes], encoding: str) -> bytes:
    return b"".join(decompression.inflated(pieces, encoding))


def is_broken(pieces: Iterable[bytes], encoding: str) -> bool:
    try:
        inflated(pieces, encoding)
    except errors.BadRequest as error:
        return (error.error, error.reason) == ("invalid_body", "broken_encoding")
    return False


@each_coding
@given(body=BODIES, size=st.integers(1, 100))
def test_a_body_comes_out_as_it_went_in_however_it_is_cut(encoding: str, compress: Compress, body: bytes, size: int) -> None:
    assert inflated(cut(compress(body), size), encoding) == body


@each_coding
def test_a_large_body_comes_out_as_it_went_in(encoding: str, compress: Compress) -> None:
    body = b"".join(b"%d," % number for number in range(300_000))
    data = compress(body)
    assert all(inflated(cut(data, size), encoding) == body for size in (100, 1_000, 65_536, len(data)))


@pytest.mark.parametrize("encoding", ["", "identity", "Identity", " identity "])
def test_what_is_not_coded_passes_as_it_is(encoding: str) -> None:
    assert list(decompression.inflated([b"a", b"", b"b"], encoding)) == [b"a", b"", b"b"]


@pytest.mark.parametrize("encoding", [*decompression.ENCODINGS, "identity"])
def test_an_empty_body_is_empty_in_every_coding(encoding: str) -> None:
    assert inflated([], encoding) == inflated([b"", b""], encoding) == b""


@each_coding
def test_empty_pieces_pass_as_ticks_wherever_they_come(encoding: str, compress: Compress) -> None:
    data = compress(b"hello")
    pieces = [b"", *(piece for byte in cut(data, 1) for piece in (byte, b""))]
    taken = iter(pieces)
    found = decompression.inflated(taken, encoding)
    assert next(found) == b""
    assert len(list(taken)) == len(pieces) - 1
    assert inflated(pieces, encoding) == b"hello"


@pytest.mark.parametrize("name", sorted(name for name in CODINGS if "several" not in name))
@pytest.mark.parametrize("body", [b"hello, hello, hello", b"x" * 65_536, b"x" * 300_000], ids=["short", "a step", "long"])
def test_a_body_that_was_cut_off_anywhere_is_broken(name: str, body: bytes) -> None:
    encoding, compress = CODINGS[name]
    data = compress(body)
    assert all(is_broken([data[:end]], encoding) for end in range(1, len(data)))
    assert all(is_broken(cut(data[:-end], 1), encoding) for end in range(1, 4))


def test_a_second_member_or_frame_that_was_cut_off_is_broken() -> None:
    for encoding, compress in (("gzip", gzip.compress), ("zstd", zstd)):
        data = compress(b"hello")
        assert all(is_broken([data + data[:end]], encoding) for end in range(1, len(data)))


@each_coding
@pytest.mark.parametrize("rubbish", [b"\0", b"x", b"garbage after the end", b"\xff" * 100], ids=["NUL", "x", "words", "ones"])
@pytest.mark.parametrize("body", [b"hello", b"x" * 65_536, b"x" * 300_000], ids=["short", "a step", "long"])
def test_rubbish_behind_the_end_is_broken(encoding: str, compress: Compress, rubbish: bytes, body: bytes) -> None:
    data = compress(body)
    assert is_broken([data + rubbish], encoding)
    assert is_broken([data, rubbish], encoding)
    assert is_broken(cut(data + rubbish, 1), encoding)


@pytest.mark.parametrize("encoding", decompression.ENCODINGS)
@pytest.mark.parametrize("body", [b'{"event_type":"log"}', b"\x00" * 100, b"\xff" * 100])
def test_a_body_that_was_never_coded_is_broken(encoding: str, body: bytes) -> None:
    assert is_broken([body], encoding)


@given(st.sampled_from(decompression.ENCODINGS), st.lists(st.binary(max_size=50), max_size=10))
def test_any_bytes_inflate_or_are_broken_and_nothing_else(encoding: str, pieces: list[bytes]) -> None:
    assert is_broken(pieces, encoding) or isinstance(inflated(pieces, encoding), bytes)


@given(st.sampled_from(sorted(CODINGS)), st.binary(min_size=20, max_size=200), st.data())
def test_one_flipped_byte_is_never_an_error_of_ours(name: str, body: bytes, data: st.DataObject) -> None:
    encoding, compress = CODINGS[name]
    spoilt = bytearray(compress(body))
    spoilt[data.draw(st.integers(0, len(spoilt) - 1))] ^= data.draw(st.integers(1, 255))
    assert is_broken([bytes(spoilt)], encoding) or isinstance(inflated([bytes(spoilt)], encoding), bytes)


@pytest.mark.parametrize(
    "encoding", ["gzip, gzip", "gzip,br", "identity, gzip", "compress", "*", "zip", "gzip;q=1", "é", "x" * 1_000]
)
def test_an_unknown_or_stacked_coding_is_415_and_says_what_is_taken(encoding: str) -> None:
    with pytest.raises(errors.UnsupportedMediaType) as caught:
        inflated([b"x"], encoding)
    assert caught.value.error == "unsupported_content_encoding"
    assert caught.value.headers == {"Accept-Encoding": "gzip, deflate, zstd, br"}
    assert caught.value.detail.startswith(f"the body is coded as {encoding[:100]}; ")


@pytest.mark.parametrize("encoding", ["GZIP", " gzip ", "X-Gzip"])
def test_the_name_of_a_coding_is_taken_in_any_case(encoding: str) -> None:
    assert inflated([gzip.compress(b"x")], encoding) == b"x"


def test_a_zstd_frame_that_asks_for_a_window_above_8_mib_is_broken() -> None:
    parameters = zstandard.ZstdCompressionParameters(window_log=24)
    stream = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    assert is_broken([stream.compress(b"x" * 1_000) + stream.flush()], "zstd")


# Bombs


def zlib_bomb(window: int) -> Iterator[bytes]:
    """10 GiB of zeros: after the first 16 MiB every 16 MiB are the same bytes, for the stream is flushed between."""
    stream, zeros = zlib.compressobj(9, zlib.DEFLATED, window), bytes(16 * MIB)
    yield stream.compress(zeros) + stream.flush(zlib.Z_FULL_FLUSH)
    yield from itertools.repeat(stream.compress(zeros) + stream.flush(zlib.Z_FULL_FLUSH), 639)


def br_bomb() -> Iterator[bytes]:
    stream, zeros = brotli.Compressor(quality=5), bytes(16 * MIB)
    yield stream.process(zeros) + stream.flush()
    yield from itertools.repeat(stream.process(zeros) + stream.flush(), 639)
    yield stream.finish()


def zstd_bomb() -> Iterator[bytes]:
    yield from itertools.repeat(zstd(bytes(16 * MIB)), 640)


def zstd_rle_bomb() -> Iterator[bytes]:
    """Blocks of one byte that is repeated 128 KiB times (RFC 8878 section 3.1.1.2): 4 bytes each, the densest there is."""

    def block(last: int) -> bytes:
        return ((128 << 10) << 3 | 1 << 1 | last).to_bytes(3, "little") + b"\0"

    yield b"\x28\xb5\x2f\xfd" + bytes([0, 13 << 3])  # magic, no frame size, a window of 8 MiB
    yield block(0) * (1 << 13)
    yield block(1)


BOMBS: dict[str, tuple[str, Callable[[], Iterator[bytes]]]] = {
    "gzip": ("gzip", lambda: zlib_bomb(zlib.MAX_WBITS | 16)),
    "deflate": ("deflate", lambda: zlib_bomb(zlib.MAX_WBITS)),
    "raw deflate": ("deflate", lambda: zlib_bomb(-zlib.MAX_WBITS)),
    "br": ("br", br_bomb),
    "zstd": ("zstd", zstd_bomb),
    "zstd of RLE blocks": ("zstd", zstd_rle_bomb),
}
each_bomb = pytest.mark.parametrize(("encoding", "bomb"), BOMBS.values(), ids=BOMBS)


def exploded(pieces: Iterable[bytes], encoding: str) -> tuple[int, int]:
    """Total and largest piece that a consumer sees who stops at LIMIT."""
    total = largest = 0
    for piece in decompression.inflated(pieces, encoding):
        total, largest = total + len(piece), max(largest, len(piece))
        if total > LIMIT:
            break
    return total, largest


@each_bomb
def test_whoever_stops_at_a_limit_never_sees_more_of_a_bomb(encoding: str, bomb: Callable[[], Iterator[bytes]]) -> None:
    total, largest = exploded([b"".join(bomb())], encoding)
    assert largest < MAX_PIECE
    assert LIMIT < total <= LIMIT + largest


@each_bomb
def test_a_bomb_never_takes_much_memory(encoding: str, bomb: Callable[[], Iterator[bytes]]) -> None:
    whole = b"".join(bomb())
    tracemalloc.start()
    try:
        exploded(cut(whole, 64 << 10), encoding)
        assert tracemalloc.get_traced_memory()[1] < MAX_MEMORY
    finally:
        tracemalloc.stop()


def test_even_a_gib_of_rle_blocks_is_taken_apart_in_small_pieces() -> None:
    sizes = [len(piece) for piece in decompression.inflated(zstd_rle_bomb(), "zstd")]
    assert sum(sizes) == (1 << 30) + (128 << 10)
    assert max(sizes) <= decompression.STEP


def test_the_bomb_of_the_tests_is_what_it_says() -> None:
    stream = zlib.decompressobj(zlib.MAX_WBITS | 16)
    assert [len(stream.decompress(piece)) for piece in itertools.islice(zlib_bomb(zlib.MAX_WBITS | 16), 3)] == [16 * MIB] * 3


def test_many_members_in_one_piece_take_as_long_as_in_many() -> None:
    members = gzip.compress(b"", mtime=0) * 50_000

    def seconds(size: int) -> float:
        began = time.thread_time()
        assert inflated(cut(members, size), "gzip") == b""
        return time.thread_time() - began

    assert seconds(len(members)) < 3 * seconds(4 << 10)
