"""Environment variables as fields of a dataclass: what each is for, how it is read, and every mistake at once."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, Field, field, fields
from pathlib import Path
from typing import Any

Parser = Callable[[str], Any]

LOG_LEVELS = ("debug", "info", "warning", "error")


def whole(low: int, high: int) -> Parser:
    """A parser of whole numbers from `low` to `high`, both included."""

    def parse(text: str) -> int:
        if not re.fullmatch(r"-?[0-9]{1,18}", text) or not low <= int(text) <= high:
            raise ValueError(f"must be a whole number from {low} to {high}")
        return int(text)

    return parse


def one_of(*choices: str) -> Parser:
    """A parser that takes one of `choices` in any case."""

    def parse(text: str) -> str:
        if text.lower() not in choices:
            raise ValueError(f"must be one of {', '.join(choices)}")
        return text.lower()

    return parse


def switch(text: str) -> bool:
    """true or false; anything else is refused, so that a typing error never means false."""
    if text.lower() not in ("true", "false", "on", "off", "1", "0"):
        raise ValueError("must be true or false")
    return text.lower() in ("true", "on", "1")


def setting(name: str, parse: Parser, default: Any, doc: str, *, secret: bool = False, shown: str | None = None) -> Any:
    """A dataclass field that is read from variable `name`; MISSING as `default`: it has to be set.

    `doc` and `shown` (the default in words) make tables. A `secret` may also be given as `NAME_FILE`, a path whose content it is.
    """
    meta = {"name": name, "parse": parse, "doc": doc, "secret": secret, "shown": shown}
    return field(default=default, metadata=meta, repr=not secret)


def known(settings: type) -> dict[str, Field[Any]]:
    """The fields of such a dataclass, by the names of their variables."""
    return {each.metadata["name"]: each for each in fields(settings)}


def read_all(settings: type, env: Mapping[str, str], problems: list[str]) -> Iterator[tuple[str, Any]]:
    """Names and values of the fields that are set; what is wrong is added to `problems`, a sentence each."""
    for name, spec in known(settings).items():
        try:
            text = text_of(name, spec, env)
            if text is not None:
                value = spec.metadata["parse"](text)
                # A path may have bytes that are no text.
                if not isinstance(value, Path) and re.search("[\ud800-\udfff]", text):
                    raise ValueError("must be text in UTF-8")
                yield spec.name, value
            elif spec.default is MISSING:
                raise ValueError(f"must be set: {spec.metadata['doc']}")
        except ValueError as error:
            problems.append(f"{name} {error}")


def text_of(name: str, spec: Field[Any], env: Mapping[str, str]) -> str | None:
    """The text of one setting, by value or (secrets) by file; None when it is absent or empty.

    Neither the end of a line is part of it, which `echo secret | base64` puts into a Secret unseen, nor a byte order mark.
    """
    path = env.get(f"{name}_FILE") if spec.metadata["secret"] else None
    if path and env.get(name):
        raise ValueError(f"and {name}_FILE are both set; keep one")
    if not path:
        return env.get(name, "").strip("\r\n") or None
    try:
        return Path(path).read_text(encoding="utf-8-sig").strip() or None
    except (OSError, UnicodeDecodeError) as error:
        # Not the path: a person who takes the one variable for the other puts the secret there.
        raise ValueError(f"cannot be read from the file that {name}_FILE names: {type(error).__name__}") from error
