"""What /metrics counts, what is logged, and the calls that the API server refuses.

Labels are verbs, resources, reasons of closed lists and names that operators gave; never an owner or what a client chose. The log
is JSON lines as the service writes them, by the same rules of what is taken out. kopf is never louder than `info`: at `debug` it
prints what it patches. What the API server sends is quoted by some of its warnings; a key in there is base64, and is taken out.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable
from datetime import datetime
from typing import Literal, get_args

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from sluice import logs
from sluice_operator import schedule

log = structlog.get_logger()

Step = Literal["Staged", "Published", "Converged", "Activated", "Retired"]

REGISTRY = CollectorRegistry()
PREFIX = "sluice_operator"
QUICK = (0.05, 0.1, 0.25, 0.5, 1, 2, 3, 5, 10, 30, 60, 120, 300)

REQUESTS = Counter(f"{PREFIX}_api_requests_total", "Calls of the API server", ["verb", "resource", "code"], registry=REGISTRY)
FORBIDDEN = Gauge(f"{PREFIX}_forbidden", "1: the API server refuses these calls", ["verb", "resource"], registry=REGISTRY)
RECONCILED = Counter(f"{PREFIX}_reconcile_total", "Looks at a KeySet, by how they ended", ["result"], registry=REGISTRY)
RECONCILE_SECONDS = Histogram(
    f"{PREFIX}_reconcile_duration_seconds", "Of one look at a KeySet and what followed", registry=REGISTRY, buckets=QUICK
)
QUEUE_DEPTH = Gauge(f"{PREFIX}_queue_depth", "KeySets that should be looked at now", registry=REGISTRY)
LEADER = Gauge(f"{PREFIX}_leader", "1: this process holds the Lease", registry=REGISTRY)
ROTATIONS = Counter(
    f"{PREFIX}_rotations_total", "Versions handed out, first or in place of another", ["reason"], registry=REGISTRY
)
ROTATION_SECONDS = Histogram(
    f"{PREFIX}_rotation_duration_seconds",
    "Of one version: Staged from its reason, Published, Converged and Activated from when it was made, Retired from its end",
    ["step"],
    registry=REGISTRY,
    buckets=QUICK,
)
CONVERGE_SECONDS = Histogram(
    f"{PREFIX}_keyset_converge_seconds",
    "From when a key set was published until every Pod reported it",
    registry=REGISTRY,
    buckets=QUICK,
)
REVOCATION_SECONDS = Histogram(
    f"{PREFIX}_revocation_seconds",
    "From when a key set with a revocation was published until every Pod reported it",
    registry=REGISTRY,
    buckets=QUICK,
)
REPAIRS = Counter(f"{PREFIX}_drift_repairs_total", "Objects that were brought back", ["kind"], registry=REGISTRY)


# Every series is there from the start: what appears at 1 has not increased.
for reason in (*schedule.URGENCY, schedule.WITHDRAWN):
    ROTATIONS.labels(reason)
for step in get_args(Step):
    ROTATION_SECONDS.labels(step)
for kind in ("version", "client", "keyset"):
    REPAIRS.labels(kind)


def took(step: Step, since: datetime | None, now: datetime) -> None:
    """A step of a rotation ended; None: nobody knows when it began."""
    if since is not None:
        ROTATION_SECONDS.labels(step).observe(max(0.0, (now - since).total_seconds()))


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
        FORBIDDEN.labels(verb, resource).set(1)

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
            FORBIDDEN.labels(*key[1:]).set(0)
        return there


# base64 of `slk_`, at each of its three alignments within a longer text.
ENCODED_KEY = re.compile(r"(?:c2xrX|Nsa1|zbGtf)[A-Za-z0-9+/=]{20,}")
LIBRARIES = ("kopf", "aiohttp", "asyncio")
QUIET = {"aiohttp.access": logging.WARNING, "kopf.objects": logging.WARNING}


class WithoutKeys(logging.Filter):
    """Takes encoded keys out of what libraries log."""

    def filter(self, record: logging.LogRecord) -> bool:
        message = record.getMessage()
        cleaned = ENCODED_KEY.sub("[redacted]", message)
        if cleaned != message:
            record.msg, record.args = cleaned, None
        return True


def configure(level: str) -> None:
    """Route every logger of this process to stderr from `level` on."""
    logs.configure(level)
    number = logging.getLevelNamesMapping()[level.upper()]
    for name in LIBRARIES:
        logging.getLogger(name).setLevel(max(number, logging.INFO))
    for name, least in QUIET.items():
        logging.getLogger(name).setLevel(max(number, least))
    for handler in logging.getLogger().handlers:
        if not any(isinstance(each, WithoutKeys) for each in handler.filters):
            handler.addFilter(WithoutKeys())
