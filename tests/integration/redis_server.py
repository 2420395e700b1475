"""Debian's redis-server."""

from __future__ import annotations

import contextlib
from typing import Any

import redis
from tests.servers import Server


class RedisServer(Server):
    """`url`: of a server without persistence; its data goes with its process."""

    def __init__(self, *options: str) -> None:
        super().__init__()
        self.url = f"redis://127.0.0.1:{self.port}"
        here = ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--dir", str(self.folder)]
        self.command = [*here, *options]

    def answers(self) -> bool:
        with contextlib.suppress(redis.RedisError), self.client() as client:
            return bool(client.ping())
        return False

    def client(self) -> Any:
        return redis.Redis.from_url(self.url)
