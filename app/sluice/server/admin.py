"""The admin port: probes, metrics and the state of the key set, served by gunicorn's parent however busy the workers are.

- /liveness: 200 while any worker's heart beats; looks at nothing but our own processes
- /readiness: 200 once the store and the key set were there, until a drain or the death of all workers
- /health: the same in seed 001's fields
- /metrics: Prometheus text, all workers summed up
- /keyset: what the operator asks each Pod, the revision that every worker has loaded
"""

from __future__ import annotations

import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from http import HTTPStatus
from typing import TYPE_CHECKING

import msgspec
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from waitress.server import create_server

from sluice import errors
from sluice.http import problems, responses
from sluice.http.responses import JSON, Response, encode
from sluice.server.metrics_archive import Archive
from sluice.server.worker_state import SharedState, WorkerReport, live
from sluice.settings import Settings

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment


class KeysetState(msgspec.Struct, frozen=True, rename="camel"):
    """`revision`: what every worker has loaded, null while they differ or one has none. `loaded`: workers that have one.

    `entries` and `loaded_at` (the last worker's) belong to `revision`. `last_used`, `last_refused`: by `keyId/version`,
    over all workers; of keys that the set has, whatever else was presented.
    """

    revision: str | None
    workers: int
    loaded: int
    entries: int
    loaded_at: str | None
    last_used: dict[str, str]
    last_refused: dict[str, str]


def keyset_state(reports: Sequence[WorkerReport], last_used: dict[str, str], last_refused: dict[str, str]) -> KeysetState:
    revisions = {report.revision for report in reports}
    agreed = revisions.pop() if len(revisions) == 1 else None
    return KeysetState(
        revision=agreed,
        workers=len(reports),
        loaded=sum(report.loaded for report in reports),
        entries=min((report.entries for report in reports), default=0),
        loaded_at=max((report.loaded_at for report in reports if report.loaded_at), default=None) if agreed else None,
        last_used=last_used,
        last_refused=last_refused,
    )


class KeysetMetrics(Collector):
    """The gauges of the key set, as of the moment of the scrape."""

    def __init__(self, state: KeysetState, now: datetime) -> None:
        self._state = state
        self._now = now

    def collect(self) -> Iterable[GaugeMetricFamily]:
        state = self._state
        yield GaugeMetricFamily("sluice_workers", "Worker processes that are there", value=state.workers)
        info = GaugeMetricFamily("sluice_keyset_revision_info", "The key set that every worker has loaded", labels=["revision"])
        if state.revision is not None:
            info.add_metric([state.revision], 1)
        yield info
        if state.loaded_at is not None:
            age = (self._now - datetime.fromisoformat(state.loaded_at)).total_seconds()
            yield GaugeMetricFamily("sluice_keyset_age_seconds", "Seconds since that key set was loaded", value=max(0.0, age))


class Views:
    """A WSGI application of paths that take GET and HEAD."""

    def __init__(self, views: Mapping[str, Callable[[], Response]]) -> None:
        self._views = views

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
        method, view = environ["REQUEST_METHOD"], self._views.get(environ.get("PATH_INFO", ""))
        if view is None:
            response = refusal(errors.NotFound(f"there is nothing here; try {', '.join(self._views)}"))
        elif method not in ("GET", "HEAD"):
            response = refusal(errors.MethodNotAllowed("this path takes GET and HEAD", headers={"Allow": "GET, HEAD"}))
        else:
            response = view()
        body = bytes(response.body)  # type: ignore[arg-type]
        headers = [
            ("Content-Type", response.content_type or JSON),
            ("Content-Length", str(len(body))),
            ("Cache-Control", "no-store"),
        ]
        start_response(f"{response.status} {HTTPStatus(response.status).phrase}", [*headers, *response.headers.items()])
        return [] if method == "HEAD" else [body]


def serve(views: Views, listener: socket.socket) -> None:
    """Serve from a few threads until this process ends."""
    # ident: no Server header.
    server = create_server(views, sockets=[listener], threads=4, ident=None)
    threading.Thread(target=server.run, name="admin", daemon=True).start()


def of_loop(
    beat: Callable[[], float], timeout: float, ready: Callable[[], tuple[bool, str]], registry: CollectorRegistry
) -> dict[str, Callable[[], Response]]:
    """The views of a process that is one loop: alive while `beat` (time.monotonic()) is younger than `timeout` seconds."""
    started = time.monotonic()

    def liveness() -> Response:
        now = time.monotonic()
        return responses.liveness(now - beat() <= timeout, now - started)

    return {
        "/liveness": liveness,
        "/readiness": lambda: responses.readiness(*ready()),
        "/metrics": lambda: Response(body=generate_latest(registry), content_type=CONTENT_TYPE_LATEST),
    }


class Admin(Views):
    """That of `serve`. `collectors`: metrics of the parent itself. `clock`: time.monotonic or, in a test, another."""

    def __init__(
        self,
        settings: Settings,
        shared: SharedState,
        archive: Archive,
        collectors: Sequence[Collector] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._timeout = settings.heartbeat_timeout
        self._shared = shared
        self._archive = archive
        self._clock = clock
        self._started = clock()
        self._collectors = collectors
        super().__init__(
            {
                "/liveness": self.liveness,
                "/readiness": self.readiness,
                "/health": self.health,
                "/metrics": self.metrics,
                "/keyset": lambda: Response(body=encode(self._keyset_state())),
            }
        )

    def liveness(self) -> Response:
        # Workers have as long to come up as a beat may be old.
        uptime = self._clock() - self._started
        return responses.liveness(uptime <= self._timeout or bool(self._live()), uptime)

    def readiness(self) -> Response:
        return responses.readiness(self._shared.ready, self._shared.reason)

    def health(self) -> Response:
        services = {"readiness": self._shared.reason, "workers": f"{len(self._live())} alive"}
        return responses.health(self._shared.ready, self._clock() - self._started, services)

    def metrics(self) -> Response:
        gauges = KeysetMetrics(self._keyset_state(), datetime.now(UTC))
        return Response(body=self._archive.exposition([gauges, *self._collectors]), content_type=CONTENT_TYPE_LATEST)

    def _live(self) -> list[WorkerReport]:
        return live(self._shared.reports(), self._clock(), self._timeout)

    def _keyset_state(self) -> KeysetState:
        reports = self._shared.reports()
        return keyset_state(reports, self._shared.last_used(reports), self._shared.last_refused(reports))


def refusal(error: errors.ApiError) -> Response:
    return Response(error.status, problems.document(error, secrets.token_hex(16)), problems.PROBLEM, error.headers)
