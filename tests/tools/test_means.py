"""What a cluster needs of the machine: each lack has a message with its mend."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from tools import binaries
from tools.cluster import cgroups, means, node
from tools.cluster.__main__ import main


@pytest.fixture
def nothing_installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine without any program but those put into the folder this gives."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(means, "SBIN", ())
    monkeypatch.setattr(node, "PLUGINS", ())
    return tmp_path


def program(folder: Path, name: str, text: str) -> None:
    (folder / name).write_text(f"#!/bin/sh\n{text}\n")
    (folder / name).chmod(0o755)


def test_without_root_nothing_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert "needs root" in str(means.missing())
    told = CliRunner().invoke(main, ["up"])
    assert told.exit_code == 69
    assert "sudo" in told.output


def test_other_systems_than_linux_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert "needs Linux" in str(means.missing())


def test_without_go_its_mend_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_go() -> str:
        raise binaries.NoGo("there is no Go compiler")

    binaries.go_version.cache_clear()
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(binaries, "go", no_go)
    assert means.missing() == "there is no Go compiler"


def test_without_apt_get_the_packages_are_listed(nothing_installed: Path) -> None:
    told = str(means.no_packages())
    assert "neither Debian nor Ubuntu" in told
    assert {*means.PACKAGES.values(), means.PLUGINS_PACKAGE} <= set(told.replace(",", "").split())


def test_with_apt_get_packages_are_not_missing(nothing_installed: Path) -> None:
    program(nothing_installed, "apt-get", "exit 0")
    assert means.no_packages() is None


def test_a_program_from_elsewhere_is_as_good_as_its_package(nothing_installed: Path) -> None:
    for name, package in means.PACKAGES.items():
        if package == "containerd":
            program(nothing_installed, name, "exit 0")
    assert "containerd" not in means.packages()
    assert "runc" in means.packages()


@pytest.mark.usefixtures("nothing_installed")
def test_unmounted_control_groups_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cgroups, "hierarchies", list)
    assert "--privileged" in str(means.no_cgroups())


def test_packages_are_installed_without_starting_their_services(nothing_installed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    policy, log, said = nothing_installed / "policy", nothing_installed / "log", list[str]()
    monkeypatch.setattr(means, "POLICY", policy)
    program(nothing_installed, "apt-get", f'{policy}; echo "services $? $*" >> {log}')
    program(nothing_installed, "systemctl", f'echo "systemctl $*" >> {log}')
    means.install(["containerd", "socat"], said.append)
    assert log.read_text().splitlines() == [
        "services 101 --quiet update",
        "services 101 --quiet install --yes --no-install-recommends containerd socat",
        "systemctl disable containerd",
    ]
    assert not policy.exists()
    assert said == ["apt-get install containerd socat"]


def test_a_policy_of_the_machine_s_own_stays(nothing_installed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(means, "POLICY", nothing_installed / "policy")
    program(nothing_installed, "policy", "exit 7")
    program(nothing_installed, "apt-get", "exit 0")
    means.install(["socat"], lambda text: None)
    assert "exit 7" in means.POLICY.read_text()


def test_what_apt_get_says_is_handed_on(nothing_installed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(means, "POLICY", nothing_installed / "policy")
    program(nothing_installed, "apt-get", "echo 'E: no such mirror' >&2; exit 100")
    with pytest.raises(means.Missing, match="E: no such mirror"):
        means.install(["socat"], lambda text: None)
    assert not means.POLICY.exists()
