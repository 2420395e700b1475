"""An image run by runc as Kubernetes' restricted profile runs it: read-only root, no capability, no new privileges.

The container gets namespaces of its own, so its only network is its loopback (or that of the container it `joins`), and
/tmp and /dev/shm in memory.
"""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.integration.waiting import until
from tools.images import Image

NAMESPACES = ("pid", "ipc", "uts", "mount", "network")


@dataclass
class Container:
    """A container that was started; `output` grows as it writes, stdout and stderr alike."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path
    started: float = field(default_factory=time.monotonic)

    @property
    def output(self) -> str:
        return self.log.read_text(errors="replace")

    def says(self, text: str, seconds: float = 60) -> float:
        """Waits until `text` is in the output; the seconds since the start."""
        until(lambda: text in self.output or self.process.poll() is not None, seconds, f"{text!r} comes")
        assert text in self.output, self.output
        return time.monotonic() - self.started

    def run(self, *command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Runs a command inside, as the container's user."""
        done = runc("exec", self.name, *command)
        assert not check or done.returncode == 0, done.stderr + self.output
        return done

    def ready(self) -> bool:
        return not self.run(*HEALTHCHECK, check=False).returncode

    def kill(self, number: signal.Signals) -> None:
        assert runc("kill", self.name, number.name).returncode == 0

    def end(self, seconds: float = 60) -> int:
        """Waits for the end; the exit code."""
        return self.process.wait(seconds)

    def pid(self) -> int:
        """Of its first process, as this machine counts."""
        return int(json.loads(runc("state", self.name).stdout)["pid"])


HEALTHCHECK = ("python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8081/readiness')")


def runc(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["runc", *arguments], capture_output=True, text=True, timeout=60)


@contextlib.contextmanager
def running(
    image: Image,
    root: Path,
    *arguments: str,
    environ: Mapping[str, str] | None = None,
    volumes: Mapping[str, Path] | None = None,
    joins: Container | None = None,
) -> Iterator[Container]:
    """The image, unpacked at `root`, with `arguments` instead of its CMD; `volumes`: path inside -> here; killed at the end."""
    name = f"sluice-test-{uuid.uuid4().hex[:12]}"
    with tempfile.TemporaryDirectory() as bundle:
        spec = specification(image, root, arguments, environ or {}, volumes or {}, joins)
        Path(bundle, "config.json").write_text(json.dumps(spec))
        log = Path(bundle, "log")
        with log.open("wb") as output:
            process = subprocess.Popen(["runc", "run", "--bundle", bundle, name], stdout=output, stderr=subprocess.STDOUT)
        try:
            yield Container(name, process, log)
        finally:
            runc("delete", "--force", name)
            process.wait(30)


def specification(
    image: Image,
    root: Path,
    arguments: Sequence[str],
    environ: Mapping[str, str],
    volumes: Mapping[str, Path],
    joins: Container | None,
) -> dict[str, Any]:
    """The container by the OCI runtime specification."""
    config = image.config()["config"]
    user, group = map(int, config["User"].split(":"))
    paths = {"network": f"/proc/{joins.pid()}/ns/net"} if joins is not None else {}
    return {
        "ociVersion": "1.0.2",
        "process": {
            "user": {"uid": user, "gid": group},
            "args": [*config["Entrypoint"], *(arguments or config["Cmd"])],
            "env": [*config["Env"], *(f"{name}={value}" for name, value in environ.items())],
            "cwd": config.get("WorkingDir") or "/",
            "capabilities": {},
            "noNewPrivileges": True,
        },
        "root": {"path": str(root), "readonly": True},
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            memory("/dev", "dev", "mode=755"),
            memory("/dev/shm", "nodev", "mode=1777"),
            memory("/tmp", "nodev", "mode=1777"),
            *(bind(inside, here) for inside, here in volumes.items()),
        ],
        "linux": {"namespaces": [{"type": kind} | ({"path": paths[kind]} if kind in paths else {}) for kind in NAMESPACES]},
    }


def memory(place: str, *options: str) -> dict[str, Any]:
    return {"destination": place, "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", *options]}


def bind(inside: str, here: Path) -> dict[str, Any]:
    return {"destination": inside, "type": "bind", "source": str(here), "options": ["bind", "rw"]}
