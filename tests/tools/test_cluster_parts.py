"""Small parts of the cluster that need no cluster. tests/cluster/test_sandbox.py starts, stops, breaks and ends a real one."""

from __future__ import annotations

from pathlib import Path

import pytest
from tools.cluster import cgroups, mounts, run

V1 = "cgroup /sys/fs/cgroup/pids cgroup rw,pids 0 0\ncgroup /sys/fs/cgroup/cpu cgroup rw,cpu 0 0\nproc /proc proc rw 0 0\n"
V2 = "cgroup2 /sys/fs/cgroup cgroup2 rw,nsdelegate 0 0\n"


@pytest.mark.parametrize(("mounted", "found"), [(V1, ["pids", "cpu"]), (V2, ["cgroup"])])
def test_control_groups_are_found_in_both_versions(tmp_path: Path, mounted: str, found: list[str]) -> None:
    (tmp_path / "mounts").write_text(mounted)
    assert [path.name for path in cgroups.hierarchies(tmp_path / "mounts")] == found


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
