"""An operator as a process of this machine in the sandbox's network, so that it can be killed at any moment."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.cluster.kube import Document, Namespace
from tests.integration.waiting import until
from tests.operator import account
from tools import folders
from tools.cluster import run, sandbox

SECONDS = 60


class Operator:
    """`server`: where the API server is, as the `cluster` of a kubeconfig; else it is asked directly.

    `ahead`: seconds by which its clock is ahead of all others.
    """

    def __init__(
        self, space: Namespace, name: str = "one", server: Document | None = None, ahead: int = 0, **settings: str
    ) -> None:
        self.space = space
        self.folder = Path(tempfile.mkdtemp(prefix="sluice-operator-"))
        self.name = name
        config = self.folder / "kubeconfig"
        account.kubeconfig(space, server or direct(), config)
        self._environment = {
            "KUBECONFIG": str(config),
            "WATCH_NAMESPACES": space.name,
            "POD_NAMESPACE": space.name,
            "POD_NAME": name,
            "HOST": "127.0.0.1",
            "PORT": "0",
            "LOG_LEVEL": "info",
            "PATH": os.environ["PATH"],
            "PYTHONPATH": os.pathsep.join(str(folders.ROOT / name) for name in ("app", "operator", ".")),
            **settings,
        }
        self._module = ["tests.operator.shifted", str(ahead)] if ahead else ["sluice_operator"]
        self._process: subprocess.Popen[bytes] | None = None
        self._began = 0

    @property
    def log(self) -> Path:
        return self.folder / "log"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> Operator:
        self._began = self.log.stat().st_size if self.log.exists() else 0
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [*sandbox.entering(run.here(), "net"), sys.executable, "-m", *self._module],
                env=self._environment,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        return self

    def leads(self) -> Operator:
        """Wait until it does."""
        until(lambda: self.told("leading") or not self.running, SECONDS, "it leads")
        assert self.running, self.log.read_text()[-3000:]
        return self

    def kill(self) -> None:
        """At once, as a node does that goes away."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)

    def put_clock(self) -> None:
        """Of one with `ahead`: by so much once more, while it runs."""
        assert self._process is not None
        self._process.send_signal(signal.SIGUSR1)

    def end(self) -> None:
        """As Kubernetes does: the next one has another Lease, and should not wait for what this one claimed."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            if self.running:
                self.stop()
        self.kill()

    def remove(self) -> None:
        """End it and take its folder away; the end of its log is shown with a test that failed."""
        self.end()
        print(self.tail())
        shutil.rmtree(self.folder)

    def tail(self) -> str:
        """The end of its log."""
        return self.log.read_text()[-3000:] if self.log.exists() else "no log"

    def stop(self) -> int:
        """As Kubernetes does; its exit code."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(20)

    def lines(self) -> list[dict[str, Any]]:
        """Its log since it was started last."""
        if not self.log.exists():
            return []
        text = self.log.read_bytes()[self._began :].decode()
        return [json.loads(line) for line in text.splitlines() if line.startswith("{") and line.endswith("}")]

    def told(self, event: str) -> bool:
        return any(line.get("event") == event for line in self.lines())

    def port(self) -> int:
        return int(next(line["port"] for line in reversed(self.lines()) if line.get("event") == "operator starts"))

    def ask(self, path: str) -> str:
        """GET of its own port, also when it is no 200."""
        command = [*sandbox.entering(run.here(), "net"), "curl", "-sS", "-m", "5", f"http://127.0.0.1:{self.port()}{path}"]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    def memory(self) -> int:
        """Resident bytes."""
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGESIZE")


def direct() -> Document:
    """The API server as it is reached from within the sandbox."""
    found: Document = json.loads(run.here().inside_kubeconfig.read_text())["clusters"][0]["cluster"]
    return found
