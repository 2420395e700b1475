"""The one module that speaks to Redis: every call is bounded, and while Redis is away none is tried on a request's time."""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

import redis
import structlog
from redis.backoff import NoBackoff
from redis.retry import Retry

from sluice import errors
from sluice.metrics import RedisUse

log = structlog.get_logger()
T = TypeVar("T")

# What a request may wait for Redis, once: a call that takes longer makes it away.
TIMEOUT = 0.05
# How often a thread looks whether it is back: at first, and at the most when it is lost again and again within STEADY seconds.
PAUSE, LONGEST, STEADY = 1.0, 30.0, 60.0
# In the first and in the last of a cluster's slots, so of one with several servers each says that a key is elsewhere.
CHECKS = ("sluice:check:44", "sluice:check:14")
NO_CLUSTER = "name a Redis without cluster mode in REDIS_URL"


class Away(errors.SluiceError):
    """Redis does not answer; go on without it."""


class Connection:
    """Redis for several threads; making it waits for nothing. `count`: counts a call that goes on without it.
    `pause`: waits so many seconds between two tries."""

    def __init__(
        self, url: str, count: Callable[[RedisUse], object] = lambda _: None, pause: Callable[[float], object] = time.sleep
    ) -> None:
        # Without its own retries, which would come on top of TIMEOUT. (Any: its types leave open whether a call is awaited.)
        options: dict[str, Any] = {"socket_timeout": TIMEOUT, "socket_connect_timeout": TIMEOUT, "retry": Retry(NoBackoff(), 0)}
        if url.startswith("rediss:"):
            options["ssl_exclude_verify_flags"] = [ssl.VERIFY_X509_STRICT]  # as values.client_tls
        self._client: Any = redis.Redis.from_url(url, **options)
        self._count = count
        self._pause = pause
        self._lock = threading.Lock()
        self._away = False
        self._wait, self._back = PAUSE, -STEADY

    def call(self, use: RedisUse, work: Callable[[Any], T]) -> T:
        """What `work` returns; raises Away, which is counted by `use`."""
        if not self._away:
            try:
                return work(self._client)
            except redis.RedisError as error:
                self._lost(error)
        self._count(use)
        raise Away

    def check(self) -> None:
        """Raises Away with the reason's type (its text may hold the password). A Redis that takes nothing is away."""
        # By a new connection: what was a primary keeps those it has, and its name may lead elsewhere now.
        self._client.connection_pool.disconnect(inuse_connections=False)
        try:
            for key in CHECKS:
                self._client.set(key, b"", px=1_000)
        except redis.RedisError as error:
            raise Away(type(error).__name__) from None

    def _lost(self, error: redis.RedisError) -> None:
        with self._lock:
            if self._away:
                return
            self._away = True
            self._wait = min(self._wait * 2, LONGEST) if time.monotonic() < self._back + STEADY else PAUSE
        # By type only: texts of the driver may quote what was sent.
        fix = {"fix": NO_CLUSTER} if isinstance(error, redis.exceptions.MovedError) else {}
        log.warning("redis.away", cause=type(error).__name__, effect="limits are each pod's own, reads are not cached", **fix)
        threading.Thread(target=self._look, name="redis", daemon=True).start()

    def _look(self) -> None:
        while self._away:
            self._pause(self._wait)
            try:
                self.check()
            except Away:
                continue
            log.info("redis.back")
            self._back = time.monotonic()
            self._away = False
