"""Calls of the API server as a service account, with its own token: what RBAC and policies say to it, and to nobody else."""

from __future__ import annotations

import base64
import json
import ssl
from typing import Any

import httpx
from tests.cluster.kube import Document, Namespace

JSON, MERGE, APPLY = "application/json", "application/merge-patch+json", "application/apply-patch+yaml"
SECONDS = 20
DENIED = 403


class Caller:
    """The account `name` of `space`; asks for objects of any namespace by their path."""

    def __init__(self, space: Namespace, name: str = "sluice-operator") -> None:
        token = space.kubectl("create", "token", name, "--duration=1h").strip()
        config = json.loads(space.kubectl("config", "view", "--raw", "--minify", "--output=json"))
        server = config["clusters"][0]["cluster"]
        authority = base64.b64decode(server["certificate-authority-data"]).decode()
        self.space = space
        self._client = httpx.Client(
            base_url=server["server"],
            verify=ssl.create_default_context(cadata=authority),
            headers={"Authorization": f"Bearer {token}"},
            timeout=SECONDS,
            trust_env=False,
        )

    def __enter__(self) -> Caller:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def get(self, path: str) -> tuple[int, str]:
        return self._told(self._client.get(path))

    def create(self, resource: str, body: Document) -> tuple[int, str]:
        """`resource`: as `secrets` or `apps/deployments`."""
        return self._told(self._client.post(self.path(resource), json=body))

    def patch(self, resource: str, name: str, body: Document, kind: str = MERGE, query: str = "") -> tuple[int, str]:
        path = f"{self.path(resource)}/{name}{query}"
        return self._told(self._client.patch(path, content=json.dumps(body), headers={"Content-Type": kind}))

    def delete(self, resource: str, name: str) -> tuple[int, str]:
        return self._told(self._client.delete(f"{self.path(resource)}/{name}"))

    def path(self, resource: str, namespace: str = "") -> str:
        """Of all objects of `resource`, whose group comes first if it has one; what follows is a name and a subresource."""
        group = resource.partition("/")[0]
        group, plural = (group, resource.removeprefix(f"{group}/")) if group in VERSIONS else ("", resource)
        root = f"/apis/{group}/{VERSIONS[group]}" if group else "/api/v1"
        return f"{root}/namespaces/{namespace or self.space.name}/{plural}"

    def _told(self, answer: httpx.Response) -> tuple[int, str]:
        """The status, and the message of a refusal."""
        body: Any = answer.json()
        return answer.status_code, str(body.get("message", "")) if answer.is_error else ""


VERSIONS = {"apps": "v1", "sluice.dev": "v1alpha1", "coordination.k8s.io": "v1", "rbac.authorization.k8s.io": "v1"}
