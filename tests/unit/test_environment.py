"""A command's environment: what a Secret that comes late does to the start."""

from __future__ import annotations

from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from sluice.commands import environment


class Clock:
    """Sleeps that take no time; `write`: what happens after how many of them."""

    def __init__(self, path: Path | None = None, after: int = 0) -> None:
        self.slept = 0
        self._path, self._after = path, after

    def sleep(self, seconds: float) -> None:
        self.slept += int(seconds)
        if self._path is not None and self.slept == self._after:
            self._path.write_text("slk")


def lines(logged: list[MutableMapping[str, Any]]) -> list[tuple[int, tuple[str, ...]]]:
    """Seconds left and missing variables, by line of the log."""
    return [(line["seconds_left"], line["missing"]) for line in logged]


def test_a_late_secret_is_waited_for_and_named(tmp_path: Path) -> None:
    clock = Clock(tmp_path / "keys", after=12)
    with capture_logs() as logged:
        environment.await_secrets({"SECRET_WAIT_SECONDS": "60", "API_KEYS_FILE": str(tmp_path / "keys")}, clock.sleep)
    assert clock.slept == 12
    assert lines(logged) == [(60, ("API_KEYS_FILE",)), (50, ("API_KEYS_FILE",))]


def test_a_late_file_with_the_password_is_waited_for_too(tmp_path: Path) -> None:
    clock = Clock(tmp_path / "password", after=2)
    with capture_logs() as logged:
        environment.await_secrets(
            {"SECRET_WAIT_SECONDS": "60", "DATABASE_PASSWORD_FILE": str(tmp_path / "password")}, clock.sleep
        )
    assert (clock.slept, lines(logged)) == (2, [(60, ("DATABASE_PASSWORD_FILE",))])


def test_the_wait_ends_when_its_time_is_up(tmp_path: Path) -> None:
    clock = Clock()
    environment.await_secrets({"SECRET_WAIT_SECONDS": "5", "DATABASE_URL_FILE": str(tmp_path / "url")}, clock.sleep)
    assert clock.slept == 5


@pytest.mark.parametrize("text", ["", "0", "soon", "-1", "99999"])
def test_without_a_time_nothing_is_waited_for(text: str, tmp_path: Path) -> None:
    clock = Clock()
    environment.await_secrets({"SECRET_WAIT_SECONDS": text, "API_KEYS_FILE": str(tmp_path / "keys")}, clock.sleep)
    assert clock.slept == 0


def test_a_secret_that_is_there_is_not_waited_for(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("slk")
    clock = Clock()
    environment.await_secrets({"SECRET_WAIT_SECONDS": "60", "API_KEYS_FILE": str(tmp_path / "keys")}, clock.sleep)
    assert clock.slept == 0
