"""The stand-in for debian:trixie-slim where no registry can be reached: the same packages, by debootstrap.

It follows the recipe of the real one (minbase, documentation left out by dpkg, no package lists), so that the Dockerfile
finds what it would find there.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import click

from tools import Missing, archive, not_installed, once
from tools.images import host, store

SUITE = "trixie"
NAME = f"localhost/debian:{SUITE}-slim"
# Change it with the recipe below.
RECIPE = 3

FILES = {
    "etc/dpkg/dpkg.cfg.d/slim": """\
path-exclude /usr/share/doc/*
path-include /usr/share/doc/*/copyright
path-exclude /usr/share/info/*
path-exclude /usr/share/locale/*
path-exclude /usr/share/man/*
""",
    "etc/apt/apt.conf.d/slim": """\
APT::Keep-Downloaded-Packages "false";
Acquire::Languages "none";
Dir::Cache::pkgcache "";
Dir::Cache::srcpkgcache "";
""",
}
SOURCES = f"""\
Types: deb
URIs: {{mirror}}
Suites: {SUITE} {SUITE}-updates
Components: main
Signed-By: {host.KEYRING}

Types: deb
URIs: {{mirror}}-security
Suites: {SUITE}-security
Components: main
Signed-By: {host.KEYRING}
"""
# Documentation, caches, and what is different in every run.
LEFT_OUT = (
    "etc/apt/sources.list",
    "etc/hostname",
    "etc/machine-id",
    "etc/resolv.conf",
    "usr/share/doc/*/[!c]*",
    "usr/share/doc/*/changelog*",
    "usr/share/info/*",
    "usr/share/locale/*",
    "usr/share/man/*",
    "var/cache/apt/archives/*.deb",
    "var/cache/apt/*.bin",
    "var/cache/debconf/*-old",
    "var/cache/ldconfig/aux-cache",
    "var/lib/apt/lists/*",
    "var/lib/dpkg/*-old",
    "var/log/*",
)


@dataclass(frozen=True)
class Base:
    """`name` and `digest` (`sha256:...`): as FROM takes them, once `archive`, a docker-archive, was imported."""

    archive: Path
    name: str
    digest: str


def base() -> Base:
    """Raises Missing when it is not made."""
    reason = missing()
    if reason is not None:
        raise Missing(reason)
    return Base(kept() / "base.tar", NAME, (kept() / "digest").read_text())


def missing() -> str | None:
    """Why no image can be built here, or None."""
    there = not host.packages() and kept().exists()
    return host.impossible() or (None if there else str(not_installed("images")))


def kept() -> Path:
    return store.images() / f"base-{SUITE}-{RECIPE}"


def install() -> None:
    """Make it, which takes about a minute."""
    once.folder(kept(), lambda partial, _lock: make(partial))


def make(folder: Path) -> None:
    with tempfile.TemporaryDirectory(dir=folder) as aside:
        root, layer = Path(aside, "root"), Path(aside, "layer.tar")
        debootstrap(root, folder / "debootstrap.log")
        tidy(root)
        pack(root, layer)
        with layer.open("rb") as opened, (folder / "base.tar").open("wb") as out:
            digest = hashlib.file_digest(opened, "sha256").hexdigest()
            archive.write_image(out, NAME, opened, archive.config(digest, entrypoint=[], user=""))
    (folder / "digest").write_text(imported(folder / "base.tar"))


def debootstrap(root: Path, log: Path) -> None:
    # In namespaces of its own: when it is killed, what it mounted and started goes with it.
    alone = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
    command = [*alone, "debootstrap", "--variant=minbase", f"--keyring={host.KEYRING}", SUITE, str(root)]
    with log.open("wb") as output:
        done = subprocess.run(command, stdout=output, stderr=subprocess.STDOUT)
    if done.returncode:
        raise click.ClickException(f"{' '.join(command)} failed:\n{log.read_text()[-2000:]}")


def tidy(root: Path) -> None:
    # The mirror is debootstrap's own choice.
    mirror = (root / "etc/apt/sources.list").read_text().split()[1]
    for pattern in LEFT_OUT:
        for path in root.glob(pattern):
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    for name, text in {**FILES, "etc/apt/sources.list.d/debian.sources": SOURCES.format(mirror=mirror)}.items():
        (root / name).write_text(text)


def pack(root: Path, target: Path) -> None:
    """Same files, same bytes: sorted, and without the time of this run."""
    command = ["tar", "--sort=name", "--mtime=@0", "--numeric-owner", "--one-file-system", "-C", str(root), "-cf", str(target)]
    subprocess.run([*command, "."], check=True)


def imported(image: Path) -> str:
    """The digest under which `image`, a docker-archive, is now in the storage."""
    buildah("pull", "--quiet", f"docker-archive:{image}")
    return buildah("images", "--digests", "--format={{.Digest}}", NAME).strip()


def buildah(*arguments: str) -> str:
    command = store.buildah(*arguments)
    return subprocess.run(command, check=True, capture_output=True, text=True, env=store.environment()).stdout


def ensure_imported(stand_in: Base) -> None:
    """Import it again after the storage was cleared."""
    name = f"{stand_in.name.partition(':')[0]}@{stand_in.digest}"
    known = subprocess.run(store.buildah("inspect", "--type=image", name), capture_output=True, env=store.environment())
    if known.returncode and imported(stand_in.archive) != stand_in.digest:
        raise click.ClickException(f"{os.fspath(stand_in.archive)} is not what it was; remove its folder, and it is made again")
