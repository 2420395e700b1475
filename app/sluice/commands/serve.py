"""`sluice serve`: the service, in the foreground."""

from __future__ import annotations

import sys

import click

from sluice import retention, stores
from sluice.commands import environment
from sluice.error_groups.fold import Folder
from sluice.ingest import pipeline
from sluice.server import supervisor
from sluice.settings import Settings
from sluice.stores.postgresql import migrate as migrations


@click.command(
    epilog="""\b
Examples:
  sluice serve                                                    with an embedded PostgreSQL under DATA_DIR
  DATABASE_URL=postgresql://db/sluice API_KEYS_FILE=/keys sluice serve
  PORT=9000 ADMIN_PORT=9001 sluice serve --migrate"""
)
@click.option("--migrate", "migrate_first", is_flag=True, help="Bring the schema up to date first, also of another server.")
def serve(migrate_first: bool) -> None:
    """Serve until SIGTERM or Ctrl-C.

    The schema of an embedded server is always brought up to date, that of another one only with --migrate.
    """
    # PID 1 has no default action for a signal: without this SIGTERM would not end the wait.
    supervisor.stop_while_starting()
    settings = environment.settings_once_there()
    migrate = migrations.migrate if migrate_first or settings.embedded else None
    sys.exit(supervisor.run(settings, environment.variables(), duties=duties, say=click.echo, migrate=migrate))


def duties(settings: Settings) -> supervisor.Duties:
    """The parent's own connection: it judges readiness, removes old events and adds up errors."""
    own = stores.open(settings, pool_size=1)
    sweeper = retention.Sweeper(own, settings.retention_days, pipeline.utc_now)
    folder = Folder(stores.database(own), pipeline.utc_now)
    return supervisor.Duties(check=own.check, background=(sweeper.run, folder.run), collectors=(folder,), close=own.close)
