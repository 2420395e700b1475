"""What one worker process is made of, and how a view gets at it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import cast

from flask import current_app

from sluice.inflight import Inflight
from sluice.keyring import Keyring
from sluice.limiter import Limiter
from sluice.metrics import Metrics
from sluice.pipeline import Pipeline
from sluice.settings import Settings
from sluice.stores import Store


@dataclass(frozen=True, kw_only=True)
class Services:
    """Made once per process by `create_app`."""

    settings: Settings
    store: Store
    pipeline: Pipeline
    keyring: Keyring
    limiter: Limiter
    inflight: Inflight
    metrics: Metrics
    draining: Callable[[], bool]
    ready: Callable[[], tuple[bool, str]]
    started: datetime = field(default_factory=lambda: datetime.now(UTC))


def services() -> Services:
    """The services of the application that answers this request."""
    return cast(Services, current_app.extensions["sluice"])
