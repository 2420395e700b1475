"""Calls that the API server refuses for good: a right, a quota or a rule is in the way. Told by log, metric and condition."""

from __future__ import annotations

import time
from collections.abc import Callable

import structlog

from sluice_operator import metrics

log = structlog.get_logger()


# Longer than anything that was refused waits to be tried again; what is not tried any more is not needed any more.
SECONDS = 90.0


class Refusals:
    """By namespace, verb and resource, until the same call works again or was not refused for SECONDS."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._refused: dict[tuple[str, str, str], float] = {}

    def note(self, namespace: str, verb: str, resource: str, told: str) -> None:
        """`told`: the API server's words."""
        if (namespace, verb, resource) not in self._refused:
            log.error("call refused", namespace=namespace, verb=verb, resource=resource, told=told)
        self._refused[namespace, verb, resource] = self._monotonic()
        metrics.FORBIDDEN.labels(verb, resource).set(1)

    def clear(self, namespace: str, verb: str, resource: str) -> None:
        """The call worked."""
        if self._forget((namespace, verb, resource)):
            log.info("call works again", namespace=namespace, verb=verb, resource=resource)

    def told(self, namespace: str) -> tuple[str, ...]:
        """Each as `create secrets`, in one order."""
        for key, at in list(self._refused.items()):
            if self._monotonic() - at > SECONDS:
                self._forget(key)
        return tuple(sorted(f"{verb} {resource}" for where, verb, resource in self._refused if where == namespace))

    def _forget(self, key: tuple[str, str, str]) -> bool:
        """Whether it was refused."""
        there = self._refused.pop(key, None) is not None
        if there and not any(each[1:] == key[1:] for each in self._refused):
            metrics.FORBIDDEN.labels(*key[1:]).set(0)
        return there
