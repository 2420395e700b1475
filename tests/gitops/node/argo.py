"""A real Argo CD: the components as processes in the sandbox's network, on the node of tools/cluster."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import yaml
from tests.cluster.kube import Cluster, Document, Namespace, Refused, config_map, secret
from tests.conftest import ROOT
from tests.integration.waiting import until, without_error
from tools import binaries, kubectl
from tools.cluster import means, run, sandbox
from tools.cluster.components import tail

PART_OF = {"app.kubernetes.io/part-of": "argocd"}
REDIS, REPO = 16379, 18081
# Where its port is one of the node's own, it gets another.
COMPONENTS = {
    "argocd-repo-server": (f"--port={REPO}", "--metrics-port=18084", f"--redis=127.0.0.1:{REDIS}"),
    "argocd-application-controller": (
        f"--redis=127.0.0.1:{REDIS}",
        f"--repo-server=127.0.0.1:{REPO}",
        "--metrics-port=18082",
        "--app-resync-jitter=0",
        "--self-heal-timeout-seconds=2",
    ),
    "argocd-applicationset-controller": (
        f"--argocd-repo-server=127.0.0.1:{REPO}",
        "--metrics-addr=127.0.0.1:18090",
        "--probe-addr=127.0.0.1:18091",
        "--webhook-addr=127.0.0.1:17000",
    ),
    "argocd-notifications": ("--metrics-port=19001", f"--argocd-repo-server=127.0.0.1:{REPO}"),
}
# A webhook of GitHub does this at once; here the repository is polled.
POLLED = "5s"


class Argo:
    """`space` is namespace argocd, with what a Helm chart would have made of argocd/values.yaml."""

    def __init__(self, cluster: Cluster, folder: Path, notify: str) -> None:
        self.cluster = cluster
        self.space = Namespace(cluster, "argocd")
        self.folder = folder
        self._processes: list[subprocess.Popen[bytes]] = []
        cluster.kubectl("create", "namespace", "argocd")
        for kind in ("application", "applicationset", "appproject"):
            file = source() / "manifests" / "crds" / f"{kind}-crd.yaml"
            cluster.kubectl("apply", "--server-side", "--filename", str(file))
            established = ("wait", "--for=condition=Established", "--timeout=60s", "--filename", str(file))
            # A kind of this moment has no conditions yet, which kubectl takes for an error.
            without_error(partial(cluster.kubectl, *established), Refused)
        self.space.apply(*settings(notify))

    def start(self) -> None:
        redis = ("redis-server", "--port", str(REDIS), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no")
        self._start("redis", redis)
        for name, options in COMPONENTS.items():
            link = self.folder / "bin" / name
            link.parent.mkdir(exist_ok=True)
            link.symlink_to(binaries.path("argocd"))
            self._start(
                name, (str(link), *options, "--loglevel=info", *(() if name == "argocd-repo-server" else ("--namespace=argocd",)))
            )

    def _start(self, name: str, words: tuple[str, ...]) -> None:
        enter = sandbox.entering(run.here(), "net")
        with (self.folder / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(
                [*enter, *words], env=self._environment(), stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        self._processes.append(process)

    def _environment(self) -> dict[str, str]:
        wrappers = self.folder / "wrappers"
        wrappers.mkdir(exist_ok=True)
        for name in ("git-verify-wrapper.sh", "gpg-wrapper.sh"):
            shutil.copy2(source() / "hack" / name, wrappers / name)
            (wrappers / name).chmod(0o755)
        temporary = self.folder / "tmp"
        temporary.mkdir(exist_ok=True)
        path = os.pathsep.join([str(kubectl.helm().parent), str(wrappers), means.search_path()])
        data = {f"ARGOCD_{kind}_DATA_PATH": str(self.folder / kind.lower()) for kind in ("TLS", "SSH")}
        for folder in data.values():
            Path(folder).mkdir(exist_ok=True)
        return {
            **os.environ,
            **data,
            "PATH": path,
            "TMPDIR": str(temporary),
            "HOME": str(self.folder),
            "KUBECONFIG": str(run.here().inside_kubeconfig),
            "ARGOCD_FAKE_IN_CLUSTER": "true",
            "ARGOCD_GPG_ENABLED": "false",
            "ARGOCD_RECONCILIATION_TIMEOUT": POLLED,
            "ARGOCD_REPO_SERVER_ALLOW_OUT_OF_BOUNDS_SYMLINKS": "false",
            "GIT_CONFIG_COUNT": "1",
            "GIT_CONFIG_KEY_0": "safe.directory",
            "GIT_CONFIG_VALUE_0": "*",
        }

    def stop(self) -> None:
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def applications(self) -> dict[str, Document]:
        return {each["metadata"]["name"]: each for each in self.space.get("applications.argoproj.io")}

    def application(self, name: str) -> Document:
        found: Document = self.space.get("applications.argoproj.io", name)
        return found

    def state(self, name: str) -> tuple[str, str]:
        """Sync and health; empty while it is not known."""
        status = self.applications().get(name, {}).get("status", {})
        return status.get("sync", {}).get("status", ""), status.get("health", {}).get("status", "")

    def until_state(self, name: str, *wanted: str, seconds: float = 240) -> float:
        """Until sync and health are `wanted`, both for all of the words; the seconds that took."""
        began = time.monotonic()
        self._until(lambda: set(wanted) <= set(self.state(name)), seconds, f"{name} is {' and '.join(wanted)}", name)
        return time.monotonic() - began

    def until_healthy(self, *names: str, seconds: float = 300) -> None:
        def all_are() -> bool:
            found = self.applications()
            return all(
                (status := found.get(name, {}).get("status", {})).get("sync", {}).get("status") == "Synced"
                and status.get("health", {}).get("status") == "Healthy"
                and status.get("operationState", {}).get("phase") == "Succeeded"
                for name in names
            )

        self._until(all_are, seconds, f"{', '.join(names)} are synced and healthy", *names)

    def until_revision(self, revision: str, *names: str, seconds: float = 240) -> None:
        """Until `revision` of the repository is what they run, or nothing of theirs differs in it."""

        def all_are() -> bool:
            found = self.applications()
            return all(found[name]["status"].get("sync", {}).get("revision") == revision for name in names)

        self._until(all_are, seconds, f"{', '.join(names)} have compared {revision[:12]}", *names)

    def _until(self, happened: Any, seconds: float, what: str, *names: str) -> None:
        def polled() -> bool:
            for process in self._processes:
                assert process.poll() is None, f"{process.args!r} ended: {self.logs()}"
            if happened():
                return True
            time.sleep(0.3)
            return False

        try:
            until(polled, seconds, what)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.report(*names)}\n{self.logs()}") from None

    def report(self, *names: str) -> str:
        """What Argo CD has to say of them."""
        found = self.applications()
        lines = [f"applications: {sorted(found)}"]
        for name in names or found:
            status = found.get(name, {}).get("status", {})
            operation = status.get("operationState", {})
            lines.append(
                f"{name}: {self.state(name)} {operation.get('phase')} {operation.get('message')} {status.get('conditions')}"
            )
            lines += [
                f"    {each['kind']} {each['name']}: {each.get('status')} {each.get('health')}"
                for each in status.get("resources", [])
                if each.get("status") != "Synced" or each.get("health", {}).get("status") not in (None, "Healthy")
            ]
        return "\n".join(lines)

    def logs(self) -> str:
        return "\n".join(f"{file.name}:\n{tail(file, 6)[-2500:]}" for file in sorted(self.folder.glob("*.log")))


def source() -> Path:
    """Argo CD's own files, in Go's cache. Raises Missing."""
    module = "github.com/argoproj/argo-cd/v3"
    return binaries.sources(ROOT / "tools" / "argocd", module)[module]


def settings(notify: str) -> list[Document]:
    """What Argo CD's chart makes of argocd/values.yaml: its ConfigMaps and Secrets. `notify`: where alerts go."""
    values = yaml.safe_load((ROOT / "argocd" / "values.yaml").read_text())
    notifications: Mapping[str, Mapping[str, str]] = values["notifications"]
    told = {name: text for part in ("notifiers", "templates", "triggers") for name, text in notifications[part].items()}
    documents = [
        config_map("argocd-cm", values["configs"]["cm"]),
        config_map("argocd-rbac-cm", values["configs"]["rbac"]),
        config_map("argocd-cmd-params-cm", values["configs"]["params"]),
        config_map("argocd-notifications-cm", told),
        secret("argocd-secret", **{"server.secretkey": "for-the-tests-only"}),
        secret("argocd-notifications-secret", **{"alerts-url": notify}),
    ]
    return [{**each, "metadata": {**each["metadata"], "labels": PART_OF}} for each in documents]


def described(cluster: Cluster, words: str) -> Any:
    return json.loads(cluster.kubectl("get", *words.split(), "--output=json"))
