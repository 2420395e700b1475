"""Waiting for something with a deadline, instead of sleeping in the hope that it has happened."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
PAUSE, LONGEST = 0.01, 0.05
# A look that starts programs takes the cores from what it waits for: two thirds of the time nobody looks, up to so long.
REST = 0.5


def until(happened: Callable[[], T], seconds: float = 10, what: str = "it happens") -> T:
    """The first true result of `happened`, called again and again, less and less often; fails after `seconds`."""
    give_up, pause = time.monotonic() + seconds, PAUSE
    while True:
        began = time.monotonic()
        found = happened()
        if found:
            return found
        ended = time.monotonic()
        assert ended < give_up, f"waited {seconds:g} s in vain until {what}"
        time.sleep(max(pause, min(2 * (ended - began), REST)))
        pause = min(pause * 1.2, LONGEST)


def without_error(work: Callable[[], T], *allowed: type[Exception], seconds: float = 10) -> T:
    """The first result of `work`, called again while it raises one of `allowed`; after `seconds` the error is raised."""
    give_up = time.monotonic() + seconds
    while True:
        try:
            return work()
        except allowed:
            if time.monotonic() > give_up:
                raise
        time.sleep(PAUSE)
