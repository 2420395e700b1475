"""What goes wrong while keys are rotated: one thing after the other, at random moments, until it is told to end."""

from __future__ import annotations

import random
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping

from tests.operator.operators import Operator
from tests.operator.stand import Stand
from tests.operator.target import NAME
from tools import folders

# How long the kubelet is away: nothing is delivered meanwhile. The node controller takes 40 s to miss it.
HELD_SECONDS = 8.0


class Faults:
    """A thread that injects them; `count` says how often each was done. Its first error is raised by `end`."""

    def __init__(self, stand: Stand, operator: Operator, seed: int) -> None:
        self._stand = stand
        self._operator = operator
        self._chance = random.Random(seed)
        self._ended = threading.Event()
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.count: Counter[str] = Counter()

    def begin(self) -> None:
        self._thread.start()

    def end(self) -> None:
        self._ended.set()
        self._thread.join(300)
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        kinds = self.kinds()
        try:
            while not self._ended.wait(self._chance.uniform(2, 8)):
                name = self._chance.choice(list(kinds))
                kinds[name]()
                self.count[name] += 1
        except Exception as error:
            self._error = error

    def kinds(self) -> Mapping[str, Callable[[], None]]:
        return {
            "operator killed": self.kill,
            "API server restarted": lambda: component("restart", "kube-apiserver"),
            "Pod deleted": self.delete_a_pod,
            "target rolled out": self.roll_out,
            "delivery held back": self.hold_back,
        }

    def kill(self) -> None:
        self._operator.kill()
        self._operator.start()

    def delete_a_pod(self) -> None:
        pods = [pod["metadata"]["name"] for pod in self._stand.target.pods()]
        self._stand.space.kubectl("delete", "pod", self._chance.choice(pods), "--wait=false")

    def roll_out(self) -> None:
        self._stand.space.kubectl("rollout", "restart", f"deployment/{NAME}")
        self._stand.target.ready()

    def hold_back(self) -> None:
        component("stop", "kubelet")
        time.sleep(HELD_SECONDS)
        component("start", "kubelet")


def component(verb: str, name: str) -> None:
    """Of the control plane or the node."""
    command = [sys.executable, "-m", "tools.cluster", verb, name]
    subprocess.run(command, cwd=folders.ROOT, check=True, capture_output=True, timeout=120)
