"""Ports for servers that tests and tools start later."""

from __future__ import annotations

import random
import socket
from pathlib import Path

RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
LOWEST, USUAL = 10_000, 32_768


def free_port() -> int:
    """A port of 127.0.0.1 that no server has, and no client gets before the caller's server takes it.

    The system gives clients' connections ports of its ephemeral range (ip(7), `ip_local_port_range`), so a free port of that
    range may be taken a moment later: this one comes from below it.
    """
    ephemeral = int(RANGE.read_text().split()[0]) if RANGE.exists() else USUAL
    while True:
        port = random.SystemRandom().randrange(LOWEST, ephemeral if ephemeral > 2 * LOWEST else USUAL)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
