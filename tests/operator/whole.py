"""Whether a run of pytest was one of the whole suite: only then does what nobody did tell something."""

from __future__ import annotations

from pathlib import Path

import pytest

HERE = Path(__file__).parent
LEFT_OUT = pytest.StashKey[list[str]]()


def leave_out(items: list[pytest.Item]) -> None:
    """Note tests of this folder that were deselected."""
    for item in items:
        if item.path.parent == HERE:
            item.config.stash.setdefault(LEFT_OUT, []).append(item.nodeid)


def why_not_whole(request: pytest.FixtureRequest) -> str | None:
    """What is missing; None: every test of this folder ran, and passed, as far as this process of several knows."""
    files = {item.path for item in request.session.items}
    missing = sorted(path.name for path in HERE.glob("test_*.py") if path not in files)
    if missing or any("::" in word for word in request.config.args):
        return f"not every test was asked for: {', '.join(missing) or 'some of a file'}"
    if left := request.config.stash.get(LEFT_OUT, []):
        return f"{len(left)} tests were left out"
    if request.session.testsfailed:
        return "a test failed before"
    terminal = request.config.pluginmanager.get_plugin("terminalreporter")
    skipped = [each for each in terminal.stats.get("skipped", []) if HERE.name in Path(each.nodeid).parts] if terminal else []
    return f"{len(skipped)} tests were skipped" if skipped else None
