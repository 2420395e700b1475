"""Debian packages by one apt-get at a time, whatever others do and however an earlier run ended."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.integration import waiting
from tools import Missing, apt, folders

INSTALLER = """
import sys
from pathlib import Path
from tools import apt
folder = Path(sys.argv[1])
apt.LOCK, apt.POLICY = folder / "lock", folder / "policy"
apt.install(lambda: [] if (folder / "installed").exists() else ["socat"])
"""


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine with root, and with no program but those that a test puts into this folder."""
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(apt, "LOCK", tmp_path / "lock")
    monkeypatch.setattr(apt, "POLICY", tmp_path / "policy")
    monkeypatch.setattr(apt, "PAUSE", 0.01)
    monkeypatch.setattr(folders, "cache", lambda: tmp_path / "cache")
    program(tmp_path, "systemctl", "")
    program(tmp_path, "apt-cache", "exit 100")
    return tmp_path


def program(folder: Path, name: str, text: str) -> None:
    """A shell script; `$verb` is apt-get's."""
    options = "for word; do case $word in -*) ;; *) verb=$word; break;; esac; done"
    (folder / name).write_text(f'#!/bin/sh\n{options}\necho "{name} $verb $*" >> {folder}/log\n{text}\n')
    (folder / name).chmod(0o755)


def calls(folder: Path) -> list[str]:
    """Each call as program and verb."""
    return [" ".join(line.split()[:2]) for line in (folder / "log").read_text().splitlines()]


def wants(*packages: str) -> Callable[[], list[str]]:
    return lambda: list(packages)


def test_lists_are_renewed_before_packages_are_installed(machine: Path) -> None:
    program(machine, "apt-get", "")
    apt.install(wants("socat", "runc"))
    assert calls(machine) == ["apt-get update", "apt-get install"]
    assert (machine / "log").read_text().endswith("--no-install-recommends socat runc\n")


def test_every_call_waits_for_dpkg_s_lock(machine: Path) -> None:
    program(machine, "apt-get", "")
    apt.install(wants("socat"))
    assert all("--option=DPkg::Lock::Timeout=600" in line for line in (machine / "log").read_text().splitlines())


def test_nothing_is_called_when_nothing_is_wanted(machine: Path) -> None:
    program(machine, "apt-get", "")
    apt.install(wants())
    assert not (machine / "log").exists()


def test_services_stay_off_while_packages_are_installed(machine: Path) -> None:
    program(machine, "apt-get", f'{machine}/policy; [ $? = 101 ] && touch {machine}/"off-$verb"')
    apt.install(wants("containerd"))
    assert (machine / "off-install").exists()
    assert not apt.POLICY.exists()
    assert calls(machine)[-1] == "systemctl disable"


def test_a_policy_of_the_machine_s_own_stays(machine: Path) -> None:
    program(machine, "apt-get", "")
    apt.POLICY.write_text("#!/bin/sh\nexit 7\n")
    apt.install(wants("socat"))
    assert "exit 7" in apt.POLICY.read_text()


def test_the_policy_of_a_killed_run_goes_with_the_next(machine: Path) -> None:
    program(machine, "apt-get", "")
    apt.POLICY.write_text(apt.REFUSAL)
    apt.install(wants("socat"))
    assert not apt.POLICY.exists()


@pytest.mark.parametrize("lock", ["/var/lib/apt/lists/lock", "/var/cache/apt/archives/lock"])
def test_the_locks_that_apt_get_does_not_wait_for_are_waited_for(machine: Path, lock: str) -> None:
    held = f'[ -e {machine}/released ] || {{ touch {machine}/released; echo "E: Could not get lock {lock}." >&2; exit 100; }}'
    program(machine, "apt-get", held)
    apt.install(wants("socat"))
    assert calls(machine) == ["apt-get update", "apt-get update", "apt-get install"]


def test_the_patience_has_an_end(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apt, "PATIENCE", 0)
    program(machine, "apt-get", "echo 'E: Could not get lock /var/lib/apt/lists/lock.' >&2; exit 100")
    with pytest.raises(apt.Failed, match="Could not get lock"):
        apt.install(wants("socat"))


def test_what_an_interrupted_dpkg_left_is_configured_first(machine: Path) -> None:
    interrupted = "E: dpkg was interrupted, you must manually run 'dpkg --configure -a' to correct the problem."
    program(machine, "apt-get", f'[ $verb = update ] || [ -e {machine}/done ] || {{ echo "{interrupted}" >&2; exit 100; }}')
    program(machine, "dpkg", f'[ "$1" = --configure ] && touch {machine}/done')
    apt.install(wants("socat"))
    assert calls(machine) == ["apt-get update", "apt-get install", "dpkg --configure", "apt-get install"]


def test_a_dpkg_that_stays_interrupted_is_a_failure(machine: Path) -> None:
    program(machine, "apt-get", "[ $verb = update ] || { echo \"run 'dpkg --configure -a'\" >&2; exit 100; }")
    program(machine, "dpkg", "")
    with pytest.raises(apt.Failed, match="dpkg --configure"):
        apt.install(wants("socat"))


def test_a_repository_that_fails_stops_nothing(machine: Path) -> None:
    program(machine, "apt-get", "[ $verb = install ]")
    apt.install(wants("socat"))
    assert calls(machine) == ["apt-get update", "apt-get install"]


def test_a_failure_reports_what_apt_get_said_of_lists_and_packages(machine: Path) -> None:
    program(machine, "apt-get", 'echo "E: $verb: no such mirror" >&2; exit 100')
    with pytest.raises(apt.Failed, match=r"E: update: no such mirror\n(.|\n)*E: install: no such mirror"):
        apt.install(wants("socat"))
    assert not apt.POLICY.exists()


def test_two_processes_install_once_and_never_at_the_same_time(machine: Path) -> None:
    inside = f"mkdir {machine}/inside || exit 100; sleep 0.3; rmdir {machine}/inside"
    program(machine, "apt-get", f'{inside}; if [ "$verb" = install ]; then touch {machine}/installed; fi')
    command = [sys.executable, "-c", INSTALLER, str(machine)]
    both = [subprocess.Popen(command, cwd=folders.ROOT) for _ in range(2)]
    assert [process.wait(30) for process in both] == [0, 0]
    assert calls(machine) == ["apt-get update", "apt-get install"]


def test_a_process_waits_for_the_lock_before_it_looks_what_is_missing(machine: Path) -> None:
    program(machine, "apt-get", "")
    asked, wanted = threading.Event(), ["socat"]

    def asking() -> list[str]:
        asked.set()
        return wanted

    with apt.LOCK.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        installer = threading.Thread(target=apt.install, args=(asking,))
        installer.start()
        assert not asked.wait(0.2)
        wanted.clear()
    installer.join(10)
    assert not (machine / "log").exists()


def test_a_package_with_a_server_is_unpacked_not_installed(machine: Path) -> None:
    program(machine, "apt-get", "if [ $verb = download ]; then touch prometheus_1.deb; fi")
    program(machine, "dpkg-deb", 'mkdir -p "$3/usr/bin"; touch "$3/usr/bin/promtool"; chmod +x "$3/usr/bin/promtool"')
    with pytest.raises(Missing, match="make tools TOOLS=promtool"):
        apt.program("promtool", "prometheus")
    apt.unpack("prometheus")
    assert apt.program("promtool", "prometheus") == apt.unpacked("prometheus") / "usr/bin/promtool"
    assert not list(apt.unpacked("prometheus").glob("*.deb"))
    assert "apt-get install" not in calls(machine)


def test_a_program_that_a_newer_release_keeps_in_another_package_comes_with_it(machine: Path) -> None:
    program(machine, "apt-cache", "")
    program(machine, "apt-get", "if [ $verb = download ]; then touch prometheus_1.deb promtool_1.deb; fi")
    program(machine, "dpkg-deb", 'mkdir -p "$3/usr/bin"; touch "$3/usr/bin/$(basename $2 _1.deb)"; chmod +x "$3"/usr/bin/*')
    apt.unpack("prometheus")
    assert {apt.program(name, "prometheus").name for name in ("prometheus", "promtool")} == {"prometheus", "promtool"}
    assert (machine / "log").read_text().count("prometheus promtool") == 1


def test_a_download_that_fails_leaves_nothing(machine: Path) -> None:
    program(machine, "apt-get", "if [ $verb = download ]; then echo half > prometheus_1.deb; exit 100; fi")
    with pytest.raises(apt.Failed):
        apt.unpack("prometheus")
    assert not apt.unpacked("prometheus").exists()
    assert not list(apt.unpacked("prometheus").parent.glob("*.partial"))


def test_without_root_a_package_is_unpacked_from_the_lists_that_are_there(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(machine, "apt-get", "if [ $verb = download ]; then touch prometheus_1.deb; fi")
    program(machine, "dpkg-deb", "")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(apt, "LISTS", machine / "lists")
    assert "apt-get update" in str(apt.no_download())
    (machine / "lists").mkdir()
    (machine / "lists/mirror_main_binary-amd64_Packages.lz4").touch()
    assert apt.no_download() is None
    apt.unpack("prometheus")
    assert calls(machine)[:2] == ["apt-cache show", "apt-get download"]
    assert not apt.LOCK.exists()


def test_why_nothing_is_installed_is_said(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(machine, "apt-get", "")
    assert apt.impossible() is None
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert apt.impossible() == "apt-get install needs root"
    monkeypatch.setenv("PATH", "")
    assert "neither Debian nor Ubuntu" in str(apt.impossible())
    assert "neither Debian nor Ubuntu" in str(apt.no_download())


def test_an_installer_that_is_killed_gives_its_lock_back(machine: Path) -> None:
    program(machine, "apt-get", f"touch {machine}/began; [ -e {machine}/go ] || exec sleep 60")
    killed = subprocess.Popen([sys.executable, "-c", INSTALLER, str(machine)], cwd=folders.ROOT, start_new_session=True)
    waiting.until((machine / "began").exists)
    os.killpg(killed.pid, 9)
    killed.wait(10)
    (machine / "go").touch()
    apt.install(wants("socat"))
    assert calls(machine) == ["apt-get update", "apt-get update", "apt-get install"]
