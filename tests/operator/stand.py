"""A namespace with a target and a KeySet, and what a person does there: make keys, change them, look."""

from __future__ import annotations

import base64
import contextlib
import json
import secrets
import subprocess
from collections.abc import Iterator, Sequence
from typing import Any

from tests.cluster.database import PostgreSQL
from tests.cluster.kube import Cluster, Document, Namespace, kind
from tests.conftest import ROOT
from tests.integration.waiting import until
from tests.operator import account, target
from tests.operator.operators import Operator
from tests.operator.reader import Reader
from tools.cluster import run, sandbox

API_VERSION = "sluice.dev/v1alpha1"
KEYSET = "main"
NEVER_PULLED = "sluice.invalid/none:0"
KINDS = ("apikeys.sluice.dev", "keysets.sluice.dev")
CRDS = ROOT / "charts" / "sluice" / "files" / "crds"


class Stand:
    """`target` is shared by all tests of a run: leave it as it was."""

    def __init__(self, space: Namespace, target: target.Target) -> None:
        self.space = space
        self.target = target
        self.reader = Reader(run.here().kubeconfig, space.name)

    def key(self, name: str = "", **spec: Any) -> str:
        """Make an ApiKey; its name."""
        name = name or f"key-{secrets.token_hex(3)}"
        whole = {"keySetRef": {"name": KEYSET}, "owner": "tests", "scopes": ["ingest", "read"], **spec}
        self.space.apply(kind(API_VERSION, "ApiKey", name, spec=whole))
        return name

    def change(self, name: str, **spec: Any) -> None:
        self.patch("apikey", name, {"spec": spec})

    def patch(self, what: str, name: str, body: Document) -> None:
        self.space.kubectl("patch", what, name, "--type=merge", "-p", json.dumps(body))

    def rotate(self, name: str) -> None:
        self.space.kubectl("annotate", "apikey", name, "--overwrite", f"sluice.dev/rotate={secrets.token_hex(4)}")

    def remove(self, *names: str) -> None:
        self.space.kubectl("delete", "apikey", *names, "--ignore-not-found", "--wait=false")

    def status(self, name: str) -> Document:
        found: Document = self.reader.get("apikey", name).get("status", {})
        return found

    def condition(self, name: str, condition: str, what: str = "apikey") -> tuple[str, str]:
        """Its status and reason; empty while it is not there."""
        found = self.reader.get(what, name).get("status", {}).get("conditions", [])
        return next(((each["status"], each["reason"]) for each in found if each["type"] == condition), ("", ""))

    def until_condition(self, name: str, condition: str, reason: str, seconds: float = 30, what: str = "apikey") -> None:
        until(lambda: self.condition(name, condition, what)[1] == reason, seconds, f"{condition} of {name} is {reason}")

    def active(self, name: str, version: int | None = None, seconds: float = 30) -> None:
        """Until the key is handed out, in that version."""

        def is_so() -> bool:
            status = self.status(name)
            right = version is None or status.get("version") == version
            return right and self.condition(name, "Ready") == ("True", "Active")

        until(is_so, seconds, f"{name} is active")

    def settled(self, seconds: float = 60) -> None:
        """Until every Pod has the key set that is published now."""

        def is_so() -> bool:
            status = self.reader.get("keyset", KEYSET).get("status", {})
            data = self.reader.get("secret", f"{KEYSET}-published")["data"]["keyset.json"]
            revision = json.loads(base64.b64decode(data))["revision"]
            return bool(status.get("revision") == revision and self.condition(KEYSET, "Ready", "keyset")[0] == "True")

        until(is_so, seconds, "every Pod has the key set")

    def secrets(self) -> dict[str, Document]:
        """Those of keys and key sets."""
        found = self.reader.all("secret")
        return {each["metadata"]["name"]: each for each in found if each["type"].startswith("sluice.dev/")}

    def plaintext(self, secret: str) -> str:
        return base64.b64decode(self.secrets()[secret]["data"]["key"]).decode()

    def published(self) -> list[Document]:
        """The entries."""
        data = self.secrets()[f"{KEYSET}-published"]["data"]["keyset.json"]
        entries: list[Document] = json.loads(base64.b64decode(data))["entries"]
        return entries

    def of_key(self, name: str) -> list[Document]:
        return [entry for entry in self.published() if entry["keyId"] == name]

    def addresses(self) -> list[str]:
        """Of the target's Pods that are not on their way out."""
        pods = [pod for pod in self.reader.all("pod") if pod["metadata"].get("labels", {}).get("app") == target.NAME]
        return [
            pod["status"]["podIP"] for pod in pods if "deletionTimestamp" not in pod["metadata"] and pod["status"].get("podIP")
        ]

    def answers(self, key: str) -> list[int]:
        """What each Pod says to it, twice: it has two workers."""
        urls = [f"http://{ip}:8080/api/v1/whoami" for ip in self.addresses()] * 2
        return statuses(urls, key) if urls else []


def statuses(urls: Sequence[str], key: str) -> list[int]:
    """Of each of `urls`, asked with `key`; 0: no answer. By curl, for it has to be run in the sandbox's network."""
    quiet = [word for url in urls for word in ("--output", "/dev/null", url)]
    words = ["curl", "-s", "-m", "5", "--no-keepalive", "-w", r"%{http_code}\n", "-H", "@-", *quiet]
    command = [*sandbox.entering(run.here(), "net"), *words]
    done = subprocess.run(command, input=f"X-API-Key: {key}\nConnection: close", capture_output=True, text=True, check=False)
    return [int(line) for line in done.stdout.split()]


def install_crds(cluster: Cluster) -> None:
    """The kinds, of this tree."""
    for file in sorted(CRDS.glob("*.yaml")):
        cluster.kubectl("apply", "--server-side", "--force-conflicts", "--filename", str(file))
        cluster.kubectl("wait", "--for=condition=Established", "--timeout=60s", "--filename", str(file))


def key_set(name: str = KEYSET, **spec: Any) -> Document:
    return kind(API_VERSION, "KeySet", name, spec={"environment": "test", "target": {"name": "web"}, **spec})


@contextlib.contextmanager
def standing(cluster: Cluster, image: str, postgresql: PostgreSQL) -> Iterator[Stand]:
    """A new one. Its Pods have a key set, without any key in it."""
    with cluster.namespace("operator") as space:
        account.create(space)
        verifier = target.Target(space, postgresql.database(space.name), image)
        space.apply(key_set())
        operator = Operator(space, "first", LEASE_NAME="first").start().leads()
        verifier.ready()
        operator.stop()
        operator.remove()
        made = Stand(space, verifier)
        yield made
        made.reader.close()


@contextlib.contextmanager
def beside(first: Stand) -> Iterator[Stand]:
    """A namespace for the same operator, with a KeySet whose target has no Pods."""
    with first.space.cluster.namespace("other") as space:
        prepare(space, first.space)
        made = Stand(space, first.target)
        yield made
        made.reader.close()


def prepare(space: Namespace, home: Namespace) -> None:
    """What `beside` needs of a namespace. `home`: where the operator's account is."""
    account.admit(space, home)
    furnish(space)


def furnish(space: Namespace) -> None:
    """A KeySet with a target that wants no Pods: all that it has acknowledge whatever is published."""
    space.apply(target.deployment(NEVER_PULLED, KEYSET, replicas=0), key_set())
