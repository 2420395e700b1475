"""The environment of a command, or a refusal that lists every mistake."""

from __future__ import annotations

import os
from collections.abc import Mapping

import click

from sluice import errors
from sluice.settings import Settings


class BadSettings(click.ClickException):
    """Exit code 2: nothing was started."""

    exit_code = 2

    def __init__(self, problems: tuple[str, ...]) -> None:
        super().__init__("\n  ".join(("these settings can not be used:", *problems)))


def variables() -> Mapping[str, str]:
    return os.environ


def settings() -> Settings:
    try:
        return Settings.from_env(variables())
    except errors.SettingsError as error:
        raise BadSettings(error.problems) from error
