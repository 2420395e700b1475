"""The one process outside of the sandbox: starts it, relays the API server's port to it, and removes what it leaves.

`python -m tools.cluster.keeper FOLDER`. SIGTERM ends it and the cluster. Its children die with it, even when it is killed.
"""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tools.cluster import api, certificates, cgroups, kubeconfig, mounts, remains
from tools.cluster.run import Run
from tools.ports import free_port

DIE_WITH_ME = ("setpriv", "--pdeathsig", "KILL", "--")
SANDBOX = ("unshare", "--net", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child", "--")
# Process 1 of the sandbox: adopts and reaps what containerd leaves behind.
INIT = ("catatonit", "--")


class AlreadyKept(Exception):
    """Another keeper lives for this folder."""


def main() -> None:
    run = Run(Path(sys.argv[1]))
    os.umask(0o022)
    hold(run)
    remains.remove(run)
    try:
        keep(run)
    finally:
        remains.remove(run)


def hold(run: Run) -> None:
    """Lock the folder until this process is gone: the descriptor is never closed, so the kernel does it last."""
    lock = os.open(run.lock, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise AlreadyKept(f"{run.folder} is in use") from None
    os.truncate(lock, 0)
    os.write(lock, str(os.getpid()).encode())


def keep(run: Run) -> None:
    """Until the sandbox ends, by itself or by SIGTERM to this process."""
    cgroups.make(run.cgroup)
    mounts.prepare()
    port = prepare(run)
    with child(*SANDBOX, *INIT, sys.executable, "-m", "tools.cluster.supervisor", str(run.folder)) as sandbox:
        signal.signal(signal.SIGTERM, lambda *_: sandbox.kill())
        with child("socat", f"TCP-LISTEN:{port},bind=127.0.0.1,reuseaddr,nodelay,fork", f"UNIX-CONNECT:{run.api_socket}"):
            sandbox.wait()


def prepare(run: Run) -> int:
    """Certificates and kubeconfigs; gives the port of the relay."""
    run.config.mkdir()
    certificates.write(run.certificates)
    port = free_port()
    kubeconfig.write(run.inside_kubeconfig, run.certificates, "admin", api.URL)
    kubeconfig.write(run.kubeconfig, run.certificates, "admin", f"https://127.0.0.1:{port}")
    return port


@contextmanager
def child(*command: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process that ends with this block, or with this process."""
    process = subprocess.Popen([*DIE_WITH_ME, *command], stdin=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


if __name__ == "__main__":
    main()
