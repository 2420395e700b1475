"""What a cluster needs of the machine."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys

from tools import binaries, kubectl, not_installed
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


def missing() -> str | None:
    """Why no cluster can be started here, or None."""
    return impossible() or no_packages() or no_programs() or no_kubectl()


def impossible() -> str | None:
    """Why no cluster can be made here, whatever tools/install.py installs; None when it can."""
    if not sys.platform.startswith("linux"):
        return f"a Kubernetes node needs Linux, this is {platform.system()}"
    if os.geteuid() != 0:
        return "making namespaces and control groups needs root; run it as root, or with sudo"
    return no_namespaces() or no_cgroups()


def search_path() -> str:
    """PATH, and the folders of nft and ip: a root shell that was not a login shell may lack them."""
    folders = os.environ.get("PATH", os.defpath).split(os.pathsep)
    return os.pathsep.join([*folders, *(folder for folder in SBIN if folder not in folders)])


def found(program: str) -> bool:
    return shutil.which(program, path=search_path()) is not None


def no_programs() -> str | None:
    try:
        return next((str(not_installed(name)) for name in MODULES if not binaries.modules()[name].cached().exists()), None)
    except binaries.NoGo as problem:
        return str(problem)


def no_kubectl() -> str | None:
    return None if kubectl.available("kubectl") else kubectl.fix("kubectl")


def no_packages() -> str | None:
    wanted = packages()
    return f"{not_installed('node')} (what these packages of Debian hold: {', '.join(wanted)})" if wanted else None


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
