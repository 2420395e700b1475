"""The program of the sandbox: makes network and mounts, starts all components, and ends, with everything in it, when one ends.

`python -m tools.cluster.supervisor FOLDER`, started by the keeper inside fresh namespaces.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from tools.cluster import addons, cgroups, control, control_plane, images, mounts, network, node, progress
from tools.cluster.components import Components, Failed
from tools.cluster.run import API_PORT, Run

PAUSE = 0.2
# Process 1 of the sandbox, which started this one.
INIT = 1


class Supervisor:
    def __init__(self, run: Run) -> None:
        self.run = run
        self.components = Components(run.logs)
        self.began = time.monotonic()

    def live(self) -> None:
        """Until a component ends by itself; that one is reported."""
        try:
            self.bring_up()
            self.say("ready", "the node is ready")
            self.serve()
        except Failed as problem:
            self.say("failed", str(problem))

    def say(self, state: str, text: str) -> None:
        progress.write(self.run.progress, progress.Step(state, text, round(time.monotonic() - self.began, 1)))

    def bring_up(self) -> None:
        self.say("doing", "network and mounts")
        self.prepare()
        self.say("doing", "etcd, API server and containerd")
        self.start_api_and_containerd()
        self.say("doing", "controllers, kubelet and kube-proxy")
        self.start_node()
        self.say("doing", "names (CoreDNS)")
        self.wait_for_names()

    def prepare(self) -> None:
        cgroups.join(self.run.cgroup, INIT, os.getpid())
        network.make()
        mounts.make(self.run)

    def start_api_and_containerd(self) -> None:
        run, components = self.run, self.components
        control_plane.start_api(run, components)
        node.start_containerd(run, components, images.PAUSE_NAME)
        # nodelay here and in the keeper: an answer in two parts took 40 ms, for the second waited for the first one's ACK.
        components.start("relay", "socat", f"UNIX-LISTEN:{run.api_socket},fork", f"TCP:127.0.0.1:{API_PORT},nodelay")
        components.until(node.containerd_is_ready, "containerd", "containerd")
        node.import_image(images.pause(run.state("images")))
        node.import_image(images.coredns())
        components.until(lambda: control_plane.is_ready(run), "the API server's /readyz", "kube-apiserver")

    def start_node(self) -> None:
        run, components = self.run, self.components
        control_plane.start_controllers(run, components)
        node.start_kubelet(run, components)
        node.start_proxy(run, components)
        components.until(lambda: addons.apply(run), "the manifests to be accepted", "kube-apiserver")
        components.until(lambda: node.is_ready(run), "the node to be Ready", "kubelet")
        components.until(node.proxy_is_synced, "kube-proxy's first sync", "kube-proxy")

    def wait_for_names(self) -> None:
        self.components.until(lambda: addons.names_are_served(self.run), "CoreDNS to be available", "kubelet")

    def serve(self) -> None:
        """Answer commands (control.py) until a component ends by itself."""
        with control.listening(self.run.control_socket) as listener:
            listener.settimeout(PAUSE)
            while True:
                self.components.check()
                try:
                    connection, _ = listener.accept()
                except TimeoutError:
                    continue
                with connection:
                    control.answer(self.components, connection)


def main() -> None:
    Supervisor(Run(Path(sys.argv[1]))).live()


if __name__ == "__main__":
    main()
