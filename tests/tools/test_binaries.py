"""Programs from Go modules: which, under which key, and a build that works, fails or is missing its compiler."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from tests.conftest import Part, require
from tools import binaries
from tools.binaries import Module

GO = Part("go", "install Go from https://go.dev/dl", in_ci=False)


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Module:
    """A module with one small program, and a cache of its own for what is built."""
    monkeypatch.setattr("tools.folders.cache", lambda: tmp_path / "cache")
    folder = tmp_path / "hello"
    folder.mkdir()
    (folder / "go.mod").write_text("module sluice.test/hello\n\ngo 1.24\n\ntool sluice.test/hello\n")
    (folder / "go.sum").write_text("")
    (folder / "main.go").write_text('package main\n\nfunc main() { println("hello") }\n')
    return Module(folder)


@pytest.mark.parametrize("file", ["go.mod", "go.sum", "main.go"])
def test_the_key_changes_with_what_is_pinned_and_with_what_is_ours(module: Module, file: str) -> None:
    before = module.key("go1.26.8")
    with (module.folder / file).open("a") as pinned:
        pinned.write("\n")
    assert module.key("go1.26.8") != before


def test_the_key_changes_with_go(module: Module) -> None:
    assert module.key("go1.26.8") != module.key("go1.26.9")


def test_the_key_changes_with_the_flags(module: Module, monkeypatch: pytest.MonkeyPatch) -> None:
    before = module.key("go1.26.8")
    monkeypatch.setattr(Module, "flags", lambda self: ["-race"])
    assert module.key("go1.26.8") != before


def test_every_module_of_ours_names_its_programs() -> None:
    programs = {name: set(module.packages()) for name, module in binaries.modules().items()}
    assert programs["etcd"] == {"etcd"}
    assert programs["kubernetes"] == {"kube-apiserver", "kube-controller-manager", "kube-proxy", "kube-scheduler", "kubelet"}
    assert programs["influxdb"] == {"influxd", binaries.PKG_CONFIG}
    assert all(programs.values())


def test_kubernetes_knows_its_own_version() -> None:
    module = binaries.modules()["kubernetes"]
    assert f"-X k8s.io/component-base/version.gitVersion={module.version('k8s.io/kubernetes')}" in module.stamps()


def test_kubernetes_and_the_modules_of_its_staging_folder_have_one_version() -> None:
    module = binaries.modules()["kubernetes"]
    minor = module.version("k8s.io/kubernetes").removeprefix("v1.")
    replaced = [line.split()[-1] for line in module.text().splitlines() if "=>" in line]
    assert set(replaced) == {f"v0.{minor}"}


def test_a_program_of_no_module_is_refused() -> None:
    with pytest.raises(LookupError, match="kube-dance"):
        binaries.path("kube-dance")


def test_a_program_is_built_and_reported(module: Module) -> None:
    require("Go", GO)
    reported: list[str] = []
    folder = binaries.build(module, lambda name, seconds: reported.append(name))
    assert subprocess.run([folder / "hello"], capture_output=True, text=True).stderr == "hello\n"
    assert reported == ["hello"]
    assert [path.name for path in folder.iterdir()] == ["hello"]


def test_a_build_that_fails_says_what_the_compiler_said_and_leaves_nothing(module: Module) -> None:
    require("Go", GO)
    (module.folder / "main.go").write_text("package main\n\nfunc main() { nobody() }\n")
    with pytest.raises(binaries.BuildFailed, match="undefined: nobody"):
        binaries.build(module)
    assert not module.cached().exists()
    assert not list(module.cached().parent.glob("*.partial"))


def test_a_module_that_wants_a_later_go_says_so(module: Module, monkeypatch: pytest.MonkeyPatch) -> None:
    require("Go", GO)
    monkeypatch.setenv("GOTOOLCHAIN", "local")
    (module.folder / "go.mod").write_text("module sluice.test/hello\n\ngo 1.999\n")
    with pytest.raises(binaries.NoGo, match=r"go >= 1\.999"):
        module.cached()


def test_without_go_the_fix_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name, path=None: None)
    with pytest.raises(binaries.NoGo, match=r"Go 1\.26 or later"):
        binaries.go()


def test_what_flux_needs_to_be_built_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name, path=None: None)
    assert binaries.no_rust() == "no cargo, cc, pkg-config here"


def test_flux_is_built_by_the_rust_that_is_here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Its own folder asks rustup for an older one, which would be downloaded."""
    require("Go", GO)
    rustup = tmp_path / "rustup"
    rustup.write_text("#!/bin/sh\necho 'stable-here (default)'\n")
    rustup.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    assert binaries.rust(tmp_path)["RUSTUP_TOOLCHAIN"] == "stable-here"
