"""`make tools`: what is there is left alone, what cannot be here is named, and a failure is a failure."""

from __future__ import annotations

import io
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner
from rich.console import Console
from tests.conftest import ROOT
from tests.integration import waiting
from tools import Missing, apt, binaries, folders, install, isolated
from tools.install import GROUPS, Part

SLOW = """
import sys, time
from pathlib import Path
from tools import install
from tools.install import Part

folder = Path(sys.argv.pop())
def slow(_):
    (folder / "began").touch()
    time.sleep(0 if (folder / "again").exists() else 60)
    (folder / "second").touch()

def part(name, work):
    return Part(name, (folder / name).exists, work)

install.GROUPS = {"all": [part("first", lambda _: (folder / "first").touch()), part("second", slow)]}
install.main()
"""


def part(name: str, log: list[str], *, there: bool = False, reason: str | None = None, error: Exception | None = None) -> Part:
    def work(_: object) -> None:
        log.append(name)
        if error is not None:
            raise error

    return Part(name, lambda: there or name in log, work, lambda: reason)


def run(*parts: Part) -> tuple[list[str], str]:
    """The names of what failed, and the text on the screen."""
    screen = io.StringIO()
    return install.run(parts, Console(file=screen)), screen.getvalue()


def test_what_is_there_costs_nothing_and_says_nothing() -> None:
    log: list[str] = []
    assert run(part("etcd", log, there=True)) == ([], "")
    assert log == []


def test_what_is_missing_is_installed_in_its_order_and_reported() -> None:
    log: list[str] = []
    failed, told = run(part("packages", log), part("base", log))
    assert (failed, log) == ([], ["packages", "base"])
    assert "base: installed in" in told


def test_what_cannot_be_here_is_named_with_the_reason_and_is_no_failure() -> None:
    log: list[str] = []
    failed, told = run(part("packages", log, reason="apt-get install needs root"), part("tflint", log))
    assert (failed, log) == ([], ["tflint"])
    assert "packages: not installed: apt-get install needs root" in told


def test_what_is_not_there_after_its_installation_is_a_failure() -> None:
    failed, told = run(Part("wrk", lambda: False, lambda _: None))
    assert failed == ["wrk"]
    assert "still not found" in told


@pytest.mark.parametrize(
    "error", [apt.Failed("no mirror"), binaries.BuildFailed("undefined: x"), Missing("no Go"), OSError("disk full")]
)
def test_a_failure_is_reported_and_keeps_nobody_from_the_rest(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    monkeypatch.delenv("CI", raising=False)
    log: list[str] = []
    failed, told = run(part("one", log, error=error), part("two", log))
    assert (failed, log) == (["one"], ["one", "two"])
    assert f"one: failed: {error}" in told


def test_under_ci_the_first_failure_is_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    log: list[str] = []
    failed, _ = run(part("one", log, error=apt.Failed("no mirror")), part("two", log))
    assert (failed, log) == (["one"], ["one"])


def test_the_command_fails_when_a_part_did(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(GROUPS, "test", [part("promtool", [], error=apt.Failed("no mirror"))])
    told = CliRunner().invoke(install.main, ["test"])
    assert told.exit_code == 1
    assert "not installed: promtool" in told.output


def test_an_unknown_name_is_refused_with_those_there_are() -> None:
    told = CliRunner().invoke(install.main, ["tests"])
    assert told.exit_code == 2
    assert all(name in told.output for name in ("promtool", "node", "kubernetes", "terraform"))


def test_a_part_of_two_groups_is_installed_once() -> None:
    names = [part.name for part in install.chosen(["cluster", "terraform", "checkov"])]
    assert sorted(names) == sorted(set(names))
    assert "checkov" in names


def test_the_quick_suite_wants_no_program_that_is_built() -> None:
    assert {part.name for part in GROUPS["test"]} & set(binaries.modules()) == set()


def test_every_module_and_environment_has_its_place() -> None:
    names = {part.name for part in install.chosen(GROUPS)}
    assert {*binaries.modules(), *isolated.PINS, install.CRDS.name} <= names


def test_what_takes_minutes_to_build_is_installed_only_where_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    log: list[str] = []
    for name in GROUPS:
        monkeypatch.setitem(GROUPS, name, [part(name, log)])
    assert CliRunner().invoke(install.main, []).exit_code == 0
    assert log == [name for name in GROUPS if name != install.BUILT]
    assert CliRunner().invoke(install.main, [install.BUILT]).exit_code == 0
    assert log[-1] == install.BUILT


def test_the_help_names_every_group() -> None:
    told = CliRunner().invoke(install.main, ["--help"]).output
    assert f"({', '.join(GROUPS)})" in " ".join(told.split())


def test_an_interrupted_run_goes_on_where_it_stopped(tmp_path: Path) -> None:
    command = [sys.executable, "-c", SLOW, str(tmp_path)]
    first = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    waiting.until((tmp_path / "began").exists)
    first.send_signal(signal.SIGINT)
    assert "the same command goes on" in first.communicate(timeout=30)[1]
    assert first.returncode == install.INTERRUPTED
    (tmp_path / "again").touch()
    told = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stderr
    assert "first" not in told
    assert "second: installed" in told


def test_without_go_a_node_is_not_there_and_a_build_fails_with_the_fix(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_go() -> str:
        raise binaries.NoGo(f"there is no Go compiler; {binaries.FIX}")

    binaries.go_version.cache_clear()
    monkeypatch.setattr(binaries, "go", no_go)
    failed, told = run(install.go("kubeconform"))
    assert failed == ["kubeconform"]
    assert binaries.FIX in told


def test_a_program_that_is_not_installed_is_missing_with_the_way_to_get_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(folders, "cache", lambda: tmp_path)
    with pytest.raises(Missing, match="make tools TOOLS=checkov"):
        isolated.program("checkov")


def lookup(path: str) -> Callable[[Path], bool]:
    return lambda folder: not str(folder).startswith(path)


def test_a_home_that_cannot_be_written_is_replaced_for_us_and_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(folders, "writable", lookup(str(Path.home())))
    assert folders.cache() == ROOT / ".venv/cache/sluice"
    assert folders.environment() == {"XDG_CACHE_HOME": str(ROOT / ".venv/cache"), "GOPATH": str(ROOT / ".venv/cache/go")}


def test_a_home_that_can_be_written_changes_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert folders.cache() == tmp_path / ".cache/sluice"
    assert folders.environment() == {}


def test_a_cache_folder_of_the_user_s_that_cannot_be_made_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(Missing, match="set XDG_CACHE_HOME"):
        folders.programs()
