"""What /metrics tells, but for what is read off the cache at each scrape (gauges.py).

Labels are verbs, resources, reasons of closed lists and names that operators gave; never an owner or what a client chose.
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal, get_args

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from sluice_operator import rotation

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


def begin() -> None:
    """Every series is there from the start: what appears at 1 has not increased."""
    for reason in (*rotation.URGENCY, rotation.WITHDRAWN):
        ROTATIONS.labels(reason)
    for step in get_args(Step):
        ROTATION_SECONDS.labels(step)


begin()


def took(step: Step, since: datetime | None, now: datetime) -> None:
    """A step of a rotation ended; None: nobody knows when it began."""
    if since is not None:
        ROTATION_SECONDS.labels(step).observe(max(0.0, (now - since).total_seconds()))
