"""What a sandbox leaves when it ends: nothing in the kernel but empty control groups, and files in its folder."""

from __future__ import annotations

import shutil

from tools.cluster import cgroups, mounts
from tools.cluster.run import Run


def remove(run: Run) -> None:
    """Wait for the last process, then remove all of it; logs, progress and audit log stay until the next start.

    Does nothing where nothing is. Raises Failed when processes do not end.
    """
    cgroups.remove(run.cgroup)
    mounts.forget()
    for path in (run.state(""), run.certificates, run.config):
        shutil.rmtree(path, ignore_errors=True)
    for path in (run.kubeconfig, run.inside_kubeconfig, run.api_socket, run.control_socket):
        path.unlink(missing_ok=True)
