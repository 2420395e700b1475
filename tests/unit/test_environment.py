"""A command's environment: what a Secret that comes late does to the start."""

from __future__ import annotations

import codecs
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from sluice.commands import environment
from sluice.settings import Settings


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


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_the_end_of_a_line_that_a_secret_has_is_no_part_of_a_setting(end: str) -> None:
    found = Settings.from_env({"DB_HOST": f"db{end}", "DB_PASSWORD": f" p w{end}", "PORT": f"9000{end}", "API_KEYS": end})
    assert (found.db_host, found.db_password, found.port, found.api_keys) == ("db", " p w", 9000, ())


def test_a_byte_order_mark_is_no_part_of_a_secret(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(codecs.BOM_UTF8 + b"word\r\n")
    assert Settings.from_env({"DB_HOST": "db", "DB_PASSWORD_FILE": str(tmp_path / "secret")}).db_password == "word"


def test_options_for_the_gunicorn_of_another_program_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GUNICORN_CMD_ARGS", "--preload")
    monkeypatch.setenv("SCRIPT_NAME", "/shop")
    monkeypatch.setenv("DATABASE_URL", "postgresql://127.0.0.1/x")
    with capture_logs() as lines:
        environment.settings()
    assert [line["name"] for line in lines] == ["GUNICORN_CMD_ARGS", "SCRIPT_NAME"]
    assert not {"GUNICORN_CMD_ARGS", "SCRIPT_NAME"} & set(environment.variables())
