"""An image as a docker-archive: a tar of manifest.json, the config and a tar for each layer."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

CHUNK = 1 << 20
# What buildah tells of its working container, another one in every build.
OF_THE_BUILD = ("container", "container_config")


@dataclass(frozen=True)
class Image:
    """`digest`: of the config, which names the digest of every layer, so equal digests are equal images; `sha256:...`.

    It is what engines call the image's id, not the digest under which a registry keeps it. `name`: as `repository:tag`.
    """

    archive: Path
    digest: str
    name: str

    @classmethod
    def of(cls, archive: Path) -> Image:
        with tarfile.open(archive) as tar:
            manifest = read_json(tar, "manifest.json")[0]
        return cls(archive, f"sha256:{manifest['Config'].removesuffix('.json')}", manifest["RepoTags"][0])

    def config(self) -> dict[str, Any]:
        """The image's configuration by Docker's image specification: `config`, `history`, `rootfs`."""
        with tarfile.open(self.archive) as tar:
            return cast(dict[str, Any], read_json(tar, f"{self.digest.removeprefix('sha256:')}.json"))

    def layers(self) -> Iterator[BinaryIO]:
        """The tar of each layer, the lowest first; each is closed when the next one is asked for."""
        with tarfile.open(self.archive) as tar:
            for name in read_json(tar, "manifest.json")[0]["Layers"]:
                with opened(tar, name) as layer:
                    yield layer

    def unpack(self, folder: Path) -> None:
        """The image's files under `folder`, with owners and modes (as root). Layers that delete files are not understood."""
        for layer in self.layers():
            with tarfile.open(fileobj=layer) as tar:
                tar.extractall(folder, filter="fully_trusted")

    def size(self) -> int:
        """Bytes of all layers."""
        return sum(len(chunk) for layer in self.layers() for chunk in chunks(layer))

    def compressed(self) -> int:
        """Bytes of all layers as a registry keeps them, each by gzip."""
        return sum(gzipped(layer) for layer in self.layers())


def write_clean(source: Path, target: Path) -> None:
    """The same image without what differs between two builds of it."""
    with tarfile.open(source) as old, tarfile.open(target, "w") as new:
        manifest = read_json(old, "manifest.json")[0]
        text = json.dumps(cleaned(read_json(old, manifest["Config"])), sort_keys=True).encode()
        config = f"{hashlib.sha256(text).hexdigest()}.json"
        add(new, "manifest.json", json.dumps([{**manifest, "Config": config}]).encode())
        add(new, config, text)
        for name in manifest["Layers"]:
            new.addfile(entry(name, old.getmember(name).size), opened(old, name))


def cleaned(config: dict[str, Any]) -> dict[str, Any]:
    kept = {name: value for name, value in config.items() if name not in OF_THE_BUILD}
    return {**kept, "config": {name: value for name, value in config["config"].items() if name != "Hostname"}}


def add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    tar.addfile(entry(name, len(content)), io.BytesIO(content))


def entry(name: str, size: int) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size = size
    return info


def read_json(tar: tarfile.TarFile, name: str) -> Any:
    with opened(tar, name) as file:
        return json.load(file)


def opened(tar: tarfile.TarFile, name: str) -> BinaryIO:
    file = tar.extractfile(name)
    if file is None:
        raise LookupError(f"{tar.name!r} holds no file {name}")
    return cast(BinaryIO, file)


def chunks(file: BinaryIO) -> Iterator[bytes]:
    return iter(lambda: file.read(CHUNK), b"")


def gzipped(file: BinaryIO) -> int:
    # 31: with gzip's header.
    packer = zlib.compressobj(6, zlib.DEFLATED, 31)
    return sum(len(packer.compress(chunk)) for chunk in chunks(file)) + len(packer.flush())
