"""SQS: which queues may name another one as that of their dead letters."""

from __future__ import annotations

from typing import Any

from moto.sqs.models import Queue
from tests.platform.emulator.patching import around

NAME = "RedriveAllowPolicy"


@around(Queue, "_set_attributes")
def set_attributes(old: Any, self: Queue, attributes: dict[str, Any], now: float | None = None) -> None:
    """moto takes the attribute and forgets it, so that who waits for it waits for ever."""
    if NAME in attributes:
        self.redrive_allow_policy = attributes[NAME]  # type: ignore[attr-defined]
    old(self, {name: value for name, value in attributes.items() if name != NAME}, now)


Queue.redrive_allow_policy = None  # type: ignore[attr-defined]
Queue.BASE_ATTRIBUTES.append(NAME)
