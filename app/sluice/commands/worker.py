"""`sluice worker`: stores what the service queued, in the foreground."""

from __future__ import annotations

import gc
import threading

import click
from prometheus_client import CollectorRegistry

from sluice import errors, logs, stores
from sluice.commands import environment
from sluice.events import Rules
from sluice.server import admin, supervisor


@click.command(
    epilog="""\b
Examples:
  QUEUE_URL=amqp://broker DATABASE_URL=postgresql://db/sluice sluice worker
  ADMIN_PORT=9001 sluice worker"""
)
def worker() -> None:
    """Store what waits in the queue until SIGTERM or Ctrl-C; what is in hand then is stored first.

    Run as many as you like. Probes and metrics are on ADMIN_PORT.
    """
    supervisor.stop_while_starting()
    settings = environment.settings_once_there()
    logs.configure(settings.log_level)
    if settings.queue_url is None:
        raise errors.SettingsError(["there is no queue to work on; set QUEUE_URL"])
    from sluice.queue import DEAD_LETTERS, EVENTS  # noqa: PLC0415 - extra `queue`
    from sluice.queue.link import connect  # noqa: PLC0415
    from sluice.queue.worker import COMMITS, Worker, WorkerMetrics  # noqa: PLC0415

    url, stop, registry = settings.queue_url, threading.Event(), CollectorRegistry()
    # Half of them are for queries, of which there are none here, and of the others batches leave one.
    store = stores.open(settings, pool_size=2 * COMMITS)
    rules = Rules(max_event_bytes=settings.max_event_bytes, retention_days=settings.retention_days)
    work = Worker(store, lambda: connect(url, EVENTS, DEAD_LETTERS), rules, WorkerMetrics(registry), stop)

    views = admin.of_loop(lambda: work.beat, settings.heartbeat_timeout, lambda: (work.state == "ready", work.state), registry)
    admin.serve(admin.Views(views), supervisor.listen(settings.host, settings.admin_port, "ADMIN_PORT"))
    supervisor.on_stop(lambda _number, _frame: stop.set())
    # As in sluice.server.wsgi: the events of a batch die by themselves.
    gc.freeze()
    gc.set_threshold(10_000, 10, 10)
    threading.Thread(target=work.watch_depths, name="depths", daemon=True).start()
    work.run()
    store.close()
