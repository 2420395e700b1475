"""Run inside the image: its operator beside a small API server, until it has made a key; prints the names of its Secrets.

`python -m tests.image.operating`, with this tree's `tests` mounted. tests/cluster has the operator on a real one.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path

from aiohttp import web
from aiohttp.test_utils import TestServer
from tests.unit.operator_.apiserver import ApiServer

from sluice_operator.api_types import API_KEYS, API_VERSION, KEY_SETS, SECRETS, WATCHED, Raw, Resource

SPACE, KEYSET = "space", "main"
SECONDS = 60
SPECS: tuple[tuple[Resource, str, Raw], ...] = (
    (KEY_SETS, KEYSET, {"environment": "test", "target": {"name": "nobody"}}),
    (API_KEYS, "orders", {"keySetRef": {"name": KEYSET}, "owner": "tests", "scopes": ["ingest"]}),
)


# What is watched, and what kopf waits to hear of before it watches anything.
DISCOVERED = (
    *WATCHED,
    Resource("", "v1", "namespaces", "Namespace"),
    Resource("apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition"),
)


def discovery() -> dict[str, Raw]:
    """What the API server says of its kinds, by path."""
    groups = {(each.group, each.version) for each in DISCOVERED}
    named = [
        {"name": group, "preferredVersion": {"version": version}, "versions": [{"version": version}]} for group, version in groups
    ]
    found: dict[str, Raw] = {"/api": {"versions": ["v1"]}, "/apis": {"groups": [each for each in named if each["name"]]}}
    for each in DISCOVERED:
        root = each.path("").partition("/namespaces/")[0]
        names = {"name": each.plural, "kind": each.kind, "singularName": each.kind.lower(), "shortNames": [], "categories": []}
        found.setdefault(root, {"resources": []})["resources"].append(
            {**names, "namespaced": True, "verbs": ["get", "list", "patch", "watch"]}
        )
    return found


class Watched(ApiServer):
    """One whose watches stay open: nobody else writes here, and a write's answer is all that its writer needs."""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        if (found := discovery().get(request.path)) is not None:
            return self.told(200, found)
        if request.query.get("watch") != "true":
            return await super().handle(request)
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        bookmark = {"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "1"}}}
        while True:
            await response.write(json.dumps(bookmark).encode() + b"\n")
            await asyncio.sleep(1)


def environment(url: str, token: str) -> dict[str, str]:
    config = Path("/tmp/kubeconfig")
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "it",
        "contexts": [{"name": "it", "context": {"cluster": "it", "user": "it"}}],
        "clusters": [{"name": "it", "cluster": {"server": url}}],
        "users": [{"name": "it", "user": {"token": token}}],
    }
    config.write_text(json.dumps(document))
    own = {"KUBECONFIG": str(config), "WATCH_NAMESPACES": SPACE, "POD_NAMESPACE": SPACE, "POD_NAME": "one", "PORT": "0"}
    return os.environ | own


async def secrets(server: ApiServer) -> list[str]:
    """The names of the Secrets, once there is one for each of a key set, its seal and a key."""
    folder = f"{SECRETS.path(SPACE)}/"
    while True:
        found = sorted(path.removeprefix(folder) for path in server.objects if path.startswith(folder))
        if len(found) >= 3:
            return found
        await asyncio.sleep(0.1)


async def main() -> None:
    server = Watched()
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", server.handle)
    async with TestServer(application) as running:
        for number, (resource, name, spec) in enumerate(SPECS):
            metadata = {"name": name, "namespace": SPACE, "uid": f"made-{number}", "creationTimestamp": "2026-01-01T00:00:00Z"}
            body = {"apiVersion": API_VERSION, "kind": resource.kind, "metadata": metadata, "spec": spec}
            server.put(resource.path(SPACE, name), body)
        operator = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "sluice_operator", env=environment(str(running.make_url("")), server.token)
        )
        try:
            print(*await asyncio.wait_for(secrets(server), SECONDS))
        finally:
            operator.terminate()
            await operator.wait()


if __name__ == "__main__":
    asyncio.run(main())
