"""What JSON text takes of a worker's memory when it is parsed."""

from __future__ import annotations

import random

# The chart gives a worker so many bytes for each of MAX_INFLIGHT_BYTES: text takes 4 to 10, small values in it up to 50.
FACTOR = 13
# Up to here too little to matter.
SMALL = 1 << 10
# From here on, two samples: to look at every byte takes half as long as to parse it. Of two primes no pattern escapes both.
LARGE = 4 << 10
STRIDES = (11, 13, 17, 19, 23)


def weight(text: bytes) -> int:
    """Bytes of MAX_INFLIGHT_BYTES: its size, or more when it is made of small values."""
    return max(len(text), parsed(text) // FACTOR) if len(text) > SMALL else len(text)


def parsed(text: bytes | bytearray) -> int:
    """About how many bytes its objects take; each value but the last of its container has a comma behind it."""
    strides = random.sample(STRIDES, 2) if len(text) > LARGE else (1,)
    samples = ((stride, text[random.randrange(stride) :: stride]) for stride in strides)  # noqa: S311 - no secret
    return max(stride * (112 * seen.count(b",") + 128 * (seen.count(b"{") + seen.count(b"["))) for stride, seen in samples)
