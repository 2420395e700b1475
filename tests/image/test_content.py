"""What is in the image, and what is not."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from email import message_from_string
from pathlib import Path

import pytest
from tests.conftest import ROOT
from tools import images
from tools.images import Image

MOST = 68e6
PYTHON = "python3.13"
PACKAGES = f"opt/sluice/lib/{PYTHON}/site-packages"
BUILD_TOOLS = {"pip", "setuptools", "wheel", "hatchling", "editables", "uv", "ensurepip", "pkg_resources", "trove_classifiers"}


def entries(root: Path) -> Iterator[tuple[str, Path, os.stat_result]]:
    for path in root.rglob("*"):
        yield f"/{path.relative_to(root)}", path, path.lstat()


def executables(root: Path) -> set[str]:
    """Programs in the folders of PATH and of root."""
    folders = ("usr/bin", "usr/sbin", "usr/local/bin", "usr/local/sbin", "opt/sluice/bin")
    return {f"/{folder}/{path.name}" for folder in folders if (root / folder).is_dir() for path in (root / folder).iterdir()}


def is_elf(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) == b"\x7fELF"


def test_the_only_programs_are_python_sluice_and_the_shell_that_initdb_calls(root: Path) -> None:
    venv = {f"/opt/sluice/bin/{name}" for name in ("sluice", "python", "python3", PYTHON)}
    assert executables(root) == {f"/usr/bin/{PYTHON}", "/usr/bin/dash", "/usr/bin/sh", *venv}


def test_nothing_that_only_builds_is_in_it(root: Path) -> None:
    found = {path.name.partition("-")[0] for folder in root.glob(f"**/{PYTHON}") for path in folder.glob("**/*") if path.is_dir()}
    assert {"flask", "gunicorn_h1c", "sluice"} <= found
    assert found & BUILD_TOOLS == set()
    assert [path for _, path, _ in entries(root) if path.suffix in (".a", ".o", ".deb", ".whl")] == []


def test_every_shared_object_finds_what_it_needs(root: Path) -> None:
    files = [name for name, path, status in entries(root) if stat.S_ISREG(status.st_mode) and is_elf(path)]
    loader = next(name for name in files if "/ld-linux" in name)
    listed = {name: subprocess.run(["chroot", root, loader, "--list", name], capture_output=True, text=True) for name in files}
    assert len(files) > 100
    bad = {name: done.stdout + done.stderr for name, done in listed.items() if "not found" in done.stdout + done.stderr}
    assert bad == {}


def test_nobody_can_change_it_and_nothing_gives_more_rights(root: Path) -> None:
    files = list(entries(root))
    links = {name for name, _, status in files if stat.S_ISLNK(status.st_mode)}
    assert {name for name, _, status in files if status.st_mode & (stat.S_ISUID | stat.S_ISGID)} == set()
    assert {name for name, _, status in files if status.st_mode & stat.S_IWOTH} - links == {"/tmp", "/var/tmp"}
    assert {name: (status.st_uid, status.st_gid) for name, _, status in files if status.st_uid or status.st_gid} == {
        "/var/lib/sluice": (10001, 10001)
    }


def test_bytecode_is_there_and_depends_on_no_clock(root: Path) -> None:
    sources = list((root / PACKAGES / "sluice").rglob("*.py"))
    compiled = {path: path.read_bytes()[4:8] for path in root.rglob("*.pyc")}
    missing = [path for path in sources if path.parent / "__pycache__" / f"{path.stem}.cpython-313.pyc" not in compiled]
    assert (len(sources) > 30, missing) == (True, [])
    # PEP 552: 1 is a hash that is never checked against the source.
    assert set(compiled.values()) == {(1).to_bytes(4, "little")}


def test_certificates_are_debians_and_none_of_the_machine_that_built_it(root: Path) -> None:
    bundle = (root / "etc/ssl/certs/ca-certificates.crt").read_text()
    assert bundle.count("BEGIN CERTIFICATE") == len(list(root.glob("usr/share/ca-certificates/mozilla/*.crt"))) > 100


def test_scanners_learn_of_every_debian_package_and_its_licence_is_there(root: Path) -> None:
    found = {path.name: message_from_string(path.read_text()) for path in (root / "var/lib/dpkg/status.d").iterdir()}
    assert {"libc6", "libssl3t64", f"{PYTHON}-minimal", "tzdata"} <= set(found)
    assert {name for name, fields in found.items() if fields["Package"] != name or not fields["Version"]} == set()
    assert {name for name in found if not (root / f"usr/share/doc/{name}/copyright").exists()} == set()
    assert "ID=debian" in (root / "etc/os-release").read_text()


def test_the_configuration_says_how_it_runs(image: Image) -> None:
    config = image.config()["config"]
    assert (config["User"], config["Entrypoint"], config["Cmd"]) == ("10001:10001", ["sluice"], ["serve"])
    assert set(config["ExposedPorts"]) == {"8080/tcp", "8081/tcp"}
    assert config["StopSignal"] == "SIGTERM"
    assert {"HOST=0.0.0.0", "PYTHONDONTWRITEBYTECODE=1"} <= set(config["Env"])
    assert config["Healthcheck"]["Test"][:2] == ["CMD", "python"]
    assert "/readiness" in config["Healthcheck"]["Test"][-1]


def test_the_labels_are_those_of_the_build(image: Image) -> None:
    args = {name: f"the-{name.lower()}" for name in ("VERSION", "REVISION", "CREATED", "SOURCE")}
    labels = images.build(args=args, name="localhost/sluice:labels").config()["config"]["Labels"]
    prefix = "org.opencontainers.image."
    assert {labels[f"{prefix}{name.lower()}"] for name in args} == set(args.values())
    assert (labels[f"{prefix}title"], labels[f"{prefix}licenses"]) == ("sluice", "Apache-2.0")
    assert labels[f"{prefix}description"]
    assert set(labels) == set(image.config()["config"]["Labels"])


def test_it_is_small(image: Image) -> None:
    compressed = image.compressed()
    print(f"\nimage: {compressed / 1e6:.1f} MB compressed, {image.size() / 1e6:.1f} MB, with all that it takes from the base")
    assert compressed <= MOST


def test_the_long_form_finds_the_test_that_it_runs() -> None:
    """As the other long forms that are tests do."""
    only = {**os.environ, "PYTEST_ADDOPTS": "--collect-only -p no:cacheprovider"}
    found = subprocess.run([sys.executable, "-m", "tests.soak", "image"], cwd=ROOT, env=only, capture_output=True, text=True)
    assert (found.returncode, "tests collected" in found.stdout) == (0, True), found.stderr


@pytest.mark.slow
def test_two_builds_from_nothing_give_the_same_bytes() -> None:
    with ThreadPoolExecutor() as both:
        first, second = both.map(lambda _: images.build(fresh=True), range(2))
    assert first.archive != second.archive
    assert first.digest == second.digest
