"""What is opened and how: inflated by its content, refused when it is binary, and left alone where it is still written to."""

from __future__ import annotations

import bz2
import contextlib
import gzip
import io
import itertools
import lzma
import os
import threading
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard
from tests.integration.waiting import until
from tests.unit.client.keeper import Keeper, Run, counts

from sluice.client import files
from sluice.client.files import Input
from sluice.client.job import Job, Options

TEXT = b"".join(b"line %d\n" % number for number in range(20_000))
CODINGS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "zstd": zstandard.compress,
}


def zipped(*members: tuple[str, bytes]) -> bytes:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members:
            file.writestr(name, content)
    return archive.getvalue()


def test_nothing_has_to_be_compressed_to_be_read() -> None:
    assert Input(io.BytesIO(TEXT)).stream.read() == TEXT


@pytest.mark.parametrize("compress", CODINGS.values(), ids=CODINGS)
def test_what_is_compressed_is_known_by_its_content_and_may_be_several_streams(compress: Callable[[bytes], bytes]) -> None:
    given = Input(io.BytesIO(compress(TEXT) + compress(b"more\n")))
    assert (given.stream.read() == TEXT + b"more\n", given.compressed, given.format) == (True, True, "lines")


@pytest.mark.parametrize("compress", CODINGS.values(), ids=CODINGS)
def test_what_is_cut_off_gives_what_can_be_read_and_fails(compress: Callable[[bytes], bytes], run: Run, tmp_path: Path) -> None:
    (tmp_path / "cut").write_bytes(compress(TEXT)[:-20])
    result = run(tmp_path / "cut", "--errors", tmp_path / "errors")
    assert (result.exit_code, counts(result)[3]) == (1, 1)
    assert '"reason":"unreadable"' in (tmp_path / "errors").read_text()


@pytest.mark.parametrize("compress", CODINGS.values(), ids=CODINGS)
def test_a_bomb_takes_little_memory(compress: Callable[[bytes], bytes]) -> None:
    given = Input(io.BytesIO(compress(bytes(20 << 20))))
    assert len(given.stream.read1(1 << 20)) <= 4 << 20


def test_layers_are_inflated_one_after_the_other() -> None:
    assert Input(io.BytesIO(gzip.compress(lzma.compress(bz2.compress(TEXT))))).stream.read() == TEXT


def test_an_xz_file_that_wants_more_memory_than_that_is_refused(run: Run, tmp_path: Path) -> None:
    filters = [{"id": lzma.FILTER_LZMA2, "dict_size": 256 << 20, "mode": lzma.MODE_FAST, "mf": lzma.MF_HC3}]
    (tmp_path / "a.log.xz").write_bytes(lzma.compress(b"one\n", filters=filters))
    result = run(tmp_path / "a.log.xz")
    assert (result.exit_code, "Memory usage limit exceeded" in result.stderr) == (1, True)


def test_xz_streams_may_be_padded() -> None:
    text = files.Input(io.BytesIO(lzma.compress(b"one\n") + bytes(8) + lzma.compress(b"two\n") + bytes(4))).stream.read()
    assert text == b"one\ntwo\n"


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
def test_utf_16_with_its_mark_is_text(encoding: str) -> None:
    mark = {"utf-16-le": b"\xff\xfe", "utf-16-be": b"\xfe\xff"}.get(encoding, b"")
    given = Input(io.BytesIO(mark + "Köln\r\n€\n".encode(encoding)))
    assert (given.stream.read().decode(), given.binary) == ("Köln\r\n€\n", "")


def test_each_member_of_a_zip_archive_is_an_input_of_its_own(run: Run, tmp_path: Path) -> None:
    members = (("a.log", b"one\n"), ("sub/b.log.gz", gzip.compress(b"one\ntwo\n")), ("empty", b""), ("c.bin", bytes(100)))
    (tmp_path / "logs").write_bytes(zipped(*members))
    result = run(tmp_path / "logs")
    assert counts(result)[:2] == [3, 0]
    assert [line.split("!")[1].split(",")[0] for line in result.stderr.splitlines() if "!" in line] == [
        "a.log: read as lines",
        "sub/b.log.gz: read as lines",
        "empty: read as lines",
        "c.bin: looks binary (100 of its first 100 bytes are no text) and was not read; --force reads it all the same",
    ]
    assert result.exit_code == 1


def test_no_garbled_archive_raises_what_stops_an_import() -> None:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("\u00fc.log", "line\n" * 20)
    whole = archive.getvalue()
    for at, value in itertools.product(range(4, len(whole)), (0, 0xFF)):
        garbled = io.BytesIO(whole[:at] + bytes([value]) + whole[at + 1 :])
        with contextlib.suppress(*files.UNREADABLE), files.opened(garbled) as found:
            for each in found:
                each.open(()).stream.read()


def test_a_zip_archive_may_come_through_a_pipe(run: Run) -> None:
    assert counts(run("-", stdin=zipped(("a.log", b"one\n"), ("b.log", b"one\n"))))[:2] == [2, 0]


def test_a_broken_zip_archive_is_reported_and_the_next_file_is_read(run: Run, tmp_path: Path) -> None:
    (tmp_path / "x.zip").write_bytes(zipped(("a.log", b"one\n"))[:-10])
    (tmp_path / "y.log").write_text("one\n")
    result = run(tmp_path / "x.zip", tmp_path / "y.log")
    assert (counts(result)[0], result.exit_code, "x.zip: cannot be read: File is not a zip file" in result.stderr) == (1, 1, True)


BINARIES = {
    "program": b"\x7fELF" + bytes(100),
    "image": b"\x89PNG\r\n\x1a\n" + bytes(range(256)),
    "random": bytes(number * 197 % 256 for number in range(4096)),
    "journal": b"LPKSHHRH" + bytes(100),
    "journal export": b"__CURSOR=s=1;i=2\n__REALTIME_TIMESTAMP=1\nMESSAGE=x\n\n",
    "tar": b"a.log".ljust(257, b"\0") + b"ustar",
    "tar in gzip": gzip.compress(b"a.log".ljust(257, b"\0") + b"ustar"),
    "lz4": b"\x04\x22\x4d\x18" + b"text",
}


@pytest.mark.parametrize("content", BINARIES.values(), ids=BINARIES)
def test_what_looks_binary_is_refused_unless_it_is_forced(content: bytes, run: Run, keeper: Keeper, tmp_path: Path) -> None:
    (tmp_path / "app.log").write_bytes(content)
    result = run(tmp_path / "app.log")
    assert (keeper.events, result.exit_code, "looks binary" in result.stderr) == ({}, 1, True)
    assert counts(run(tmp_path / "app.log", "--force"))[0] > 0


@pytest.mark.parametrize(
    "text",
    ["\x1b[31mred\x1b[0m\n" * 50, "Köln\n", "日本語\n" * 50, "a\0b\n" + "x" * 100, "", "\n"],
    ids=["colours", "umlaut", "Japanese", "one NUL", "empty", "blank"],
)
def test_text_is_not_taken_for_binary(text: str) -> None:
    assert Input(io.BytesIO(text.encode())).binary == ""
    assert Input(io.BytesIO(text.encode("shift-jis", "ignore"))).binary == ""


def test_the_rest_of_a_line_that_is_still_written_is_waited_for(run: Run, tmp_path: Path) -> None:
    log = tmp_path / "app.log"
    log.write_text("whole\nhal")
    first = run(log)
    assert counts(first)[:2] == [1, 0]
    assert "1 lines at the end, still being written" in first.stderr
    log.write_text("whole\nhalf\n")
    assert counts(run(log))[:2] == [1, 1]


def test_a_last_line_without_an_end_counts_when_nobody_writes_any_more(run: Run, keeper: Keeper, tmp_path: Path) -> None:
    log = tmp_path / "app.log"
    log.write_text("whole\nlast")
    os.utime(log, (0, time.time() - 60))
    assert counts(run(log))[:2] == [2, 0]
    assert counts(run("-", "--source", "s", stdin=b"last"))[:2] == [1, 0]


def test_a_file_that_is_open_for_writing_still_grows(tmp_path: Path) -> None:
    log = tmp_path / "app.log"
    with log.open("w") as file:
        file.write("x")
        os.utime(log, (0, 0))
        assert files.growth(log) == "open"
    os.utime(log, (0, 0))
    with log.open("r"):
        assert files.growth(log) == ""
    assert files.growth(log, lambda: 5) == "recent"
    assert files.growth(tmp_path / "gone") == ""


def test_a_last_record_without_an_end_is_whole_when_it_is_json(run: Run, tmp_path: Path) -> None:
    log = tmp_path / "app.ndjson"
    log.write_text('{"a": 1}\n{"a": 2}')
    assert counts(run(log))[:2] == [2, 0]
    log.write_text('{"a": 1}\n{"a": 2}\n{"a": 3')
    assert counts(run(log))[:2] == [0, 2]


def test_a_traceback_that_is_still_written_is_waited_for(run: Run, keeper: Keeper, tmp_path: Path) -> None:
    log = tmp_path / "app.log"
    with log.open("w") as file:
        file.write('going on\nTraceback (most recent call last):\n  File "x.py", line 1, in f\n')
        file.flush()
        assert counts(run(log))[:2] == [1, 0]
        file.write("KeyError: 1\n")
    assert counts(run(log))[:2] == [1, 1]
    assert [event["properties"]["error"] for event in keeper.events.values() if event["event_type"] == "error"] == ["KeyError: 1"]


# Several inputs in one call.


def test_patterns_that_the_shell_left_alone_name_files(run: Run, tmp_path: Path) -> None:
    for name in ("b.log", "a.log", "sub/c.log"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(f"{name}\n")
    result = run(tmp_path / "*.log", tmp_path / "**" / "c.log", tmp_path / "a.log", "-", stdin=b"piped\n")
    assert counts(result)[:2] == [4, 0]
    read = [line.split(": read")[0] for line in result.stderr.splitlines() if ": read as" in line]
    assert read == [str(tmp_path / "a.log"), str(tmp_path / "b.log"), str(tmp_path / "sub" / "c.log"), "-"]


def test_a_pattern_follows_no_link_in_circles_and_names_nothing_hidden(run: Run, tmp_path: Path) -> None:
    for name in ("a.log", ".hidden.log", "..data/b.log", "deep/c.log"):
        path = tmp_path / "logs" / name
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_text(f"{name}\n")
    for number in range(3):
        (tmp_path / "logs" / f"circle-{number}").symlink_to(".")
    assert counts(run(tmp_path / "logs" / "**"))[:2] == [2, 0]
    assert counts(run(tmp_path / "logs" / "**" / "*.log"))[:2] == [0, 2]
    assert counts(run(tmp_path / "logs" / ".h*"))[:2] == [1, 0]


def test_a_file_that_cannot_be_read_does_not_stop_the_others(run: Run, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "gone").symlink_to(tmp_path / "loop")
    (tmp_path / "a.log").write_text("one\n")
    (tmp_path / "dir.log").mkdir()
    result = run(tmp_path / "*.log")
    assert (counts(result)[0], result.exit_code) == (1, 0)


def test_a_file_that_is_truncated_while_it_is_read_is_a_problem(tmp_path: Path) -> None:
    log = tmp_path / "app.log"
    log.write_text("a line of a log\n" * 100_000)
    job = Job([str(log)], Options(), None, lambda _report, _refused: None)
    batches = job.batches(1)
    next(batches)
    log.write_text("new\n")
    assert sum(len(batch.items) for batch in batches) < 100_000
    assert "it was truncated while it was read" in str(job.reports[0])


def test_a_named_pipe_is_a_stream_like_stdin(run: Run, keeper: Keeper, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for _ in range(2):
        writer = threading.Thread(target=(tmp_path / "pipe").write_bytes, args=[gzip.compress(TEXT[:100_000])])
        writer.start()
        result = run(tmp_path / "pipe")
        writer.join()
    assert (counts(result)[0], counts(result)[1] > 9000) == (0, True)
    assert {event["source"] for event in keeper.events.values()} == {"stdin"}


def test_what_comes_through_a_pipe_is_stored_while_the_pipe_is_open(run: Run, keeper: Keeper, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")

    def write() -> None:
        with (tmp_path / "pipe").open("wb", buffering=0) as pipe:
            pipe.write(b"\xef\xbb\xbfone\r\ntwo\nthr")
            until(lambda: len(keeper.events) == 1, seconds=60)
            pipe.write(b"ee\nfour")
            until(lambda: len(keeper.events) == 2, seconds=60)

    writer = threading.Thread(target=write)
    writer.start()
    assert counts(run(tmp_path / "pipe"))[:2] == [4, 0]
    writer.join()
    assert [event["properties"]["line"] for event in keeper.events.values()] == ["one", "two", "three", "four"]


def test_the_summary_has_each_file(run: Run, keeper: Keeper, tmp_path: Path) -> None:
    keeper.refuse = {"refused"}
    (tmp_path / "a.log").write_text("2026-01-01 10:00:00 x\nrefused\n\nsame\n")
    (tmp_path / "b.ndjson").write_text('{"a": 1}\n{broken\n')
    result = run(tmp_path / "a.log", tmp_path / "b.ndjson", "--errors", tmp_path / "errors")
    told = [line.removeprefix(f"{tmp_path}/") for line in result.stderr.splitlines() if "read as" in line]
    untimed = "2 without a time of their own (the time of receipt counts)"
    assert told == [
        f"a.log: read as lines, 2 created, 0 duplicate, 1 invalid, 1 blank lines passed over, {untimed}",
        "b.ndjson: read as ndjson, 1 created, 0 duplicate, 1 invalid, 1 without a time of their own (the time of receipt counts)",
    ]
    assert f'"file":"{tmp_path}/b.ndjson"' in (tmp_path / "errors").read_text()
