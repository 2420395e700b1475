"""The admin port: probes, metrics and the state of the key set, served by gunicorn's parent however busy the workers are.

- /liveness: 200 while any worker's heart beats; looks at nothing but our own processes
- /readiness: 200 once the store and the key set were there, until a drain or the death of all workers
- /health: the same in seed 001's fields
- /metrics: Prometheus text, all workers summed up
- /keyset: what the operator asks each Pod, the revision that every worker has loaded
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import msgspec
from prometheus_client import CONTENT_TYPE_LATEST
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from sluice import __version__
from sluice.board import Board, WorkerReport, Workers, live
from sluice.http import shapes
from sluice.metrics import Archive
from sluice.settings import Settings

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

# status, content type, body
Answer = tuple[int, str, bytes]
JSON, PROBLEM = "application/json", "application/problem+json"


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


def is_alive(reports: Iterable[WorkerReport], started: float, now: float, timeout: float) -> bool:
    """Whether any heart beat in the last `timeout` seconds. Workers have as long to come up as a beat may be old."""
    return now - started <= timeout or bool(live(reports, now, timeout))


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


class Admin:
    """The WSGI application. `clock`: time.monotonic or, in a test, another."""

    def __init__(
        self, settings: Settings, board: Board, workers: Workers, archive: Archive, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._timeout = settings.heartbeat_timeout
        self._board = board
        self._workers = workers
        self._archive = archive
        self._clock = clock
        self._started = clock()
        self._views: dict[str, Callable[[], Answer]] = {
            "/liveness": self.liveness,
            "/readiness": self.readiness,
            "/health": self.health,
            "/metrics": self.metrics,
            "/keyset": self.keyset,
        }

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
        method = environ["REQUEST_METHOD"]
        status, content_type, body = self.answer(method, environ.get("PATH_INFO", ""))
        headers = [("Content-Type", content_type), ("Content-Length", str(len(body))), ("Cache-Control", "no-store")]
        if status == HTTPStatus.METHOD_NOT_ALLOWED:
            headers.append(("Allow", "GET, HEAD"))
        start_response(f"{status} {HTTPStatus(status).phrase}", headers)
        return [] if method == "HEAD" else [body]

    def answer(self, method: str, path: str) -> Answer:
        view = self._views.get(path)
        if view is None:
            return problem(HTTPStatus.NOT_FOUND, "not_found", f"there is nothing here; try {', '.join(self._views)}")
        if method not in ("GET", "HEAD"):
            return problem(HTTPStatus.METHOD_NOT_ALLOWED, "method_not_allowed", "this path takes GET and HEAD")
        return view()

    def liveness(self) -> Answer:
        alive = is_alive(self._workers.reports(), self._started, self._clock(), self._timeout)
        return json(shapes.Liveness(alive, self._uptime(), __version__), ok=alive)

    def readiness(self) -> Answer:
        ready = self._board.ready
        return json(shapes.Readiness(ready, self._board.reason), ok=ready)

    def health(self) -> Answer:
        ready = self._board.ready
        hearts = live(self._workers.reports(), self._clock(), self._timeout)
        data = shapes.Health(
            status="healthy" if ready else "unhealthy",
            timestamp=datetime.now(UTC),
            version=__version__,
            services={"readiness": self._board.reason, "workers": f"{len(hearts)} alive"},
            uptime=self._uptime(),
        )
        return json(data, ok=ready)

    def metrics(self) -> Answer:
        gauges = KeysetMetrics(self._keyset_state(), datetime.now(UTC))
        return HTTPStatus.OK, CONTENT_TYPE_LATEST, self._archive.exposition([gauges])

    def keyset(self) -> Answer:
        return json(self._keyset_state(), ok=True)

    def _keyset_state(self) -> KeysetState:
        reports = self._workers.reports()
        return keyset_state(reports, self._workers.last_used(reports), self._workers.last_refused(reports))

    def _uptime(self) -> str:
        return f"{int(self._clock() - self._started)}s"


def json(data: Any, *, ok: bool) -> Answer:
    return HTTPStatus.OK if ok else HTTPStatus.SERVICE_UNAVAILABLE, JSON, msgspec.json.encode(data)


def problem(status: HTTPStatus, error: str, detail: str) -> Answer:
    """RFC 9457, in the form of sluice.http.problems, which needs a Flask request."""
    body = {"type": f"urn:sluice:problem:{error}", "title": status.phrase, "status": status, "detail": detail, "error": error}
    return status, PROBLEM, msgspec.json.encode(body)
