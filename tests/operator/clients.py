"""Clients that take their key from the client Secret, as one that has it mounted does, and use it all the time.

Run as a process in the sandbox's network: `python -m tests.operator.clients KUBECONFIG NAMESPACE SECRET URL RATE [--pinned]`.
It reads the Secret again and again (pinned: once), asks `whoami` at RATE requests a second, each over a connection of its own,
and prints one line when the first answer is there, and one of JSON when its input ends.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import aiohttp
from tests.operator.reader import credentials

# How late a client is with a new key: longer than a file poll of the service, shorter than any overlap here.
POLL_SECONDS = 0.5
TIMEOUT = aiohttp.ClientTimeout(total=10)


class Clients:
    def __init__(self, kubeconfig: Path, namespace: str, secret: str, url: str, pinned: bool) -> None:
        self._config = json.loads(kubeconfig.read_text())
        self._path = f"/api/v1/namespaces/{namespace}/secrets/{secret}"
        self._url = f"{url}/api/v1/whoami"
        self._pinned = pinned
        self._key = ""
        self.answers: Counter[str] = Counter()
        self.versions: Counter[str] = Counter()
        self.last: dict[str, float] = {}
        self.first: dict[str, float] = {}

    async def follow(self) -> None:
        """Read the key again and again."""
        server = self._config["clusters"][0]["cluster"]["server"]
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=credentials(self._config))) as session:
            while True:
                # The API server may be away; the key stays.
                with contextlib.suppress(aiohttp.ClientError, TimeoutError):
                    await self._read(session, f"{server}{self._path}")
                if self._pinned and self._key:
                    return
                await asyncio.sleep(POLL_SECONDS if self._key else 0.02)

    async def _read(self, session: aiohttp.ClientSession, url: str) -> None:
        async with session.get(url, timeout=TIMEOUT) as answer:
            if answer.status == 200:
                data = (await answer.json()).get("data") or {}
                self._key = base64.b64decode(data.get("key", "")).decode() or self._key

    async def send(self, rate: float, session: aiohttp.ClientSession) -> None:
        due = time.monotonic()
        while True:
            if self._key:
                task = asyncio.create_task(self._ask(session, self._key))
                RUNNING.add(task)
                task.add_done_callback(RUNNING.discard)
            due += 1 / rate
            await asyncio.sleep(max(0.0, due - time.monotonic()))

    async def _ask(self, session: aiohttp.ClientSession, key: str) -> None:
        try:
            async with session.get(self._url, headers={"X-API-Key": key}, timeout=TIMEOUT) as answer:
                body = await answer.json(content_type=None)
                self._count(str(answer.status))
                if answer.status == 200:
                    self.versions[str(body["data"]["version"])] += 1
        except (aiohttp.ClientError, TimeoutError) as error:
            self._count(type(error).__name__)

    def _count(self, answer: str) -> None:
        now = time.time()
        if not self.answers:
            print("started", flush=True)
        self.answers[answer] += 1
        self.last[answer] = now
        self.first.setdefault(answer, now)

    def result(self) -> dict[str, Any]:
        return {"answers": self.answers, "versions": self.versions, "first": self.first, "last": self.last}


RUNNING: set[asyncio.Task[None]] = set()


async def main(kubeconfig: str, namespace: str, secret: str, url: str, rate: str, *options: str) -> None:
    clients = Clients(Path(kubeconfig), namespace, secret, url, "--pinned" in options)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True, limit=0)) as session:
        tasks = [asyncio.create_task(clients.follow()), asyncio.create_task(clients.send(float(rate), session))]
        await asyncio.to_thread(sys.stdin.read)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, *RUNNING, return_exceptions=True)
    print(json.dumps(clients.result()), flush=True)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
