"""One run of `sluice import`: its files after each other, as batches, with an account of each."""

from __future__ import annotations

import contextlib
import errno
import io
import itertools
import os
import sqlite3
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from typing import IO, NamedTuple

from sluice.client import files, follow, framing, identity, importer, legacy
from sluice.client.files import Format, Growth, Input, Openable
from sluice.client.framing import READ_BYTES
from sluice.client.identity import File, Memory
from sluice.client.importer import Ids, Importer, Item, Multiline, Refused
from sluice.client.legacy import LegacyTimestamps
from sluice.client.reading import safe
from sluice.parsing.timestamps import Timestamps

STDIN = "-"
# What a report names only where there is any; the other two always.
NOTABLE = ("queued", "conflict", "invalid", "failed")


@dataclass(frozen=True)
class Options:
    """How inputs are read. `source`: of the events, and the identity of all inputs; None: each file has its own."""

    format: Format | None = None
    source: str | None = None
    zone: tzinfo = UTC
    time_field: str | None = None
    time_format: str | None = None
    lines: Multiline = "auto"
    force: bool = False

    def times(self, now: datetime | None = None) -> Timestamps:
        """Raises ValueError for a format that cannot be read."""
        return Timestamps(self.zone, now=now, field=self.time_field, format=self.time_format)


@dataclass
class Report:
    """What became of one input, whose `name` a terminal can show. `problem`: why nothing, or nothing more, could be read."""

    name: str
    format: str = ""
    counts: Counter[str] = field(default_factory=Counter)
    blank: int = 0
    untimed: int = 0
    left: int = 0
    problem: str = ""

    @property
    def only_duplicates(self) -> bool:
        return self.counts["duplicate"] > 0 and self.counts.total() == self.counts["duplicate"]

    def __str__(self) -> str:
        if self.problem and not self.counts.total():
            return f"{self.name}: {self.problem}"
        parts = [f"{self.counts[status]:,} {status}" for status in ("created", "duplicate")]
        parts += [f"{self.counts[status]:,} {status}" for status in NOTABLE if self.counts[status]]
        parts += [
            text.format(count)
            for count, text in (
                (self.blank, "{:,} blank lines passed over"),
                (self.untimed, "{:,} without a time of their own (the time of receipt counts)"),
                (self.left, "{:,} lines at the end, still being written, left for the next run"),
            )
            if count
        ]
        return f"{self.name}: read as {self.format}, {', '.join(parts)}" + (f"; {self.problem}" if self.problem else "")


class Batch(NamedTuple):
    """Up to a request's worth of events out of one input; an empty one is a pause of a file that is followed."""

    report: Report
    items: list[Item]


class Job:
    """Reads `names` (- is stdin). `memory` knows what was imported before, None when nothing does.

    `is_stored(event_id)` asks the service. `refuse(report, refused)` gets what cannot become an event. `reports` has one entry
    for each input so far.
    """

    def __init__(
        self,
        names: list[str],
        options: Options,
        memory: Memory | None,
        refuse: Callable[[Report, Refused], None],
        is_stored: Callable[[str], bool] = lambda _event_id: False,
    ) -> None:
        self.reports: list[Report] = []
        self._names = names
        self._options = options
        self._memory = memory
        self._refuse = refuse
        self._is_stored = is_stored
        # Inputs under one source, or through stdin, are one stream of events: equal lines in two of them are two events.
        self._stream_source = identity.storable(options.source or "stdin")
        self._stream_ids = Ids(self._stream_source)
        self._read = 0
        self._current: Input | None = None
        self._reader: tuple[Importer, Report] | None = None
        self.total = sum(sizes) if None not in (sizes := [size_of(name) for name in names]) else None  # type: ignore[arg-type]

    @property
    def position(self) -> int:
        """How many bytes of `total` were read."""
        return self._read + (self._current.position if self._current else 0)

    def batches(self, size: int) -> Iterator[Batch]:
        for name in self._names:
            try:
                with (
                    opened(name) as file,
                    files.opened(file) as found,
                ):
                    for each in found:
                        yield from self._one(name, each, size)
            except files.UNREADABLE as error:
                self._report(name).problem = f"cannot be read: {error}"
            self._read += size_of(name) or 0

    def follow(
        self, name: str, size: int, sleep: Callable[[float], object], on_wait: Callable[[str, float], None]
    ) -> Iterator[Batch]:
        """The lines of the file `name`, without end. A batch is given at least at each pause, if only an empty one."""
        path = Path(name)
        for generation in follow.generations(path, sleep, on_wait):
            report, known = self._report(name), None
            pieces = generation.lines(sleep)
            try:
                for piece in pieces:
                    given = Input(io.BytesIO(generation.head(files.SNIFF_BYTES)))
                    report.format = kind = self._options.format or given.format
                    report.problem = self._not_followed(given, kind)
                    if report.problem:
                        return
                    if piece is None:
                        yield Batch(report, [])
                        continue
                    status = generation.status()
                    known = self._known(path, status, "", given, kind, again=generation.digests)
                    reader = self._importer(status, known, report, None)
                    rest = itertools.chain((piece,), pieces)
                    yield from self._batches(reader, report, reader.entries(rest, kind), size)
            finally:
                self._note(known, generation.size, generation.digest.hexdigest())

    def finish(self) -> None:
        """Complete the report of an input whose reading was ended."""
        if self._reader is not None:
            reader, report = self._reader
            report.blank, report.untimed, report.left = reader.blank, reader.untimed, reader.left

    def _one(self, name: str, openable: Openable, size: int) -> Iterator[Batch]:
        report = self._report(f"{name}!{openable.member}" if openable.member else name)
        given = openable.open(())
        if given.binary and not self._options.force:
            report.problem = f"looks binary ({given.binary}) and was not read; --force reads it all the same"
            return
        report.format = kind = self._options.format or given.format
        # A pipe has no name that lasts, and can be read once.
        path = Path(name) if name != STDIN and Path(name).is_file() else None
        known = status = None
        if path is not None:
            status = path.stat()

            def digests(sizes: Iterable[int]) -> dict[int, str]:
                sizes = sorted(sizes)
                again = openable.open(sizes)
                while sizes and again.text.taken < sizes[-1] and again.stream.read1(READ_BYTES):
                    pass
                return again.text.digests

            known = self._known(path, status, openable.member, given, kind, again=digests)
            given = openable.open(())
        self._current = given
        growing = path if path is not None and not given.compressed and not given.binary else None
        reader = self._importer(status, known, report, growing)
        if given.live and kind != "json":
            entries = reader.entries(framing.lines_of_pieces(given.live.pieces()), kind)
            yield from self._batches(reader, report, entries, size)
        else:
            yield from self._batches(reader, report, reader.read(given.stream, kind), size)
        if given.size and given.position < given.size and not given.compressed and not given.stream.read1(1):
            report.problem = f"it was truncated while it was read: {given.position:,} of {given.size:,} bytes were there"
        self._note(known, given.text.taken, given.text.digest.hexdigest())
        self._current = None

    def _not_followed(self, given: Input, kind: Format) -> str:
        """Why a file cannot be followed that begins as `given`, or empty."""
        if kind == "json":
            return "JSON that takes several lines cannot be followed; import it when it is whole, or give --format"
        if given.layered or (given.binary and not self._options.force):
            return f"only text in UTF-8 can be followed; import it without --follow ({given.binary or 'compressed, or UTF-16'})"
        return ""

    def _report(self, name: str) -> Report:
        self.reports.append(Report(safe(name)))
        return self.reports[-1]

    def _known(
        self,
        path: Path,
        status: os.stat_result,
        member: str,
        given: Input,
        kind: Format,
        *,
        again: Callable[[Iterable[int]], dict[int, str]],
    ) -> File | None:
        if self._options.source:
            return None
        head = given.head
        found = identity.look_at(path, status, member, head, compressed=given.compressed, is_log=kind != "json")
        # A small file is noted as it is at its end, and once: a note waits for the disk.
        found = replace(found, size=given.text.taken, digest=given.text.digest.hexdigest())
        memory = self._memory
        if memory is None:
            return found

        def unknown(found: File) -> File | None:
            def first_id(source: str) -> str | None:
                return legacy.first_id(head, source, LegacyTimestamps(self._options.zone), kind)

            return None if member else legacy.recognise(path, found, first_id, self._is_stored, memory.holds)

        try:
            return memory.recognise(found, head, again, is_log=kind != "json", unknown=unknown)
        except sqlite3.Error:
            return found

    def _importer(self, status: os.stat_result | None, known: File | None, report: Report, growing: Path | None) -> Importer:
        as_before = known is not None and known.identity.startswith(legacy.PREFIX)
        if known is not None:
            source, ids = known.source, Ids(known.source, "" if as_before else known.identity)
        else:
            source, ids = self._stream_source, self._stream_ids
        changed = datetime.fromtimestamp(status.st_mtime, UTC) if status is not None else None

        def growth() -> Growth:
            return files.growth(growing) if growing is not None else ""

        if as_before:
            reader = Importer(source, ids=ids, times=LegacyTimestamps(self._options.zone), lines="off", growth=growth, plain=True)
        else:
            reader = Importer(source, ids=ids, times=self._options.times(changed), lines=self._options.lines, growth=growth)
        self._reader = (reader, report)
        return reader

    def _batches(self, reader: Importer, report: Report, entries: Iterable[Item | Refused | None], size: int) -> Iterator[Batch]:
        def refuse(entry: Refused) -> None:
            report.counts["invalid"] += 1
            self._refuse(report, entry)

        for items in importer.batches(entries, size, refuse):
            self.finish()
            yield Batch(report, items)
        self.finish()

    def _note(self, known: File | None, size: int, digest: str) -> None:
        """Remember how much of a file was read, and what that was."""
        if known is not None and self._memory is not None and size:
            with contextlib.suppress(sqlite3.Error):
                self._memory.note(replace(known, size=size, digest=digest))


def opened(name: str) -> contextlib.AbstractContextManager[IO[bytes]]:
    """Raises OSError."""
    if name != STDIN:
        return Path(name).open("rb")
    if sys.stdin is None:
        raise OSError(errno.EBADF, "stdin is closed")
    return contextlib.nullcontext(sys.stdin.buffer)


def size_of(name: str) -> int | None:
    """Bytes of the file `name`; None for stdin and what is no regular file."""
    path = Path(name)
    with contextlib.suppress(OSError):
        return path.stat().st_size if name != STDIN and path.is_file() else None
    return 0
