"""kill -9 of a container's first process: from within nobody can, for the kernel spares the first process of a namespace."""

from __future__ import annotations

from tests.cluster.kube import Document, Namespace, kind

NAME = "reaper"
# A namespace for it needs this label: it sees the processes of the node.
PRIVILEGED = {"pod-security.kubernetes.io/enforce": "privileged"}
# That process is number 1 in the innermost of its namespaces, and its control group is named after the container.
PROGRAM = """
import os, pathlib, sys
for process in pathlib.Path("/proc").glob("[0-9]*"):
    try:
        ours = sys.argv[1] in (process / "cgroup").read_text()
        status = dict(line.split(":", 1) for line in (process / "status").read_text().splitlines())
    except OSError:
        continue
    if ours and status["NSpid"].split()[-1] == "1":
        os.kill(int(process.name), 9)
        sys.exit(0)
sys.exit(f"no process of container {sys.argv[1]}")
"""


class Reaper:
    """Lives on the node in a Pod of its own."""

    def __init__(self, space: Namespace, image: str) -> None:
        self._space = space
        space.apply(pod(image))
        space.wait(f"pod/{NAME}", "condition=Ready")

    def kill(self, victim: Document) -> None:
        """The first container of the pod `victim`."""
        container = victim["status"]["containerStatuses"][0]["containerID"].rpartition("/")[2]
        self._space.kubectl("exec", NAME, "--", "python3", "-c", PROGRAM, container)


def pod(image: str) -> Document:
    container = {
        "name": NAME,
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["python3", "-c", "import signal; signal.pause()"],
        "securityContext": {"runAsUser": 0, "privileged": True},
    }
    return kind("v1", "Pod", NAME, spec={"hostPID": True, "terminationGracePeriodSeconds": 0, "containers": [container]})
