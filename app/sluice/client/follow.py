"""Reads a log while it is written, as `tail -F` does: across rotation by renaming, and truncation in place."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from sluice.client.framing import MAX_RAW_BYTES, READ_BYTES, TooLong

# Seconds between two looks, and how many looks a file that was renamed must be quiet before it is left for the new one.
POLL = 0.5
QUIET_LOOKS = 4
HEAD_BYTES = 1024


def generations(path: Path, sleep: Callable[[float], object]) -> Iterator[tuple[BinaryIO, Iterator[bytes | None]]]:
    """Each file that `path` is in turn, and its lines; None is a pause. A new one begins when it is rotated or truncated."""
    while True:
        try:
            file = path.open("rb")
        except FileNotFoundError:  # between the two steps of a rotation
            sleep(POLL)
            continue
        with file:
            yield file, lines(path, file, sleep)


def lines(path: Path, file: BinaryIO, sleep: Callable[[float], object]) -> Iterator[bytes | None]:
    """The lines of `file` until it is no longer what `path` names. A last line without an end is given when it ends."""
    rest = b""
    quiet = 0
    head = os.pread(file.fileno(), HEAD_BYTES, 0)
    while not was_truncated(file, head):
        if chunk := file.read(READ_BYTES):
            quiet = 0
            *whole, rest = (rest + chunk).split(b"\n")
            for line in whole:
                yield line.removesuffix(b"\r") if len(line) <= MAX_RAW_BYTES else TooLong(line[:MAX_RAW_BYTES])
            if len(rest) > MAX_RAW_BYTES:
                # What is beyond is not kept; TooLong comes when the line ends.
                rest = rest[: MAX_RAW_BYTES + 1]
            continue
        yield None
        head = os.pread(file.fileno(), HEAD_BYTES, 0)
        quiet = quiet + 1 if is_another(path, file) else 0
        if quiet >= QUIET_LOOKS:
            break
        sleep(POLL)
    if rest:
        yield rest


def was_truncated(file: BinaryIO, head: bytes) -> bool:
    """It is shorter than what was read, or grew again since but begins with something else."""
    return os.fstat(file.fileno()).st_size < file.tell() or os.pread(file.fileno(), len(head), 0) != head


def is_another(path: Path, file: BinaryIO) -> bool:
    """Whether `path` names another file by now. While it names none, its writer still has this one."""
    try:
        there = path.stat()
    except OSError:
        return False
    here = os.fstat(file.fileno())
    return (there.st_dev, there.st_ino) != (here.st_dev, here.st_ino)
