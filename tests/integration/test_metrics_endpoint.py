"""/metrics of the real service: books that balance, and series that nobody can add to."""

from __future__ import annotations

import contextlib
import http.client
import itertools
import json
import tempfile
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from tests import docs
from tests.integration.checks import Mine
from tests.integration.keysets import KeysetFile
from tests.integration.postgres import Database
from tests.integration.scrape import counters, events, law_broken, samples, scrape, values
from tests.integration.service import KEY, Service, running
from tests.integration.waiting import until

pytest_plugins = ["tests.integration.services"]

INGEST, BATCH = "/api/v1/ingest", "/api/v1/batch-ingest"
HEADERS = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
# 1,000 requests end some 20 workers, which leave 60 files; the more of them wait for a sweep, the faster the machine.
MOST_FILES = 45


def test_every_event_is_counted_once_by_what_became_of_it(service: Service, client: httpx.Client, mine: Mine) -> None:
    before = events(scrape(service))
    client.post(INGEST, json=mine.event())
    client.post(INGEST, json=mine.event())
    client.post(INGEST, json=mine.event(source="other"))
    client.post(INGEST, json={"event_type": "log"})
    client.post(BATCH, json=[*mine.events(3), mine.event(), {}])
    after = events(scrape(service))
    grown = {kind: {s: after[kind][s] - before[kind][s] for s in after[kind]} for kind in ("event", "batch")}
    assert {s: n for s, n in grown["event"].items() if n} == {
        "received": 4,
        "created": 1,
        "duplicate": 1,
        "conflict": 1,
        "invalid": 1,
    }
    assert {s: n for s, n in grown["batch"].items() if n} == {"received": 5, "created": 3, "duplicate": 1, "invalid": 1}


def test_the_conservation_law_holds_for_every_format(service: Service, client: httpx.Client, mine: Mine) -> None:
    client.post(BATCH, content=json.dumps(mine.event()) + "\n{}\nx\n", headers={"Content-Type": "application/x-ndjson"})
    client.post("/", json={"service": "s", "endpoint": "/e", "error": "x", "traceback": "t"})
    client.post("/log", json={"any": "thing"})
    client.post(BATCH, json=[mine.event("one"), {}], params={"atomic": "true"})
    client.post(INGEST, json=mine.event("two"), headers={"Idempotency-Key": mine.id()})
    told = events(scrape(service))
    assert law_broken(scrape(service)) == {}
    assert {kind for kind, by in told.items() if by["received"]} == {"event", "batch", "ndjson", "error_report", "log"}
    # Every way in counts types and reasons too: together they are what is new, and what is invalid.
    assert by_label(service, "sluice_accepted_events_total").total() == sum(by["created"] for by in told.values())
    assert by_label(service, "sluice_invalid_events_total").total() == sum(by["invalid"] for by in told.values())


def test_new_events_are_counted_by_type_and_invalid_ones_by_reason(service: Service, client: httpx.Client, mine: Mine) -> None:
    before = by_label(service, "sluice_accepted_events_total"), by_label(service, "sluice_invalid_events_total")
    error, twice = mine.event("x", event_type="error"), mine.event("y", event_type="telemetry")
    client.post(INGEST, json=error)
    client.post(INGEST, content=b"{", headers={"Content-Type": "application/json"})
    client.post(BATCH, json=[error, twice, twice, {"event_type": "log"}, mine.event("z", timestamp="2999-01-01T00:00:00Z")])
    client.post(BATCH, json=[mine.event("a"), {}], params={"atomic": "true"})
    client.post(BATCH, json=[mine.event("b"), {"x": 1}], headers={"Idempotency-Key": mine.id()})
    assert by_label(service, "sluice_accepted_events_total") - before[0] == {"error": 1, "telemetry": 1, "log": 1}
    assert by_label(service, "sluice_invalid_events_total") - before[1] == {
        "invalid_json": 1,
        "missing_field": 2,
        "too_far_ahead": 1,
        "unknown_field": 1,
    }


def by_label(service: Service, name: str) -> Counter[str]:
    """The values of a metric by its only label."""
    return Counter({next(iter(each.labels.values())): int(each.value) for each in samples(scrape(service)) if each.name == name})


def test_every_way_in_is_in_the_figures_of_commits(service: Service, client: httpx.Client, mine: Mine) -> None:
    before = values(scrape(service))
    client.post(INGEST, json=mine.event())
    client.post(BATCH, json=mine.events(2), params={"atomic": "true"})
    client.post(BATCH, json=mine.events(3), headers={"Idempotency-Key": mine.id()})
    after = values(scrape(service))
    names = ("sluice_commit_seconds_count", "sluice_batch_events_count", "sluice_batch_events_sum")
    assert [after[name, ()] - before.get((name, ()), 0) for name in names] == [3, 3, 6]


def test_strangers_add_no_series(service: Service) -> None:
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", service.port, timeout=10)) as connection:
        for method in ("GET", "POST"):
            assert ask(connection, method, "/nothing/here") == 404
        before = set(values(scrape(service)))
        scanned = Counter(ask(connection, "GET", f"/scan/{number}/x?a={number}") for number in range(1_000))
        invented = Counter(ask(connection, f"M{number}", path) for number in range(100) for path in (INGEST, f"/m/{number}"))
    assert (scanned, sum(invented.values()), max(invented)) == ({404: 1_000}, 200, 405)
    assert set(values(scrape(service))) == before


def ask(connection: http.client.HTTPConnection, method: str, path: str) -> int:
    connection.request(method, path)
    response = connection.getresponse()
    response.read()
    return response.status


@pytest.fixture
def recycling(database: Database) -> Iterator[tuple[Service, Path]]:
    """A service whose workers end after some 50 requests, and the folder of its counters."""
    with tempfile.TemporaryDirectory(prefix="sluice-test-") as name:
        with running(database.url, MAX_REQUESTS="50", SLUICE_RUN_DIR=name) as service:
            (folder,) = Path(name).glob("*/metrics")
            yield service, folder
        # What a run puts there it takes away.
        assert list(Path(name).iterdir()) == []


class Poster:
    """Posts events on a kept connection; one that the service closed while it was idle is opened again, once a request."""

    def __init__(self, service: Service, mine: Mine) -> None:
        self._mine = mine
        self._connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=20)

    def post(self, number: int) -> int:
        body = json.dumps(self._mine.event(str(number)))
        try:
            return self._ask(body)
        except (http.client.RemoteDisconnected, ConnectionError):
            self._connection.close()
            return self._ask(body)

    def _ask(self, body: str) -> int:
        self._connection.request("POST", INGEST, body, HEADERS)
        response = self._connection.getresponse()
        response.read()
        return response.status

    def close(self) -> None:
        self._connection.close()


def test_recycled_workers_lose_no_request_no_count_and_no_file(recycling: tuple[Service, Path], database: Database) -> None:
    (service, folder), mine = recycling, Mine(database)
    first = {worker.pid for worker in service.workers()}
    scrapes: list[str] = []
    files: list[int] = []

    def post_some(start: int) -> Counter[int]:
        with contextlib.closing(Poster(service, mine)) as poster:
            return Counter(poster.post(number) for number in range(start, start + 250))

    with ThreadPoolExecutor(4) as pool:
        posted = [pool.submit(post_some, start) for start in range(0, 1_000, 250)]
        until(lambda: watch(service, folder, scrapes, files) and all(each.done() for each in posted), 60)
    assert sum((each.result() for each in posted), Counter[int]()) == {201: 1_000}
    assert mine.count() == 1_000
    until(lambda: watch(service, folder, scrapes, files) <= 8, 10, "the dead workers' files are gone")
    assert not first & {worker.pid for worker in service.workers()}
    assert max(files) <= MOST_FILES
    assert events(scrapes[-1])["event"].items() >= {"received": 1_000, "created": 1_000, "duplicate": 0}.items()
    assert steps_back(scrapes) == []


def watch(service: Service, folder: Path, scrapes: list[str], files: list[int]) -> int:
    """Look once at counters and files; how many files there are."""
    scrapes.append(scrape(service))
    files.append(len(list(folder.glob("*.db"))))
    return files[-1]


def steps_back(scrapes: list[str]) -> list[str]:
    """The counters that were lower in one scrape than in the one before, or gone."""
    told = [counters(text) for text in scrapes]
    pairs = itertools.pairwise(told)
    return [
        f"{series} {value} -> {new.get(series)}"
        for old, new in pairs
        for series, value in old.items()
        if new.get(series, -1) < value
    ]


def test_the_readme_lists_every_metric_with_its_labels(database: Database, keyset: KeysetFile) -> None:
    keyset.add("web")
    keyset.publish()
    with running(database.url, KEYSET_FILE=str(keyset.path)) as service, service.client() as client:
        client.get("/api/v1/status")
        offered = labels_of(scrape(service))
    told = {name: set(docs.quoted(row[1])) for row in docs.table("Metrics") for name in docs.quoted(row[0])}
    assert told == offered


def base(name: str) -> str:
    """The name of a histogram for that of its parts."""
    for part in ("_bucket", "_count", "_sum"):
        name = name.removesuffix(part)
    return name


def labels_of(text: str) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for sample in samples(text):
        found.setdefault(base(sample.name), set()).update(set(sample.labels) - {"le"})
    return found
