"""The real `sluice serve` as a process of its own, and the clients that tests talk to it with."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import ssl
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import httpx
import psutil
from tests.conftest import ROOT
from tests.integration.waiting import until

KEY, OTHER_KEY = "a-key-of-the-test-suite", "another-key-of-the-test-suite"
PLACE = {"PORT": "0", "ADMIN_PORT": "0", "WORKERS": "2", "THREADS": "16", "DRAIN_SECONDS": "0"}
DEFAULTS = {**PLACE, "API_KEYS": f"{KEY},{OTHER_KEY}"}
# Nothing here speaks TLS, and to make a context for each client would take longer than its requests.
NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
# What a Python process needs from ours, and FAST_PATH: every test holds with it on and off.
INHERITED = ("FAST_PATH", "HOME", "LANG", "PATH", "TMPDIR", "VIRTUAL_ENV")


class Service:
    """A running `sluice serve`.

    `url` and `admin_url` have no slash at their end. `log_path` holds its stderr, one JSON object a line, and
    `greeting_path` its stdout.
    """

    def __init__(self, process: subprocess.Popen[bytes], folder: Path) -> None:
        self.process = process
        self.log_path = folder / "log"
        self.greeting_path = folder / "greeting"
        self.gunicorn: psutil.Process = until(self._find_gunicorn, 20, "gunicorn is started")
        port = int(self.gunicorn.environ()["PORT"])
        self.url = f"http://127.0.0.1:{port}"
        self.admin_url = f"http://127.0.0.1:{until(lambda: self._listening() - {port}, 5, 'the admin port is open').pop()}"

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    @property
    def admin_port(self) -> int:
        return int(self.admin_url.rpartition(":")[2])

    @property
    def log(self) -> str:
        return self.log_path.read_text(encoding="utf-8", errors="replace")

    def lines(self, event: str) -> list[dict[str, Any]]:
        """The log's lines of this name. The last one may still be on its way to the file."""
        whole = self.log.splitlines(keepends=True)
        told = [json.loads(line) for line in whole if line.startswith("{") and line.endswith("\n")]
        return [line for line in told if line.get("event") == event]

    def client(self, key: str | None = KEY) -> httpx.Client:
        """A client with this key as its bearer token; close it."""
        headers = {"Authorization": f"Bearer {key}"} if key is not None else {}
        return httpx.Client(base_url=self.url, headers=headers, timeout=20, trust_env=False, verify=NO_TLS)

    def workers(self) -> list[psutil.Process]:
        """The worker processes of gunicorn."""
        with contextlib.suppress(psutil.NoSuchProcess):
            return list(self.gunicorn.children())
        return []

    def memory(self) -> int:
        return sum(worker.memory_info().rss for worker in self.workers())

    @contextlib.contextmanager
    def grows_by_less_than(self, size: int) -> Iterator[None]:
        """Check that the workers' memory was never more than `size` above what it is now (proc(5): clear_refs, VmHWM)."""
        before, folders = self.memory(), [Path(f"/proc/{worker.pid}") for worker in self.workers()]
        for folder in folders:
            (folder / "clear_refs").write_text("5")
        yield
        assert sum(map(peak_memory, folders)) - before < size

    def ready(self) -> bool:
        """What the admin port's /readiness says; False as long as nobody answers."""
        with contextlib.suppress(OSError, http.client.HTTPException):
            return self.admin("/readiness")[0] == 200
        return False

    def admin(self, path: str) -> tuple[int, Any]:
        """Status and JSON of the admin port's answer. Not by httpx, which takes longer than that: it is asked again and again."""
        connection = http.client.HTTPConnection("127.0.0.1", self.admin_port, timeout=5)
        with contextlib.closing(connection):
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, json.load(answer)

    def stop(self, how: signal.Signals = signal.SIGTERM, seconds: float = 30) -> int:
        """Send a signal and wait for the end; the exit code."""
        self.process.send_signal(how)
        return self.process.wait(seconds)

    def left(self) -> list[int]:
        """The processes of the service's two process groups that are still there."""
        groups = (self.process.pid, self.gunicorn.pid)
        return [pid for pid in psutil.pids() if group_of(pid) in groups]

    def kill(self) -> None:
        """kill -9 to everything it is made of."""
        for group in (self.process.pid, self.gunicorn.pid):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(group, signal.SIGKILL)
        self.process.wait(10)

    def _find_gunicorn(self) -> Any:
        assert self.process.poll() is None, f"sluice serve ended by itself:\n{self.log}"
        with contextlib.suppress(psutil.NoSuchProcess):
            for child in psutil.Process(self.process.pid).children():
                # Until its exec the child is a copy of its parent.
                if "gunicorn" in child.cmdline() and child.environ().get("PORT", "0") != "0":
                    return child
        return None

    def _listening(self) -> set[int]:
        found = psutil.Process(self.process.pid).net_connections("tcp")
        return {connection.laddr.port for connection in found if connection.status == psutil.CONN_LISTEN}


def peak_memory(folder: Path) -> int:
    """Bytes, of the process of a folder in /proc (proc(5): VmHWM)."""
    return int((folder / "status").read_text().partition("VmHWM:")[2].split()[0]) << 10


@contextlib.contextmanager
def running(database_url: str, *, ready_within: float | None = 20, **environment: str | None) -> Iterator[Service]:
    """A service on this database, ready unless `ready_within` is None; `environment` is put over DEFAULTS, None takes away.

    At the end SIGTERM must end it with 0, unless the test ended it before, and none of its processes may be left. When the
    block fails its log is printed.
    """
    with tempfile.TemporaryDirectory(prefix="sluice-test-") as name:
        folder = Path(name)
        process = started(database_url, folder, environment)
        try:
            service = Service(process, folder)
            if ready_within is not None:
                until(service.ready, ready_within, "the service is ready")
            yield service
            if process.poll() is None:
                assert service.stop() == 0
            assert until(lambda: not service.left(), 5, "its processes are gone")
        except BaseException:
            print((folder / "log").read_text(errors="replace")[-20_000:])
            raise
        finally:
            # gunicorn ends itself, and its workers, when its parent is gone.
            process.kill()
            process.wait(10)


def started(
    database_url: str, folder: Path, environment: dict[str, str | None], stderr: IO[bytes] | None = None
) -> subprocess.Popen[bytes]:
    """`stderr`: instead of the file `log` in `folder`."""
    inherited = {name: os.environ[name] for name in INHERITED if name in os.environ}
    place = {"DATABASE_URL": database_url, "DATA_DIR": str(folder / "data"), "PYTHONPATH": str(ROOT / "app")}
    given = {**inherited, **DEFAULTS, **place, **environment}
    with (folder / "log").open("wb") as log, (folder / "greeting").open("wb") as greeting:
        return subprocess.Popen(
            [sys.executable, "-m", "sluice", "serve"],
            env={name: value for name, value in given.items() if value is not None},
            stdin=subprocess.DEVNULL,
            stdout=greeting,
            stderr=stderr or log,
            start_new_session=True,
        )


def group_of(pid: int) -> int | None:
    with contextlib.suppress(ProcessLookupError):
        return os.getpgid(pid)
    return None
