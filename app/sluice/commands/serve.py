"""`sluice serve`: the service, in the foreground."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace

import click
import structlog
from prometheus_client import CollectorRegistry

from sluice import retention, stores
from sluice.commands import environment
from sluice.error_groups.fold import Folder
from sluice.ingest import pipeline
from sluice.server import supervisor
from sluice.settings import Settings
from sluice.sources import definitions
from sluice.sources.definitions import Source
from sluice.stores import Store
from sluice.stores.postgresql.login import Login

log = structlog.get_logger()


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
    migrate: Callable[[Login], object] | None = None
    if settings.storage_type != "postgresql" and migrate_first:
        stores.migrate(settings)
    elif migrate_first or settings.embedded:
        from sluice.stores.postgresql import migrate as migrations  # noqa: PLC0415 - most starts need no yoyo

        migrate = functools.partial(migrations.migrate, grant_rds_iam=settings.grants_rds_iam)
    sources = definitions.load(settings)
    if sources and not settings.embedded:
        log.info("sources.not_pulled", fix="run `sluice pull` beside the service, once for all of its pods")
        sources = ()
    of_parent = functools.partial(duties, sources=sources)
    sys.exit(supervisor.run(settings, environment.variables(), duties=of_parent, say=click.echo, migrate=migrate))


def duties(settings: Settings, sources: Sequence[Source] = ()) -> supervisor.Duties:
    """The parent's own connection: it judges readiness, removes old events and adds up errors. It also pulls `sources`."""
    own = stores.open(settings, pool_size=1)
    sweeper = retention.Sweeper(own, settings.retention_days, pipeline.utc_now)
    usual = supervisor.Duties(check=check_of(settings, own), background=(sweeper.run,), close=own.close)
    if "database" in own.capabilities:
        folder = Folder(stores.database(own), pipeline.utc_now, retention.of_error_groups(settings))
        usual = replace(usual, background=(sweeper.run, folder.run), collectors=(folder,))
    if not sources:
        return usual
    from sluice.sources import puller  # noqa: PLC0415 - most services pull nothing

    pulled = stores.open(settings, puller.POOL_SIZE, puller.DEADLINE)
    registry = CollectorRegistry()
    pulling = puller.assemble(settings, sources, pulled, registry)

    def close() -> None:
        own.close()
        pulled.close()

    return replace(usual, background=(*usual.background, pulling.run), collectors=(*usual.collectors, registry), close=close)


def check_of(settings: Settings, store: Store) -> Callable[[], None]:
    """What has to be there before events are taken in: the store, or the queue before it."""
    if settings.queue_url is None:
        return store.check
    from sluice.queue import link  # noqa: PLC0415 - extra `queue`

    return functools.partial(link.check, settings.queue_url)
