"""Waiting for something with a deadline, instead of sleeping in the hope that it has happened."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
PAUSE = 0.01


def until(happened: Callable[[], T], seconds: float = 10, what: str = "it happens") -> T:
    """The first true result of `happened`, called again and again; fails after `seconds`."""
    give_up = time.monotonic() + seconds
    while True:
        found = happened()
        if found:
            return found
        assert time.monotonic() < give_up, f"waited {seconds:g} s in vain until {what}"
        time.sleep(PAUSE)


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
