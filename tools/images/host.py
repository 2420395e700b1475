"""What this machine must have to build images, and how its pip and apt reach their registries.

Nothing of that stands in a Dockerfile: index, proxy and certificates of this machine are mounted into the build.
"""

from __future__ import annotations

import ast
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

# Program -> Debian package; runc runs images in tests/image.
PROGRAMS = {"buildah": "buildah", "debootstrap": "debootstrap", "runc": "runc"}
# Without the keys of Debian debootstrap cannot check what it gets.
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
PIP_OPTIONS = ("index-url", "extra-index-url", "trusted-host", "proxy", "timeout", "retries", "cert")
APT_OPTIONS = re.compile(r"Acquire::(?:https?::|Check-|Retries|ForceIP)")
CERTIFICATES = "/etc/build-host-ca.pem"


def impossible() -> str | None:
    """Why images cannot be built here, whatever tools/install.py installs; None when they can."""
    if platform.system() != "Linux":
        return "images are built on Linux only"
    if os.geteuid() != 0:
        return "images are built by root only (chroot); run it with sudo"
    return None


def packages() -> list[str]:
    """Debian packages that have to be installed."""
    wanted = [package for name, package in PROGRAMS.items() if shutil.which(name) is None]
    return wanted if KEYRING.exists() else [*wanted, "debian-archive-keyring"]


def mounts(folder: Path) -> Iterator[str]:
    """Options of `buildah bud` that mount this machine's settings of pip and apt; `folder` gets the files."""
    pip = pip_options()
    certificates = pip.get("cert")
    if certificates is not None:
        pip["cert"] = CERTIFICATES
        yield f"--volume={certificates}:{CERTIFICATES}:ro"
    if pip:
        yield mount(folder / "pip.conf", "/etc/pip.conf", ["[global]", *(f"{name} = {value}" for name, value in pip.items())])
    apt = apt_options()
    if apt:
        yield mount(folder / "apt.conf", "/etc/apt/apt.conf.d/99build-host", apt)


def mount(file: Path, place: str, lines: list[str]) -> str:
    file.write_text("\n".join(lines) + "\n")
    return f"--volume={file}:{place}:ro"


def pip_options() -> dict[str, str]:
    """pip's options here, from its files and the environment, which come last and win."""
    done = subprocess.run([sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True)
    pairs = [line.partition("=") for line in sorted(done.stdout.splitlines(), key=lambda line: line.startswith(":env:"))]
    found = {name.rpartition(".")[2].replace("default-", ""): str(ast.literal_eval(value)) for name, _, value in pairs}
    return {name: found[name].replace("\n", "\n  ") for name in PIP_OPTIONS if name in found}


def apt_options() -> list[str]:
    if shutil.which("apt-config") is None:
        return []
    done = subprocess.run(["apt-config", "dump"], check=True, capture_output=True, text=True)
    return [line for line in done.stdout.splitlines() if APT_OPTIONS.match(line)]
