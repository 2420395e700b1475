"""What a cluster needs of the machine: each lack has a message with its fix."""

from __future__ import annotations

import os
import re
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


def test_without_go_the_fix_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_go() -> str:
        raise binaries.NoGo("there is no Go compiler")

    binaries.go_version.cache_clear()
    monkeypatch.setattr(binaries, "go", no_go)
    assert means.no_programs() == "there is no Go compiler"


def test_a_program_that_is_not_built_is_named_with_the_step_that_builds_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(binaries.Module, "cached", lambda self: tmp_path / self.folder.name)
    (tmp_path / "etcd").mkdir()
    assert means.no_programs() == "kubernetes is not installed; to get it: make tools TOOLS=kubernetes"


def test_missing_packages_are_listed_with_the_step_that_installs_them(nothing_installed: Path) -> None:
    told = str(means.no_packages())
    assert "make tools TOOLS=node" in told
    assert {*means.PACKAGES.values(), means.PLUGINS_PACKAGE} <= set(re.findall(r"[\w-]+", told))


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
