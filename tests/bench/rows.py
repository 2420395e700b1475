"""Events of about 400 bytes, as anchors and peers were measured with."""

from __future__ import annotations

import random
import uuid
from datetime import UTC, datetime

import msgspec


def event(chance: random.Random) -> dict[str, object]:
    return {
        "event_id": str(uuid.UUID(int=chance.getrandbits(128), version=4)),
        "timestamp": datetime.now(UTC).isoformat(),
        "event_type": "behavioral",
        "event_name": "habit_completed",
        "properties": {
            "habit_id": str(chance.randrange(1000)),
            "streak": chance.randrange(100),
            "tags": {"provider": "nfc_notifier"},
            "note": "n" * 24,
        },
        "device_info": {"platform": "ios", "model": "iPhone 14"},
        "user_id": f"user-{chance.randrange(10_000)}",
        "session_id": f"session-{chance.randrange(100_000)}",
        "app_version": "1.0.0",
        "sequence_number": chance.randrange(1_000_000),
    }


TRACE = """Traceback (most recent call last):
  File "/srv/shop/{file}.py", line {line}, in {function}
    return prices[article] * pieces
           ~~~~~~^^^^^^^^^
  File "/usr/lib/python3.11/collections/__init__.py", line 1015, in __getitem__
    return self.__missing__(key)
KeyError: 'article-{number}'
"""


def failure(chance: random.Random) -> dict[str, object]:
    """An error of one of 16 groups."""
    kind, number = chance.randrange(16), chance.randrange(100_000)
    trace = TRACE.format(file=f"module_{'abcd'[kind % 4]}", line=40 + kind, function=f"price_{'abcd'[kind // 4]}", number=number)
    properties = {"service": "shop", "endpoint": "/pay", "error": f"no price for article-{number}", "traceback": trace}
    return {**event(chance), "event_type": "error", "event_name": "/pay", "source": "shop", "properties": properties}


def half_errors(count: int, size: int) -> list[bytes]:
    """As `arrays`, of which every second event is an error."""
    chance = random.Random()
    return [msgspec.json.encode([(failure if n % 2 else event)(chance) for n in range(size)]) for _ in range(count)]


def arrays(count: int, size: int) -> list[bytes]:
    """`count` JSON arrays of `size` events."""
    chance = random.Random()
    return [msgspec.json.encode([event(chance) for _ in range(size)]) for _ in range(count)]


def lines(count: int) -> bytes:
    """NDJSON of `count` events."""
    chance = random.Random()
    return b"".join(msgspec.json.encode(event(chance)) + b"\n" for _ in range(count))
