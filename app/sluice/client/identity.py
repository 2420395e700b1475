"""Which file is this? Decides what makes the events of one file others than the equal lines of another file.

A file is known by its place (machine, directory, name without what rotation and compression add) and by how it begins. What was
imported before is remembered on this machine, as log shippers do: so a file that grew, was renamed, moved or compressed stays the
same one, and two files that begin alike and differ are two. Without that memory a file is still recognised in its own place.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path, PurePath

# How much of a file's beginning is its fingerprint. Less content than that is no proof that a file was moved.
FINGERPRINT_BYTES = 1024
# What logrotate, kubelet, log4j and Python's logging add to the name of a file that they rotate, and what compression adds.
ADDED = re.compile(
    r"""(?<=.)(?:
        \.(?:gz|xz|bz2|zst|zip)
      | \.\d{1,3}
      | \.old
      | [.-]\d{4}-?\d\d-?\d\d(?:[T_.-]?\d\d(?:[:_-]?\d\d){0,2})?
      | -\d{10}
    )$""",
    re.VERBOSE | re.ASCII,
)
MACHINE = Path("/etc/machine-id")
SCHEMA = """
CREATE TABLE IF NOT EXISTS files (
    service TEXT, identity TEXT, source TEXT, directory TEXT, stem TEXT, path TEXT, device INTEGER, inode INTEGER,
    compressed INTEGER, head_size INTEGER, head TEXT, size INTEGER, digest TEXT, seen REAL,
    PRIMARY KEY (service, identity)
);
CREATE INDEX IF NOT EXISTS files_by_head ON files (service, head_size, head);
"""
# Small files have as many sizes as there are. Each is one step in the index, whatever is remembered.
BEGIN_LIKE = """
WITH RECURSIVE sizes (size) AS (
    SELECT min(head_size) FROM files WHERE service = ?1
    UNION ALL
    SELECT (SELECT min(head_size) FROM files WHERE service = ?1 AND head_size > sizes.size) FROM sizes WHERE sizes.size < ?2
)
SELECT files.* FROM sizes CROSS JOIN files
ON service = ?1 AND head_size = sizes.size AND head = beginning(sizes.size) WHERE sizes.size <= ?2
"""


@dataclass(frozen=True)
class File:
    """A file, or a zip archive's member, as it is now or was when it was last imported.

    `identity` goes into the ids of its events and `source` into the events. `size` and `digest` (SHA-256) are of as much of its
    inflated content as was read, `head_size` and `head` of its first FINGERPRINT_BYTES at most.
    """

    identity: str
    source: str
    directory: str
    stem: str
    path: str
    device: int
    inode: int
    compressed: bool
    head_size: int
    head: str
    size: int
    digest: str


def look_at(path: Path, status: os.stat_result, member: str, head: bytes, *, compressed: bool, is_log: bool) -> File:
    """The file at `path` with `status`, whose inflated content begins with `head`. `is_log`: it grows at its end only.

    Its identity is the one that needs no memory: place and first line. The path may name another file by now, or none.
    """
    resolved = path.resolve()
    inner = PurePath(member)
    directory = resolved.parent / inner.parent if member else resolved.parent
    stem = stem_of(inner.name if member else resolved.name)
    head = head[:FINGERPRINT_BYTES]
    digest = digest_of(head)
    # A first line never changes while a log grows; a JSON array has none.
    first = head.partition(b"\n")[0] if is_log else b""
    place = "\0".join((machine(), str(directory), stem))
    identity = hashlib.sha256(in_bytes(place) + b"\0" + first).hexdigest()[:32]
    path_and_member = f"{resolved}!{member}" if member else str(resolved)
    return File(
        identity, storable(stem), str(directory), stem, path_and_member, status.st_dev, status.st_ino,
        compressed, len(head), digest, len(head), digest,
    )  # fmt: skip


def digest_of(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def machine() -> str:
    """What tells this machine from others with the same paths. A container has nothing of the kind that lasts."""
    try:
        return MACHINE.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return ""


def stem_of(name: str) -> str:
    """`name` before it was rotated or compressed: app.log for app.log.2.gz."""
    while stripped := ADDED.sub("", name):
        if stripped == name:
            break
        name = stripped
    return name


def storable(text: str) -> str:
    """`text` as the service can take it: a name that is not UTF-8 reaches Python with lone surrogates; 255 characters."""
    return text.encode("utf-8", "backslashreplace").decode()[-255:]


def in_bytes(name: str) -> bytes:
    """`name` as the file system has it: it may be no UTF-8, which Python shows by lone surrogates and SQLite refuses."""
    return name.encode("utf-8", "surrogateescape")


def of_bytes(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape")


class Memory:
    """What was imported from this machine into the service at `service`, in an SQLite file. Raises sqlite3.Error, OSError."""

    def __init__(self, file: Path, service: str) -> None:
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._service = service
        self._connection = sqlite3.connect(file, timeout=10, isolation_level=None)
        self._connection.row_factory = sqlite3.Row
        self._connection.text_factory = of_bytes
        try:
            self._connection.executescript(SCHEMA)
            # As safe from damage, with fewer waits for the disk.
            self._connection.executescript("PRAGMA journal_mode = TRUNCATE; PRAGMA synchronous = NORMAL;")
        except sqlite3.Error:
            self.close()
            raise

    def close(self) -> None:
        self._connection.close()

    def recognise(
        self,
        found: File,
        head: bytes,
        digests: Callable[[Iterable[int]], dict[int, str]],
        *,
        is_log: bool = True,
        unknown: Callable[[File], File | None] = lambda _found: None,
    ) -> File:
        """`found` with the identity and source that it has here, which are noted when it is new.

        `digests(sizes)`: the SHA-256 of its first N bytes for each N. `unknown(found)` may know a new file from elsewhere.
        """
        candidates = list(self._begin_like(head))
        known = digests({each.size for each in candidates if each.size > each.head_size})
        for each in sorted(candidates, key=lambda each: each.size, reverse=True):
            continues = each.size <= each.head_size or known.get(each.size) == each.digest
            if continues and same(found, each):
                return replace(found, identity=each.identity, source=each.source)
        if elsewhere := unknown(found):
            self.note(elsewhere)
            return elsewhere
        identity, number = found.identity, 1
        # A JSON array that was written anew is the same document; a log in the same place that does not go on is another.
        while is_log and self.holds(identity):
            number += 1
            identity = f"{found.identity}:{number}"
        found = replace(found, identity=identity)
        if found.head_size:
            self.note(found)
        return found

    def note(self, file: File) -> None:
        """Remember `file` as it is now; what is remembered already costs no write, of which a disk does few in a second."""
        if self._held(file.identity) == file:
            return
        self._connection.execute(
            "INSERT OR REPLACE INTO files"
            " VALUES (?, ?, ?, CAST(? AS TEXT), CAST(? AS TEXT), CAST(? AS TEXT), ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                self._service, file.identity, file.source, in_bytes(file.directory), in_bytes(file.stem), in_bytes(file.path),
                file.device, file.inode, file.compressed, file.head_size, file.head, file.size, file.digest, time.time(),
            ),
        )  # fmt: skip

    def _begin_like(self, head: bytes) -> Iterator[File]:
        head = head[:FINGERPRINT_BYTES]
        self._connection.create_function("beginning", 1, lambda size: digest_of(head[:size]))
        return map(file_of, self._connection.execute(BEGIN_LIKE, (self._service, len(head))).fetchall())

    def holds(self, identity: str) -> bool:
        return self._held(identity) is not None

    def _held(self, identity: str) -> File | None:
        query = "SELECT * FROM files WHERE service = ? AND identity = ?"
        row = self._connection.execute(query, (self._service, identity)).fetchone()
        return None if row is None else file_of(row)


def file_of(row: sqlite3.Row) -> File:
    fields = {name: row[name] for name in row.keys() if name not in ("service", "seen")}  # noqa: SIM118
    return File(**{**fields, "compressed": bool(fields["compressed"])})


def same(found: File, before: File) -> bool:
    """Whether `found`, whose content goes on where `before` ended, is the same file, and not a copy or one that looks alike."""
    if (found.device, found.inode, member_of(found.path)) == (before.device, before.inode, member_of(before.path)):
        return True
    proven = found.directory == before.directory or before.size >= FINGERPRINT_BYTES
    if is_still_there(before):
        # Two files with the same content in two places are two, unless one of them is the other one compressed.
        return proven and found.stem == before.stem and found.compressed != before.compressed
    return proven


def is_still_there(file: File) -> bool:
    """Whether the file has the content that it had, under its name or another one of its rotation."""
    path = Path(file.path.partition("!")[0])
    siblings: list[Path] = []
    with contextlib.suppress(OSError):
        siblings = [each for each in path.parent.iterdir() if stem_of(each.name) == file.stem]
    for each in (path, *siblings):
        with contextlib.suppress(OSError):
            status = each.stat()
            if (status.st_dev, status.st_ino) == (file.device, file.inode):
                return file.compressed or status.st_size >= file.size
    return False


def member_of(path: str) -> str:
    return path.partition("!")[2]
