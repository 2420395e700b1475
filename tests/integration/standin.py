"""A small application in the place of Sluice's, and a supervisor around it, for tests of the parts below them.

`python -m tests.integration.standin` serves `app` as `sluice serve` serves its own. SEND_TIMEOUT: seconds, for impatient tests.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from typing import Any, cast

from prometheus_client import CollectorRegistry

from sluice import errors
from sluice.http.bodies import RequestBody
from sluice.keyring import Keyring
from sluice.metrics import Metrics
from sluice.server import supervisor, worker
from sluice.server.worker_state import Heartbeat, SharedState
from sluice.settings import Settings

Start = Callable[[str, list[tuple[str, str]]], object]
Environ = dict[str, Any]

worker.SEND_TIMEOUT = int(os.environ.get("SEND_TIMEOUT", "30"))
metrics = Metrics(CollectorRegistry())
# How many answers their clients did not read to the end.
unread = [0]


def app(environ: Environ, start: Start) -> Iterable[bytes]:
    return VIEWS[environ["PATH_INFO"]](environ, start)


def answer(start: Start, status: int, data: object) -> Iterable[bytes]:
    body = json.dumps(data).encode()
    start(f"{status} -", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]


def body_of(environ: Environ) -> RequestBody:
    return cast(RequestBody, environ["wsgi.input"])


def hello(_environ: Environ, start: Start) -> Iterable[bytes]:
    metrics.count("event", received=1, created=1)
    return answer(start, 200, {"pid": os.getpid(), "unread": unread[0]})


def echo(environ: Environ, start: Start) -> Iterable[bytes]:
    """Size and digest of the body, or how it failed."""
    body_of(environ).set_deadline(1)
    try:
        body = b"".join(iter(body_of(environ).read_some, b""))
    except TimeoutError:
        return answer(start, 408, "deadline")
    except errors.IncompleteBody as error:
        return answer(start, 400, str(error))
    return answer(start, 200, {"size": len(body), "digest": hashlib.sha256(body).hexdigest()})


def stream(environ: Environ, start: Start) -> Iterator[bytes]:
    """A line for each piece of the body as it comes, and one for each fifth of a second in which nothing came."""
    start("200 -", [("Content-Type", "text/plain")])
    yield b"begin\n"
    while True:
        if not body_of(environ).readable(0.2):
            yield b"stopping\n" if worker.stopping() else b"silence\n"
            continue
        body_of(environ).set_deadline(5)
        try:
            piece = body_of(environ).read_some()
        except errors.IncompleteBody:
            return
        yield piece + b"\n" if piece else b"end\n"
        if not piece:
            return


def refuse(environ: Environ, start: Start) -> Iterable[bytes]:
    body_of(environ).close_connection()
    return answer(start, 413, "too large")


def sleep(_environ: Environ, start: Start) -> Iterable[bytes]:
    time.sleep(1)
    return answer(start, 200, "slept")


def endless(_environ: Environ, start: Start) -> Iterator[bytes]:
    start("200 -", [("Content-Type", "text/plain")])
    try:
        while True:
            yield b"x" * 65_536
    finally:
        unread[0] += 1


VIEWS: dict[str, Callable[[Environ, Start], Iterable[bytes]]] = {
    "/": hello,
    "/echo": echo,
    "/stream": stream,
    "/refuse": refuse,
    "/sleep": sleep,
    "/endless": endless,
}

settings = Settings.from_env(os.environ)
if __name__ == "__main__":
    duties = supervisor.Duties(check=lambda: None)
    sys.exit(
        supervisor.run(
            settings,
            os.environ,
            duties=lambda _: duties,
            say=functools.partial(print, flush=True),
            app="tests.integration.standin:app",
        )
    )
elif settings.run_dir is not None:
    Heartbeat(SharedState(settings.run_dir), Keyring(settings.api_keys, settings.keyset_file, lambda: datetime.now(UTC))).start()
