"""The command line: `sluice COMMAND`. Options in, one call out; each command has its own module under sluice.commands."""

from __future__ import annotations

from typing import Any

import click

from sluice import __version__, errors
from sluice.commands import environment
from sluice.commands.check import check
from sluice.commands.dead_letters import dead_letters
from sluice.commands.doctor import doctor
from sluice.commands.erase import erase
from sluice.commands.generate import generate
from sluice.commands.import_ import import_file
from sluice.commands.index import index
from sluice.commands.keys import keys
from sluice.commands.migrate import migrate
from sluice.commands.pull import pull
from sluice.commands.query import query
from sluice.commands.serve import serve
from sluice.commands.tail import tail
from sluice.commands.worker import worker
from sluice.doctor import FIXES


class Commands(click.Group):
    """Every command's refusals, in one line each: exit code 2 when nothing was started, 1 when the database is away."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except errors.SettingsError as error:
            raise environment.BadSettings(error.problems) from error
        except errors.QueueUnavailable as error:
            raise click.ClickException(f"the queue cannot be used: {error.reason}; start it, or correct QUEUE_URL") from error
        except errors.StoreUnavailable as error:
            fix = FIXES.get(error.reason, "`sluice doctor` says more")
            raise click.ClickException(f"the database cannot be used: {error.reason}; {fix}") from error


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="sluice")
def main() -> None:
    """Events and error logs over HTTP, each stored exactly once in PostgreSQL.

    The service is configured by environment variables; README.md lists them.
    """


for command in (
    serve,
    worker,
    dead_letters,
    migrate,
    index,
    keys,
    doctor,
    check,
    import_file,
    generate,
    pull,
    tail,
    query,
    erase,
):
    main.add_command(command)
