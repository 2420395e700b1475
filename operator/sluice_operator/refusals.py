"""Calls that the API server refuses for good: a right, a quota or a rule is in the way. Told by log, metric and condition."""

from __future__ import annotations

import structlog

from sluice_operator import metrics

log = structlog.get_logger()


class Refusals:
    """By namespace, verb and resource, until the same call works again."""

    def __init__(self) -> None:
        self._refused: dict[tuple[str, str, str], str] = {}

    def note(self, namespace: str, verb: str, resource: str, told: str) -> None:
        """`told`: the API server's words."""
        if (namespace, verb, resource) not in self._refused:
            log.error("call refused", namespace=namespace, verb=verb, resource=resource, told=told)
        self._refused[namespace, verb, resource] = told
        metrics.FORBIDDEN.labels(verb, resource).set(1)

    def clear(self, namespace: str, verb: str, resource: str) -> None:
        """The call worked."""
        if self._refused.pop((namespace, verb, resource), None) is None:
            return
        if not any(key[1:] == (verb, resource) for key in self._refused):
            metrics.FORBIDDEN.labels(verb, resource).set(0)
        log.info("call works again", namespace=namespace, verb=verb, resource=resource)

    def told(self, namespace: str) -> tuple[str, ...]:
        """Each as `create secrets`, in one order."""
        return tuple(sorted(f"{verb} {resource}" for where, verb, resource in self._refused if where == namespace))
