"""Reads a log while it is written, as `tail -F` does: across rotation by renaming, and truncation in place."""

from __future__ import annotations

import codecs
import contextlib
import hashlib
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from sluice.client.framing import READ_BYTES, Splitter
from sluice.client.reading import safe

# Seconds between two looks, and how many looks a file that was renamed must be quiet before it is left for the new one.
POLL = 0.5
QUIET_LOOKS = 4
HEAD_BYTES = 1024


class Generation:
    """One of the files that `path` is in turn. `size` and `digest` (SHA-256): of what was read of it so far.

    `later` gets those that come after it, open: each may be renamed, too, before its turn comes.
    """

    def __init__(self, path: Path, file: BinaryIO, later: deque[BinaryIO]) -> None:
        self._path = path
        self._file = file
        self._later = later
        self._head = b""
        self.size = 0
        self.digest = hashlib.sha256()

    def head(self, size: int) -> bytes:
        """Its first bytes, as they are now."""
        return os.pread(self._file.fileno(), size, 0)

    def status(self) -> os.stat_result:
        """Of the file itself: the path may name another one by now, or none."""
        return os.fstat(self._file.fileno())

    def digests(self, sizes: Iterable[int]) -> dict[int, str]:
        """The SHA-256 of its first N bytes for each N of `sizes`, as far as it has them now."""
        found, digest, at = {}, hashlib.sha256(), 0
        for size in sorted(sizes):
            while chunk := os.pread(self._file.fileno(), min(size - at, READ_BYTES), at):
                digest.update(chunk)
                at += len(chunk)
            if at == size:
                found[size] = digest.hexdigest()
        return found

    def lines(self, sleep: Callable[[float], object]) -> Iterator[bytes | None]:
        """Its lines until it is no longer what the path names; None is a pause.

        A last line without an end is given when it ends.
        """
        splitter = Splitter()
        quiet = 0
        self._head = self.head(HEAD_BYTES)
        while not self._was_truncated():
            if chunk := self._file.read(READ_BYTES):
                quiet = 0
                text = chunk if self.size else chunk.removeprefix(codecs.BOM_UTF8)
                self.size += len(chunk)
                self.digest.update(chunk)
                yield from splitter.feed(text)
                continue
            yield None
            self._head = self.head(HEAD_BYTES)
            quiet = quiet + 1 if self._is_another() else 0
            # Two that came since are enough: of those that wait there must not be ever more.
            if quiet >= QUIET_LOOKS or len(self._later) > 1:
                break
            sleep(POLL)
        if splitter.rest:
            yield splitter.rest

    def _was_truncated(self) -> bool:
        """It is shorter than what was read, or grew again since but begins with something else."""
        return self.status().st_size < self.size or self.head(len(self._head)) != self._head

    def _is_another(self) -> bool:
        """Whether the path names another file by now. While it names none, its writer still has this one."""
        newest = self._later[-1] if self._later else self._file
        try:
            another = not os.path.samestat(self._path.stat(), os.fstat(newest.fileno()))
        except OSError:
            return bool(self._later)
        if another:
            with contextlib.suppress(OSError):
                self._later.append(self._path.open("rb"))
        return another or bool(self._later)


def generations(path: Path, sleep: Callable[[float], object], on_wait: Callable[[str, float], None]) -> Iterator[Generation]:
    """Each file that `path` is in turn: a new one begins when it is rotated or truncated.

    `on_wait` gets the reason while there is one that cannot be read.
    """
    later: deque[BinaryIO] = deque()
    with contextlib.ExitStack() as stack:
        stack.callback(lambda: [file.close() for file in later])
        while True:
            try:
                file = later.popleft() if later else path.open("rb")
            except OSError as error:
                # Between the two steps of a rotation there is none, or one whose owner and mode are still to be set.
                if not isinstance(error, FileNotFoundError):
                    on_wait(f"{safe(str(path))} cannot be read: {error.strerror}", POLL)
                sleep(POLL)
                continue
            with file:
                yield Generation(path, file, later)
