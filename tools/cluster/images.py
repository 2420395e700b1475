"""The images the node itself needs, FROM scratch, kept beside the programs they hold."""

from __future__ import annotations

import shutil
from pathlib import Path

from tools import archive, binaries

# A program that waits for ever, statically linked, from the distribution.
PAUSE = "catatonit"
PAUSE_NAME = "sluice.test/pause:catatonit"


def pause(folder: Path) -> Path:
    program = Path(shutil.which(PAUSE) or PAUSE)
    return archive.write(
        folder / "pause.tar", name=PAUSE_NAME, files={"/pause": program}, entrypoint=["/pause", "-P"], user="65535"
    )


def coredns_name() -> str:
    return f"sluice.test/coredns:{binaries.modules()['coredns'].version('github.com/coredns/coredns')}"


def coredns() -> Path:
    return of_program("coredns", coredns_name())


def of_program(program: str, name: str) -> Path:
    """An image `name` of one of our Go programs, made once per version of it."""
    file = binaries.path(program)
    target = file.with_name(f"{name.replace('/', '_').replace(':', '_')}.tar")
    if not target.exists():
        archive.write(target, name=name, files={f"/{program}": file}, entrypoint=[f"/{program}"])
    return target
