"""A small API server over HTTP: objects with resourceVersions, preconditions, merge and status patches, and faults on demand.

It has no admission and no watches: tests/operator has the real one.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestServer
from kubernetes.aio.client import Configuration

from sluice_operator.api_types import Raw
from sluice_operator.client import Api

Work = Callable[["ApiServer", Api], Awaitable[Any]]


class ApiServer:
    """`objects` by path. `faults`: by method and a part of the path, the status of the answer; 0: none comes.

    `patience`: after so many calls there are no faults any more. `open`: until it is set, only Leases are answered.
    """

    def __init__(self) -> None:
        self.objects: dict[str, Raw] = {}
        self.faults: dict[tuple[str, str], int] = {}
        self.calls: list[tuple[str, str]] = []
        self.patience: int | None = None
        self.open = asyncio.Event()
        self.open.set()
        self.refused_names: set[str] = set()
        self.ahead = timedelta()
        self.token = "first"
        self._numbers = itertools.count(1)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.calls.append((request.method, request.path))
        if "/leases/" not in request.path:
            await self.open.wait()
        if self.patience is not None and len(self.calls) > self.patience:
            self.faults.clear()
        fault = next((s for (method, part), s in self.faults.items() if method == request.method and part in request.path), None)
        if fault == 0:
            assert request.transport is not None
            request.transport.close()
        if request.headers.get("Authorization") != f"Bearer {self.token}":
            return self.told(401, {"message": "Unauthorized"})
        if fault is not None:
            return self.told(fault or 500, {"message": "as was wished"})
        body = await request.json() if request.can_read_body else {}
        return getattr(self, request.method.lower())(request, body)  # type: ignore[no-any-return]

    def told(self, status: int, body: Raw) -> web.Response:
        date = format_datetime(datetime.now(UTC) + self.ahead, usegmt=True)
        return web.json_response(body, status=status, headers={"Date": date})

    def get(self, request: web.Request, _body: Raw) -> web.Response:
        if request.path in self.objects:
            return self.told(200, self.objects[request.path])
        if request.path.split("/")[-2] == "namespaces" or request.path.split("/")[-3] == "namespaces":
            return self.page(request)
        return self.told(404, {"message": "not found"})

    def page(self, request: web.Request) -> web.Response:
        found = [each for path, each in sorted(self.objects.items()) if path.startswith(f"{request.path}/")]
        start, limit = int(request.query.get("continue", 0)), int(request.query.get("limit", 1000))
        more = str(start + limit) if start + limit < len(found) else ""
        metadata = {"resourceVersion": str(next(self._numbers)), "continue": more}
        return self.told(200, {"metadata": metadata, "items": found[start : start + limit]})

    def post(self, request: web.Request, body: Raw) -> web.Response:
        path = f"{request.path}/{body['metadata']['name']}"
        if body["metadata"]["name"] in self.refused_names:
            return self.told(500, {"message": "a webhook failed"})
        if path in self.objects:
            return self.told(409, {"message": "already exists"})
        body["metadata"] |= {"namespace": path.split("/namespaces/")[1].split("/")[0], "uid": f"uid-{next(self._numbers)}"}
        body["metadata"]["creationTimestamp"] = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        return self.told(201, self.put(path, body))

    def put(self, path: str, body: Raw) -> Raw:
        body["metadata"]["resourceVersion"] = str(next(self._numbers))
        self.objects[path] = body
        return body

    def patch(self, request: web.Request, body: Any) -> web.Response:
        path = request.path.removesuffix("/status")
        if path not in self.objects:
            return self.told(404, {"message": "not found"})
        old = self.objects[path]
        if isinstance(body, list):
            return self.told(200, self.put(path, {**old, "status": body[0]["value"]}))
        wanted = body.get("metadata", {}).get("resourceVersion")
        if wanted not in (None, old["metadata"]["resourceVersion"]):
            return self.told(409, {"message": "the object has been modified"})
        new = merged(old, body)
        if old.get("immutable") and new.get("data") != old.get("data"):
            return self.told(422, {"message": "data: Forbidden: field is immutable when `immutable` is set"})
        return self.told(200, self.put(path, new))

    def delete(self, request: web.Request, body: Raw) -> web.Response:
        old = self.objects.get(request.path)
        if old is None:
            return self.told(404, {"message": "not found"})
        if body["preconditions"]["resourceVersion"] != old["metadata"]["resourceVersion"]:
            return self.told(409, {"message": "the object has been modified"})
        del self.objects[request.path]
        return self.told(200, {})

    def writes(self) -> list[str]:
        return [f"{method} {path}" for method, path in self.calls if method != "GET"]


def merged(old: Any, patch: Any) -> Any:
    """RFC 7386."""
    if not isinstance(patch, dict):
        return patch
    result = dict(old) if isinstance(old, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merged(result.get(name), value)
    return result


def run(work: Work) -> Any:
    """`work` with a server and a client of it, in an event loop of its own."""

    async def whole() -> Any:
        server = ApiServer()
        application = web.Application()
        application.router.add_route("*", "/{path:.*}", server.handle)
        async with TestServer(application) as running:
            url = str(running.make_url("/"))

            async def login() -> Configuration:
                return Configuration(host=url.rstrip("/"), api_key={"BearerToken": f"Bearer {server.token}"})

            api = Api(login)
            try:
                return await work(server, api)
            finally:
                await api.close()

    return asyncio.run(whole())
