"""What a worker holds is bounded, whatever bodies are made of: the chart gives it 13 times MAX_INFLIGHT_BYTES."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterator

import pytest
from tests.integration.checks import at_once
from tests.integration.conftest import migrated
from tests.integration.postgres import Database
from tests.integration.service import Service, running

MIB = 1 << 20
INFLIGHT = 16 * MIB
EVENT = b'{"event_type": "log", "event_name": "n", "properties": {"a": [%b0]}}'
JSON, NDJSON = "application/json", "application/x-ndjson"
# Path, type, and what is made of so many small values that they have MiB.
WAYS: dict[str, tuple[str, str, Callable[[bytes, int], bytes]]] = {
    "event": ("/api/v1/ingest", JSON, lambda small, size: EVENT % repeated(small, size)),
    "batch of no events": ("/api/v1/batch-ingest", JSON, lambda small, size: b"[%b{}]" % repeated(small, size)),
    "stream": ("/api/v1/batch-ingest", NDJSON, lambda small, size: (EVENT % repeated(small, 1.9) + b"\n") * (size // 2)),
    "log": ("/log", JSON, lambda small, size: b'{"a": [%b0]}' % repeated(small, size)),
}
SMALL = {
    "objects": b"{},",
    "nested": b"[[[[[[[[]]]]]]]],",
    "integral floats": b"1.0,",
    "texts": b'"ab",',
    "objects with a name": b'{"a":1},',
    "NaN": b"NaN,",
}
database = pytest.fixture(migrated, scope="module")


@pytest.fixture(scope="module")
def service(database: Database) -> Iterator[Service]:
    bound = str(INFLIGHT)
    with running(database.url, WORKERS="1", MAX_INFLIGHT_BYTES=bound, MAX_INFLATED_BYTES=bound) as service:
        yield service


def repeated(small: bytes, size: float) -> bytes:
    return small * int(size * MIB / len(small))


@pytest.mark.parametrize("small", SMALL.values(), ids=SMALL)
@pytest.mark.parametrize("way", WAYS)
def test_small_values_do_not_make_a_worker_larger_than_the_chart_has_it(
    service: Service, database: Database, way: str, small: bytes
) -> None:
    path, kind, make = WAYS[way]
    bodies = [gzip.compress(make(small, size), 1) for size in (15, 4, 4, 4)]
    headers = {"Content-Type": kind, "Content-Encoding": "gzip"}
    with service.client() as client, service.grows_by_less_than(13 * INFLIGHT):
        answers = at_once(4, lambda number: client.post(path, content=bodies[number], headers=headers, timeout=60))
    assert {answer.status_code for answer in answers} <= {200, 400, 413, 503}
    assert database.count() == 0
