"""The operator's log: JSON lines as the service writes them, by the same rules of what is taken out.

kopf is never louder than `info`: at `debug` it prints what it patches. What the API server sends is quoted by some of its
warnings; a key in there is base64, and is taken out here.
"""

from __future__ import annotations

import logging
import re

from sluice import logs

# base64 of `slk_`, at each of its three alignments within a longer text.
ENCODED_KEY = re.compile(r"(?:c2xrX|Nsa1|zbGtf)[A-Za-z0-9+/=]{20,}")
LIBRARIES = ("kopf", "aiohttp", "asyncio")
QUIET = {"aiohttp.access": logging.WARNING, "kopf.objects": logging.WARNING}


class WithoutKeys(logging.Filter):
    """Takes encoded keys out of what libraries log."""

    def filter(self, record: logging.LogRecord) -> bool:
        message = record.getMessage()
        cleaned = ENCODED_KEY.sub("[redacted]", message)
        if cleaned != message:
            record.msg, record.args = cleaned, None
        return True


def configure(level: str) -> None:
    """Route every logger of this process to stderr from `level` on."""
    logs.configure(level)
    number = logging.getLevelNamesMapping()[level.upper()]
    for name in LIBRARIES:
        logging.getLogger(name).setLevel(max(number, logging.INFO))
    for name, least in QUIET.items():
        logging.getLogger(name).setLevel(max(number, least))
    for handler in logging.getLogger().handlers:
        if not any(isinstance(each, WithoutKeys) for each in handler.filters):
            handler.addFilter(WithoutKeys())
