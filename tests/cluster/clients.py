"""Load clients: load.py as a Pod, and what it reports compared with what is stored."""

from __future__ import annotations

import contextlib
import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.cluster.database import Database
from tests.cluster.kube import (
    CONTAINER_SECURITY,
    POD_SECURITY,
    Document,
    Namespace,
    config_map,
    kind,
    mount,
    secret,
    secret_volume,
)
from tests.integration.waiting import until

FILE = Path(__file__).with_name("load.py")
# What a client may need to end: its last requests, with their retries.
ENDING = 120


@dataclass(frozen=True)
class Report:
    """What a client said at its end (load.py tells what each part is)."""

    document: Document

    def __getattr__(self, name: str) -> Any:
        return self.document[name]

    @property
    def failures(self) -> dict[str, int]:
        """By kind, with the sends that came too late: what zero downtime means is that this is empty."""
        late = {"late": self.document["late"]} if self.document["late"] else {}
        return {**self.document["failed"], **late}

    def acknowledged_numbers(self) -> Iterator[int]:
        """Of every event in an acknowledged request."""
        size = self.document["size"]
        for first, last in self.document["ledger"]:
            yield from range(first * size, (last + 1) * size)


@dataclass(frozen=True)
class Books:
    """What should be empty: acknowledged and not stored, stored more than once."""

    lost: list[int] = field(default_factory=list)
    doubled: list[int] = field(default_factory=list)
    stored: int = 0
    acknowledged: int = 0


def books(report: Report, database: Database) -> Books:
    """Compare the ledger of one client with the rows."""
    rows = database.numbers(report.prefix)
    stored, acknowledged = set(rows), set(report.acknowledged_numbers())
    doubled = [row for row, following in itertools.pairwise(rows) if row == following]
    return Books(sorted(acknowledged - stored), doubled, len(rows), len(acknowledged))


class Client:
    """A running load client. `stop` gives its report."""

    def __init__(self, space: Namespace, name: str) -> None:
        self.space = space
        self.name = name

    def wait(self) -> None:
        """Until it has had its first answers."""
        until(lambda: "sent" in self.space.logs(self.name), 60, f"{self.name} sends")

    def acknowledged(self) -> int:
        """As its latest line of progress tells."""
        return int(self.space.logs(self.name, "--tail=1").partition("acknowledged ")[2].partition(",")[0])

    def stop(self) -> Report:
        """Tell it to finish what it has begun, and to end."""
        self.space.kubectl("exec", self.name, "--", "python3", "-c", "open('/tmp/stop', 'w')")
        return self.report()

    def report(self, seconds: float = ENDING) -> Report:
        """Wait for its end."""
        self.space.wait(f"pod/{self.name}", "jsonpath={.status.phase}=Succeeded", seconds)
        # Not by --tail=1, which takes for a line what the runtime writes as one: 16 KiB. A line of progress, which is
        # stderr's, may come behind it.
        lines = self.space.logs(self.name).splitlines()
        return Report(json.loads(next(line for line in reversed(lines) if line.startswith("{"))))


def prepare(space: Namespace, key: str) -> None:
    """What every client in this namespace mounts: the program, and an API key."""
    space.apply(config_map("load", {FILE.name: FILE.read_text()}), secret("load-key", key=key))


@contextlib.contextmanager
def client(space: Namespace, name: str, image: str, *options: str) -> Iterator[Client]:
    """A client with these options of load.py; its Pod is removed afterwards."""
    space.apply(pod(name, image, options))
    try:
        space.wait(f"pod/{name}", "condition=Ready")
        yield Client(space, name)
    finally:
        space.kubectl("delete", "pod", name, "--grace-period=0", "--force", "--wait=false")


def pod(name: str, image: str, options: tuple[str, ...]) -> Document:
    words = ["python3", "/load/load.py", "--key-file=/key/key", "--stop-file=/tmp/stop", *options]
    container = {
        "name": "load",
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": words,
        "securityContext": CONTAINER_SECURITY,
        "resources": {"requests": {"cpu": "50m", "memory": "64Mi"}},
        "volumeMounts": [mount("load", "/load"), mount("key", "/key"), mount("tmp", "/tmp")],
    }
    volumes = [
        {"name": "load", "configMap": {"name": "load"}},
        secret_volume("key", "load-key"),
        {"name": "tmp", "emptyDir": {}},
    ]
    spec = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "securityContext": POD_SECURITY,
        "terminationGracePeriodSeconds": 5,
        "containers": [container],
        "volumes": volumes,
    }
    return {**kind("v1", "Pod", name, spec=spec), "metadata": {"name": name, "labels": {"app": "load"}}}
