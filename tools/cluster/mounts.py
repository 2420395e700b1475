"""The sandbox's file system: the machine's own, but for folders whose place is fixed in programs and which they would litter."""

from __future__ import annotations

from pathlib import Path

from tools.cluster.components import call
from tools.cluster.run import Run

# kubelet: volumes, device plugins; libcni: results; kubelet: logs of pods and links to them.
FIXED = {
    "kubelet": Path("/var/lib/kubelet"),
    "cni": Path("/var/lib/cni"),
    "pods": Path("/var/log/pods"),
    "containers": Path("/var/log/containers"),
}
# In a mount point that was made for us; seen only while nothing is mounted there.
MARK = ".made-by-sluice-cluster"


def make(run: Run) -> None:
    """Inside a fresh mount namespace. Mounts of pods have to reach their containers, hence rshared."""
    call("mount", "--make-rshared", "/")
    call("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", "/run")
    Path("/run/lock").mkdir()
    for name, place in FIXED.items():
        run.state(name).mkdir(parents=True)
        call("mount", "--bind", run.state(name), place)


def prepare() -> None:
    """Outside, before: make the missing mount points, each with a mark, for `forget` to know them by."""
    for place in FIXED.values():
        if not place.exists():
            place.mkdir()
            (place / MARK).touch()


def forget() -> None:
    """Outside, after: remove the mount points that were made for clusters, unless one has something mounted there."""
    for place in FIXED.values():
        if [file.name for file in listed(place)] == [MARK] and not in_use(place):
            (place / MARK).unlink()
            place.rmdir()


def listed(folder: Path) -> list[Path]:
    return list(folder.iterdir()) if folder.is_dir() else []


def in_use(place: Path) -> bool:
    """Whether any process of this machine has a mount at `place`, in whatever namespace (proc(5), mountinfo, field 5)."""
    return any(f" {place} " in mountinfo(process) for process in Path("/proc").glob("[0-9]*"))


def mountinfo(process: Path) -> str:
    try:
        return (process / "mountinfo").read_text()
    except OSError:
        return ""
