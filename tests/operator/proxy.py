"""A proxy before the API server that counts writes and, at one of them, loses it: before it was done, or its answer after.

Run as a process in the sandbox's network: `python -m tests.operator.proxy KUBECONFIG SOCKET`. It prints its port, passes all on,
and takes one command of JSON a line on the unix socket: {"do": "arm", "at": 3, "how": "after"}, {"do": "look"}, {"do": "reset"}.
"""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import ssl
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

WRITES = ("POST", "PATCH", "PUT", "DELETE")
# The Lease is written all the time, and events tell of what was done.
UNCOUNTED = ("/leases", "/events")
HOP = ("host", "connection", "transfer-encoding", "content-length", "keep-alive")
FOREVER = 3600


class Proxy:
    def __init__(self, server: str, context: ssl.SSLContext) -> None:
        self._server = server
        self._context = context
        self._session: aiohttp.ClientSession | None = None
        self.writes: list[str] = []
        self.at = 0
        self.how = ""
        self.fired = False

    async def handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        fault = self._count(request)
        if fault == "before":
            await asyncio.sleep(FOREVER)
        if self._session is None:
            connector = aiohttp.TCPConnector(limit=0, ssl=self._context)
            self._session = aiohttp.ClientSession(connector=connector, auto_decompress=False)
        headers = kept(request.headers)
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=5)
        url = f"{self._server}{request.path_qs}"
        async with self._session.request(request.method, url, data=body or None, headers=headers, timeout=timeout) as answer:
            if fault == "after":
                await answer.read()
                await asyncio.sleep(FOREVER)
            if fault == "drop":
                await answer.read()
                raise ConnectionResetError
            return await passed_on(request, answer)

    def _count(self, request: web.Request) -> str:
        """What to do to this request; empty: nothing."""
        if request.method not in WRITES or any(part in request.path for part in UNCOUNTED):
            return ""
        self.writes.append(f"{request.method} {request.path}")
        if self.fired or len(self.writes) != self.at:
            return ""
        self.fired = True
        return self.how

    def obey(self, command: Mapping[str, Any]) -> dict[str, Any]:
        if command["do"] in ("arm", "reset"):
            self.writes, self.fired = [], False
            self.at, self.how = command.get("at", 0), command.get("how", "")
        return {"writes": self.writes, "fired": self.fired}


async def passed_on(request: web.Request, answer: aiohttp.ClientResponse) -> web.StreamResponse:
    response = web.StreamResponse(status=answer.status, headers=kept(answer.headers))
    await response.prepare(request)
    async for piece in answer.content.iter_any():
        await response.write(piece)
    await response.write_eof()
    return response


def kept(headers: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name.lower() not in HOP}


async def serve(kubeconfig: Path, socket: Path) -> None:
    # Those who were killed do not read what is sent to them.
    logging.getLogger("aiohttp.server").setLevel(logging.CRITICAL)
    cluster = json.loads(kubeconfig.read_text())["clusters"][0]["cluster"]
    authority = base64.b64decode(cluster["certificate-authority-data"]).decode()
    proxy = Proxy(cluster["server"], ssl.create_default_context(cadata=authority))

    async def control(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            writer.write(json.dumps(proxy.obey(json.loads(line))).encode() + b"\n")
            await writer.drain()
        writer.close()

    application = web.Application(client_max_size=16 << 20)
    application.router.add_route("*", "/{path:.*}", proxy.handle)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(runner.addresses[0][1], flush=True)
    async with await asyncio.start_unix_server(control, socket) as server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1]), Path(sys.argv[2])))
