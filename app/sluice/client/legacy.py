"""Files that release 0.1 imported go on as it read them, so that none of their events is stored a second time.

It knew a file by its name alone, found fewer times, and took each line for an event. Goes when no service has such files.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec

from sluice.client import files
from sluice.client.files import Format
from sluice.client.identity import File, storable
from sluice.client.importer import Importer, Item
from sluice.parsing.timestamps import Timestamps

PREFIX = "0.1:"
TIME = re.compile(
    r"\[?\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(?:[.,]\d{1,9})?(?: ?(?:Z|z|UTC|GMT|[+-]\d\d:?\d\d))?(?![\w:])", re.ASCII
)
FIELDS = ("timestamp", "@timestamp", "time")


class LegacyTimestamps(Timestamps):
    def of_line(self, line: str) -> str | None:
        return super().of_line(line) if TIME.match(line) else None

    def of_record(self, record: Mapping[str, Any]) -> str | None:
        texts = (record[name] for name in FIELDS if isinstance(record.get(name), str))
        return next(filter(None, (super(LegacyTimestamps, self).of_line(text) for text in texts if TIME.match(text))), None)


def names(path: Path, found: File) -> Iterator[str]:
    """The sources that 0.1 may have given to `found`: its name now, and before it was rotated."""
    yield from dict.fromkeys((storable(path.name.removesuffix(".gz")), found.source))


def first_id(head: bytes, source: str, times: Timestamps, format: Format) -> str | None:
    """The id that 0.1 gave to the first event of a file beginning with `head`; None when `head` does not hold all of it."""
    whole = head if format == "json" or len(head) < files.SNIFF_BYTES else head[: head.rfind(b"\n") + 1]
    reader = Importer(source, times=times, lines="off", plain=True)
    for entry in reader.read(io.BytesIO(whole), format):
        return str(msgspec.json.decode(entry.json)["event_id"]) if isinstance(entry, Item) else None
    return None


def recognise(
    path: Path,
    found: File,
    first_ids: Callable[[str], str | None],
    is_stored: Callable[[str], bool],
    is_taken: Callable[[str], bool],
) -> File | None:
    """`found` with the identity that it had in 0.1; None when it was not imported then.

    `first_ids(source)`: the id of its first event under that source, which `is_stored` knows. Two files had one identity if their
    names were equal: it goes to the first that comes, and `is_taken` for the next.
    """
    for source in names(path, found):
        if not is_taken(PREFIX + source) and (event_id := first_ids(source)) and is_stored(event_id):
            return replace(found, identity=PREFIX + source, source=source)
    return None
