"""The recipe of docs/operator.md, as it stands there: a service that verifies keys, alone and under Enforce."""

from __future__ import annotations

import base64
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from tests import docs
from tests.cluster.kube import CONTAINER_SECURITY, POD_SECURITY, Cluster, Document, Namespace, config_map
from tests.conftest import ROOT
from tests.integration.waiting import until
from tests.operator.installed import BRIEF, EMBEDDED, install, running
from tools.ports import free_port

from sluice import keys

pytestmark = pytest.mark.timeout(900)
GUIDE = ROOT / "docs" / "operator.md"


def block(name: str, language: str) -> str:
    """What stands in the guide between the marks of `name`."""
    found = re.fullmatch(rf"```{language}\n(.*)```", docs.section(GUIDE, name), re.DOTALL)
    assert found is not None
    return found[1]


# alone


def published(*made: str, state: keys.State = "active") -> bytes:
    scopes: frozenset[keys.Scope] = frozenset({"read"})
    entries = (
        keys.KeyEntry(digest=keys.digest(key), key_id="web", version=number, owner="shop", scopes=scopes, state=state)
        for number, key in enumerate(made, 1)
    )
    return keys.publish(entries, datetime.now(UTC))


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="sluice-recipe-") as name:
        folder = Path(name)
        (folder / "greeter.py").write_text(block("recipe", "python"), encoding="utf-8")
        yield folder


@pytest.fixture
def client(folder: Path) -> Iterator[httpx.Client]:
    """Of the recipe under gunicorn, with two workers and no key set yet."""
    port = free_port()
    settings = {"PATH": os.environ["PATH"], "KEYSET_FILE": str(folder / "keyset.json"), "REPORTS": str(folder)}
    words = [sys.executable, "-m", "gunicorn", "--workers=2", f"--bind=127.0.0.1:{port}", "--no-control-socket", "greeter:app"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(words, cwd=folder, env=settings, stdout=log, stderr=log)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
            until(lambda: answers(client), 30, "it listens")
            yield client
    finally:
        process.terminate()
        process.wait(30)


def answers(client: httpx.Client) -> bool:
    try:
        return client.get("/liveness").is_success
    except httpx.TransportError:
        return False


def put(folder: Path, document: bytes) -> str:
    """Publish, as the kubelet does it; the revision."""
    (folder / "new").write_bytes(document)
    (folder / "new").rename(folder / "keyset.json")
    return keys.parse_document(document).revision


def reported(client: httpx.Client, revision: str) -> dict[str, Any]:
    """What /keyset tells once every worker has the revision."""

    def same() -> dict[str, Any] | None:
        told: dict[str, Any] = client.get("/keyset").json()
        return told if told["revision"] == revision and told["loaded"] == told["workers"] else None

    found = until(same, 20, "both workers have the key set")
    assert found is not None
    return found


def whoami(client: httpx.Client, key: str) -> set[tuple[int, int | None]]:
    """Status and version of several answers: each may be of another worker."""
    found = [client.get("/api/v1/whoami", headers={"X-API-Key": key, "Connection": "close"}) for _ in range(10)]
    return {(one.status_code, one.json().get("data", {}).get("version")) for one in found}


def test_it_is_ready_with_its_first_key_set_and_both_workers_report_it(client: httpx.Client, folder: Path) -> None:
    assert client.get("/readiness").status_code == 503
    assert client.get("/keyset").json()["revision"] is None
    old, new = keys.mint("test"), keys.mint("test")
    told = reported(client, put(folder, published(old, new)))
    assert (told["workers"], told["loaded"]) == (2, 2)
    assert client.get("/readiness").status_code == 200
    assert (whoami(client, old), whoami(client, new)) == ({(200, 1)}, {(200, 2)})


def test_it_follows_a_change_keeps_the_last_good_set_and_reports_uses(client: httpx.Client, folder: Path) -> None:
    key = keys.mint("test")
    first = put(folder, published(key))
    reported(client, first)
    assert whoami(client, key) == {(200, 1)}
    (folder / "keyset.json").write_text("{}")
    used = until(lambda: client.get("/keyset").json()["lastUsed"], 10, "the use is told")
    assert used.keys() == {"web/1"}
    assert whoami(client, key) == {(200, 1)}
    reported(client, put(folder, published(key, state="revoked")))
    assert whoami(client, key) == {(401, None)}


def test_a_worker_that_does_not_report_is_missed(client: httpx.Client, folder: Path) -> None:
    """What it has is not known: it may still accept a revoked key."""
    reported(client, put(folder, published(keys.mint("test"))))
    (other, *_) = folder.glob("keyset-*.json")
    worker = int(re.sub(r"\D", "", other.name))
    os.kill(worker, signal.SIGSTOP)
    until(lambda: client_told(client)[1] == 1, 20, "it is missed")
    os.kill(worker, signal.SIGKILL)
    until(lambda: client_told(client) == (2, 2), 20, "its successor reports")


def client_told(client: httpx.Client) -> tuple[int, int]:
    """Workers and how many have the set, asked until one that can answer does."""
    try:
        told = client.get("/keyset", timeout=1).json()
    except httpx.TransportError:
        return (0, 0)
    return told["workers"], told["loaded"]


# under Enforce


@pytest.fixture(scope="module")
def space(cluster: Cluster, image: str) -> Iterator[Namespace]:
    with cluster.namespace("recipe") as space:
        install(space, running(image), EMBEDDED, BRIEF, {"operator": {"enforce": True}}, wait=True)
        yield space
        space.helm("uninstall", "sluice")


def documents(image: str) -> dict[str, Document]:
    """The guide's manifests by kind, with the recipe in a ConfigMap and in our own image, which has all that it needs."""
    found: dict[str, Document] = {each["kind"]: each for each in yaml.safe_load_all(block("manifests", "yaml"))}
    pod = found["Deployment"]["spec"]["template"]["spec"]
    pod["securityContext"] = {**POD_SECURITY, "runAsUser": 10001}
    pod["volumes"] = [{"name": "code", "configMap": {"name": "greeter"}}, {"name": "tmp", "emptyDir": {}}]
    container = pod["containers"][0]
    container.update(image=image, imagePullPolicy="Never", securityContext=CONTAINER_SECURITY, workingDir="/code")
    container["command"] = ["python", "-m", *container["command"], "--no-control-socket"]
    container["volumeMounts"] = [{"name": "code", "mountPath": "/code"}, {"name": "tmp", "mountPath": "/tmp"}]
    return found


def test_a_deployment_that_opted_in_is_wired_by_one_rollout_and_its_probes_are_proven(space: Namespace, image: str) -> None:
    made = documents(image)
    deployment, budget, keyset, key = (made[kind] for kind in ("Deployment", "PodDisruptionBudget", "KeySet", "ApiKey"))
    space.apply(config_map("greeter", {"greeter.py": block("recipe", "python")}), deployment, budget)
    space.kubectl("rollout", "status", "deployment/greeter", "--timeout=120s")
    before = space.get("deployment", "greeter")["metadata"]["generation"]
    space.apply(keyset, key)
    until(lambda: wired(space) == "Proven", 180, "its probes are proven")
    space.wait("apikey/guest", "condition=Ready")
    assert space.get("keyset", "greeters")["status"]["acknowledged"] == "2/2"
    assert space.get("deployment", "greeter")["metadata"]["generation"] == before + 1
    assert greeted(space) == {"200"}


def wired(space: Namespace) -> str:
    conditions = space.get("keyset", "greeters").get("status", {}).get("conditions", [])
    return next((str(each["reason"]) for each in conditions if each["type"] == "ProbesWired"), "")


def greeted(space: Namespace) -> set[str]:
    """What each Pod says to the guest's key, asked from within."""
    key = base64.b64decode(space.get("secret", "guest")["data"]["key"]).decode()
    ask = (
        "import sys, urllib.request as u; r = u.Request('http://127.0.0.1:8080/', headers={'X-API-Key': sys.stdin.read()});"
        "print(u.urlopen(r).status)"
    )
    pods = [pod["metadata"]["name"] for pod in space.pods("app=greeter")]
    return {space.kubectl("exec", "-i", pod, "--", "python", "-c", ask, stdin=key).strip() for pod in pods}


def test_nothing_is_written_to_it_afterwards(space: Namespace) -> None:
    found = space.get("deployment", "greeter")
    space.kubectl("annotate", "keyset", "greeters", "--overwrite", "example.org/look=again")
    space.kubectl("rollout", "restart", "deployment/sluice-operator")
    space.kubectl("rollout", "status", "deployment/sluice-operator", "--timeout=120s")
    until(lambda: wired(space) == "Proven", 120, "it was looked at again")
    again = space.get("deployment", "greeter")
    assert json.dumps(again["spec"], sort_keys=True) == json.dumps(found["spec"], sort_keys=True)
    assert again["metadata"]["generation"] == found["metadata"]["generation"]
