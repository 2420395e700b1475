"""Writes to the API server without a process for each write, for what is done a thousand times or is timed."""

from __future__ import annotations

import json
import secrets
from pathlib import Path
from typing import Any

import httpx
from tests.cluster.kube import Document, kind
from tests.operator.reader import PLACES, client, document
from tests.operator.stand import API_VERSION, KEYSET

APPLY = {"Content-Type": "application/apply-patch+yaml"}
MERGE = {"Content-Type": "application/merge-patch+json"}


class Hand:
    """An admin's, in one namespace."""

    def __init__(self, kubeconfig: Path, namespace: str) -> None:
        self._client = client(kubeconfig, seconds=30)
        self._namespace = namespace

    def key(self, name: str, **spec: Any) -> None:
        """Make an ApiKey."""
        whole = {"keySetRef": {"name": KEYSET}, "owner": "tests", "scopes": ["ingest", "read"], **spec}
        document(self._client.post(self._path("apikey"), json=kind(API_VERSION, "ApiKey", name, spec=whole)))

    def apply(self, what: str, body: Document) -> str:
        """Server-side, with force: what is said against it; empty: it was taken."""
        path, query = f"{self._path(what)}/{body['metadata']['name']}", {"fieldManager": "tests", "force": "true"}
        answer = self._client.patch(path, content=json.dumps(body), headers=APPLY, params=query)
        # A value of the wrong type is a 500 there: "failed to create typed patch object".
        return str(answer.json()["message"]) if answer.is_error else ""

    def patch(self, what: str, name: str, body: Document) -> None:
        document(self._client.patch(f"{self._path(what)}/{name}", content=json.dumps(body), headers=MERGE))

    def rotate(self, name: str) -> None:
        self.patch("apikey", name, {"metadata": {"annotations": {"sluice.dev/rotate": secrets.token_hex(4)}}})

    def revoke(self, name: str) -> None:
        self.patch("apikey", name, {"spec": {"revoked": True}})

    def delete(self, what: str, name: str) -> None:
        """What is not there, too."""
        answer = self._client.delete(f"{self._path(what)}/{name}")
        if answer.status_code != httpx.codes.NOT_FOUND:
            document(answer)

    def delete_all(self, what: str) -> None:
        document(self._client.delete(self._path(what)))

    def close(self) -> None:
        self._client.close()

    def _path(self, what: str) -> str:
        return PLACES[what].format(self._namespace)
