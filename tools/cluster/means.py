"""What a cluster needs of the machine, and how to get it."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from tools import binaries, kubectl
from tools.cluster import cgroups, node

# Program -> the Debian and Ubuntu package that has it. A program from elsewhere (Docker's containerd.io) is as good.
PACKAGES = {
    "containerd": "containerd",
    "containerd-shim-runc-v2": "containerd",
    "ctr": "containerd",
    "runc": "runc",
    "nft": "nftables",
    "ip": "iproute2",
    "socat": "socat",
    "catatonit": "catatonit",
    "unshare": "util-linux",
    "nsenter": "util-linux",
    "setpriv": "util-linux",
    "mount": "mount",
}
# Folders of tools/ with what a node is made of.
MODULES = ("etcd", "kubernetes", "coredns")
PLUGINS_PACKAGE = "containernetworking-plugins"
SBIN = ("/usr/local/sbin", "/usr/sbin", "/sbin")
POLICY = Path("/usr/sbin/policy-rc.d")


class Missing(Exception):
    """A cluster can not be made here; the text says why and what mends it."""


def missing() -> str | None:
    """Why no cluster can be made here, or None. Packages that `install` can get are not missing."""
    if not sys.platform.startswith("linux"):
        return f"a Kubernetes node needs Linux, this is {platform.system()}"
    if os.geteuid() != 0:
        return "making namespaces and control groups needs root; run it as root, or with sudo"
    return no_go() or no_packages() or no_kubectl() or no_namespaces() or no_cgroups()


def search_path() -> str:
    """PATH, and the folders of nft and ip: a root shell that was not a login shell may lack them."""
    folders = os.environ.get("PATH", os.defpath).split(os.pathsep)
    return os.pathsep.join([*folders, *(folder for folder in SBIN if folder not in folders)])


def found(program: str) -> bool:
    return shutil.which(program, path=search_path()) is not None


def no_go() -> str | None:
    try:
        for name in MODULES:
            binaries.modules()[name].cached()
    except binaries.NoGo as problem:
        return str(problem)
    return None


def no_kubectl() -> str | None:
    return None if kubectl.available("kubectl") else kubectl.mend("kubectl")


def no_packages() -> str | None:
    wanted = packages()
    if not wanted or found("apt-get"):
        return None
    return f"this is neither Debian nor Ubuntu, so install by its own means what these packages hold: {', '.join(wanted)}"


def no_namespaces() -> str | None:
    if not found("unshare"):
        return None
    done = subprocess.run(["unshare", "--net", "--mount", "--pid", "--fork", "true"], capture_output=True, text=True, check=False)
    return f"this machine does not let root make namespaces: {done.stderr.strip()}" if done.returncode else None


def no_cgroups() -> str | None:
    hierarchies = cgroups.hierarchies()
    if hierarchies and all(os.access(hierarchy, os.W_OK) for hierarchy in hierarchies):
        return None
    return "control groups are not mounted or not writable here; in a container, start it with --privileged --cgroupns=host"


def packages() -> list[str]:
    """The packages to install, sorted."""
    wanted = {package for program, package in PACKAGES.items() if not found(program)}
    if node.plugins() is None:
        wanted.add(PLUGINS_PACKAGE)
    return sorted(wanted)


def install(wanted: list[str], say: Callable[[str], None]) -> None:
    """apt-get install, without the services that packages start."""
    say(f"apt-get install {' '.join(wanted)}")
    own_policy = not POLICY.exists()
    if own_policy:
        POLICY.write_text("#!/bin/sh\nexit 101\n")
        POLICY.chmod(0o755)
    try:
        apt_get("update")
        apt_get("install", "--yes", "--no-install-recommends", *wanted)
    finally:
        if own_policy:
            POLICY.unlink()
    if "containerd" in wanted:
        disable("containerd")


def apt_get(*arguments: str) -> None:
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    done = subprocess.run(["apt-get", "--quiet", *arguments], env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Missing(f"apt-get {' '.join(arguments)} failed; mend this and try again:\n{done.stderr[-1500:]}")


def disable(service: str) -> None:
    """The package has enabled it for the next boot; we start our own."""
    if found("systemctl"):
        subprocess.run(["systemctl", "disable", service], capture_output=True, check=False)
