"""Erases a user's events by way of the service, and exports them before."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from urllib.parse import urlencode

import msgspec
from urllib3.exceptions import HTTPError

from sluice import errors
from sluice.client.http import RETRIED, Answer, Client, ClientError, NoAnswer

READ_BYTES = 1 << 16
INDEX = "the database may need an index for it: sluice index add user_id"
SCOPES = {"GET": "read", "DELETE": "admin"}


class Erased(msgspec.Struct):
    """`data` of the service's answer; `events`: so far, over all requests of this erasure."""

    erasure: str
    events: int
    done: bool
    next_cursor: str | None
    looked_until: str | None


class Place(msgspec.Struct, order=True):
    """Of an event in the order of an export."""

    created_at: datetime
    id: int


class Newest(msgspec.Struct):
    """`data` of a page of one event, or none."""

    logs: list[Place]


class EraseClient(Client):
    """A client that exports and erases."""

    def export(self, user_id: str, path: Path, progress: Callable[[int], object]) -> int:
        """Write the user's events as NDJSON into the new file `path`, whole or not at all; how many.

        `progress` gets the number so far. Raises ClientError when the service does not give all of them, FileExistsError.
        """
        query = urlencode({"user_id": user_id}, errors="surrogateescape")
        deadline = self.deadline()
        with open(path, "xb", opener=private) as file, removed_unless_complete(path):

            def attempt() -> int | ClientError:
                file.seek(0)
                file.truncate()
                count, last, rest = 0, b"", b""
                try:
                    newest = self.newest(query, deadline)
                    for piece in self.stream(f"/api/v1/export?{query}"):
                        file.write(piece)
                        *whole, rest = (rest + piece).split(b"\n")
                        last = whole[-1] if whole else last
                        count += len(whole)
                        progress(count)
                except NoAnswer as error:
                    return error
                except HTTPError as error:
                    return ClientError(f"the export broke off ({type(error).__name__})", INDEX)
                except ClientError as error:
                    if error.status in RETRIED:
                        return error
                    raise
                # Over HTTP/1.0, which nginx speaks to a service by default, an export that breaks off looks like one that ends.
                if rest or not reaches(last, newest):
                    return ClientError("the export broke off (the newest event is not in it)", INDEX)
                file.flush()
                os.fsync(file.fileno())
                return count

            count = self.retry(attempt, deadline, lambda result: result.detail if isinstance(result, ClientError) else "")
            if isinstance(count, ClientError):
                raise count
            return count

    def newest(self, query: str, deadline: float) -> Place | None:
        """Where an export must come to at least; raises ClientError."""
        answer = self.request("GET", f"/api/v1/logs/filter?{query}&page_size=1", None, deadline)
        if answer.status != 200:
            raise refusal(self, "GET", answer)
        return next(iter(answer.data(Newest).logs), None)

    def stream(self, path: str) -> Iterator[bytes]:
        """The body of a 200, piece by piece; raises ClientError for any other answer and HTTPError when it breaks off."""
        response = self.send("GET", path, preload_content=False)
        try:
            answer = self.streamed(response, path, "application/x-ndjson")
            if answer is not None:
                raise refusal(self, "GET", answer)
            yield from response.stream(READ_BYTES)
        finally:
            response.release_conn()

    def erase(self, user_id: str) -> Iterator[Erased]:
        """Erase step by step; what was done after each answer, until it is done. Raises ClientError."""
        query = {"user_id": user_id}
        while True:
            answer = self.request("DELETE", f"/api/v1/events?{urlencode(query, errors='surrogateescape')}", None, self.deadline())
            if answer.status != 200:
                raise refusal(self, "DELETE", answer)
            erased = answer.data(Erased)
            yield erased
            if erased.done or erased.next_cursor is None:
                return
            query["cursor"] = erased.next_cursor


def reaches(line: bytes, newest: Place | None) -> bool:
    """Whether an export with this last line has the event that was the newest before it."""
    try:
        return newest is None or msgspec.json.decode(line, type=Place) >= newest
    except errors.NOT_JSON:
        return False


def refusal(client: Client, method: str, answer: Answer) -> ClientError:
    error = client.refusal(answer)
    if answer.status == 403 and answer.ours:
        return ClientError(error.what, f"use a key with the scope {SCOPES[method]}", 403)
    return error


def private(path: str, flags: int) -> int:
    """What is exported is somebody's own."""
    return os.open(path, flags, 0o600)


@contextlib.contextmanager
def removed_unless_complete(path: Path) -> Iterator[None]:
    try:
        yield
    except BaseException:
        path.unlink(missing_ok=True)
        raise
