"""`python -m tests.bench.serve MODULE:FACTORY()`: as `sluice serve`, with another application."""

from __future__ import annotations

import os
import sys

from sluice.commands.serve import duties
from sluice.server import supervisor
from sluice.settings import Settings

sys.exit(supervisor.run(Settings.from_env(os.environ), os.environ, duties=duties, app=sys.argv[1], say=lambda _: None))
