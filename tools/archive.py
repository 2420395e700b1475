"""Images FROM scratch without a container engine: one layer, written as a docker-archive.

The format is Docker's image specification v1.2: a tar of manifest.json, the config and the layer's tar. Same files, same bytes.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import platform
import tarfile
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import BinaryIO

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


def write(target: Path, *, name: str, files: Mapping[str, Path], entrypoint: Sequence[str], user: str = "65532") -> Path:
    """An image called `name` (registry/repository:tag) of `files`, path in the image -> file here, at `target`.

    Files keep their x bit and nothing else: owner root, time 0. Written aside and renamed.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as aside:
        layer, whole = Path(aside, "layer"), Path(aside, "image")
        write_layer(layer, files)
        with layer.open("rb") as opened, whole.open("wb") as out:
            write_image(out, name, opened, config(hashlib.file_digest(opened, "sha256").hexdigest(), entrypoint, user))
        os.replace(whole, target)
    return target


def write_layer(target: Path, files: Mapping[str, Path]) -> None:
    with tarfile.open(target, "w", format=tarfile.PAX_FORMAT) as tar:
        for folder in parents(files):
            tar.addfile(entry(folder, mode=0o755, kind=tarfile.DIRTYPE))
        for path, source in sorted(files.items()):
            with source.open("rb") as content:
                status = os.fstat(content.fileno())
                mode = 0o755 if status.st_mode & 0o100 else 0o644
                tar.addfile(entry(path, mode=mode, size=status.st_size), content)


def write_image(out: BinaryIO, name: str, layer: BinaryIO, config: bytes) -> None:
    """The outer tar; `layer` is read from its beginning."""
    size = layer.seek(0, os.SEEK_END)
    layer.seek(0)
    config_name = f"{hashlib.sha256(config).hexdigest()}.json"
    manifest = json.dumps([{"Config": config_name, "Layers": ["layer.tar"], "RepoTags": [name]}]).encode()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        tar.addfile(entry("manifest.json", size=len(manifest)), io.BytesIO(manifest))
        tar.addfile(entry(config_name, size=len(config)), io.BytesIO(config))
        tar.addfile(entry("layer.tar", size=size), layer)


def config(layer: str, entrypoint: Sequence[str], user: str) -> bytes:
    """The image's configuration; `layer` is the SHA-256 of the layer's tar in hex."""
    return json.dumps(
        {
            "architecture": ARCHITECTURES.get(platform.machine(), platform.machine()),
            "os": "linux",
            "created": "1970-01-01T00:00:00Z",
            "config": {"Entrypoint": list(entrypoint), "User": user, "WorkingDir": "/"},
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{layer}"]},
            "history": [{"created": "1970-01-01T00:00:00Z", "created_by": "tools.archive"}],
        },
        sort_keys=True,
    ).encode()


def parents(files: Mapping[str, Path]) -> list[str]:
    """Every folder above a file, the outer ones first."""
    found = {str(folder) for path in files for folder in PurePosixPath(path.lstrip("/")).parents}
    return sorted(found - {"."})


def entry(path: str, *, mode: int = 0o644, size: int = 0, kind: bytes = tarfile.REGTYPE) -> tarfile.TarInfo:
    info = tarfile.TarInfo(path.lstrip("/"))
    info.mode, info.size, info.type = mode, size, kind
    return info
