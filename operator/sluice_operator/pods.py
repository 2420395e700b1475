"""What Pods answer when the operator asks them itself: `/keyset` and readiness on the admin port, `whoami` on the service's.

A Pod that does not answer in time, or not what it should, has not answered. A few dozen are asked at a time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import datetime
from http import HTTPStatus

import aiohttp
import msgspec
from msgspec import Struct, field

from sluice_operator import cache
from sluice_operator.api_types import TargetReference
from sluice_operator.world import Report

TIMEOUT = aiohttp.ClientTimeout(total=2, connect=1)
AT_ONCE = 40
MAX_BYTES = 4 << 20


class KeysetAnswer(Struct, frozen=True, rename="camel"):
    """Of `GET /keyset` what is read, as the service and the recipe in docs/operator.md answer it. The dates may be left out."""

    revision: str | None
    last_used: dict[str, str] = field(default_factory=dict)
    last_refused: dict[str, str] = field(default_factory=dict)


class Identity(Struct, frozen=True):
    key_id: str
    version: int


class WhoamiAnswer(Struct, frozen=True):
    data: Identity


class Heard(Struct, frozen=True):
    """A Pod's answer. `last_used`, `last_refused`: by `keyId/version`."""

    report: Report
    last_used: Mapping[str, datetime]
    last_refused: Mapping[str, datetime]


class Asker:
    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None
        self._room = asyncio.Semaphore(AT_ONCE)

    async def keyset(self, ip: str, target: TargetReference) -> Heard | None:
        body = await self._get(ip, target.admin_port, target.keyset_path)
        try:
            answer = msgspec.json.decode(body or b"", type=KeysetAnswer)
        except msgspec.DecodeError:
            return None
        return Heard(Report(answer.revision), dates(answer.last_used), dates(answer.last_refused))

    async def whoami(self, ip: str, target: TargetReference, key: str) -> Identity | None:
        """Whom the Pod takes the owner of `key` for; None: it does not accept it."""
        body = await self._get(ip, target.service_port, target.whoami_path, {"X-API-Key": key})
        try:
            return msgspec.json.decode(body or b"", type=WhoamiAnswer).data
        except msgspec.DecodeError:
            return None

    async def ready(self, ip: str, port: int, path: str) -> bool:
        return await self._get(ip, port, path) is not None

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def _get(self, ip: str, port: int, path: str, headers: Mapping[str, str] | None = None) -> bytes | None:
        """The body of a 200; None: anything else. Redirects are not followed: a key is sent to the Pod and nowhere else."""
        if self._session is None:
            connector = aiohttp.TCPConnector(limit=AT_ONCE, force_close=True)
            self._session = aiohttp.ClientSession(connector=connector, timeout=TIMEOUT, trust_env=False)
        host = f"[{ip}]" if ":" in ip else ip
        try:
            async with (
                self._room,
                self._session.get(f"http://{host}:{port}{path}", headers=headers, allow_redirects=False) as answer,
            ):
                if answer.status != HTTPStatus.OK:
                    return None
                return await read_all(answer.content)
        except (aiohttp.ClientError, TimeoutError, OSError):
            return None


def dates(told: Mapping[str, str]) -> dict[str, datetime]:
    """Those that are dates."""
    read = {name: cache.moment(text) for name, text in told.items()}
    return {name: date for name, date in read.items() if date is not None}


async def read_all(content: aiohttp.StreamReader) -> bytes | None:
    """All of it; None: it is too large to be an answer."""
    pieces, size = [], 0
    async for piece in content.iter_any():
        pieces.append(piece)
        size += len(piece)
        if size > MAX_BYTES:
            return None
    return b"".join(pieces)
