"""Which tests of the operator may run side by side."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.operator import halves

HERE = Path(halves.__file__).parent


@pytest.mark.parametrize("name", [*halves.RELEASES, *halves.LATER, *halves.LAST])
def test_a_file_that_is_named_is_there(name: str) -> None:
    assert (HERE / name).is_file()


def test_whoever_installs_the_chart_is_in_the_part_of_releases() -> None:
    """Two that make and take away the policies of the cluster would take them away from each other."""
    installs = {path.name for path in HERE.glob("test_*.py") if "operator.installed import" in path.read_text(encoding="utf-8")}
    assert installs
    assert {halves.part(name) for name in installs} == {"releases"}


def test_what_looks_back_at_all_calls_is_the_last_of_all() -> None:
    files = sorted((path.name for path in HERE.glob("test_*.py")), key=halves.order)
    assert files[-2:] == ["test_restart.py", "test_calls.py"]
    assert {halves.part(name) for name in files} == {"releases", "processes", "later", "last"}
