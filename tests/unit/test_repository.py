"""What the repository promises about itself: locks, contracts, pins, and nothing of one machine in it."""

from __future__ import annotations

import itertools
import json
import operator
import re
import socket
import subprocess
import sys
import tomllib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from tests.conftest import ROOT

import sluice

pytest_plugins = ["pytester"]

LOCKS = sorted((ROOT / "requirements").glob("*.txt"))
HOME = re.compile(r"(?<![\w.~-])/(?:home|Users|root|work)/\w")
# Hosts that packages and images come from: nothing here may depend on one. In brackets, so that this line names none.
REGISTRIES = re.compile(
    r"pypi[.]org|pythonhosted[.]org|registry[.]npmjs|docker[.]io|ghcr[.]io|quay[.]io|gcr[.]io|proxy[.]golang|crates[.]io"
    r"|registry[.]terraform|registry[.]k8s|repo1?[.]maven|public[.]ecr"
)
# Terraform knows a provider only by its registry's name, and a pull-through cache names what it is a cache of.
MUST_NAME_ONE = {
    "terraform/.terraform.lock.hcl",
    "terraform/bootstrap/.terraform.lock.hcl",
    "terraform/modules/registry/upstreams.tf",
}


def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def requirements(lock: Path) -> dict[str, str]:
    """Each pinned name of a lock file with the whole of its entry: version, marker, hashes."""
    entries = re.split(r"\n(?=[a-z0-9])", lock.read_text(encoding="utf-8"))
    return {re.split(r"\[|==", entry)[0]: entry for entry in entries if not entry.startswith("#")}


def versions(lock: Path) -> dict[str, str]:
    return {name: re.split(r"==|[ ;]", entry)[1] for name, entry in requirements(lock).items()}


def tracked() -> list[Path]:
    # In a container the clone may belong to another user than root.
    listed = ["git", "-c", f"safe.directory={ROOT}", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return [ROOT / name for name in names.split("\0") if name and (ROOT / name).is_file()]


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.stem)
def test_a_lock_file_pins_every_requirement_with_hashes(lock: Path) -> None:
    entries = requirements(lock)
    assert len(entries) > 5
    assert [name for name, entry in entries.items() if not re.search(r"--hash=sha256:[0-9a-f]{64}", entry)] == []


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.stem)
def test_a_lock_file_names_no_index(lock: Path) -> None:
    assert re.findall(r"https?:|--(?:extra-)?index-url|--find-links|--trusted-host", lock.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("lock", "extras"), [("run", ["embedded"]), ("aws", ["aws"]), ("fast", ["fast"]), ("dev", ["embedded", "aws"])]
)
def test_a_lock_file_holds_what_pyproject_asks_for(lock: str, extras: list[str]) -> None:
    pinned = versions(ROOT / f"requirements/{lock}.txt")
    lists = [project()["project"]["dependencies"], project()["dependency-groups"]["build"]]
    lists += [project()["project"]["optional-dependencies"][extra] for extra in extras]
    asked = [Requirement(each) for each in itertools.chain(*lists)]
    assert [str(each) for each in asked if pinned.get(canonicalize_name(each.name), "0") not in each.specifier] == []


def test_the_image_s_lock_file_brings_what_it_runs_and_nothing_that_builds() -> None:
    pinned = versions(ROOT / "requirements/image.txt")
    extras = project()["project"]["optional-dependencies"]
    asked = [*project()["project"]["dependencies"], *(each for name in ("aws", "embedded", "fast") for each in extras[name])]
    assert {canonicalize_name(Requirement(each).name) for each in asked} <= set(pinned)
    assert {"pip", "hatchling", "pytest", "uv"} & set(pinned) == set()


def test_the_lock_files_agree_on_every_version() -> None:
    dev = versions(ROOT / "requirements/dev.txt")
    others = {item for lock in LOCKS for item in versions(lock).items()}
    assert {name for name, version in others if dev.get(name, version) != version} == set()


def test_a_mac_of_intel_gets_the_last_cryptography_that_has_a_wheel_for_it() -> None:
    lines = re.findall(r"^cryptography==.*(?= \\$)", (ROOT / "requirements/dev.txt").read_text(encoding="utf-8"), re.MULTILINE)
    mac = {"sys_platform": "darwin", "platform_machine": "x86_64"}
    pins = [pin for pin in map(Requirement, lines) if pin.marker is None or pin.marker.evaluate(mac)]
    assert [pin.specifier.contains("48.0.1") for pin in pins] == [True]


def test_every_dependency_has_its_reason() -> None:
    lines = (ROOT / "pyproject.toml").read_text(encoding="utf-8").partition("[tool.")[0].splitlines()
    listed = [line for line in lines if re.match(r'    "', line)]
    assert len(listed) > 30
    assert [line for line in listed if not re.search(r'",\s+# \w.{4,}', line)] == []


def test_the_import_contracts_are_kept() -> None:
    done = subprocess.run([Path(sys.executable).with_name("lint-imports"), "--no-logo"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_the_operator_folder_does_not_replace_the_standard_library() -> None:
    assert operator.itemgetter(0)(["first"]) == "first"
    ours = [path.relative_to(ROOT) for path in (ROOT / "operator").rglob("*.py")]
    assert [path for path in ours if len(path.parts) == 2 or re.match(r"test_|conftest", path.name)] == []


@pytest.mark.needs("git", "git clone")
def test_no_file_holds_a_path_of_one_machine_or_names_a_registry() -> None:
    texts = {str(path.relative_to(ROOT)): path.read_text(encoding="utf-8", errors="replace") for path in tracked()}
    assert {path: found.group() for path, text in texts.items() if (found := HOME.search(text))} == {}
    named = {path: found.group() for path, text in texts.items() if (found := REGISTRIES.search(text))}
    assert {path: name for path, name in named.items() if path not in MUST_NAME_ONE} == {}


def test_the_changelog_has_this_version() -> None:
    assert f"## [{sluice.__version__}]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_bare_make_lists_the_targets() -> None:
    shown = subprocess.run(["make"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    assert {"run", "test", "lint", "bench", "lock", "clean"} <= {line.split()[1] for line in shown.splitlines()}


@pytest.mark.parametrize(("ci", "outcome"), [("true", "errors"), ("", "skipped")])
def test_a_missing_part_that_ci_installs_fails_only_there(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, ci: str, outcome: str
) -> None:
    monkeypatch.setenv("CI", ci)
    monkeypatch.setenv("PATH", "")
    pytester.makeconftest((ROOT / "tests/conftest.py").read_text(encoding="utf-8"))
    pytester.makepyfile("import pytest\n@pytest.mark.needs('git')\ndef test_it():\n    raise AssertionError")
    assert pytester.runpytest("-W", "ignore").parseoutcomes() == {outcome: 1}


@pytest.mark.parametrize(("ci", "outcome"), [("true", "failed"), ("", "skipped")])
def test_what_make_tools_did_not_install_is_a_skip_and_a_failure_only_there(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, ci: str, outcome: str
) -> None:
    monkeypatch.setenv("CI", ci)
    pytester.makeconftest((ROOT / "tests/conftest.py").read_text(encoding="utf-8"))
    pytester.makepyfile("from tools import not_installed\ndef test_it():\n    raise not_installed('etcd')")
    result = pytester.runpytest("-W", "ignore")
    assert result.parseoutcomes() == {outcome: 1}
    result.stdout.fnmatch_lines(["*etcd is not installed; to get it: make tools TOOLS=etcd*"])


def test_apt_get_is_called_in_one_place() -> None:
    sources = [path for folder in ("tools", "tests", ".ci") for path in (ROOT / folder).rglob("*") if path.suffix in (".py", "")]
    calls = re.compile(r"""["'](apt-get|dpkg)["'],|^\s*(apt-get|dpkg) """, re.MULTILINE)
    found = {str(path.relative_to(ROOT)) for path in sources if path.is_file() and calls.search(path.read_text(encoding="utf-8"))}
    assert found - {"tests/tools/test_apt.py"} == {"tools/apt.py"}


@pytest.mark.parametrize(("status", "code"), [(200, 0), (503, 1)])
def test_the_image_s_health_check_asks_no_proxy(status: int, code: int) -> None:
    command = re.search(r"HEALTHCHECK .*\\\n +CMD (\[.*\])", (ROOT / "Dockerfile").read_text(encoding="utf-8"))
    assert command is not None
    answer = f"HTTP/1.0 {status} OK\r\n\r\n".encode()
    with socket.create_server(("127.0.0.1", 0)) as server, ThreadPoolExecutor(1) as thread:
        environment = {"ADMIN_PORT": str(server.getsockname()[1]), "http_proxy": "http://127.0.0.1:1"}
        probe = thread.submit(subprocess.run, [sys.executable, *json.loads(command[1])[1:]], env=environment, timeout=20)
        server.settimeout(20)
        client = server.accept()[0]
        with client:
            assert client.recv(100).startswith(b"GET /readiness ")
            client.sendall(answer)
        assert probe.result().returncode == code
