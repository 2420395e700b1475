"""What gunicorn loads in each worker, after the fork: connections and threads begin here."""

from __future__ import annotations

import os

from sluice.board import Board, Heart
from sluice.http.app import create_app
from sluice.settings import Settings

settings = Settings.from_env(os.environ)
board = Board(settings.run_dir) if settings.run_dir is not None else None
app = create_app(settings, board=board)
if board is not None:
    Heart(board, app.extensions["sluice"].keyring).start()
