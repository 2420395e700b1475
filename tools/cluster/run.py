"""Where a cluster keeps its state, and what it is called: names and paths, nothing else."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from tools import folders

NODE = "sluice-node"
# RFC 2544 benchmark addresses: never routed, and nobody's private network.
NODE_ADDRESS = "198.18.0.1"
POD_NETWORK = "10.244.0.0/24"
POD_GATEWAY = "10.244.0.1"
SERVICE_NETWORK = "10.96.0.0/16"
KUBERNETES_SERVICE = "10.96.0.1"
DNS_SERVICE = "10.96.0.10"
API_PORT = 6443
PROXY_HEALTH_PORT = 10256
# The kernel's limit for the path of a unix socket is 108 bytes with its end.
SOCKET_PATH = 107
# Ours, in the sandbox's own /run: nothing of it is seen outside.
CONTAINERD = "/run/containerd/containerd.sock"


class BadFolder(Exception):
    """The cluster can not live in this folder."""


@dataclass(frozen=True)
class Run:
    """The folder of one cluster; all else is derived from it."""

    folder: Path

    @property
    def lock(self) -> Path:
        """Locked by the keeper as long as it lives; holds its process id."""
        return self.folder / "lock"

    @property
    def starting(self) -> Path:
        """Locked by the command that starts the cluster, until it is ready."""
        return self.folder / "starting"

    @property
    def progress(self) -> Path:
        return self.folder / "progress"

    @property
    def logs(self) -> Path:
        return self.folder / "logs"

    @property
    def certificates(self) -> Path:
        return self.folder / "certificates"

    @property
    def config(self) -> Path:
        return self.folder / "config"

    @property
    def kubeconfig(self) -> Path:
        """For programs outside of the sandbox: through the relay."""
        return self.folder / "kubeconfig"

    @property
    def inside_kubeconfig(self) -> Path:
        return self.folder / "kubeconfig-inside"

    @property
    def audit_log(self) -> Path:
        return self.folder / "audit.log"

    @property
    def api_socket(self) -> Path:
        return self.folder / "api.sock"

    @property
    def control_socket(self) -> Path:
        return self.folder / "control.sock"

    @property
    def cgroup(self) -> str:
        return f"sluice-{hashlib.sha256(str(self.folder).encode()).hexdigest()[:8]}"

    def log(self, component: str) -> Path:
        return self.logs / f"{component}.log"

    def state(self, name: str) -> Path:
        """A component's data; gone with the cluster."""
        return self.folder / "state" / name


def here() -> Run:
    """The cluster of this environment: SLUICE_CLUSTER_DIR, else a folder in the cache."""
    folder = Path(os.environ.get("SLUICE_CLUSTER_DIR") or folders.cache() / "cluster").absolute()
    if folder.is_relative_to("/run") or folder.is_relative_to("/var/run"):
        raise BadFolder(f"SLUICE_CLUSTER_DIR={folder}: the sandbox has a /run of its own; name a folder on disk")
    run = Run(folder)
    if len(os.fsencode(run.control_socket)) > SOCKET_PATH:
        raise BadFolder(f"SLUICE_CLUSTER_DIR={folder} is too long for the path of a unix socket; name a shorter one")
    return run
