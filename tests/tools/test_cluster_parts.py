"""Small parts of the cluster that need no cluster: control groups, mount points, names, components and commands to them."""

from __future__ import annotations

import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from tools.cluster import cgroups, control, mounts, progress, run
from tools.cluster.components import Components, Failed
from tools.cluster.progress import Step

V1 = "cgroup /sys/fs/cgroup/pids cgroup rw,pids 0 0\ncgroup /sys/fs/cgroup/cpu cgroup rw,cpu 0 0\nproc /proc proc rw 0 0\n"
V2 = "cgroup2 /sys/fs/cgroup cgroup2 rw,nsdelegate 0 0\n"


@pytest.fixture
def components(tmp_path: Path) -> Iterator[Components]:
    made = Components(tmp_path)
    yield made
    for component in made.by_name.values():
        component.stop()


@pytest.mark.parametrize(("mounted", "found"), [(V1, ["pids", "cpu"]), (V2, ["cgroup"])])
def test_control_groups_are_found_in_both_versions(tmp_path: Path, mounted: str, found: list[str]) -> None:
    (tmp_path / "mounts").write_text(mounted)
    assert [path.name for path in cgroups.hierarchies(tmp_path / "mounts")] == found


def test_a_tree_of_control_groups_is_removed_from_its_leaves(tmp_path: Path) -> None:
    (tmp_path / "ours/kubepods/besteffort/pod").mkdir(parents=True)
    (tmp_path / "another").mkdir()
    assert cgroups.removed(tmp_path / "ours")
    assert [path.name for path in tmp_path.iterdir()] == ["another"]


def test_a_control_group_that_is_not_there_is_removed(tmp_path: Path) -> None:
    assert cgroups.removed(tmp_path / "ours")


def test_mount_points_that_were_made_are_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mounts, "FIXED", {"new": tmp_path / "new"})
    mounts.prepare()
    mounts.prepare()
    mounts.forget()
    mounts.forget()
    assert list(tmp_path.iterdir()) == []


def test_folders_of_the_machine_s_own_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mounts, "FIXED", {"old": tmp_path / "old", "used": tmp_path / "used"})
    (tmp_path / "old").mkdir()
    mounts.prepare()
    (tmp_path / "used" / "by another").touch()
    mounts.forget()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["old", "used"]


def test_a_mount_point_that_is_in_use_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    assert mounts.in_use(Path("/proc"))
    assert not mounts.in_use(Path("/proc/of/nobody"))


def test_the_cluster_lives_in_the_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SLUICE_CLUSTER_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", "/var/cache/somebody")
    assert run.here().folder == Path("/var/cache/somebody/sluice/cluster")


@pytest.mark.parametrize(("folder", "reason"), [("/run/sluice", "/run of its own"), ("/tmp/" + "x" * 100, "too long")])
def test_a_folder_where_no_cluster_can_live_is_refused(monkeypatch: pytest.MonkeyPatch, folder: str, reason: str) -> None:
    monkeypatch.setenv("SLUICE_CLUSTER_DIR", folder)
    with pytest.raises(run.BadFolder, match=reason):
        run.here()


def test_two_clusters_have_two_control_groups() -> None:
    assert run.Run(Path("/tmp/a")).cgroup != run.Run(Path("/tmp/b")).cgroup


def test_a_component_that_ends_is_named_with_the_end_of_its_log(components: Components) -> None:
    components.start("kube-dance", "sh", "-c", "echo out of step; exit 4")
    with pytest.raises(Failed, match=r"kube-dance ended with code 4(.|\n)*out of step"):
        components.until(lambda: False, "the dance", "kube-dance")


def test_a_component_that_was_stopped_did_not_end_by_itself(components: Components) -> None:
    components.start("kube-dance", "sleep", "60")
    components.by_name["kube-dance"].stop()
    components.check()


def test_waiting_in_vain_says_for_what_and_why(components: Components) -> None:
    def not_yet() -> bool:
        raise Failed("connection refused")

    with pytest.raises(Failed, match=r"in vain for the dance\nconnection refused"):
        components.until(not_yet, "the dance", "kube-dance", seconds=0.1)


@pytest.fixture
def supervised(components: Components, tmp_path: Path) -> Iterator[Path]:
    """The control socket of a supervisor of one component that sleeps."""
    components.start("kube-dance", "sleep", "60")
    with control.listening(tmp_path / "control.sock") as listener:
        answering = threading.Thread(target=answer_all, args=(components, listener), daemon=True)
        answering.start()
        yield tmp_path / "control.sock"
        listener.shutdown(socket.SHUT_RDWR)
        answering.join(10)


def answer_all(components: Components, listener: socket.socket) -> None:
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        with connection:
            control.answer(components, connection)


def test_a_component_is_stopped_started_and_restarted_on_command(components: Components, supervised: Path) -> None:
    component = components.by_name["kube-dance"]
    assert control.send(supervised, "stop kube-dance") == control.OK
    assert component.process is None
    assert control.send(supervised, "start kube-dance") == control.OK
    first = component.process
    assert first is not None
    assert control.send(supervised, "restart kube-dance") == control.OK
    assert first.returncode == -signal.SIGKILL
    assert component.process not in (None, first)


@pytest.mark.parametrize(
    ("command", "answer"),
    [("stop nobody", "there are kube-dance"), ("start kube-dance", "runs already"), ("dance", "no command")],
)
def test_what_can_not_be_done_is_said(supervised: Path, command: str, answer: str) -> None:
    assert answer in control.send(supervised, command)


def test_half_a_line_of_progress_is_not_read_yet(tmp_path: Path) -> None:
    file = tmp_path / "progress"
    progress.write(file, Step("doing", "names", 1.5))
    with file.open("a") as out:
        out.write('{"state": "rea')
    assert progress.read(file) == [Step("doing", "names", 1.5)]
