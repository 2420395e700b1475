"""tools.images: what is built again, what is not, and what of this machine a build gets to see."""

from __future__ import annotations

import os
import re
import shutil
import time
from pathlib import Path

import pytest
from tools import folders, images
from tools.images import Image, builder, debian, host, store


@pytest.fixture
def context(tmp_path: Path) -> Path:
    (tmp_path / ".dockerignore").write_text("*\n!app\n")
    (tmp_path / "app").mkdir()
    (tmp_path / "app/code.py").write_text("one")
    (tmp_path / "Dockerfile").write_text("FROM scratch\nCOPY app /app\n")
    return tmp_path


def key(context: Path, *recipe: str) -> str:
    return builder.key(list(recipe), context / "Dockerfile", context)


def test_the_same_inputs_are_built_once(image: Image) -> None:
    began = time.monotonic()
    assert images.build(name=image.name) == image
    assert time.monotonic() - began < 1


@pytest.mark.parametrize("name", ["app/code.py", "app/new.py", "Dockerfile"])
def test_a_changed_input_is_built_again(context: Path, name: str) -> None:
    before = key(context)
    (context / name).write_text("two")
    assert key(context) != before


def test_a_build_argument_makes_another_image(context: Path) -> None:
    assert key(context, "--build-arg=VERSION=1") != key(context, "--build-arg=VERSION=2")


@pytest.mark.parametrize("name", ["README.md", "app/__pycache__/code.pyc"])
def test_what_the_build_does_not_see_makes_no_other_image(context: Path, name: str) -> None:
    before = key(context)
    (context / name).parent.mkdir(exist_ok=True)
    (context / name).write_text("two")
    assert key(context) == before


def test_the_dockerfile_copies_all_that_it_is_let_see_and_nothing_else() -> None:
    copied = re.findall(r"^COPY (?!--)(.+) \S+$", (folders.ROOT / "Dockerfile").read_text(), re.MULTILINE)
    allowed = re.findall(r"^!(\S+)$", (folders.ROOT / ".dockerignore").read_text(), re.MULTILINE)
    assert sorted(name for line in copied for name in line.split()) == sorted(allowed)


def test_pip_in_the_build_uses_the_index_and_certificates_of_this_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "https://pip.sluice.test/simple")
    monkeypatch.setenv("PIP_CERT", "/certificates.pem")
    options = list(host.mounts(tmp_path))
    settings = (tmp_path / "pip.conf").read_text()
    assert f"--volume=/certificates.pem:{host.CERTIFICATES}:ro" in options
    assert f"--volume={tmp_path}/pip.conf:/etc/pip.conf:ro" in options
    assert "index-url = https://pip.sluice.test/simple\n" in settings
    assert f"cert = {host.CERTIFICATES}\n" in settings


def test_who_is_not_root_is_refused_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert "root" in str(images.missing())


def test_the_base_comes_back_into_an_empty_storage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = images.base().archive.parent
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    shutil.copytree(kept, store.images() / kept.name)
    again = images.base()
    debian.ensure_imported(again)
    assert debian.buildah("images", "--digests", "--format={{.Digest}}").split() == [again.digest]


def test_only_the_builds_used_last_are_kept(tmp_path: Path) -> None:
    for age, name in enumerate(("newest", "newer", "old", "oldest")):
        (tmp_path / name).mkdir()
        os.utime(tmp_path / name, (0, 1000 - age))
    store.keep_newest(tmp_path, 2)
    assert {path.name for path in tmp_path.iterdir()} == {"newest", "newer"}
