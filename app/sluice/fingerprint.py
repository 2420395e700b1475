"""Which errors are the same error: a fingerprint that survives other line numbers, addresses, ids, machines and deploys.

The client's own fingerprint, else the stack trace, else service, endpoint and message: the order of Sentry's grouping. The
version of the rule is part of the value: a change of the rule makes new groups and never mixes old ones. (Version 1 took the
whole text of a trace, with the frames of libraries and the message.)
"""

from __future__ import annotations

import functools
import hashlib
import re
from typing import Any

from sluice import traces

VERSION = 2
# What is read of a text in no known form, and what of that counts once it is folded: less, so that a number with a digit more
# does not move the cut.
MAX_READ, MAX_KEPT = 16_384, 4_096
# Bytes of a trace whose reading is remembered, and characters of evidence whose digest is: of 256 each, some MiB at most.
MAX_CACHED = 8_192
# Of UTF-8, where a digit is never a part of another character; of text it takes ten times as long.
ZEROS = bytes.maketrans(b"123456789", b"000000000")
# Of a terminal: Python, Node and test runners colour a trace when they are asked to.
COLOUR = re.compile(r"\x1b\[[0-9;:]*m")
TRACES = ("traceback", "stack_trace", "stacktrace", "stack", "exception.stacktrace")
MESSAGES = ("error", "message", "exception", "exception.message")


def of(event_name: str, source: str | None, properties: dict[str, Any]) -> str:
    """`2:` and 32 hex digits, from these fields of an error event."""
    parts = evidence(event_name, source, properties)
    return (digest if sum(map(len, parts)) <= MAX_CACHED else digest.__wrapped__)(parts)


@functools.lru_cache(256)
def digest(parts: tuple[str, ...]) -> str:
    return f"{VERSION}:{hashlib.sha256(chr(0).join(parts).encode(errors='replace')).hexdigest()[:32]}"


def evidence(event_name: str, source: str | None, properties: dict[str, Any]) -> tuple[str, ...]:
    """What makes an error this error, as texts."""
    if own := first_text(properties, "fingerprint"):
        return ("own", own)
    if trace := first_text(properties, *TRACES):
        # Which digits there are makes no difference, and most traces of an hour are the same but for them.
        alike = trace.encode(errors="surrogatepass").translate(ZEROS)
        parts, told = (of_trace if len(alike) <= MAX_CACHED else of_trace.__wrapped__)(alike)
        if parts:
            return parts if told else (*parts, message(properties))
        # Its end says where it broke.
        return ("text", traces.folded(trace[-MAX_READ:])[-MAX_KEPT:])
    return ("message", first_text(properties, "service") or source or "", event_name, message(properties))


@functools.lru_cache(256)
def of_trace(alike: bytes) -> tuple[tuple[str, ...], bool]:
    """What each exception of a trace is made of, and whether that tells bugs apart: else the message beside it has to.

    Frames of the application only, when there are any. Nothing of a text that is no trace.
    """
    trace = alike.decode(errors="surrogatepass")
    found = traces.read(trace)
    in_app = any(frame.in_app for raised in found for frame in raised.frames)
    parts, told = list[str](), True
    for raised in found:
        frames = [frame for frame in raised.frames if frame.in_app or not in_app]
        # Recursion: as often as it went round.
        calls = dict.fromkeys(f"{frame.function} {frame.file}" for frame in frames)
        # Where the line that failed is shown it says which bug of a function this is, and the message is mostly about the data.
        bug = frames[-1].source if frames else ""
        if not bug and (frames or not in_app):
            bug = traces.folded(raised.message)[:MAX_KEPT]
            told = told and raised.type != ""
        parts.append("\n".join((raised.type, *calls, bug)))
    return ("trace", *(sorted(set(parts)) if traces.is_group(trace) else parts)) if parts else (), told


def message(properties: dict[str, Any]) -> str:
    return traces.folded(first_text(properties, *MESSAGES)[:MAX_READ])[:MAX_KEPT]


def first_text(properties: dict[str, Any], *names: str) -> str:
    for name in names:
        value = properties.get(name)
        if isinstance(value, str) and value:
            return COLOUR.sub("", value) if "\x1b" in value else value
    return ""
