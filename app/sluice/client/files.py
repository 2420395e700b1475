"""Opens what people import: files, zip members and stdin, inflated by their content, whatever they are called.

Also answers two questions about them: does it look binary, and does somebody still write to it?
"""

from __future__ import annotations

import bz2
import codecs
import contextlib
import functools
import gzip
import hashlib
import io
import lzma
import os
import re
import select
import shutil
import stat
import struct
import tempfile
import time
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO, Any, Literal, NamedTuple, cast

import zstandard

from sluice.client.framing import READ_BYTES

Format = Literal["ndjson", "json", "lines"]
Growth = Literal["open", "recent", ""]
FORMATS: tuple[Format, ...] = ("ndjson", "json", "lines")

SNIFF_BYTES = 4096
# A gzip file in a zip archive is two layers.
MAX_LAYERS = 4
# A file that was written to in the last seconds may get the rest of its last line in the next ones.
GROWS_SECONDS = 10.0
# What came through a pipe is sent when nothing follows for so long.
QUIET_SECONDS = 0.5
# Memory that a decompressor may take; `xz -9` takes 65 MiB.
MAX_WINDOW = 128 << 20
# Small: no library bounds what one piece gives.
PIECE_BYTES = 1024

ZIP = re.compile(rb"PK(?:\x03\x04|\x05\x06)")
# A `[` alone is no sign of JSON: the kernel's and many programs' lines begin with one. An object may take several lines.
LOOKS_LIKE_JSON = re.compile(rb'\s*(?:\[\s*(?:\{|\]\s*\Z)|\{[ \t]*\r?\n\s*"|\{\s*"[Rr]ecords"\s*:\s*\[)')
LOOKS_LIKE_OBJECT = re.compile(rb'\s*\{\s*["}]')
# Tab, the line ends, bell, backspace, form feed and the escape of colours are what logs hold.
CONTROL = re.compile(rb"[\x00-\x06\x0e-\x1a\x1c-\x1f]")
MAX_CONTROL_SHARE = 0.05
# What else is known by its first bytes, and what to do with it.
BINARY = (
    (re.compile(rb"LPKSHHRH"), "a systemd journal; use `journalctl --file FILE -o json | sluice import -`"),
    (re.compile(rb"__CURSOR="), "systemd's export format; `journalctl -o json` writes what is read"),
    (re.compile(rb".{257}ustar", re.DOTALL), "a tar archive; unpack it first"),
    (re.compile(rb"\x04\x22\x4d\x18"), "lz4, which is not read; use `lz4 -dc FILE | sluice import -`"),
    (re.compile(rb"7z\xbc\xaf|Rar!"), "an archive that is not read; unpack it first"),
    (re.compile(rb"%PDF-|\x7fELF|\x89PNG|SQLite format 3"), "no log"),
)
# What reading a broken input raises.
UNREADABLE = (EOFError, OSError, zlib.error, lzma.LZMAError, zstandard.ZstdError, zipfile.BadZipFile)


class Pieces(io.RawIOBase):
    """A raw stream over `pull`, which returns the next bytes, and none at the end."""

    def __init__(self, pull: Callable[[], bytes]) -> None:
        self._pull = pull
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        chunk = self._rest or memoryview(self._pull())
        # A view: what a bomb inflates to at once is not copied for each read.
        self._rest = chunk[len(buffer) :]
        chunk = chunk[: len(buffer)]
        buffer[: len(chunk)] = chunk
        return len(chunk)


class Pipe(io.BufferedIOBase):
    """A pipe or terminal that can tell whether it has something to read by now."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._held = b""

    def peek(self, size: int) -> bytes:
        self._held = self._held or os.read(self._file.fileno(), READ_BYTES)
        return self._held

    def readable(self) -> bool:
        return True

    def read1(self, size: int = READ_BYTES) -> bytes:
        chunk = self.peek(size)[:size]
        self._held = self._held[size:]
        return chunk

    def read(self, size: int | None = None) -> bytes:
        """As read1: fewer bytes than asked for are no sign of the end."""
        return self.read1(size or READ_BYTES)

    def quiet(self) -> bool:
        return not self._held and not select.select([self._file], [], [], QUIET_SECONDS)[0]


class Peeked(io.RawIOBase):
    """A stream whose first bytes can be looked at before they are read, however few a pipe gives at a time.

    `taken`: bytes read from below so far, `digest`: their SHA-256; `digests`: that of the first N bytes for each N of `marks`,
    as far as it was read. An error met while looking is raised when reading gets there.
    """

    def __init__(self, below: io.BufferedIOBase, marks: Iterable[int] = ()) -> None:
        self._below = below
        self._marks = sorted(marks)
        self.digests: dict[int, str] = {}
        self._head = b""
        self._broken: Exception | None = None
        self.taken = 0
        self.digest = hashlib.sha256()

    def look(self, size: int) -> bytes:
        try:
            while not self._broken and len(self._head) < size and not (self._head and self.quiet()):
                if not (chunk := self._take(size - len(self._head))):
                    break
                self._head += chunk
        except UNREADABLE as error:
            self._broken = error
        return self._head

    def quiet(self) -> bool:
        """Whether it is a pipe that has nothing to read for a moment."""
        return isinstance(self._below, Pipe) and self._below.quiet()

    def pieces(self) -> Iterator[bytes | None]:
        """All of it, as it comes; None at each pause."""
        while True:
            if not self._head and self.quiet():
                yield None
            if not (chunk := self.read(READ_BYTES)):
                return
            yield chunk

    def skip(self, prefix: bytes) -> None:
        self._head = self._head.removeprefix(prefix)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        chunk = self._head[: len(buffer)]
        self._head = self._head[len(chunk) :]
        if not chunk:
            if self._broken:
                raise self._broken
            chunk = self._take(len(buffer))
        buffer[: len(chunk)] = chunk
        return len(chunk)

    def _take(self, size: int) -> bytes:
        chunk = self._below.read1(size)  # read() would lose what comes before an error
        while self._marks and self._marks[0] <= self.taken + len(chunk):
            partly = self.digest.copy()
            partly.update(chunk[: self._marks[0] - self.taken])
            self.digests[self._marks.pop(0)] = partly.hexdigest()
        self.taken += len(chunk)
        self.digest.update(chunk)
        return chunk


def inflated(new: Callable[[], Any], file: io.BufferedReader) -> io.BufferedIOBase:
    """Frames or streams after each other, each for a decompressor that `new` makes.

    zstandard's own reader takes a file that is cut off for a whole one; lzma's takes as much memory as the file asks for.
    """
    stream, rest = new(), b""
    started = False

    def pull() -> bytes:
        nonlocal stream, rest, started
        while True:
            rest = rest or file.read1(PIECE_BYTES)
            if not rest and started:
                raise EOFError("the compressed stream is cut off")
            if not rest:
                return b""
            if not started:
                # What xz pads streams with.
                rest = rest.lstrip(b"\0")
            piece, rest = rest[:PIECE_BYTES], rest[PIECE_BYTES:]
            started = started or bool(piece)
            text: bytes = stream.decompress(piece)
            if stream.eof:
                rest = stream.unused_data + rest
                stream, started = new(), False
            if text:
                return text

    return io.BufferedReader(Pieces(pull))


def zstd() -> zstandard.ZstdDecompressionObj:
    return zstandard.ZstdDecompressor(max_window_size=MAX_WINDOW).decompressobj()


CODINGS: tuple[tuple[re.Pattern[bytes], Callable[[io.BufferedReader], io.BufferedIOBase]], ...] = (
    (re.compile(rb"\x1f\x8b\x08"), lambda file: gzip.GzipFile(fileobj=file)),
    (re.compile(rb"BZh[1-9](?:1AY&SY|\x17rE8P\x90)"), bz2.BZ2File),
    (re.compile(rb"\xfd7zXZ\0"), functools.partial(inflated, lambda: lzma.LZMADecompressor(memlimit=MAX_WINDOW))),
    # A skippable frame may come first, as pzstd writes it.
    (re.compile(rb"\x28\xb5\x2f\xfd|[\x50-\x5f]\x2a\x4d\x18"), functools.partial(inflated, zstd)),
)


class Input:
    """The text of a file or pipe as UTF-8, inflated.

    `head`: its first bytes. `format`: how it is written. `compressed`: whether it was; `layered`: that, or not UTF-8. `binary`:
    why it does not look like text, or empty. `size`: bytes to read in all, None for a pipe; `position`: how many of them were
    read.
    """

    def __init__(self, file: io.BufferedIOBase, size: int | None = None, marks: Iterable[int] = ()) -> None:
        self._raw = text = Peeked(file, marks)
        self.size = size_of(file) if size is None else size
        self.compressed = False
        for _ in range(MAX_LAYERS):
            inflate = next((inflate for magic, inflate in CODINGS if magic.match(text.look(16))), None)
            if inflate is None:
                break
            text = Peeked(inflate(io.BufferedReader(text)), marks)
            self.compressed = True
        self.text = text
        if text.look(SNIFF_BYTES).startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            text = Peeked(from_utf16(io.BufferedReader(text)))
        self.layered = text is not self._raw
        head = text.look(SNIFF_BYTES)
        text.skip(codecs.BOM_UTF8)
        self.head = head.removeprefix(codecs.BOM_UTF8)
        self.format = sniff(self.head)
        self.stream = io.BufferedReader(text, READ_BYTES)
        self.live = text if isinstance(file, Pipe) and not self.layered else None

    @property
    def position(self) -> int:
        return self._raw.taken

    @property
    def binary(self) -> str:
        for magic, what in BINARY:
            if magic.match(self.head):
                return what
        controls = len(CONTROL.findall(self.head))
        return (
            f"{controls} of its first {len(self.head)} bytes are no text" if controls > MAX_CONTROL_SHARE * len(self.head) else ""
        )


def from_utf16(file: io.BufferedReader) -> io.BufferedIOBase:
    decoder = codecs.getincrementaldecoder("utf-16")("replace")

    def pull() -> bytes:
        while chunk := file.read1(READ_BYTES):
            if text := decoder.decode(chunk):
                return text.encode("utf-8", "replace")
        return decoder.decode(b"", True).encode("utf-8", "replace")

    return io.BufferedReader(Pieces(pull))


def is_pipe(file: IO[bytes]) -> bool:
    try:
        return not stat.S_ISREG(os.fstat(file.fileno()).st_mode)
    except (OSError, ValueError):  # a test's
        return False


def size_of(file: io.BufferedIOBase) -> int | None:
    try:
        status = os.fstat(file.fileno())
    except OSError:
        return None
    return status.st_size if stat.S_ISREG(status.st_mode) else None


def sniff(head: bytes) -> Format:
    """The format that text beginning with `head` is in."""
    if LOOKS_LIKE_JSON.match(head):
        return "json"
    return "ndjson" if LOOKS_LIKE_OBJECT.match(head) else "lines"


class Openable(NamedTuple):
    """Something to import: `member` is its name in a zip archive, or empty. `open(marks)` begins at its start again."""

    member: str
    open: Callable[[Iterable[int]], Input]


@contextlib.contextmanager
def broken_archive() -> Iterator[None]:
    """Raises BadZipFile for what zipfile trips over: garbled numbers and names, a coding it does not know, a password."""
    try:
        yield
    except (ValueError, LookupError, RuntimeError, OverflowError, struct.error) as error:
        raise zipfile.BadZipFile(f"the zip archive is broken or of a kind that is not read ({error})") from error


@contextlib.contextmanager
def opened(file: IO[bytes]) -> Iterator[list[Openable]]:
    """What is in `file`: itself, or the members of a zip archive. A pipe can be opened once.

    Raises one of UNREADABLE for a broken archive.
    """
    if is_pipe(file):
        file = cast(IO[bytes], Pipe(file))
    raw = cast(io.BufferedReader, file if hasattr(file, "peek") else io.BufferedReader(cast(io.RawIOBase, file)))
    if not ZIP.match(raw.peek(4)):

        def open_again(marks: Iterable[int] = ()) -> Input:
            if raw.seekable():
                raw.seek(0)
            return Input(raw, marks=marks)

        yield [Openable("", open_again)]
        return
    with contextlib.ExitStack() as stack:
        if not raw.seekable():
            # The directory of a zip archive is at its end.
            spooled = stack.enter_context(tempfile.TemporaryFile())
            shutil.copyfileobj(raw, spooled)
            raw = cast(io.BufferedReader, spooled)
        with broken_archive():
            archive = stack.enter_context(zipfile.ZipFile(raw))
            members = [member for member in archive.infolist() if not member.is_dir()]

        def open_member(member: zipfile.ZipInfo, marks: Iterable[int] = ()) -> Input:
            with broken_archive():
                file = archive.open(member)
            found = Input(cast(io.BufferedIOBase, file), member.file_size, marks)
            found.compressed = True
            return found

        yield [Openable(member.filename, functools.partial(open_member, member)) for member in members]


def growth(path: Path, now: Callable[[], float] = time.time) -> Growth:
    """Whether a process that we may look at has `path` open for writing, or else it was written to in the last seconds."""
    try:
        status = path.stat()
    except OSError:
        return ""
    if is_open_for_writing(status.st_dev, status.st_ino):
        return "open"
    return "recent" if now() - status.st_mtime < GROWS_SECONDS else ""


def is_open_for_writing(device: int, inode: int) -> bool:
    """Linux tells by /proc; elsewhere the answer is no."""
    for descriptor in Path("/proc").glob("[0-9]*/fd/*"):
        with contextlib.suppress(OSError, IndexError, ValueError):
            status = descriptor.stat()
            if (status.st_dev, status.st_ino) == (device, inode):
                flags = (descriptor.parent.parent / "fdinfo" / descriptor.name).read_text().split("flags:")[1].split()[0]
                if int(flags, 8) & os.O_ACCMODE != os.O_RDONLY:
                    return True
    return False
