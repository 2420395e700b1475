"""Reads events of a service: as they are committed, or page by page."""

from __future__ import annotations

import contextlib
import functools
import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

import msgspec
import urllib3
from urllib3.exceptions import HTTPError

from sluice.client.http import RETRIED, Client, ClientError, NoAnswer

COLLECTED = "does a proxy before it collect answers? It has to pass a tail on as it comes (nginx: proxy_buffering off)"
TAIL, FILTER = "/api/v1/logs/tail", "/api/v1/logs/filter"
MAX_PAGE = 1000
Log = dict[str, Any]
Parameters = list[tuple[str, str]]


@dataclass
class Notice:
    """One event of the stream: of `kind` message it is an event that was stored, else `lost` or `end`."""

    kind: str = "message"
    id: str = ""
    data: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        return "\n".join(self.data)


class Page(msgspec.Struct):
    """`data` of one page."""

    logs: list[msgspec.Raw]
    total_count: int
    total_count_exact: bool
    next_cursor: str | None


class ReadClient(Client):
    """A client that reads."""

    def tail(self, filters: Parameters) -> Iterator[Notice]:
        """What comes, for ever; a stream that ends is opened again behind the last event. Raises ClientError."""
        last = ""
        while True:
            response, pieces = self._open(
                f"{TAIL}?{urlencode(filters, errors='surrogateescape')}", {"Last-Event-ID": last} if last else {}
            )
            try:
                for notice in notices(lines(pieces)):
                    last = notice.id or last
                    if notice.data and notice.kind != "end":
                        yield notice
            except HTTPError:
                pass
            finally:
                response.close()

    def pages(self, filters: Parameters, size: int) -> Iterator[Page]:
        """Pages of up to `size` events, newest first; raises ClientError."""
        query = [*filters, ("page_size", str(size))]
        cursor: str | None = None
        while True:
            asked = urlencode([*query, ("cursor", cursor)] if cursor else query, errors="surrogateescape")
            answer = self.request("GET", f"{FILTER}?{asked}", None, self.deadline())
            if answer.status != 200:
                raise self._reading_refusal(answer)
            page = answer.data(Page)
            yield page
            cursor = page.next_cursor
            if cursor is None:
                return

    def _open(self, path: str, headers: Mapping[str, str]) -> tuple[urllib3.BaseHTTPResponse, Iterator[bytes]]:
        """A stream and its pieces, as they come. It begins with some, so one without any is not that of the service."""

        def attempt() -> tuple[urllib3.BaseHTTPResponse, Iterator[bytes]] | ClientError:
            try:
                response = self.send("GET", path, headers, preload_content=False)
            except NoAnswer as error:
                return error
            answer = self.streamed(response, path, "text/event-stream")
            if answer is None:
                # Not by `stream`: of an answer over HTTP/1.0 it waits for as many bytes as it is asked for.
                pieces = iter(functools.partial(response.read1, 1 << 16), b"")
                with contextlib.suppress(HTTPError):
                    if first := next(pieces, b""):
                        return response, itertools.chain((first,), pieces)
                response.close()
                return ClientError(f"the tail of {self.url} begins, and nothing comes", COLLECTED)
            refusal = self._reading_refusal(answer)
            if answer.status in RETRIED:
                return refusal
            raise refusal

        found = self.retry(attempt, self.deadline(), lambda result: result.detail if isinstance(result, ClientError) else "")
        if isinstance(found, ClientError):
            raise found
        return found

    def _reading_refusal(self, answer: Any) -> ClientError:
        error = self.refusal(answer)
        fix = {400: "`sluice query --help` says how filters are written", 403: "use a key with the scope read"}
        return ClientError(error.what, fix[answer.status], answer.status) if answer.ours and answer.status in fix else error


def lines(pieces: Iterable[bytes]) -> Iterator[str]:
    """The whole lines of a stream; what comes after the last one broke off."""
    rest = b""
    for piece in pieces:
        *whole, rest = (rest + piece).split(b"\n")
        for line in whole:
            yield line.decode(errors="replace").removesuffix("\r")


def notices(lines: Iterable[str]) -> Iterator[Notice]:
    """Server-Sent Events, also an id alone; one that broke off is none."""
    notice = Notice()
    for line in lines:
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if not line:
            if notice.data or notice.id:
                yield notice
            notice = Notice()
        elif name == "data":
            notice.data.append(value)
        elif name == "event":
            notice.kind = value
        elif name == "id":
            notice.id = value


def safe(json: str) -> str:
    """Text that a terminal shows and does not obey; of JSON it means the same."""
    return "".join(letter if letter.isprintable() else escaped(letter) for letter in json)


def escaped(letter: str) -> str:
    units = letter.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[i]:02x}{units[i + 1]:02x}" for i in range(0, len(units), 2))


def moment(log: Log) -> str:
    """When it was, in UTC and to milliseconds, without saying so."""
    text: str = log["timestamp"]
    return text.removesuffix("+00:00").removesuffix("Z")[:23]


def compact(value: object) -> str:
    """A value of an event as one cell: text as it is, all else as JSON, nothing for null."""
    if value is None:
        return ""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
