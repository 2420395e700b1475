"""Images written by tools.archive: what is in them, and always the same bytes. tests/cluster runs one."""

from __future__ import annotations

import hashlib
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest
from tools import archive


@pytest.fixture
def program(tmp_path: Path) -> Path:
    file = tmp_path / "program"
    file.write_bytes(b"\x7fELF and so on")
    file.chmod(0o700)
    return file


def written(target: Path, **files: Path) -> Path:
    named = {f"/opt/{name}": file for name, file in files.items()}
    return archive.write(target, name="sluice.test/thing:v1", files=named, entrypoint=["/opt/thing", "-x"], user="65532")


def parsed(image: Path, member: str) -> Any:
    with tarfile.open(image) as tar:
        opened = tar.extractfile(member)
        assert opened is not None
        return json.load(opened)


def layer(image: Path, folder: Path) -> tarfile.TarFile:
    with tarfile.open(image) as tar:
        tar.extract("layer.tar", folder, filter="data")
    return tarfile.open(folder / "layer.tar")


def test_the_same_files_make_the_same_bytes(tmp_path: Path, program: Path) -> None:
    first = written(tmp_path / "1.tar", thing=program, other=program).read_bytes()
    program.touch()
    second = written(tmp_path / "2.tar", other=program, thing=program).read_bytes()
    assert first == second


def test_other_content_makes_another_image(tmp_path: Path, program: Path) -> None:
    first = parsed(written(tmp_path / "1.tar", thing=program), "manifest.json")
    program.write_bytes(b"something else")
    assert parsed(written(tmp_path / "2.tar", thing=program), "manifest.json")[0]["Config"] != first[0]["Config"]


def test_every_digest_is_that_of_what_it_names(tmp_path: Path, program: Path) -> None:
    image = written(tmp_path / "image.tar", thing=program)
    [manifest] = parsed(image, "manifest.json")
    assert manifest["RepoTags"] == ["sluice.test/thing:v1"]
    with tarfile.open(image) as tar:
        config, content = (tar.extractfile(name) for name in (manifest["Config"], *manifest["Layers"]))
        assert config is not None
        assert content is not None
        assert manifest["Config"] == f"{hashlib.sha256(config.read()).hexdigest()}.json"
        digest = hashlib.sha256(content.read()).hexdigest()
    assert parsed(image, manifest["Config"])["rootfs"]["diff_ids"] == [f"sha256:{digest}"]


def test_the_configuration_says_what_runs_and_as_whom(tmp_path: Path, program: Path) -> None:
    image = written(tmp_path / "image.tar", thing=program)
    config = parsed(image, parsed(image, "manifest.json")[0]["Config"])
    assert config["config"] == {"Entrypoint": ["/opt/thing", "-x"], "User": "65532", "WorkingDir": "/"}
    assert config["os"] == "linux"


def test_files_belong_to_root_and_keep_only_their_x_bit(tmp_path: Path, program: Path) -> None:
    plain = tmp_path / "plain"
    plain.write_text("text")
    plain.chmod(0o600)
    with layer(written(tmp_path / "image.tar", thing=program, plain=plain), tmp_path) as tar:
        found = {entry.name: (oct(entry.mode), entry.uid, entry.mtime) for entry in tar}
    assert found == {"opt": ("0o755", 0, 0), "opt/plain": ("0o644", 0, 0), "opt/thing": ("0o755", 0, 0)}


def test_an_image_that_can_not_be_made_leaves_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "images"
    with pytest.raises(FileNotFoundError):
        written(folder / "image.tar", thing=tmp_path / "missing")
    assert list(folder.iterdir()) == []
