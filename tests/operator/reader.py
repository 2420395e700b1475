"""Reads the API server without a process for each look: tests look all the time."""

from __future__ import annotations

import base64
import json
import ssl
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

import httpx
from tests.cluster.kube import Document

PLACES = {
    "apikey": "/apis/sluice.dev/v1alpha1/namespaces/{}/apikeys",
    "keyset": "/apis/sluice.dev/v1alpha1/namespaces/{}/keysets",
    "secret": "/api/v1/namespaces/{}/secrets",
    "pod": "/api/v1/namespaces/{}/pods",
    "event": "/api/v1/namespaces/{}/events",
}


class Reader:
    """`kubeconfig`: an admin's, with certificates in it, as the cluster of this repository writes it."""

    def __init__(self, kubeconfig: Path, namespace: str) -> None:
        self._client = client(kubeconfig, seconds=10)
        self._namespace = namespace

    def get(self, what: str, name: str) -> Document:
        """Empty when it is not there."""
        answer = self._client.get(f"{PLACES[what].format(self._namespace)}/{name}")
        return {} if answer.status_code == httpx.codes.NOT_FOUND else document(answer)

    def all(self, what: str) -> list[Document]:
        found: list[Document] = document(self._client.get(PLACES[what].format(self._namespace)))["items"]
        return found

    def close(self) -> None:
        self._client.close()


def client(kubeconfig: Path, seconds: float) -> httpx.Client:
    """Of its first cluster, as its first user."""
    config = json.loads(kubeconfig.read_text())
    server = config["clusters"][0]["cluster"]["server"]
    return httpx.Client(base_url=server, verify=credentials(config), timeout=seconds)


def document(answer: httpx.Response) -> Document:
    answer.raise_for_status()
    found: Document = answer.json()
    return found


def credentials(config: dict[str, Any]) -> ssl.SSLContext:
    """Of the first user, towards the first cluster."""
    cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
    context = ssl.create_default_context(cadata=decoded(cluster["certificate-authority-data"]).decode())
    with NamedTemporaryFile() as certificate, NamedTemporaryFile() as key:
        Path(certificate.name).write_bytes(decoded(user["client-certificate-data"]))
        Path(key.name).write_bytes(decoded(user["client-key-data"]))
        context.load_cert_chain(certificate.name, key.name)
    return context


def decoded(text: str) -> bytes:
    return base64.b64decode(text)
