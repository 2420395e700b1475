"""What one client may ask for: a minute's share, sizes, and memory that does not grow with what is thrown at the service."""

from __future__ import annotations

import contextlib
import gzip
import json
from collections import Counter
from collections.abc import Iterable, Iterator

import httpx
import pytest
from tests.integration.checks import Mine, at_once, data_of, problem_of
from tests.integration.keysets import KeysetFile, keyset_file
from tests.integration.postgres import Database
from tests.integration.raw import Raw
from tests.integration.service import KEY, OTHER_KEY, Service, running
from tests.integration.waiting import until

from sluice.keys import RateLimit

pytest_plugins = ["tests.integration.services"]

INGEST, BATCH, WHOAMI = "/api/v1/ingest", "/api/v1/batch-ingest", "/api/v1/whoami"
PATHS = (INGEST, BATCH, "/", "/log")


keyset = pytest.fixture(keyset_file, scope="module")


@pytest.fixture(scope="module")
def own_limits(keyset: KeysetFile) -> dict[str, str]:
    """Keys with limits of their own, by name."""
    limits = {
        "tight": RateLimit(requests_per_minute=4),
        "few": RateLimit(events_per_minute=20),
        "free": RateLimit(requests_per_minute=0, events_per_minute=0),
    }
    made = {name: keyset.add(name, rate_limit=limit) for name, limit in limits.items()}
    keyset.publish()
    return made


@pytest.fixture(scope="module")
def limited(shared_database: Database, keyset: KeysetFile, own_limits: dict[str, str]) -> Iterator[Service]:
    """Two workers that together grant a key 60 requests a minute."""
    with running(shared_database.url, RATE_LIMIT_REQUESTS_PER_MINUTE="60", KEYSET_FILE=str(keyset.path)) as service:
        yield service


def ask(service: Service, key: str, method: str = "GET", path: str = WHOAMI, **more: object) -> httpx.Response:
    """On a connection of its own, which any of the workers may get."""
    with service.client(key) as client:
        return client.request(method, path, **more)  # type: ignore[arg-type]


def statuses(answers: Iterable[httpx.Response]) -> Counter[int]:
    return Counter(answer.status_code for answer in answers)


def test_two_workers_together_grant_the_limit_exactly(limited: Service) -> None:
    answers = at_once(100, lambda _: ask(limited, KEY))
    assert statuses(answers) == {200: 60, 429: 40}
    refused = next(answer for answer in answers if answer.status_code == 429)
    problem_of(refused, 429, "rate_limit_exceeded", "requests")
    assert 1 <= int(refused.headers["Retry-After"]) <= 60
    assert refused.headers["RateLimit-Policy"] == '"requests";q=60;w=60'
    assert refused.headers["RateLimit"] == f'"requests";r=0;t={refused.headers["Retry-After"]}'


def test_limits_of_one_key_are_not_those_of_another(limited: Service) -> None:
    answer = ask(limited, OTHER_KEY)
    assert (answer.status_code, answer.headers["RateLimit-Policy"]) == (200, '"requests";q=60;w=60')
    assert answer.headers["RateLimit"].startswith('"requests";r=59;t=')


def test_one_connection_gets_the_whole_limit_and_what_it_took_is_taken_for_all(limited: Service, keyset: KeysetFile) -> None:
    key = keyset.add("kept", rate_limit=RateLimit(requests_per_minute=40))
    keyset.publish_to(limited)
    with limited.client(key) as client:
        assert statuses(client.get(WHOAMI) for _ in range(50)) == {200: 40, 429: 10}
    assert statuses(at_once(20, lambda _: ask(limited, key))) == {429: 20}


def test_what_a_killed_worker_granted_stays_granted(limited: Service, keyset: KeysetFile) -> None:
    key = keyset.add("killed", rate_limit=RateLimit(requests_per_minute=40))
    keyset.publish_to(limited)
    before = statuses(at_once(30, lambda _: ask(limited, key)))
    for worker in limited.workers():
        worker.kill()
    until(lambda: healthy(limited), 20, "new workers answer")
    after = statuses(at_once(30, lambda _: ask(limited, key)))
    assert (before, after) == ({200: 30}, {200: 10, 429: 20})


def healthy(service: Service) -> bool:
    with contextlib.suppress(httpx.TransportError):
        return ask(service, OTHER_KEY, path="/liveness").status_code == 200
    return False


def test_a_key_may_have_a_limit_of_its_own(limited: Service, own_limits: dict[str, str]) -> None:
    answers = at_once(12, lambda _: ask(limited, own_limits["tight"]))
    assert statuses(answers) == {200: 4, 429: 8}
    assert {answer.headers["RateLimit-Policy"] for answer in answers} == {'"requests";q=4;w=60'}


def test_a_key_without_limit_is_not_counted(limited: Service, own_limits: dict[str, str]) -> None:
    with limited.client(own_limits["free"]) as client:
        answers = [client.get(WHOAMI) for _ in range(100)]
    assert {answer.status_code for answer in answers} == {200}
    assert "RateLimit" not in answers[0].headers


def test_events_are_counted_one_by_one(limited: Service, own_limits: dict[str, str], mine: Mine) -> None:
    key, batch = own_limits["few"], mine.events(18)
    first = ask(limited, key, "POST", BATCH, json=batch)
    second = ask(limited, key, "POST", BATCH, json=[mine.event(f"more{number}") for number in range(8)])
    third = ask(limited, key, "POST", INGEST, json=mine.event("one"))
    assert (data_of(first, 201)["created"], data_of(third, 201)["status"]) == (18, "created")
    problem_of(second, 429, "rate_limit_exceeded", "events")
    assert second.headers["RateLimit"].startswith('"events";r=2;t=')
    assert '"events";q=20;w=60' in first.headers["RateLimit-Policy"]
    assert mine.names() == sorted([event["event_id"].removeprefix(mine.prefix) for event in batch] + ["one"])


def test_a_batch_that_no_minute_would_grant_is_refused_for_good(limited: Service, own_limits: dict[str, str], mine: Mine) -> None:
    answer = ask(limited, own_limits["few"], "POST", BATCH, json=mine.events(21))
    problem = problem_of(answer, 422, "batch_too_large", "rate_limit")
    assert "21 events at once are more than the 20 that this key may send a minute" in problem["detail"]
    assert "Retry-After" not in answer.headers
    assert mine.count() == 0


@pytest.mark.parametrize(("limit", "stored"), [(4_500, 4_000), (300, 300)], ids=["full chunks", "chunks as small as the limit"])
def test_a_stream_over_the_limit_ends_with_what_it_stored(
    limited: Service, keyset: KeysetFile, mine: Mine, limit: int, stored: int
) -> None:
    key = keyset.add(f"stream-{limit}", rate_limit=RateLimit(events_per_minute=limit))
    keyset.publish_to(limited)
    body = b"".join(json.dumps(event).encode() + b"\n" for event in mine.events(5_000))
    answer = ask(limited, key, "POST", BATCH, content=body, headers={"Content-Type": "application/x-ndjson"})
    problem = problem_of(answer, 429, "rate_limit_exceeded", "events")
    assert (problem["data"]["created"], mine.count()) == (stored, stored)


@pytest.mark.parametrize("path", ["/", "/health", "/readiness", "/liveness", "/openapi.json"])
def test_probes_are_never_limited(limited: Service, path: str) -> None:
    with limited.client(None) as client:
        answers = [client.get(path) for _ in range(100)]
    assert {(answer.status_code, "RateLimit" in answer.headers) for answer in answers} == {(200, False)}


def test_a_refused_key_gets_no_limit(limited: Service) -> None:
    answer = ask(limited, "wrong")
    assert (answer.status_code, "RateLimit" in answer.headers) == (401, False)


@pytest.mark.parametrize("path", PATHS)
def test_a_body_over_the_limit_is_refused_before_it_is_read(service: Service, path: str) -> None:
    with Raw(service) as raw:
        raw.head("POST", path, Content_Length=str((10 << 20) + 1))
        answer = raw.answer()
    problem_of(answer, 413, "request_too_large")
    assert answer.headers["connection"] == "close"


@pytest.mark.parametrize("path", PATHS)
def test_a_chunked_body_over_the_limit_is_refused_at_the_limit(service: Service, path: str) -> None:
    chunk = b"100000\r\n" + b" " * (1 << 20) + b"\r\n"
    with Raw(service) as raw:
        raw.head("POST", path, Transfer_Encoding="chunked")
        with contextlib.suppress(ConnectionError):
            for _ in range(11):
                raw.send(chunk)
        answer = raw.answer()
    problem_of(answer, 413, "request_too_large")
    assert answer.headers["connection"] == "close"


def test_a_body_at_the_limit_is_read(client: httpx.Client, mine: Mine) -> None:
    body = json.dumps(mine.event()).encode()
    data_of(client.post(INGEST, content=body + b" " * ((10 << 20) - len(body))), 201)
    assert mine.names() == ["a"]


# 100 MiB of zeros. tests/unit/test_inflate.py has a bomb in every encoding.
BOMB = gzip.compress(bytes(100 << 20), 1)


def test_a_bomb_is_refused_and_takes_no_memory(service: Service, client: httpx.Client) -> None:
    before, peak = service.memory(), 0
    for path in PATHS:
        problem_of(client.post(path, content=BOMB, headers={"Content-Encoding": "gzip"}), 413, "request_too_large")
        peak = max(peak, service.memory())
    headers = {"Content-Encoding": "gzip", "Content-Type": "application/x-ndjson"}
    problem_of(client.post(BATCH, content=BOMB, headers=headers), 413, "request_too_large", "line_too_long")
    assert max(peak, service.memory()) - before < 64 << 20


def test_a_bomb_within_a_bomb_is_still_a_bomb(client: httpx.Client) -> None:
    problem_of(
        client.post(INGEST, content=gzip.compress(BOMB), headers={"Content-Encoding": "gzip"}),
        400,
        "invalid_json",
        "invalid_json",
    )


@pytest.fixture
def narrow(database: Database) -> Iterator[Service]:
    """One worker that holds no more than 16 MiB of bodies."""
    with running(database.url, WORKERS="1", MAX_INFLATED_BYTES=str(16 << 20), MAX_INFLIGHT_BYTES=str(16 << 20)) as service:
        yield service


def test_more_bodies_than_fit_are_refused_and_stored_later(narrow: Service, database: Database) -> None:
    mine = Mine(database)
    bodies = {name: json.dumps(mine.event(name)).encode() + b" " * (9 << 20) for name in ("a", "b", "c")}
    with Raw(narrow) as first, Raw(narrow) as second, narrow.client() as client:
        # Whichever comes second does not fit.
        pair = {"a": first, "b": second}
        for name, raw in pair.items():
            raw.head("POST", INGEST, Content_Length=str(len(bodies[name])))
            raw.send(bodies[name][:-1])
        until(lambda: first.answered() or second.answered(), 5, "one of the two is refused")
        loser, winner = ("a", "b") if first.answered() else ("b", "a")
        refused = pair[loser].answer()
        data_of(client.post(INGEST, json=mine.event("small")), 201)
        pair[winner].send(bodies[winner][-1:])
        data_of(pair[winner].answer(), 201)
        data_of(client.post(INGEST, content=bodies["c"]), 201)
    problem_of(refused, 503, "overloaded", "inflight_bytes")
    assert refused.headers["Retry-After"] == "1"
    assert mine.names() == sorted([winner, "c", "small"])
