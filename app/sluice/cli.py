"""The command line: `sluice COMMAND`. Options in, one call out; each command has its own module under sluice.commands."""

from __future__ import annotations

import contextlib
import errno
import io
import sys
from collections.abc import Iterator
from importlib import import_module
from typing import Any

import click

from sluice import __version__, errors

# No room on the disk that is written to, whether of a file or of stdout.
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# A command is imported when it is called: `serve` needs no importer, and a process starts in half the time. Only help needs all.
COMMANDS = {
    "serve": "serve:serve",
    "worker": "worker:worker",
    "dead-letters": "dead_letters:dead_letters",
    "migrate": "migrate:migrate",
    "index": "index:index",
    "keys": "keys:keys",
    "doctor": "doctor:doctor",
    "check": "check:check",
    "import": "import_:import_file",
    "generate": "generate:generate",
    "pull": "pull:pull",
    "query": "query:query",
    "tail": "tail:tail",
    "erase": "erase:erase",
}


class Commands(click.Group):
    """Every command's refusals, in one line each: exit code 2 when nothing was started, 1 when the database is away."""

    def list_commands(self, _ctx: click.Context) -> list[str]:
        return sorted(COMMANDS)

    def get_command(self, _ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        module, _, function = COMMANDS[name].partition(":")
        return getattr(import_module(f"sluice.commands.{module}"), function)  # type: ignore[no-any-return]

    def make_context(self, *args: Any, **extra: Any) -> click.Context:
        # It is here that --help and --version write.
        with in_one_line():
            return super().make_context(*args, **extra)

    def invoke(self, ctx: click.Context) -> Any:
        if isinstance(sys.stdout, io.TextIOWrapper):
            # A terminal that cannot show a character gets its escape: what clients sent must not end a command.
            sys.stdout.reconfigure(errors="backslashreplace")
        with in_one_line():
            return super().invoke(ctx)


@contextlib.contextmanager
def in_one_line() -> Iterator[None]:
    """What ends a command becomes click's own error."""
    try:
        yield
    except errors.SettingsError as error:
        from sluice.commands import environment  # noqa: PLC0415 - as every command

        raise environment.BadSettings(error.problems) from error
    except (RuntimeError, BlockingIOError) as error:
        # Of fork() it is EAGAIN.
        if str(error) != errors.NO_THREAD and not isinstance(error, BlockingIOError):
            raise
        raise click.ClickException(f"no thread or process can be started: {errors.MORE_THREADS}") from error
    except OSError as error:
        if error.errno not in FULL:
            raise
        raise click.ClickException(f"cannot write: {error.strerror}; free space, or write elsewhere") from error
    except errors.QueueUnavailable as error:
        from sluice.queue import FIXES as QUEUE_FIXES  # noqa: PLC0415 - as every command

        raise click.ClickException(f"the queue cannot be used: {error.reason}; {QUEUE_FIXES[error.reason]}") from error
    except errors.StoreUnavailable as error:
        from sluice.doctor import FIXES  # noqa: PLC0415 - as every command

        fix = FIXES.get(error.reason, "`sluice doctor` says more")
        raise click.ClickException(f"the database cannot be used: {error.reason}; {fix}") from error


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="sluice")
def main() -> None:
    """Events and error logs over HTTP, each stored exactly once in PostgreSQL.

    The service is configured by environment variables; README.md lists them.
    """
