"""An image from a Dockerfile: once for the same inputs, and from the layers of the last build where they still fit."""

from __future__ import annotations

import hashlib
import os
import subprocess
import tempfile
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path

import click

from tools import folders, once
from tools.images import archive, host, store
from tools.images.archive import Image
from tools.images.debian import Base, base, ensure_imported

NAME = "localhost/sluice:test"
HERE = Path(__file__).parent
# Built images that stay in the cache, 0.2 GB each.
KEEP = 10


class BuildFailed(click.ClickException):
    """buildah failed; the text holds the end of its output."""


def build(
    dockerfile: Path | None = None,
    name: str = NAME,
    args: Mapping[str, str] | None = None,
    *,
    context: Path = folders.ROOT,
    fresh: bool = False,
) -> Image:
    """The image that `dockerfile` (default: that of `context`) makes of `context`, called `name` (`repository:tag`).

    `args` are build arguments; the base is the stand-in unless they name another, which no image built here can be: the storage
    may have forgotten it. `fresh` uses nothing of earlier builds. The dates in it are SOURCE_DATE_EPOCH, else 0.
    Raises BuildFailed.
    """
    dockerfile = dockerfile or context / "Dockerfile"
    stand_in = base()
    given = {"BASE_IMAGE": stand_in.name, "BASE_DIGEST": stand_in.digest, **(args or {})}
    options = [f"--build-arg={key}={value}" for key, value in sorted(given.items())]
    options += [f"--timestamp={os.environ.get('SOURCE_DATE_EPOCH', '0')}", f"--tag={name}"]
    if fresh:
        folder, caching = store.images() / "fresh" / uuid.uuid4().hex, "--no-cache"
    else:
        folder, caching = store.images() / "built" / key(options, dockerfile, context), "--layers"
    command = [caching, *options, f"--file={dockerfile}", str(context)]
    once.folder(folder, lambda partial, _lock: make(partial, name, stand_in, command))
    folder.touch()
    store.keep_newest(folder.parent, KEEP)
    return Image.of(folder / "image.tar")


def postgres() -> Image:
    """The database of tests/cluster."""
    return build(context=HERE / "postgres", name="localhost/sluice-postgres:17")


def rabbitmq() -> Image:
    """The broker of tests/cluster."""
    return build(context=HERE / "rabbitmq", name="localhost/sluice-rabbitmq:4")


def make(folder: Path, name: str, stand_in: Base, options: list[str]) -> None:
    """Build, and write `image.tar` into `folder`."""
    store.tidy()
    click.echo(f"building {name} ...", err=True)
    with store.in_use(), tempfile.TemporaryDirectory(dir=store.images()) as settings:
        ensure_imported(stand_in)
        fixed = ["--isolation=chroot", "--format=docker", "--pull-never", "--identity-label=false", f"--iidfile={folder}/id"]
        run("bud", *fixed, *host.mounts(Path(settings)), *options)
        identity = (folder / "id").read_text().strip()
        run("push", "--quiet", identity, f"docker-archive:{folder}/pushed.tar:{name}")
        if "--no-cache" in options:
            # Its one layer is of no use to any other build.
            run("rmi", "--force", identity)
    archive.write_clean(folder / "pushed.tar", folder / "image.tar")
    (folder / "pushed.tar").unlink()


def run(*arguments: str) -> None:
    done = subprocess.run(
        store.buildah(*arguments), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=store.environment()
    )
    if done.returncode:
        raise BuildFailed(f"buildah {' '.join(arguments)} failed:\n{done.stdout[-3000:]}")


def key(recipe: list[str], dockerfile: Path, context: Path) -> str:
    """Digest of everything that decides what is built."""
    digest = hashlib.sha256("\0".join(recipe).encode())
    for path in (dockerfile, *inputs(context)):
        digest.update(f"\0{path.name}\0{path.stat().st_mode & 0o777:o}\0".encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:20]


def inputs(context: Path) -> Iterator[Path]:
    """The files that the build can see: those that a .dockerignore of the form `*`, then `!path` lines, lets through."""
    ignore = context / ".dockerignore"
    allowed = [line[1:] for line in ignore.read_text().splitlines() if line.startswith("!")] if ignore.exists() else ["."]
    for path in map(context.joinpath, allowed):
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if file.is_file() and "__pycache__" not in file.parts:
                yield file
