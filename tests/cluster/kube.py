"""A cluster as the tests use it: kubectl, helm, images, and namespaces that enforce the restricted profile."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from tools import kubectl as programs

Document = dict[str, Any]

RESTRICTED = {"pod-security.kubernetes.io/enforce": "restricted", "pod-security.kubernetes.io/enforce-version": "latest"}
# What the restricted profile wants of every pod, and of every container.
POD_SECURITY: Document = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
CONTAINER_SECURITY: Document = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}
SECONDS = 180


@cache
def program(name: str) -> str:
    """Looked for once: it is in a wheel."""
    return str(programs.program(name))


class Refused(Exception):
    """kubectl or helm failed; the text is what it said."""


@dataclass(frozen=True)
class Cluster:
    """Whatever `kubeconfig` names. `loader`: a command that takes the path of an image archive and brings it to every node."""

    kubeconfig: str
    loader: Sequence[str]

    def kubectl(self, *words: str, stdin: str | None = None, seconds: float = SECONDS) -> str:
        return self._run([program("kubectl"), *words], stdin, seconds)

    def helm(self, *words: str, stdin: str | None = None, seconds: float = SECONDS) -> str:
        return self._run([program("helm"), *words], stdin, seconds)

    def load(self, archive: Path) -> None:
        self._run([*self.loader, str(archive)], None, SECONDS)

    @contextlib.contextmanager
    def namespace(self, purpose: str, labels: Mapping[str, str] = RESTRICTED) -> Iterator[Namespace]:
        """One with a name of its own; it goes at the end, without anybody waiting for that."""
        name = f"sluice-{purpose}-{secrets.token_hex(3)}"
        self.kubectl(
            "create",
            "-f",
            "-",
            stdin=json.dumps({**kind("v1", "Namespace", name), "metadata": {"name": name, "labels": dict(labels)}}),
        )
        try:
            yield Namespace(self, name)
        finally:
            self.kubectl("delete", "namespace", name, "--wait=false", "--ignore-not-found")

    def _run(self, command: Sequence[str], stdin: str | None, seconds: float) -> str:
        done = subprocess.run(
            command,
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            text=True,
            timeout=seconds,
            env={**os.environ, "KUBECONFIG": self.kubeconfig},
        )
        if done.returncode:
            raise Refused(f"{Path(command[0]).name} {' '.join(command[1:])}:\n{done.stdout[-2000:]}{done.stderr[-4000:]}")
        return done.stdout


@dataclass(frozen=True)
class Namespace:
    cluster: Cluster
    name: str

    def kubectl(self, *words: str, stdin: str | None = None, seconds: float = SECONDS) -> str:
        return self.cluster.kubectl(f"--namespace={self.name}", *words, stdin=stdin, seconds=seconds)

    def helm(self, *words: str, seconds: float = SECONDS) -> str:
        return self.cluster.helm(*words, f"--namespace={self.name}", seconds=seconds)

    def apply(self, *documents: Document, seconds: float = SECONDS) -> None:
        """Make them, or what is different of them."""
        self.kubectl(
            "apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": documents}), seconds=seconds
        )

    def get(self, *words: str) -> Any:
        """Of one object its document, of a kind or a selector the list of them."""
        found = json.loads(self.kubectl("get", *words, "--output=json"))
        return found["items"] if found["kind"] == "List" else found

    def pods(self, selector: str) -> list[Document]:
        """Those that are not on their way out, by name."""
        found: list[Document] = self.get("pods", f"--selector={selector}")
        return [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]

    def wait(self, what: str, condition: str, seconds: float = 120) -> None:
        """`what`: a name like pod/x, or a kind and a selector in one word each; `condition`: as `kubectl wait --for` takes it."""
        words = what.split()
        self.kubectl("wait", *words, f"--for={condition}", f"--timeout={seconds:g}s", seconds=seconds + 10)

    def logs(self, pod: str, *more: str) -> str:
        """Empty as long as its container was not started."""
        try:
            return self.kubectl("logs", pod, *more)
        except Refused as error:
            if "waiting to start" not in str(error):
                raise
            return ""


def kind(version: str, kind: str, name: str, **more: Any) -> Document:
    """A document with its head; `more` are its other parts."""
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name}, **more}


def secret(name: str, **data: str) -> Document:
    return kind("v1", "Secret", name, stringData=data)


def config_map(name: str, data: Mapping[str, str]) -> Document:
    return kind("v1", "ConfigMap", name, data=dict(data))


def service(name: str, selector: Mapping[str, str], **ports: int) -> Document:
    """`ports`: number by name, the same outside and in the pods."""
    listed = [{"name": name, "port": number, "targetPort": number, "protocol": "TCP"} for name, number in ports.items()]
    return kind("v1", "Service", name, spec={"selector": dict(selector), "ports": listed})


def secret_volume(name: str, secret: str) -> Document:
    return {"name": name, "secret": {"secretName": secret}}


def mount(name: str, path: str) -> Document:
    return {"name": name, "mountPath": path}


def ready(pod: Document) -> bool:
    conditions = pod.get("status", {}).get("conditions", [])
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


Change = Callable[[Document], None]
"""Edits a document in place."""
