"""What gunicorn loads in each worker, after the fork: connections and threads begin here."""

from __future__ import annotations

import atexit
import gc
import os

from sluice import functions  # noqa: F401 - declares their routes
from sluice.http.app import create_app
from sluice.server import fast_worker, worker
from sluice.server.worker_state import Heartbeat, SharedState
from sluice.settings import Settings

settings = Settings.from_env(os.environ)
shared = SharedState(settings.run_dir) if settings.run_dir is not None else None
app = create_app(settings, shared=shared, stopping=worker.stopping)
worker.Process.refused = app.parts.metrics.refused
fast_worker.serve(app.parts, app.registry)
# Left to its __del__ at the interpreter's end, Python 3.13 waits 5 s for each of the pool's threads, and gunicorn starts the next
# worker only when this one is gone.
atexit.register(app.parts.store.close)
Heartbeat(shared, app.parts.keyring).start()
# What is here stays. A batch of 1,000 events makes 4,000 containers that all die by themselves; at the default of 700 the
# collector looks at them several times, which took a quarter of Python's time for an event.
gc.freeze()
gc.set_threshold(10_000, 10, 10)
