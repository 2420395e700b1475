"""`sluice migrate`: the schema, as its owner."""

from __future__ import annotations

import click

from sluice import errors, logs
from sluice.commands import environment
from sluice.commands.doctor import MENDS
from sluice.stores.postgresql import embedded, login
from sluice.stores.postgresql import migrate as migrations


@click.command(
    epilog="""\b
Examples:
  sluice migrate                                      the embedded server under DATA_DIR
  DATABASE_URL=postgresql://owner@db/sluice sluice migrate
  DB_HOST=db DB_NAME=sluice DATABASE_SECRET_ARN=arn:aws:... sluice migrate"""
)
def migrate() -> None:
    """Bring the schema up to date. Safe to run at any time and by several at once.

    Run it as the schema's owner; it makes the role sluice_app, which the service uses and which may not change the schema.
    """
    settings = environment.settings_once_there()
    logs.configure(settings.log_level)
    try:
        if settings.embedded:
            with embedded.running(settings.data_dir) as server:
                applied = migrations.migrate(server.owner)
        else:
            applied = migrations.migrate(login.of_owner(settings))
    except errors.StoreUnavailable as error:
        fix = MENDS.get(error.reason, "`sluice doctor` says more")
        raise click.ClickException(f"the schema was not changed: {error.reason}; {fix}") from error
    for name in applied:
        click.echo(f"applied {name}")
    click.echo("the schema is up to date")
