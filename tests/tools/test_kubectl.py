"""kubectl and helm out of their wheel."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest
from tests.conftest import Part, require
from tools import Missing, folders, kubectl


@pytest.fixture
def wheel() -> None:
    if kubectl.archived() is None:
        require("the wheel of kubectl and helm", Part(kubectl.WHEEL, "make test installs it", in_ci=True))


@pytest.mark.usefixtures("wheel")
def test_kubectl_is_of_the_wheel_s_minor_version() -> None:
    told = json.loads(subprocess.check_output([kubectl.kubectl(), "version", "--client", "--output=json"]))
    assert told["clientVersion"]["minor"] == re.findall(r"v(\d+)$", kubectl.WHEEL)[0]


@pytest.mark.usefixtures("wheel")
def test_helm_is_of_major_version_4() -> None:
    assert subprocess.check_output([kubectl.helm(), "version", "--short"], text=True).startswith("v4.")


def test_without_the_wheel_the_programs_on_path_are_taken(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "helm").touch(0o755)
    monkeypatch.setattr(kubectl, "WHEEL", "no-such-wheel")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert kubectl.helm() == tmp_path / "helm"


def test_without_both_the_fix_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(kubectl, "WHEEL", "no-such-wheel")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Missing, match=r"tools/kubectl\.txt"):
        kubectl.kubectl()
    assert not kubectl.available("kubectl")


def test_the_fix_names_the_wheel_that_is_looked_for() -> None:
    assert f"{kubectl.WHEEL}==" in (folders.ROOT / "tools/kubectl.txt").read_text()
