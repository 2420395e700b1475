"""`sluice migrate`: the schema, as its owner."""

from __future__ import annotations

import click

from sluice import logs, stores
from sluice.commands import environment
from sluice.commands.index import build, owner
from sluice.stores.postgresql import migrate as migrations


@click.command(
    epilog="""\b
Examples:
  sluice migrate                                      the embedded server under DATA_DIR
  DATABASE_URL=postgresql://owner@db/sluice sluice migrate --index user_id
  STORAGE_TYPE=dynamodb TABLE_NAME=events sluice migrate   the table and its indexes
  STORAGE_TYPE=mongodb MONGODB_URI_FILE=/run/uri sluice migrate   the collection and its indexes
  DB_HOST=db DB_NAME=sluice DATABASE_SECRET_ARN=arn:aws:... sluice migrate"""
)
@click.option("--index", "indexes", multiple=True, metavar="NAME", help="Then add this index too, as `sluice index add` does.")
def migrate(indexes: tuple[str, ...]) -> None:
    """Bring the schema up to date. Safe to run at any time and by several at once.

    Run it as the schema's owner; it makes the role sluice_app, which the service uses and which may not change the schema.
    """
    settings = environment.settings_once_there()
    if settings.storage_type != "postgresql" and not indexes:
        logs.configure(settings.log_level)
        for name in stores.migrate(settings):
            click.echo(f"made {name}")
        click.echo("the store is up to date")
        return
    with owner(settings) as parameters:
        for name in migrations.migrate(parameters, settings.grants_rds_iam):
            click.echo(f"applied {name}")
        click.echo("the schema is up to date")
        build(parameters, indexes)
