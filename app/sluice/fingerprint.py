"""Which errors are the same error: a fingerprint that survives other line numbers, addresses and ids.

Version 1, and the version is part of the value: a change of the rule makes new groups and never mixes old ones.
Order as Sentry's grouping: the client's own fingerprint, else the stack trace, else the message.
"""

from __future__ import annotations

import hashlib
import re
from typing import Any

VERSION = 1
# What is read of a trace or message, for an event may hold 256 KiB of it, and what of that counts once it is normalised:
# much less, so that a line number with a digit more does not move the cut.
MAX_READ, MAX_KEPT = 16_384, 4_096
NOISE = re.compile(r"0x[0-9a-fA-F]+|[0-9a-fA-F]{8}-[0-9a-fA-F-]{27}|\d+")
SPACE = re.compile(r"\s+")


def of(event_name: str, source: str | None, properties: dict[str, Any]) -> str:
    """`1:` and 32 hex digits, from these fields of an error event."""
    own = first_text(properties, "fingerprint")
    service = first_text(properties, "service") or source or ""
    parts = ["own", own] if own else [service, event_name, *evidence(properties)]
    return f"{VERSION}:{hashlib.sha256(chr(0).join(parts).encode()).hexdigest()[:32]}"


def evidence(properties: dict[str, Any]) -> list[str]:
    """The normalised stack trace, else the normalised message."""
    trace = first_text(properties, "traceback", "stack_trace", "stacktrace", "stack")
    if trace:
        # Its end says where it broke.
        return ["trace", normalised(trace[-MAX_READ:])[-MAX_KEPT:]]
    message = first_text(properties, "error", "message", "exception")
    return ["message", normalised(message[:MAX_READ])[:MAX_KEPT]]


def first_text(properties: dict[str, Any], *names: str) -> str:
    for name in names:
        value = properties.get(name)
        if isinstance(value, str) and value:
            return value
    return ""


def normalised(text: str) -> str:
    """`text` without numbers, addresses, ids and differences of white space."""
    return SPACE.sub(" ", NOISE.sub("#", text)).strip()
