"""The cluster's own control group: pods live below it, and it goes with them. Knows cgroup v1 and v2.

Control groups are no namespace's: they stay when the sandbox ends, empty, and have to be removed.
"""

from __future__ import annotations

import contextlib
import errno
import time
from pathlib import Path

from tools.cluster.components import Failed

# Below the cluster's group, beside the kubelet's `kubepods`: all that is no pod.
MACHINERY = "machinery"
PAUSE = 0.05
SECONDS = 15


def hierarchies(mounts: Path = Path("/proc/self/mounts")) -> list[Path]:
    """Where control groups are mounted: one place for v2, one for each controller for v1."""
    lines = [line.split() for line in mounts.read_text().splitlines()]
    return [Path(place) for _, place, kind, *_ in lines if kind in ("cgroup", "cgroup2")]


def make(name: str) -> None:
    for hierarchy in hierarchies():
        delegate(hierarchy)
        (hierarchy / name).mkdir(exist_ok=True)


def delegate(hierarchy: Path) -> None:
    """v2: a child has the controllers that its parent hands down. Those that can not be are not needed by us."""
    control = hierarchy / "cgroup.subtree_control"
    if control.exists():
        for controller in (hierarchy / "cgroup.controllers").read_text().split():
            with contextlib.suppress(OSError):
                control.write_text(f"+{controller}")


def join(name: str, *processes: int) -> None:
    """Put processes, and so what they start from now on, into a group of the cluster's: who is in it still lives.

    Not all hierarchies take them (a cpuset of v1 wants CPUs first); one is enough.
    """
    joined = 0
    for hierarchy in hierarchies():
        group = hierarchy / name / MACHINERY
        with contextlib.suppress(OSError):
            group.mkdir(exist_ok=True)
            for process in processes:
                (group / "cgroup.procs").write_text(str(process))
            joined += 1
    if not joined:
        raise Failed(f"no control group takes processes: {hierarchies()}")


def processes(name: str) -> list[int]:
    """Who joined, and their children outside of pods, as seen from the caller's process namespace; the oldest first."""
    files = [hierarchy / name / MACHINERY / "cgroup.procs" for hierarchy in hierarchies()]
    return sorted({int(line) for file in files if file.exists() for line in file.read_text().split()})


def remove(name: str) -> None:
    """All groups below `name` and itself; raises Failed when processes stay in them."""
    give_up = time.monotonic() + SECONDS
    for hierarchy in hierarchies():
        while not removed(hierarchy / name):
            if time.monotonic() > give_up:
                raise Failed(f"processes in {hierarchy / name} do not end")
            time.sleep(PAUSE)


def removed(group: Path) -> bool:
    """The kernel lets go of a group a moment after its last process."""
    if not group.exists():
        return True
    try:
        for folder in sorted(group.glob("**/"), reverse=True):
            folder.rmdir()
    except OSError as problem:
        if problem.errno in (errno.EBUSY, errno.ENOTEMPTY, errno.ENOENT):
            return False
        raise
    return True
