"""Which file is which: what makes the events of a file its own, whatever becomes of the file."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import os
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard
from tests.unit.client.keeper import Keeper, Run, counts

from sluice.client import identity

LINES = "".join(f"line {number}\n" for number in range(300))
SMALL = "one\ntwo\n"
COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "gz": gzip.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "zst": zstandard.compress,
}


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    folder = tmp_path / "logs"
    folder.mkdir()
    return folder


def written(path: Path, text: str) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    return path


def test_equal_files_of_two_folders_are_two(run: Run, keeper: Keeper, logs: Path) -> None:
    files = [written(logs / pod / "0.log", text) for pod, text in (("podA", SMALL), ("podB", SMALL))]
    assert [counts(run(file))[:2] for file in files] == [[2, 0], [2, 0]]
    assert counts(run(*files))[:2] == [0, 4]
    assert len(keeper.events) == 4


def test_equal_files_of_two_folders_are_two_without_any_memory(run: Run, logs: Path, tmp_path: Path) -> None:
    for number, pod in enumerate(("podA", "podB")):
        file = written(logs / pod / "0.log", SMALL)
        assert counts(run(file, XDG_STATE_HOME=str(tmp_path / f"state-{number}")))[:2] == [2, 0]


def test_equal_files_of_one_folder_are_two(run: Run, logs: Path) -> None:
    assert counts(run(written(logs / "a.log", LINES), written(logs / "b.log", LINES)))[:2] == [600, 0]


@pytest.mark.parametrize("name", ["app.log.1", "app.log-20261128", "app.log.2026-11-28", "other.txt", "0.log.20261128-101010"])
@pytest.mark.parametrize("text", [SMALL, LINES], ids=["small", "large"])
def test_a_renamed_file_is_the_same_one(run: Run, logs: Path, name: str, text: str) -> None:
    log = written(logs / "app.log", text)
    first = counts(run(log))[0]
    assert counts(run(log.rename(logs / name)))[:2] == [0, first]


def test_a_file_that_is_rotated_while_a_new_one_takes_its_name_is_the_same_one(run: Run, logs: Path) -> None:
    log = written(logs / "app.log", "started\nfirst\n")
    run(log)
    log.rename(logs / "app.log.1")
    written(log, "started\nsecond\n")
    assert counts(run(log, logs / "app.log.1"))[:2] == [2, 2]
    assert counts(run(log, logs / "app.log.1"))[:2] == [0, 4]


def test_a_new_file_that_goes_on_like_the_one_before_is_another(run: Run, logs: Path) -> None:
    log = written(logs / "app.log", "started\n")
    run(log)
    log.rename(logs / "app.log.1")
    written(log, "started\nand more\n")
    assert counts(run(log))[:2] == [2, 0]


def test_a_file_that_was_copied_away_and_truncated_is_found_in_the_copy(run: Run, logs: Path) -> None:
    log = written(logs / "app.log", LINES)
    run(log)
    shutil.copy(log, logs / "app.log.1")
    log.write_text("begins anew\n")
    assert counts(run(log, logs / "app.log.1"))[:2] == [1, 300]


@pytest.mark.parametrize("suffix", COMPRESS)
@pytest.mark.parametrize("keep", [True, False])
def test_a_compressed_file_is_the_same_one(run: Run, logs: Path, suffix: str, keep: bool) -> None:
    log = written(logs / "app.log", LINES)
    run(log)
    (logs / f"app.log.1.{suffix}").write_bytes(COMPRESS[suffix](log.read_bytes()))
    if not keep:
        log.unlink()
    assert counts(run(logs / f"app.log.1.{suffix}"))[:2] == [0, 300]


def test_a_file_in_a_zip_archive_is_the_same_one(run: Run, logs: Path) -> None:
    logs_in = [written(logs / "a.log", LINES), written(logs / "b.log", SMALL)]
    run(*logs_in)
    with zipfile.ZipFile(logs / "all.zip", "w") as archive:
        for log in logs_in:
            archive.write(log, log.name)
    result = run(logs / "all.zip")
    assert counts(result)[:2] == [0, 302]
    assert "all.zip!a.log: read as lines, 0 created, 300 duplicate" in result.stderr


def test_a_file_that_was_moved_to_an_archive_and_compressed_there_is_the_same_one(run: Run, logs: Path) -> None:
    log = written(logs / "app.log", LINES)
    run(log)
    written(logs / "old" / "app.log.gz", "").write_bytes(gzip.compress(log.read_bytes()))
    log.unlink()
    assert counts(run(logs / "old" / "app.log.gz"))[:2] == [0, 300]


def test_a_file_that_grew_and_was_renamed_adds_only_what_is_new(run: Run, logs: Path) -> None:
    log = written(logs / "app.log", LINES)
    run(log)
    written(log, LINES + "new\n")
    assert counts(run(log.rename(logs / "app.log.1")))[:2] == [1, 300]


@pytest.mark.parametrize("names", [("a.log", "b.log"), ("app.log", "app.log.1")])
def test_files_that_begin_alike_and_differ_are_two(run: Run, logs: Path, names: tuple[str, str]) -> None:
    first, second = (written(logs / name, LINES + text) for name, text in zip(names, ("x\n", "y\n"), strict=True))
    assert [counts(run(file))[:2] for file in (first, second)] == [[301, 0], [301, 0]]
    assert counts(run(second, first))[:2] == [0, 602]


def test_the_same_file_named_twice_or_by_a_link_is_one(run: Run, logs: Path) -> None:
    log = written(logs / "app.log", SMALL)
    (logs / "link").symlink_to(log)
    os.link(log, logs / "hard")
    assert counts(run(log, log, logs / "link", logs / "hard"))[:2] == [2, 4]


def test_a_renamed_file_keeps_the_source_of_its_events(run: Run, keeper: Keeper, logs: Path) -> None:
    log = written(logs / "app.log", SMALL)
    run(log)
    run(written(log, SMALL + "three\n").rename(logs / "renamed.log"))
    assert {event["source"] for event in keeper.events.values()} == {"app.log"}


def test_a_source_is_an_identity_wherever_the_lines_come_from(run: Run, logs: Path) -> None:
    first, second = written(logs / "a" / "x.log", SMALL), written(logs / "b" / "y.log", SMALL)
    assert counts(run(first, "--source", "web"))[:2] == [2, 0]
    assert counts(run(second, "--source", "web"))[:2] == [0, 2]
    assert counts(run("-", "--source", "web", stdin=SMALL.encode()))[:2] == [0, 2]


def test_equal_lines_of_several_files_under_one_source_are_all_kept(run: Run, logs: Path) -> None:
    files = [written(logs / name, SMALL) for name in ("x.log", "y.log")]
    assert [counts(run(*files, "--source", "web"))[:2] for _ in range(2)] == [[4, 0], [0, 4]]


def test_a_json_array_that_was_written_anew_is_the_same_document(run: Run, logs: Path) -> None:
    document = written(logs / "events.json", '[{"a": 1}]')
    run(document)
    assert counts(run(written(document, '[{"a": 1}, {"a": 2}]')))[:2] == [1, 1]


def test_a_whole_file_of_duplicates_is_a_warning(run: Run, logs: Path) -> None:
    log = written(logs / "app.log", SMALL)
    assert "warning" not in run(log).stderr
    assert f"warning: all of {log} is stored already" in run(log).stderr


def test_a_memory_that_cannot_be_written_is_said_and_does_without(run: Run, logs: Path, tmp_path: Path) -> None:
    (tmp_path / "state").write_text("in the way")
    log = written(logs / "app.log", SMALL)
    results = [run(log), run(log)]
    assert [counts(result)[:2] for result in results] == [[2, 0], [0, 2]]
    assert "imports.sqlite cannot be written" in results[0].stderr
    assert "--state-dir" in results[0].stderr


def test_a_broken_memory_is_said_and_does_without(run: Run, logs: Path, tmp_path: Path) -> None:
    (tmp_path / "state" / "sluice").mkdir(parents=True)
    (tmp_path / "state" / "sluice" / "imports.sqlite").write_text("no database at all, but long enough to be taken for one" * 99)
    result = run(written(logs / "app.log", SMALL))
    assert (counts(result)[:2], "cannot be written" in result.stderr) == ([2, 0], True)


def test_many_small_files_cost_few_statements_and_one_write_each(
    run: Run, keeper: Keeper, logs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    statements: list[str] = []

    def noting(file: Path, service: str) -> identity.Memory:
        memory = identity.Memory(file, service)
        memory._connection.set_trace_callback(statements.append)
        return memory

    monkeypatch.setattr("sluice.commands.import_.Memory", noting)
    files = [written(logs / f"{number}.log", f"file {number}\nline {'x' * 20 * number}\n") for number in range(100)]
    assert counts(run(*files))[:2] == [200, 0]
    assert (len(statements) <= 6 * 100, sum("INSERT" in each for each in statements), len(keeper.events)) == (True, 100, 200)


def test_each_service_has_a_memory_of_its_own(tmp_path: Path, logs: Path) -> None:
    head = LINES.encode()
    for service in ("http://a", "http://b"):
        memory = identity.Memory(tmp_path / "imports.sqlite", service)
        file = written(logs / "app.log", LINES)
        found = identity.look_at(file, file.stat(), "", head, compressed=False, is_log=True)
        assert memory.recognise(found, head, lambda _sizes: {}) == found
        memory.close()


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("app.log", "app.log"),
        ("app.log.1", "app.log"),
        ("app.log.2.gz", "app.log"),
        ("app.log-20261128.xz", "app.log"),
        ("app.log.2026-11-28_10-00-00", "app.log"),
        ("0.log.20261128-101010.gz", "0.log"),
        ("syslog.old", "syslog"),
        ("access.2026-11-28.log", "access.2026-11-28.log"),
        (".gz", ".gz"),
        ("20261128", "20261128"),
        ("", ""),
    ],
)
def test_the_stem_is_the_name_before_rotation_and_compression(name: str, stem: str) -> None:
    assert identity.stem_of(name) == stem


@pytest.mark.parametrize("name", [b"b\xff.log", "\u00fc.log".encode(), b"new\nline.log", b"\x1b]0;title\x07.log"])
def test_a_name_may_be_any_bytes_and_reaches_the_terminal_as_text(run: Run, keeper: Keeper, logs: Path, name: bytes) -> None:
    file = written(logs / os.fsdecode(name), "one\n")
    refused = logs / "refused.ndjson"
    result = run(file, written(logs / "next.ndjson", "{no json\n"), "--format", "ndjson", "--errors", refused)
    assert counts(result)[:4] == [0, 0, 0, 2]
    assert json.loads(refused.read_text().splitlines()[0])["file"].endswith(".log")
    assert all(line.isprintable() for line in result.stderr.splitlines())
    assert [counts(run(file))[:2] for _ in range(2)] == [[1, 0], [0, 1]]
    assert counts(run(file.rename(logs / os.fsdecode(name + b".1"))))[:2] == [0, 1]
    assert len(keeper.events) == 1
