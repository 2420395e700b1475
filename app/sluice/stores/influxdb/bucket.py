"""One bucket by influxdb-client: the only module of this store that speaks the driver, and where its errors become ours."""

from __future__ import annotations

import contextlib
import csv
import io
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import influxdb_client
import urllib3
from influxdb_client.rest import ApiException

from sluice import errors, values
from sluice.settings import Settings
from sluice.stores.repeats import Repeats

repeats = Repeats()
CONNECT_SECONDS = 1.0
# Of one request; a server takes 25 MB by default.
MAX_LINES_BYTES = 8 << 20
DIALECT = {"header": True, "annotations": [], "delimiter": ",", "dateTimeFormat": "RFC3339"}
REASONS = {401: "login_refused", 403: "login_refused", 404: "schema_behind", 429: "database_busy", 503: "database_busy"}
# How a server or its proxy says that nobody, or not this token, makes a bucket by this API.
NOT_FOR_US = (400, 403, 404, 405, 422)
# What a server says that has no such bucket; one that may not hold so many series (docs/stores.md), or that has no room.
NO_BUCKET = ("database not found", "no database", "could not find bucket", "retention policy not found")
FULL = ("max-values-per-tag limit exceeded", "max-series-per-database limit exceeded", "no space left on device")
csv.field_size_limit(2**31 - 1)


# A part of a syntax tree of Flux, as its JSON has it.
Node = dict[str, Any]


@dataclass(frozen=True)
class OneOf:
    """A variable for `filter(fn: ...)`: the rows whose tag has one of these texts. (A variable for each of them is slower.)"""

    tag: str
    texts: Sequence[str]


Value = str | int | OneOf


@contextlib.contextmanager
def ours() -> Iterator[None]:
    """Driver errors become StoreUnavailable. Nothing of their text goes further, for it repeats what was sent."""
    try:
        yield
    except ApiException as error:
        raise repeats.unavailable(f"HTTP {error.status}", reason_of(error)) from error
    except urllib3.exceptions.HTTPError as error:
        late = isinstance(error, urllib3.exceptions.ReadTimeoutError)
        raise repeats.unavailable(type(error).__name__, "query_timeout" if late else "database_unreachable") from error


def reason_of(error: ApiException) -> str:
    if not error.status:  # the client makes only TLS errors its own
        return "tls_refused"
    text = text_of(error)
    if any(words in text for words in FULL):
        return "database_full"
    if any(words in text for words in NO_BUCKET):
        return "schema_behind"
    return "database_error" if error.status == 404 and is_page(error) else REASONS.get(error.status, "database_error")


def is_page(error: ApiException) -> bool:
    """Whether a proxy or another server answered, not InfluxDB."""
    return text_of(error).lstrip().startswith("<")


def blames_points(error: ApiException) -> bool:
    """Whether points were refused: by InfluxDB, which says so in JSON, or for their size by whatever stands before it."""
    own = error.status in (400, 422) and text_of(error).lstrip().startswith("{")
    return (own or error.status == 413) and reason_of(error) == "database_error"


def text_of(error: ApiException) -> str:
    body = error.body
    return body.decode(errors="replace") if isinstance(body, bytes) else str(body or "")


def values_of(text: str) -> list[str]:
    """The column `_value` of all tables of an answer in CSV; raises ValueError, IndexError and csv.Error for what is none."""
    if text and not text.endswith("\n"):
        raise ValueError("the last line has no end")
    found: list[str] = []
    place: int | None = None
    for row in csv.reader(io.StringIO(text, newline=""), strict=True):
        if not row:
            place = None  # the next table begins with its header
        elif row[-2:] == ["error", "reference"]:
            raise ValueError("the query broke off")
        elif place is None:
            place = row.index("_value")
        else:
            found.append(row[place])
    return found


class Deadline:
    """How long a call may still take; every request gets what is left."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    @property
    def left(self) -> float:
        return self._end - time.monotonic()

    def timeout(self) -> tuple[float, float]:
        """For connecting and reading, in milliseconds; raises StoreUnavailable when nothing is left."""
        left = self.left
        if left <= 0:
            raise errors.StoreUnavailable("query_timeout")
        return min(CONNECT_SECONDS, left) * 1_000, left * 1_000


class Bucket:
    """Thread-safe. Every method may raise StoreUnavailable."""

    def __init__(self, settings: Settings, connections: int) -> None:
        self.name, self._org = str(settings.influxdb_bucket), str(settings.influxdb_org)
        authority = settings.database_ca_file
        self._client = influxdb_client.InfluxDBClient(
            settings.influxdb_url,
            settings.influxdb_token,
            org=self._org,
            connection_pool_maxsize=connections,
            ssl_ca_cert=authority and str(authority),
            ssl_context=values.client_tls(authority),
        )
        self._writes = influxdb_client.WriteService(self._client.api_client)
        self._queries = influxdb_client.QueryService(self._client.api_client)
        self._buckets = influxdb_client.BucketsService(self._client.api_client)

    def close(self) -> None:
        # The client's own close leaves connections open.
        self._client.api_client.rest_client.pool_manager.clear()

    def write(self, lines: Sequence[str], deadline: Deadline) -> None:
        """Write points in one request; raises RecordsRefused when the server would not have some of them. The others may be
        written then."""
        with ours():
            try:
                _, status, _ = self._writes.post_write_with_http_info(
                    org=self._org,
                    bucket=self.name,
                    body="\n".join(lines).encode(),
                    precision="ns",
                    content_type="text/plain; charset=utf-8",
                    _request_timeout=deadline.timeout(),
                )
            except ApiException as error:
                if blames_points(error):
                    raise errors.RecordsRefused(f"HTTP {error.status}") from error
                raise
        if status != 204:  # the page of a proxy; InfluxDB has nothing to say of points that it took
            raise repeats.unavailable(f"HTTP {status}", "database_error")

    def query(self, flux: str, given: Mapping[str, Value], deadline: Deadline) -> list[str]:
        """The column `_value` of what `flux` gives. `given` are its variables, which travel beside it as a syntax tree."""
        everywhere: Mapping[str, Value] = {"bucket": self.name, **given}
        extern = {"type": "File", "imports": [], "body": [assignment(name, value) for name, value in everywhere.items()]}
        request = {"query": flux, "extern": extern, "dialect": DIALECT, "type": "flux"}
        with ours():
            answer = self._queries.post_query(
                org=self._org, query=request, _preload_content=False, _request_timeout=deadline.timeout()
            )
            data = answer.data
        try:
            return values_of(data.decode())
        except (ValueError, IndexError, csv.Error) as error:  # half of an answer, the page of a proxy, or the query broke off
            raise repeats.unavailable("flux", "database_error") from error

    def keeps(self, deadline: Deadline) -> int | None:
        """For how many seconds the bucket keeps points, 0 for ever; None when there is no such bucket."""
        with ours():
            try:
                found = self._buckets.get_buckets(name=self.name, org=self._org, _request_timeout=deadline.timeout()).buckets
            except ApiException as error:
                if error.status == 404 and not is_page(error):
                    return None
                raise
            except (ValueError, AttributeError):  # what the client cannot read
                found = None
        if found is None:  # the page of a proxy; InfluxDB has a list, be it empty
            raise repeats.unavailable("buckets", "database_error")
        for bucket in found:
            if bucket.name == self.name:
                return next((rule.every_seconds or 0 for rule in bucket.retention_rules or ()), 0)
        return None

    def make(self, keep_seconds: int, deadline: Deadline) -> bool:
        """Make the bucket; False when this server or this token does not let us."""
        rules = [influxdb_client.BucketRetentionRules(type="expire", every_seconds=keep_seconds)] if keep_seconds else []
        with ours():
            try:
                orgs = influxdb_client.OrganizationsService(self._client.api_client)
                org = orgs.get_orgs(org=self._org, _request_timeout=deadline.timeout()).orgs[0].id
                request = influxdb_client.PostBucketRequest(org_id=org, name=self.name, retention_rules=rules)
                self._buckets.post_buckets(request, _request_timeout=deadline.timeout())
            except ApiException as error:
                if error.status in NOT_FOR_US:
                    return False
                raise
            except (IndexError, TypeError):  # no organization
                return False
        return True


def assignment(name: str, value: Value) -> Node:
    variable = {"type": "VariableAssignment", "id": identifier(name), "init": node(value)}
    return {"type": "OptionStatement", "assignment": variable}


def node(value: Value) -> Node:
    match value:
        case OneOf():
            row = {"type": "Property", "key": identifier("r"), "value": None}
            return {"type": "FunctionExpression", "params": [row], "body": any_of([is_(value.tag, each) for each in value.texts])}
        case str():
            return {"type": "StringLiteral", "value": value}
        case int():
            return {"type": "IntegerLiteral", "value": str(value)}


def is_(tag: str, text: str) -> Node:
    asked = {"type": "MemberExpression", "object": identifier("r"), "property": identifier(tag)}
    return {"type": "BinaryExpression", "operator": "==", "left": asked, "right": node(text)}


def any_of(conditions: Sequence[Node]) -> Node:
    """Halved again and again: Flux compiles nothing that is nested some hundred times."""
    if len(conditions) == 1:
        return conditions[0]
    left, right = conditions[: len(conditions) // 2], conditions[len(conditions) // 2 :]
    return {"type": "LogicalExpression", "operator": "or", "left": any_of(left), "right": any_of(right)}


def identifier(name: str) -> Node:
    return {"type": "Identifier", "name": name}
