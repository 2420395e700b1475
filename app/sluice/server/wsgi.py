"""What gunicorn loads in each worker, after the fork: connections and threads begin here."""

from __future__ import annotations

import atexit
import os

from sluice.http.app import create_app
from sluice.server import fast_worker, worker
from sluice.server.worker_state import Heartbeat, SharedState
from sluice.settings import Settings

settings = Settings.from_env(os.environ)
shared = SharedState(settings.run_dir) if settings.run_dir is not None else None
app = create_app(settings, shared=shared, stopping=worker.stopping)
fast_worker.serve(app.parts, app.registry)
# Left to its __del__ at the interpreter's end, Python 3.13 waits 5 s for each of the pool's threads, and gunicorn starts the next
# worker only when this one is gone.
atexit.register(app.parts.store.close)
if shared is not None:
    Heartbeat(shared, app.parts.keyring).start()
