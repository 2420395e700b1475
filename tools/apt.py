"""Debian packages: the only place that calls apt-get.

One process of ours at a time, and with patience for those of others (unattended-upgrades, another worktree). No service starts.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from tools import folders, not_installed, once

# Seconds to wait for the locks of others.
PATIENCE = 600
PAUSE = 2.0
OPTIONS = ("--quiet", "--yes", f"--option=DPkg::Lock::Timeout={PATIENCE}", "--option=Dpkg::Options::=--force-confold")
# It covers dpkg's own lock only: apt-get gives up at once on those of its lists and archives.
LOCKED = "Could not get lock"
INTERRUPTED = "dpkg --configure -a"
ENVIRONMENT = {"DEBIAN_FRONTEND": "noninteractive", "NEEDRESTART_SUSPEND": "1", "LC_ALL": "C.UTF-8"}
LOCK = Path("/run/sluice-apt.lock")
LISTS = Path("/var/lib/apt/lists")
# What Debian 13 keeps in a package of its own.
SPLIT_OFF = {"prometheus": ("promtool",)}
# What Debian asks before it starts a service.
POLICY = Path("/usr/sbin/policy-rc.d")
REFUSAL = "#!/bin/sh\n# Of Sluice's tools/apt.py, while it installs packages. Remove it when that does not run.\nexit 101\n"


class Failed(Exception):
    """apt-get failed; the text holds the end of its output."""


def impossible() -> str | None:
    """Why nothing can be installed here, or None."""
    return no_apt() or (None if os.geteuid() == 0 else "apt-get install needs root")


def no_download() -> str | None:
    """Why no package can be unpacked here, or None. Without root that takes package lists which root got."""
    lists = os.geteuid() == 0 or any(LISTS.glob("*_Packages*"))
    return no_apt() or (None if lists else "there are no package lists; root gets them: apt-get update")


def no_apt() -> str | None:
    return None if shutil.which("apt-get") else "this is neither Debian nor Ubuntu: install it by this system's own means"


def install(wanted: Callable[[], list[str]]) -> None:
    """Install what `wanted` names (asked again once this process has the lock). Raises Failed."""
    with alone():
        packages = wanted()
        if packages:
            stale = update()
            with no_services():
                apt_get("install", "--no-install-recommends", *packages, before=stale)
            # Enabled for the next boot by its package; the node starts its own.
            if "containerd" in packages and shutil.which("systemctl"):
                subprocess.run(["systemctl", "disable", "containerd"], capture_output=True, check=False)


def program(name: str, package: str) -> Path:
    """`name`, from PATH or from `package` unpacked; raises Missing."""
    places = (os.environ.get("PATH", ""), *(str(unpacked(package) / folder) for folder in ("usr/bin", "usr/sbin")))
    found = shutil.which(name, path=os.pathsep.join(places))
    if found is None:
        raise not_installed(name)
    return Path(found)


def unpacked(package: str) -> Path:
    """The folder, existing or not, for the files of a package that is not installed, because it would start a server."""
    return folders.programs() / f"debian-{package}"


def unpack(package: str) -> None:
    """Fill that folder; without root from the package lists that are there. Raises Failed."""
    once.folder(unpacked(package), partial(fetch, package))


def fetch(package: str, folder: Path, _lock: int) -> None:
    with alone():
        stale = update() if os.geteuid() == 0 else "the package lists may be too old; root renews them: apt-get update\n"
        # As root apt-get would download as the user _apt, who may not enter our folders.
        also = filter(known, SPLIT_OFF.get(package, ()))
        apt_get("download", "--option=APT::Sandbox::User=root", package, *also, folder=folder, before=stale)
    for archive in list(folder.glob("*.deb")):
        subprocess.run(["dpkg-deb", "--extract", archive, folder], check=True)
        archive.unlink()


def known(package: str) -> bool:
    return subprocess.run(["apt-cache", "show", package], capture_output=True, check=False).returncode == 0


def update() -> str:
    """Renew the package lists. A repository that fails is no reason to stop: the answer is for the message if the rest fails."""
    try:
        return apt_get("update").stderr
    except Failed as error:
        return str(error)


def apt_get(*arguments: str, folder: Path | None = None, before: str = "") -> subprocess.CompletedProcess[str]:
    run = partial(subprocess.run, env={**os.environ, **ENVIRONMENT}, cwd=folder, capture_output=True, text=True, check=False)
    until, repaired = time.monotonic() + PATIENCE, None
    while True:
        done = run(["apt-get", *OPTIONS, *arguments], stdin=subprocess.DEVNULL)
        if done.returncode == 0:
            return done
        if LOCKED in done.stderr and time.monotonic() < until:
            time.sleep(PAUSE)
        elif INTERRUPTED in done.stderr and repaired is None:
            repaired = run(["dpkg", "--configure", "-a", "--force-confold"], stdin=subprocess.DEVNULL)
            if repaired.returncode:
                raise Failed(f"dpkg --configure -a failed; fix this and try again:\n{repaired.stderr[-1500:]}")
        else:
            raise Failed(f"apt-get {' '.join(arguments)} failed; fix this and try again:\n{before[-750:]}{done.stderr[-1500:]}")


@contextmanager
def alone() -> Iterator[None]:
    """One process of ours at a time, of whatever checkout. Without root nothing that all share is written."""
    with (LOCK if os.geteuid() == 0 else folders.programs() / ".apt.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextmanager
def no_services() -> Iterator[None]:
    """The machine's own policy stays; one that a killed process of ours left does not."""
    ours = not POLICY.exists() or POLICY.read_text() == REFUSAL
    if ours:
        POLICY.write_text(REFUSAL)
        POLICY.chmod(0o755)
    try:
        yield
    finally:
        if ours:
            POLICY.unlink(missing_ok=True)
