"""What a pull source is, out of the seed's variables and SOURCES_FILE; every mistake is one line, and none repeats a value."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import yaml
from cronsim import CronSim, CronSimError

from sluice import errors
from sluice.env import one_of, whole
from sluice.settings import Settings
from sluice.values import duration, http_url, path, source_name

MAX_SOURCES = 100
# RFC 9110 section 5.6.2.
TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")
HEADER_VALUE = re.compile(r"[\x20-\x7e]{0,4096}")
# HTTP's own, which we set.
RESERVED = frozenset(("accept-encoding", "connection", "content-length", "host", "if-modified-since", "if-none-match", "te"))
KINDS = ("none", "page", "offset", "cursor", "link")


class Twice(yaml.MarkedYAMLError):
    """A name stands twice in one object: of two `headers` YAML would take the last and drop the first without a word."""


class Loader(yaml.SafeLoader):
    """Raises Twice. Numbers and dates stay the text that stands there: YAML 1.1 makes 10 of 0012, and 45296 of 12:34:56."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        names = [name.value for name, _ in node.value]
        for place, (name, _) in enumerate(node.value):
            if name.value in names[:place]:
                raise Twice(problem_mark=name.start_mark)
        return node


Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag.endswith((":bool", ":null", ":merge"))]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


@dataclass(frozen=True, kw_only=True)
class Pagination:
    """`parameter`: the query parameter that says where a page begins. `start`: of the first page or offset.

    `size`: how many records a full page has, sent as `size_parameter`. `path`: where a page names the next one's cursor; without
    `parameter` that is its URL.
    """

    type: str = "none"
    parameter: str | None = None
    size_parameter: str | None = None
    size: int | None = None
    start: int | None = None
    path: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Source:
    """One list of records at a URL. Times are seconds. `interval` or `cron` (UTC) says when; `timeout` is that of one request,
    `deadline` of a run. `list`, `id`: paths in a page and in a record. `secret_headers`: header -> file with its value.
    """

    name: str
    url: str = field(repr=False)
    interval: float | None = None
    cron: str | None = None
    timeout: float = 30.0
    deadline: float = 600.0
    retries: int = 3
    headers: Mapping[str, str] = field(default_factory=dict)
    secret_headers: Mapping[str, Path] = field(default_factory=dict)
    ca_file: Path | None = None
    list: tuple[str, ...] = ()
    id: tuple[str, ...] = ("id",)
    pagination: Pagination = Pagination()
    emit: bool = False
    allow_private: bool = False
    default: bool = False
    max_pages: int = 1_000
    max_records: int = 100_000
    max_body_bytes: int = 10 << 20

    @property
    def schedule(self) -> str:
        """As people read it."""
        return f"cron {self.cron}" if self.cron else f"every {self.interval:g} s"

    @property
    def digest(self) -> bytes:
        """Another one for any other definition, so that what was kept of the old one is not used for the new."""
        return hashlib.sha256(repr((self, self.url)).encode()).digest()

    def next_run(self, after: datetime) -> datetime:
        """When it is due next after a run that began at `after` (aware)."""
        return next(CronSim(self.cron, after)) if self.cron else after + timedelta(seconds=self.interval or 0)


def load(settings: Settings) -> tuple[Source, ...]:
    """The source of API_ENDPOINT and those of SOURCES_FILE; one is the default. Raises SettingsError with every mistake."""
    problems: list[str] = []
    found = [] if settings.api_endpoint is None else [of_variables(settings, settings.api_endpoint)]
    if settings.sources_file is not None:
        found += [source for source in of_file(settings.sources_file, problems) if source is not None]
    names = [source.name for source in found]
    problems += [
        f"SOURCES_FILE: {name} is the name of two sources; give one another name (API_ENDPOINT's is TABLE_NAME)"
        for name in sorted({name for name in names if names.count(name) > 1})
    ]
    if settings.storage_type != "postgresql":
        problems += [
            f"SOURCES_FILE: {source.name} has `emit`, which needs STORAGE_TYPE=postgresql: record and event are one commit there"
            for source in found
            if source.emit
        ]
    defaults = [source.name for source in found if source.default]
    if len(defaults) > 1:
        problems.append(f"SOURCES_FILE: {', '.join(defaults)} are all `default`; keep one (where API_ENDPOINT is set, none)")
    if problems:
        raise errors.SettingsError(problems)
    if found and not defaults:
        found[0] = replace(found[0], default=True)
    return tuple(found)


def of_variables(settings: Settings, url: str) -> Source:
    """Seed 003's one source."""
    return Source(
        name=settings.source_name,
        url=url,
        interval=settings.ingestion_interval,
        timeout=settings.api_timeout,
        retries=settings.retry_count,
        allow_private=settings.api_allow_private,
        default=True,
    )


def of_file(file: Path, problems: list[str]) -> list[Source | None]:
    """The sources of a file; None in the place of one that has a mistake."""
    try:
        # JSON is YAML, too.
        document = Loader(file.read_text(encoding="utf-8")).get_single_data()
    except (OSError, UnicodeDecodeError) as error:
        problems.append(f"SOURCES_FILE cannot be read: {type(error).__name__}; mount it, readable and in UTF-8")
        return []
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        what = "has a name twice in one object" if isinstance(error, Twice) else "is not YAML or JSON"
        problems.append(f"SOURCES_FILE {what}{f', see line {mark.line + 1}' if mark else ''}")
        return []
    listed = document.get("sources") if isinstance(document, dict) else None
    if not isinstance(listed, list) or not 1 <= len(listed) <= MAX_SOURCES or len(document) > 1:
        problems.append(f"SOURCES_FILE must be an object with one field, sources: a list of 1 to {MAX_SOURCES} sources")
        return []
    return [of_object(given, f"SOURCES_FILE: sources[{place}]", problems) for place, given in enumerate(listed)]


def of_object(given: Any, where: str, problems: list[str]) -> Source | None:
    before = len(problems)
    values = read(given, FIELDS, where, problems)
    if isinstance(given, dict):
        problems.extend(f"{where}.{name} is missing" for name in ("name", "url") if name not in given)
        if ("interval" in given) == ("cron" in given):
            problems.append(f"{where} must have one of interval and cron")
    sent = [name.lower() for kind in ("headers", "secret_headers") for name in values.get(kind, ())]
    problems.extend(
        f"{where} has the header {name} twice; case makes no other of it" for name in sorted(set(sent)) if sent.count(name) > 1
    )
    return Source(**values) if len(problems) == before else None


def read(given: Any, fields: Mapping[str, Callable[[Any], Any]], where: str, problems: list[str]) -> dict[str, Any]:
    """The values of an object by `fields`; what is wrong is added to `problems`, a line each."""
    if not isinstance(given, dict):
        problems.append(f"{where} must be an object")
        return {}
    values = {}
    for name, value in given.items():
        if name not in fields:
            problems.append(f"{where} has an unknown field; known are {', '.join(fields)}")
            continue
        try:
            values[name] = fields[name](value)
        except ValueError as error:
            problems.append(f"{where}.{name} {error}")
    return values


def of_text(parse: Callable[[str], Any]) -> Callable[[Any], Any]:
    """A parser of what Loader leaves as text."""

    def parse_value(value: Any) -> Any:
        if not isinstance(value, str):
            raise ValueError("must be text or a number; write words such as yes, true and null in quotes")
        return parse(value)

    return parse_value


def flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("must be true or false")
    return value


def names(text: str) -> tuple[str, ...]:
    """A path such as `data.items`; empty: the page itself."""
    found = tuple(text.split(".")) if text else ()
    if "" in found or len(found) > 16:
        raise ValueError("must be 1 to 16 names, joined by dots")
    return found


def id_names(text: str) -> tuple[str, ...]:
    if not text:
        raise ValueError("must be the path of the field that holds a record's id")
    return names(text)


def cron(text: str) -> str:
    try:
        # Of six fields cronsim would take the first for seconds, and others the last for a year.
        if len(text.split()) != 5:
            raise CronSimError
        next(CronSim(text, datetime(2026, 1, 1, tzinfo=UTC)))
    except (CronSimError, StopIteration):
        raise ValueError("must be a cron expression of five fields that comes up, in UTC, such as */15 * * * *") from None
    return text


def parameter(text: str) -> str:
    if not re.fullmatch(r"[\x21-\x7e]{1,100}", text):
        raise ValueError("must be the name of a query parameter")
    return text


def headers_of(parse: Callable[[str], Any]) -> Callable[[Any], dict[str, Any]]:
    """A parser of header names with values that `parse` reads."""

    def parse_headers(value: Any) -> dict[str, Any]:
        if not isinstance(value, dict) or len(value) > 32:
            raise ValueError("must be an object of at most 32 headers")
        for name in value:
            if not isinstance(name, str) or not TOKEN.fullmatch(name) or name.lower() in RESERVED:
                raise ValueError(f"has a name that is no header's, or one of {', '.join(sorted(RESERVED))}, which are set for it")
        found = {}
        for name, text in value.items():
            try:
                found[name] = of_text(parse)(text)
            except ValueError as error:
                raise ValueError(f"has {name}, which {error}") from None
        return found

    return parse_headers


def header_value(text: str) -> str:
    if not HEADER_VALUE.fullmatch(text):
        raise ValueError("must be printable ASCII of at most 4,096 characters")
    return text


def pagination(value: Any) -> Pagination:
    """`{type: page, parameter: page, size: 100}`; a bare word is a type. Raises ValueError with the first mistake."""
    problems: list[str] = []
    given = {"type": value} if isinstance(value, str) else value
    values = read(given, PAGINATION_FIELDS, "", problems)
    if problems:
        raise ValueError(problems[0].lstrip(". "))
    found = Pagination(**values)
    if found.type == "cursor" and not found.path:
        raise ValueError("of type cursor needs a path: where a page names the next one")
    if found.type == "offset" and found.parameter is None:
        found = replace(found, parameter="offset")
    if found.type == "page" and found.parameter is None:
        found = replace(found, parameter="page")
    return found


PAGINATION_FIELDS: dict[str, Callable[[Any], Any]] = {
    "type": of_text(one_of(*KINDS)),
    "parameter": of_text(parameter),
    "size_parameter": of_text(parameter),
    "size": of_text(whole(1, 100_000)),
    "start": of_text(whole(0, 10**9)),
    "path": of_text(names),
}
FIELDS: dict[str, Callable[[Any], Any]] = {
    "name": of_text(source_name),
    "url": of_text(http_url),
    "interval": of_text(duration(1, 366 * 86_400)),
    "cron": of_text(cron),
    "timeout": of_text(duration(0.1, 600)),
    "deadline": of_text(duration(1, 86_400)),
    "retries": of_text(whole(0, 20)),
    "headers": headers_of(header_value),
    "secret_headers": headers_of(path),
    "ca_file": of_text(path),
    "list": of_text(names),
    "id": of_text(id_names),
    "pagination": pagination,
    "emit": flag,
    "allow_private": flag,
    "default": flag,
    "max_pages": of_text(whole(1, 1_000_000)),
    "max_records": of_text(whole(1, 100_000_000)),
    "max_body_bytes": of_text(whole(1_024, 64 << 20)),
}
