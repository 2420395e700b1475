"""`sluice pull`: the pull sources, in the foreground or once."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace

import click
from prometheus_client import CollectorRegistry

from sluice import errors, logs, stores
from sluice.commands import environment
from sluice.http import responses
from sluice.http.responses import Response
from sluice.server import supervisor
from sluice.server.admin import Views, of_loop, serve
from sluice.settings import Settings
from sluice.sources import definitions
from sluice.sources import puller as pullers
from sluice.sources.definitions import Source
from sluice.sources.puller import Puller
from sluice.stores import Store
from sluice.stores.postgresql import embedded
from sluice.stores.postgresql import migrate as migrations


@click.command(
    epilog="""\b
Examples:
  API_ENDPOINT=https://api.example.com/posts sluice pull
  SOURCES_FILE=sources.yaml DATABASE_URL=postgresql://db/sluice sluice pull
  SOURCES_FILE=sources.yaml sluice pull --once --source orders"""
)
@click.option("--once", is_flag=True, help="Pull each source now, whenever it is due, and end: with 1 when one failed.")
@click.option("--source", "names", multiple=True, metavar="NAME", help="Only this source; may be given several times.")
def pull(once: bool, names: tuple[str, ...]) -> None:
    """Pull the sources of API_ENDPOINT and SOURCES_FILE whenever they are due, until SIGTERM or Ctrl-C.

    Several of these may run: a source is pulled by one of them at a time. `sluice serve` with the embedded database does it by
    itself.
    """
    # PID 1 has no default action for a signal: without this SIGTERM would not end the wait.
    supervisor.stop_while_starting()
    settings = environment.settings_once_there()
    logs.configure(settings.log_level)
    sources = chosen(definitions.load(settings), names)
    registry = CollectorRegistry()
    with store_of(settings) as store:
        puller = pullers.assemble(settings, sources, store, registry)
        sys.exit(run_once(puller) if once else run(settings, puller, registry))


def chosen(sources: Sequence[Source], names: Sequence[str]) -> list[Source]:
    """The sources with these names, all without any; raises SettingsError."""
    if not sources:
        raise errors.SettingsError(["there is no pull source: set API_ENDPOINT to a URL, or SOURCES_FILE to a file of sources"])
    known = {source.name: source for source in sources}
    if unknown := [name for name in names if name not in known]:
        raise errors.SettingsError([f"--source {name}: there are {', '.join(known)}" for name in unknown])
    return [known[name] for name in names] or list(sources)


@contextlib.contextmanager
def store_of(settings: Settings) -> Iterator[Store]:
    """The store; an embedded one is that of a running `serve`, or started."""
    with contextlib.ExitStack() as stack:
        if settings.embedded:
            server = stack.enter_context(embedded.running(settings.data_dir))
            migrations.migrate(server.owner)
            settings = replace(settings, database_url=server.url)
        store = stores.open(settings, pullers.POOL_SIZE, pullers.DEADLINE)
        stack.callback(store.close)
        yield store


def run_once(puller: Puller) -> int:
    """Pull each source; the exit code."""
    puller.register()
    failed = False
    for source in puller.sources.values():
        ending = puller.pull(source, forced=True)
        if ending is None:
            said = "is being pulled by another puller"
        elif ending.reason is None:
            said = "not modified" if ending.not_modified else "pulled"
        else:
            said, failed = f"failed ({ending.reason}): {ending.error_message}", True
        click.echo(f"{source.name}: {said}")
    return int(failed)


def run(settings: Settings, puller: Puller, registry: CollectorRegistry) -> int:
    """Pull until a signal comes; the exit code."""
    stop = threading.Event()
    supervisor.on_stop(lambda _number, _frame: stop.set())
    listener = supervisor.listen(settings.host, settings.admin_port, "ADMIN_PORT")
    serve(views_of(settings, puller, registry), listener)
    where = supervisor.url_of(settings.host, listener)
    click.echo(f"Sluice pulls {', '.join(puller.sources)} (probes and metrics: {where})")
    puller.run(stop)
    return 0


def views_of(settings: Settings, puller: Puller, registry: CollectorRegistry) -> Views:
    """The admin port. Liveness looks at our own loop only, and readiness stays once the database was there: as `serve`'s do."""
    started = time.monotonic()

    def ready() -> tuple[bool, str]:
        return puller.ready, "ready" if puller.ready else puller.reason

    def health() -> Response:
        return responses.health(puller.ready, time.monotonic() - started, {"database": puller.reason})

    # One look asks the database, which may take as long as it may.
    timeout = settings.heartbeat_timeout + 2 * pullers.DEADLINE
    return Views({**of_loop(lambda: puller.beat, timeout, ready, registry), "/health": health})
