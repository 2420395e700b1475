"""gunicorn's settings, from ours: `gunicorn --config python:sluice.server.gunicorn_conf sluice.server.wsgi:app`.

`sluice serve` starts it so, with a listening socket of its own. https://docs.gunicorn.org/en/stable/settings.html
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys
from pathlib import Path
from typing import Any

import gunicorn.http.wsgi
from gunicorn import glogging

# The whole application's modules, imported once before the fork: workers start sooner and share their memory.
from sluice import functions, logs  # noqa: F401 - and the functions' routes
from sluice.http import app as _app  # noqa: F401
from sluice.http import plain_request
from sluice.server.fast_worker import FastWorker
from sluice.server.worker import SluiceWorker
from sluice.server.worker_state import SharedState
from sluice.settings import Settings
from sluice.values import host_part

settings = Settings.from_env(os.environ)  # noqa: TID251 - a process starts here

SHARED_MEMORY = Path("/dev/shm")  # noqa: S108
# <linux/prctl.h>
PR_SET_PDEATHSIG = 1


class Logs(glogging.Logger):  # type: ignore[misc]
    """gunicorn's lines through our renderer."""

    def setup(self, cfg: Any) -> None:
        super().setup(cfg)
        self.error_log.handlers.clear()
        self.error_log.propagate = True
        logs.configure(cfg.loglevel)

    def debug(self, msg: str, *args: Any, **kwargs: Any) -> None:
        # That one is method and path of each request, before its ids are known; our own line has the route.
        if msg != "%s %s":
            super().debug(msg, *args, **kwargs)


def die_with_parent() -> None:
    """A parent that is killed must not leave a service behind that nobody watches."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def raise_file_limit() -> None:
    """A file for each connection that a worker may have, as far as we may: shells give 256 to 1,024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = worker_connections + 256
    if soft < wanted and soft != resource.RLIM_INFINITY:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted if hard == resource.RLIM_INFINITY else min(wanted, hard), hard))


def on_starting(_server: Any) -> None:
    raise_file_limit()
    if settings.run_dir is not None:
        die_with_parent()


def post_fork(_server: Any, worker: SluiceWorker) -> None:
    worker.header_timeout = settings.request_timeout
    worker.shared = SharedState(settings.run_dir) if settings.run_dir is not None else None


bind = f"{host_part(settings.host)}:{settings.port}"
proc_name = "sluice"
workers = settings.workers
threads = settings.threads
worker_connections = 1_000
worker_class = FastWorker if plain_request.state(settings.fast_path) == "on" else SluiceWorker
http_parser = "auto"
keepalive = settings.keep_alive
graceful_timeout = settings.graceful_timeout
# Above liveness, which is to see a hung worker first.
timeout = max(60, int(settings.heartbeat_timeout) + 5)
max_requests = settings.max_requests
max_requests_jitter = settings.max_requests // 10
# A heartbeat file on a disk that stalls would get a healthy worker killed.
worker_tmp_dir = str(SHARED_MEMORY) if os.access(SHARED_MEMORY, os.W_OK) else None
# It writes below the home folder, which a read-only root does not have.
control_socket_disable = True
accesslog = None
loglevel = settings.log_level
logger_class = Logs
# Nothing here reads the scheme or the address that a proxy reports, so none is believed.
forwarded_allow_ips = ""
# The Server header names the product, not what it is built on.
gunicorn.http.wsgi.SERVER = "sluice"
