"""`python -m tests.bench.costs`: what one single post costs in Python, part by part, without server and store.

Each part is what the whole costs more than the whole without that part. One thread, nothing else running.
"""

from __future__ import annotations

import io
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any
from unittest import mock

# Before prometheus_client is imported: it decides then where values live.
os.environ.setdefault("PROMETHEUS_MULTIPROC_DIR", tempfile.mkdtemp())

from flask import Flask
from prometheus_flask_exporter import PrometheusMetrics
from rich.console import Console
from rich.table import Table
from tests.bench import apps, rows

from sluice import events, keys, outcomes
from sluice.events import Record
from sluice.http import plain_request
from sluice.http.app import Service, create_app
from sluice.http.fast_path import ROUTE, FastPath
from sluice.keyring import LastKey
from sluice.metrics import RequestMetrics
from sluice.outcomes import Outcome
from sluice.settings import Settings

KEY = keys.mint("bench")
SETTINGS = Settings(api_keys=(KEY,), rate_limit_requests_per_minute=10**9, rate_limit_events_per_minute=10**9)
BODY = rows.arrays(1, 1)[0][1:-1]
CALLS = 4_000
# Records in a commit, about what 64 clients make.
GROUP = 40


class Nowhere:
    """A store that stores nothing and says it did."""

    def insert(self, records: Sequence[Record], _at: datetime) -> list[Outcome]:
        return [outcomes.created(record.event_id, 1) for record in records]


def service(settings: Settings = SETTINGS) -> Service:
    return create_app(settings, store=Nowhere())  # type: ignore[arg-type]


def without_exporter() -> Service:
    with mock.patch.object(PrometheusMetrics, "export_defaults"):
        return service()


def without_counters() -> Service:
    app = service()
    metrics = app.parts.metrics
    for name in ("count", "auth", "rate_limited"):
        setattr(metrics, name, lambda *_args, **_counts: None)
    return app


def without_limits() -> Service:
    return service(replace(SETTINGS, rate_limit_requests_per_minute=0, rate_limit_events_per_minute=0))


def environ() -> dict[str, Any]:
    return {
        "REQUEST_METHOD": "POST", "PATH_INFO": "/api/v1/ingest", "QUERY_STRING": "", "SERVER_NAME": "bench", "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1", "wsgi.url_scheme": "http", "wsgi.errors": sys.stderr, "wsgi.input": io.BytesIO(BODY),
        "CONTENT_LENGTH": str(len(BODY)), "CONTENT_TYPE": "application/json", "HTTP_HOST": "bench",
        "HTTP_AUTHORIZATION": f"Bearer {KEY}",
    }  # fmt: skip


def call(app: Callable[..., Iterable[bytes]]) -> str:
    told: list[str] = []
    answer = app(environ(), lambda status, _headers, _exc_info=None: told.append(status))
    b"".join(answer)
    answer.close()  # type: ignore[attr-defined]
    return told[0]


def cost(work: Callable[[], object], calls: int = CALLS) -> float:
    """Microseconds of processor time of one call: the best of five rounds."""
    for _ in range(calls // 20):
        work()
    best = float("inf")
    for _ in range(5):
        start = time.process_time()
        for _ in range(calls):
            work()
        best = min(best, (time.process_time() - start) / calls)
    return best * 1e6


def of_app(app: Flask) -> float:
    if not call(app).startswith("201"):
        raise RuntimeError(call(app))
    return cost(lambda: call(app))


def prepared() -> Record:
    return events.prepare(events.parse(BODY), now=datetime.now().astimezone(), key_id="bench", rules=events.Rules())


def slow_path() -> dict[str, float]:
    """The parts of a post that Flask serves, but for gunicorn's parser and threads."""
    whole, flask = of_app(service()), of_app(apps.parse_only())
    found = {
        "the whole": whole,
        "a Flask route that only parses": flask,
        "prometheus-flask-exporter (2 values a request, labels looked up)": whole - of_app(without_exporter()),
        "our counters (events, keys), in shared files": whole - of_app(without_counters()),
        "limits: requests and events, and their headers": whole - of_app(without_limits()),
        "parse, canonical JSON, SHA-256, row": cost(prepared),
        "key: checksum, SHA-256, look-up, dates": cost(lambda: service_keyring.verify(KEY)),
    }
    named = sum(list(found.values())[1:])
    found["the rest: request id and trace, body in bounds, shared commit, envelope, error handling"] = whole - named
    return found


class Connection:
    """A client that sends the same key again and again."""

    last_key = LastKey()


def fast_path() -> dict[str, float]:
    """The parts of a post on the fast path, but for recv(), send() and the poller around them."""
    app = service()
    path = FastPath(app.parts, RequestMetrics(app.registry, "POST", ROUTE))
    path.deliver = lambda _: None
    head = f"POST {ROUTE} HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {KEY}\r\nContent-Type: application/json\r\n"
    data = f"{head}Content-Length: {len(BODY)}\r\n\r\n".encode() + BODY
    plain = plain_request.parse(data, plain_request.MAX_BODY)
    if not isinstance(plain, plain_request.Plain):
        raise RuntimeError(plain)
    group = [path.begin(Connection, plain) for _ in range(GROUP)]
    path._commit(group)
    parts = {
        "HTTP: parser in C and the allow-list of headers": cost(lambda: plain_request.parse(data, plain_request.MAX_BODY)),
        "key, limits, event, record": cost(lambda: path.begin(Connection, plain)),
        f"outcomes, metrics, response ({GROUP} in a commit)": cost(lambda: path._commit(group), CALLS // GROUP) / GROUP,
        "bytes of the response": cost(lambda: path.finish(group[0], close=False)),
    }
    return {"the whole": sum(parts.values()), **parts}


def main() -> None:
    for title, found in (("with a thread and Flask", slow_path()), ("on the fast path", fast_path())):
        table = Table("part of one single post", "microseconds", title=f"{title}, Python {sys.version.split()[0]}")
        for name, microseconds in found.items():
            table.add_row(name, f"{microseconds:.1f}")
        Console().print(table)


service_keyring = service().parts.keyring

if __name__ == "__main__":
    main()
