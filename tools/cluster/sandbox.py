"""The cluster seen from outside: start it, look whether it runs, go into it, end it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from tools import folders
from tools.cluster import cgroups, control, means, node, progress, remains
from tools.cluster.components import Failed, tail
from tools.cluster.progress import Step
from tools.cluster.run import Run

PAUSE = 0.05
# On a busy machine the files of a node that was used for an hour take more than half a minute to remove.
SECONDS = 180
KEEPER_LOG = "keeper"


class NotRunning(Exception):
    """There is no cluster to do this with."""


@contextmanager
def alone(run: Run) -> Iterator[None]:
    """Wait until no other command starts this cluster."""
    run.folder.mkdir(parents=True, exist_ok=True)
    with run.starting.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def keeper(run: Run) -> int | None:
    """The keeper's process id, None when none lives."""
    try:
        with run.lock.open() as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return None
    except FileNotFoundError:
        return None
    except BlockingIOError:
        return int(run.lock.read_text() or 0)


def state(run: Run) -> str:
    """ "absent", "starting" or "ready"."""
    if keeper(run) is None:
        return "absent"
    return "ready" if any(step.state == "ready" for step in progress.read(run.progress)) else "starting"


def start(run: Run) -> None:
    """Start the keeper; `follow` tells how far it gets."""
    run.logs.mkdir(exist_ok=True)
    for file in (run.progress, run.audit_log, *run.logs.iterdir()):
        file.unlink(missing_ok=True)
    with run.log(KEEPER_LOG).open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "tools.cluster.keeper", str(run.folder)],
            cwd=folders.ROOT,
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    while process.poll() is None and keeper(run) is None:
        time.sleep(PAUSE)


def environment() -> dict[str, str]:
    """Without proxies, which nobody in there could reach, and with the folders of nft and ip on PATH."""
    kept = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    return {**kept, "PATH": means.search_path()}


def follow(run: Run) -> Iterator[Step]:
    """Each step as it is reached, until the cluster is ready; raises Failed when it does not get there."""
    shown = 0
    while True:
        ended = keeper(run) is None
        steps = progress.read(run.progress)
        for step in steps[shown:]:
            if step.state == "failed":
                wait_for_keeper(run)
                raise Failed(step.text)
            yield step
            if step.state == "ready":
                return
        shown = len(steps)
        if ended:
            raise Failed(f"the sandbox ended before the node was ready; the end of its log:\n{tail(run.log(KEEPER_LOG))}")
        time.sleep(PAUSE)


def stop(run: Run) -> bool:
    """End it and remove what it leaves; False when there was nothing to end. A killed keeper's remains are removed too."""
    found = keeper(run) is not None
    wait_for_keeper(run, end)
    remains.remove(run)
    return found


def end(pid: int) -> None:
    """SIGTERM, if it is a keeper: in the first moment of one, the lock may still tell the process id of an older one."""
    with contextlib.suppress(OSError):
        if b"tools.cluster.keeper" in Path(f"/proc/{pid}/cmdline").read_bytes():
            os.kill(pid, signal.SIGTERM)


def wait_for_keeper(run: Run, meanwhile: Callable[[int], None] = lambda pid: None) -> None:
    """Until it is gone; `meanwhile` is called with its process id again and again."""
    give_up = time.monotonic() + SECONDS
    while (pid := keeper(run)) is not None:
        meanwhile(pid)
        if time.monotonic() > give_up:
            raise Failed(f"the keeper does not end; its log:\n{tail(run.log(KEEPER_LOG))}")
        time.sleep(PAUSE)


def process(run: Run) -> int:
    """The oldest process of the sandbox, by its process id out here. Others, as a probe in a pod, are gone in a moment."""
    found = cgroups.processes(run.cgroup) if keeper(run) else []
    if not found:
        raise NotRunning("no cluster is running; make cluster starts one")
    return min(found, key=born)


def born(pid: int) -> float:
    """When the process began, in ticks since boot: field 22 of proc_pid_stat(5), counted behind the name, which may hold any."""
    try:
        return float(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
    except OSError:
        return float("inf")


def entering(run: Run, *namespaces: str) -> list[str]:
    """The beginning of a command that runs in the given namespaces of the sandbox: net, mount, pid."""
    return ["nsenter", f"--target={process(run)}", *(f"--{name}" for name in namespaces), "--"]


def import_image(run: Run, archive: BinaryIO) -> str:
    """Import a docker-archive or OCI archive; gives what containerd says."""
    command = [*entering(run, "mount", "net", "pid"), *node.CTR, "images", "import", "-"]
    done = subprocess.run(command, stdin=archive, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Failed(f"containerd refused the archive:\n{done.stderr}")
    return done.stdout


def command(run: Run, text: str) -> str:
    """The supervisor's answer to a command of control.py."""
    process(run)
    try:
        return control.send(run.control_socket, text)
    except OSError as problem:
        raise Failed(f"the supervisor does not answer ({problem}); its log:\n{tail(run.log(KEEPER_LOG))}") from None
