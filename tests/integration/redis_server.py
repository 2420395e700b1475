"""Debian's redis-server."""

from __future__ import annotations

import contextlib
from typing import Any

import redis
from tests.servers import Server


class RedisServer(Server):
    """`url`: of a server without persistence; its data goes with its process."""

    def __init__(self) -> None:
        super().__init__()
        self.url = f"redis://127.0.0.1:{self.port}"
        self.command = ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--dir", self.folder]

    def answers(self) -> bool:
        with contextlib.suppress(redis.RedisError), self.client() as client:
            return bool(client.ping())
        return False

    def client(self) -> Any:
        return redis.Redis.from_url(self.url)
