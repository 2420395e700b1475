"""The environment of a command, or a refusal that lists every mistake."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping

import click
import structlog

from sluice import logs, stores
from sluice.settings import Settings, absent_files, secret_wait
from sluice.stores.postgresql import login

log = structlog.get_logger()

# From where gunicorn takes options and a path, over ours. Another program's `--preload` would leave our threads in its parent.
OF_GUNICORN = ("GUNICORN_CMD_ARGS", "SCRIPT_NAME")
# A Secret that appears is seen within a second; a line every ten is enough to read.
LOOK, REPORT = 1, 10


class BadSettings(click.ClickException):
    """Exit code 2: nothing was started."""

    exit_code = 2

    def __init__(self, problems: tuple[str, ...]) -> None:
        text = "\n  ".join(("these settings cannot be used:", *problems))
        # A path may hold bytes that no terminal shows.
        super().__init__(text.encode(errors="backslashreplace").decode())


def variables() -> Mapping[str, str]:
    return os.environ


def settings() -> Settings:
    """The checked settings, the address of the database included; raises errors.SettingsError."""
    for name in OF_GUNICORN:
        if os.environ.pop(name, None) is not None:
            log.warning("settings.not_heeded", name=name, fix="remove it: Sluice has settings of its own for its server")
    found = Settings.from_env(variables())
    if found.embedded:
        # What somebody has set for psql may lead libpq away from our own server, in this process and in those it starts.
        for name in [name for name in os.environ if name.startswith("PG")]:
            del os.environ[name]
    if found.storage_type == "postgresql":
        login.address(found)
    else:
        stores.examine(found)
    return found


def settings_once_there() -> Settings:
    """`settings`, after up to SECRET_WAIT_SECONDS in which files of secrets that are not there yet may appear."""
    logs.configure("info")
    await_secrets(variables(), time.sleep)
    return settings()


def await_secrets(env: Mapping[str, str], sleep: Callable[[float], object]) -> None:
    """Return when no file of a secret is missing, or when the time is up: what is missing then is one of the mistakes."""
    patience = secret_wait(env)
    for second in range(0, patience, LOOK):
        absent = absent_files(env)
        if not absent:
            return
        if second % REPORT == 0:
            # Not the paths: who takes one variable for another has put the secret there.
            log.info("waiting.for_secrets", missing=absent, seconds_left=patience - second, fix="create the Secret")
        sleep(LOOK)
