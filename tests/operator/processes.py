"""Processes of this folder in the sandbox's network, seen from a test."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.cluster.kube import Document
from tests.integration.waiting import until
from tools import folders
from tools.cluster import run, sandbox


def start(module: str, *arguments: str) -> subprocess.Popen[str]:
    command = [*sandbox.entering(run.here(), "net"), sys.executable, "-m", module, *arguments]
    path = os.pathsep.join(str(folders.ROOT / name) for name in (".", "app", "operator"))
    return subprocess.Popen(
        command,
        cwd=folders.ROOT,
        env={**os.environ, "PYTHONPATH": path},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


class Clients:
    """What clients.py counted, once `stop` was called."""

    def __init__(self, namespace: str, secret: str, url: str, rate: float, *options: str) -> None:
        words = (str(run.here().inside_kubeconfig), namespace, secret, url, str(rate), *options)
        self._process = start("tests.operator.clients", *words)
        self.result: dict[str, Any] = {}
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "started\n"

    def stop(self) -> None:
        out, _ = self._process.communicate("", timeout=30)
        self.result = json.loads(out)

    @property
    def answers(self) -> dict[str, int]:
        return dict(self.result["answers"])

    @property
    def versions(self) -> set[int]:
        return set(map(int, self.result["versions"]))


@contextlib.contextmanager
def clients(namespace: str, secret: str, url: str, rate: float = 100, *options: str) -> Iterator[Clients]:
    """They work within the block and are counted after it."""
    made = Clients(namespace, secret, url, rate, *options)
    try:
        yield made
    finally:
        made.stop()


class Proxy:
    """proxy.py before the API server."""

    def __init__(self) -> None:
        self._socket = Path(tempfile.mkdtemp(prefix="sluice-proxy-")) / "control"
        self._process = start("tests.operator.proxy", str(run.here().inside_kubeconfig), str(self._socket))
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())
        until(self._socket.exists, what="the proxy takes commands")

    @property
    def server(self) -> Document:
        """For a kubeconfig."""
        return {"server": f"http://127.0.0.1:{self.port}"}

    def tell(self, do: str, **more: Any) -> dict[str, Any]:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(self._socket))
            connection.sendall(json.dumps({"do": do, **more}).encode() + b"\n")
            answer: dict[str, Any] = json.loads(connection.makefile().readline())
            return answer

    def arm(self, at: int, how: str) -> None:
        self.tell("arm", at=at, how=how)

    @property
    def writes(self) -> list[str]:
        return list(self.tell("look")["writes"])

    @property
    def fired(self) -> bool:
        return bool(self.tell("look")["fired"])

    def stop(self) -> None:
        self._process.kill()
        self._process.communicate(timeout=10)
        shutil.rmtree(self._socket.parent)
