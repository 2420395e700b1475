"""`python -m tools.cluster` itself, on clusters of its own: it starts, it is whole, and whatever ends it, nothing is left."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from tests.integration import waiting
from tools import Missing, archive, folders, kubectl
from tools.cluster import cgroups, means, mounts
from tools.cluster.run import NODE, Run

# Without a warm cache the first start builds Kubernetes.
pytestmark = pytest.mark.timeout(1800)
GONE = 30
SECOND_START = 30
COMPONENTS = (
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "containerd",
    "kubelet",
    "kube-proxy",
)


@dataclass(frozen=True)
class Ours:
    """A cluster in a folder of its own, driven as a user does."""

    run: Run

    def tool(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(self.command(*words), env=self.environment(), cwd=folders.ROOT, capture_output=True, text=True)

    def begin(self, *words: str) -> subprocess.Popen[bytes]:
        # A shell that runs the tests in its background has them, and whatever they start, ignore SIGINT.
        command = ["env", "--default-signal=INT", *self.command(*words)]
        return subprocess.Popen(command, env=self.environment(), cwd=folders.ROOT, stdout=subprocess.DEVNULL)

    def up(self) -> str:
        done = self.tool("up")
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def enter(self, *words: str) -> str:
        done = self.tool("enter", "--", *words)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def command(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "tools.cluster", *words]

    def environment(self) -> dict[str, str]:
        return {**os.environ, "SLUICE_CLUSTER_DIR": str(self.run.folder)}

    def process(self, words: str) -> psutil.Process:
        """The process of this cluster whose command line holds `words`."""
        found = [process for process in processes(self.run) if words in command_line(process)]
        assert found, f"no {words} among {processes(self.run)}"
        return found[0]


def processes(run: Run) -> list[psutil.Process]:
    """All that name the cluster's folder or are in its control group, and what they started: containers too."""
    machinery = cgroups.processes(run.cgroup)
    ours = [process for process in psutil.process_iter() if process.pid in machinery or str(run.folder) in command_line(process)]
    return list({*ours, *(child for process in ours for child in children(process))})


def children(process: psutil.Process) -> list[psutil.Process]:
    try:
        return list(process.children(recursive=True))
    except psutil.Error:
        return []


def command_line(process: psutil.Process) -> str:
    """Empty for one that has ended."""
    try:
        return f"{' '.join(process.cmdline())} "
    except psutil.Error:
        return ""


def left(run: Run) -> dict[str, list[str]]:
    """What of a cluster is there, by kind: all empty when it left nothing."""
    groups = [hierarchy / run.cgroup for hierarchy in cgroups.hierarchies()]
    return {
        "processes": [str(process) for process in processes(run)],
        "control groups": [str(group) for group in groups if group.exists()],
        "mounts": [line for line in Path("/proc/self/mounts").read_text().splitlines() if str(run.folder) in line],
        # Mount points that another cluster is using go with that one.
        "folders": [str(place) for place in mounts.FIXED.values() if (place / mounts.MARK).exists() and not mounts.in_use(place)],
        "files": [path.name for path in run.folder.iterdir() if path.name not in KEPT],
    }


KEPT = ("logs", "progress", "audit.log", "lock", "starting")


def shared() -> dict[str, list[str]]:
    """What a node makes in its own network or control group; out here it must not change."""
    links = re.findall(r"^\d+: (\S+?)[@:]", subprocess.check_output(["ip", "-oneline", "link"], text=True), re.MULTILINE)
    tables = subprocess.check_output([str(shutil.which("nft", path=means.search_path())), "list", "tables"], text=True)
    groups = [path.name for hierarchy in cgroups.hierarchies() for path in hierarchy.iterdir() if path.is_dir()]
    others = sorted(name for name in groups if not name.startswith("sluice-"))
    return {"links": links, "nft tables": tables.splitlines(), "control groups": others}


@pytest.fixture(scope="module", autouse=True)
def _can_be_made() -> None:
    if os.environ.get("KUBECONFIG"):
        pytest.skip("KUBECONFIG names another cluster; unset it to test our own")
    reason = means.missing()
    if reason is not None:
        raise Missing(f"there is no Kubernetes cluster: {reason}")


@pytest.fixture
def fresh() -> Iterator[Ours]:
    yield from cluster_of_its_own()


@pytest.fixture(scope="module")
def running() -> Iterator[Ours]:
    for ours in cluster_of_its_own():
        ours.up()
        yield ours


def cluster_of_its_own() -> Iterator[Ours]:
    folder = Path(tempfile.mkdtemp(prefix="sluice-"))
    ours = Ours(Run(folder))
    try:
        yield ours
    finally:
        ours.tool("down")
        shutil.rmtree(folder)


def test_up_says_how_to_get_in_and_a_second_up_that_it_is_up(running: Ours) -> None:
    told = running.up()
    assert "up already" in told
    assert f"export KUBECONFIG={running.run.kubeconfig}" in told


def test_the_printed_kubeconfig_works_outside(running: Ours) -> None:
    command = [str(kubectl.kubectl()), f"--kubeconfig={running.run.kubeconfig}", "get", "node", NODE, "--output=json"]
    node = json.loads(subprocess.check_output(command))
    assert node["status"]["nodeInfo"]["kubeletVersion"].startswith("v1.35.")


def test_enter_hands_on_words_and_exit_code(running: Ours) -> None:
    assert running.tool("enter", "--", "sh", "-c", "echo $0; exit 7", "-x").stdout == "-x\n"
    assert running.tool("enter", "--", "sh", "-c", "exit 7").returncode == 7


def test_enter_hands_on_signals(running: Ours) -> None:
    entered = running.begin("enter", "--", "sleep", "60")
    waiting.until(lambda: psutil.Process(entered.pid).name() == "sleep", 10)
    entered.terminate()
    assert entered.wait(10) == -signal.SIGTERM


def test_a_loaded_image_runs_with_a_volume_and_finds_names(running: Ours, tmp_path: Path) -> None:
    files = with_libraries("/usr/bin/getent", "/bin/sh")
    image = archive.write(tmp_path / "image.tar", name="sluice.test/resolver:1", files=files, entrypoint=["/bin/sh"])
    assert running.tool("load", str(image)).returncode == 0
    running.enter("kubectl", "apply", "--filename", str(pod(tmp_path)))
    running.enter("kubectl", "wait", "pod/resolver", "--for=jsonpath={.status.phase}=Succeeded", "--timeout=60s")
    assert running.enter("kubectl", "logs", "resolver").split() == ["10.96.0.1", "kubernetes.default.svc.cluster.local"]


def with_libraries(*programs: str) -> dict[str, Path]:
    """Programs of this machine with what they load; getent asks by nss_dns, which is part of libc."""
    needed = re.findall(r"(/\S+) \(0x", subprocess.check_output(["ldd", *programs], text=True))
    return {path: Path(path) for path in [*programs, *needed]}


def pod(folder: Path) -> Path:
    container = {
        "name": "resolver",
        "image": "sluice.test/resolver:1",
        "args": ["-c", "echo written > /data/file && getent hosts kubernetes.default.svc.cluster.local"],
        "securityContext": {"allowPrivilegeEscalation": False},
        "volumeMounts": [{"name": "data", "mountPath": "/data"}],
    }
    claim = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    spec = {
        "restartPolicy": "Never",
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 10001,
            "fsGroup": 10001,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container],
        "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "resolver"}}],
    }
    items = [
        {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "resolver"}, "spec": claim},
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "resolver"}, "spec": spec},
    ]
    file = folder / "pod.json"
    file.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))
    return file


def test_calls_of_service_accounts_are_in_the_audit_log_and_no_others(running: Ours) -> None:
    token = running.enter("kubectl", "create", "token", "default").strip()
    anonymous = ("kubectl", "--kubeconfig=/dev/null", "--server=https://127.0.0.1:6443", "--insecure-skip-tls-verify")
    refused = running.tool("enter", "--", *anonymous, f"--token={token}", "get", "secrets")
    assert "Forbidden" in refused.stderr
    waiting.until(lambda: "system:serviceaccount:default:default" in users(running.run.audit_log))
    assert not [user for user in users(running.run.audit_log) if not user.startswith("system:serviceaccount:default:")]


def users(audit_log: Path) -> set[str]:
    return {json.loads(line)["user"]["username"] for line in audit_log.read_text().splitlines()}


def test_what_a_cluster_brings_meets_the_restricted_profile(running: Ours) -> None:
    label = ("kubectl", "label", "--dry-run=server", "namespace", "kube-system", "pod-security.kubernetes.io/enforce=restricted")
    told = running.tool("enter", "--", *label)
    assert told.returncode == 0
    assert "violate" not in told.stderr


def test_a_component_can_be_stopped_and_started_again(running: Ours) -> None:
    assert running.tool("stop", "kube-apiserver").returncode == 0
    assert running.tool("enter", "--", "kubectl", "get", "nodes").returncode != 0
    assert running.tool("start", "kube-apiserver").returncode == 0
    waiting.until(lambda: running.tool("enter", "--", "kubectl", "get", "nodes").returncode == 0, 60)


@pytest.mark.parametrize("name", ["containerd", "kubelet"])
def test_pods_outlive_a_restart_of_what_runs_them(running: Ours, name: str) -> None:
    names = running.process("/coredns")
    assert running.tool("restart", name).returncode == 0
    waiting.until(
        lambda: running.tool("enter", "--", "kubectl", "wait", "node", NODE, "--for=condition=Ready").returncode == 0, 60
    )
    assert names.is_running()


def test_a_component_that_does_not_exist_is_named(running: Ours) -> None:
    refused = running.tool("restart", "kube-dance")
    assert refused.returncode == 1
    assert "kube-dance" in refused.stderr
    assert all(name in refused.stderr for name in COMPONENTS)


def busy() -> bool:
    """Others keep this machine so busy that a limit in seconds tells nothing."""
    return os.getloadavg()[0] > 3 * (os.cpu_count() or 1)


def test_down_leaves_nothing_and_a_second_start_is_quick(fresh: Ours) -> None:
    before = shared()
    fresh.up()
    assert len(processes(fresh.run)) > len(COMPONENTS)
    assert shared() == before
    assert fresh.tool("down").stdout == "the cluster is gone\n"
    assert not any(left(fresh.run).values()), left(fresh.run)
    began = time.monotonic()
    assert "built in" not in fresh.up()
    assert time.monotonic() - began < SECOND_START or busy()
    assert fresh.tool("down").returncode == 0
    assert fresh.tool("down").stdout == "no cluster was running\n"
    assert not any(left(fresh.run).values()), left(fresh.run)
    assert shared() == before


@pytest.mark.slow
def test_a_killed_supervisor_takes_the_cluster_with_it(fresh: Ours) -> None:
    fresh.up()
    fresh.process("tools.cluster.supervisor").kill()
    waiting.until(lambda: not any(left(fresh.run).values()), GONE, "everything is gone by itself")
    assert fresh.tool("status").returncode == 3


@pytest.mark.slow
def test_after_a_killed_keeper_the_next_start_begins_with_nothing(fresh: Ours) -> None:
    fresh.up()
    fresh.enter("kubectl", "create", "namespace", "left-over")
    fresh.process("tools.cluster.keeper").kill()
    waiting.until(lambda: not processes(fresh.run), GONE, "the last process ends")
    assert fresh.tool("status").returncode == 3
    fresh.up()
    assert fresh.tool("enter", "--", "kubectl", "get", "namespace", "left-over").returncode == 1


@pytest.mark.slow
def test_a_component_that_ends_is_named_with_the_end_of_its_log(fresh: Ours) -> None:
    fresh.up()
    fresh.process("/etcd --").kill()
    waiting.until(lambda: not any(left(fresh.run).values()), GONE, "everything is gone by itself")
    told = fresh.tool("status")
    assert told.returncode == 3
    assert "etcd was killed by signal 9; the end of its log" in told.stdout


@pytest.mark.slow
@pytest.mark.parametrize("interrupt", [signal.SIGINT, signal.SIGTERM])
def test_up_that_is_interrupted_leaves_nothing(fresh: Ours, interrupt: signal.Signals) -> None:
    starting = fresh.begin("up")
    waiting.until(lambda: any("/kubelet " in command_line(process) for process in processes(fresh.run)), 600)
    starting.send_signal(interrupt)
    assert starting.wait(GONE) == 130
    assert not any(left(fresh.run).values()), left(fresh.run)


@pytest.mark.slow
def test_two_ups_at_once_make_one_cluster(fresh: Ours) -> None:
    first, second = fresh.begin("up"), fresh.begin("up")
    assert first.wait(600) == 0
    assert second.wait(600) == 0
    assert sum("tools.cluster.keeper" in command_line(process) for process in processes(fresh.run)) == 1


@pytest.mark.slow
def test_down_removes_what_a_killed_keeper_left(fresh: Ours) -> None:
    starting = fresh.begin("up")
    waiting.until(lambda: any("/kubelet " in command_line(process) for process in processes(fresh.run)), 600)
    fresh.process("tools.cluster.keeper").kill()
    assert starting.wait(GONE) == 1
    assert any(left(fresh.run).values())
    assert fresh.tool("down").returncode == 0
    assert not any(left(fresh.run).values()), left(fresh.run)


def test_a_start_that_fails_says_why_and_leaves_nothing(fresh: Ours, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = tmp_path / "containerd"
    broken.write_text("#!/bin/sh\necho no luck today >&2\nexit 5\n")
    broken.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    failed = fresh.tool("up")
    assert failed.returncode == 1
    assert "containerd ended with code 5" in failed.stderr
    assert "no luck today" in failed.stderr
    assert not any(left(fresh.run).values()), left(fresh.run)
