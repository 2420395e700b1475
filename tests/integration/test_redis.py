"""What pods share by Redis: limits that hold for all of them, answers that one of them makes. Without it nothing fails."""

from __future__ import annotations

import itertools
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import redis
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs
from tests.certificates import Authority
from tests.integration.postgres import Database
from tests.integration.redis_server import RedisServer
from tests.integration.scrape import scrape, values
from tests.integration.service import OTHER_KEY, running
from tests.integration.waiting import until
from tools.ports import free_port

from sluice.limiter import SharedCounters
from sluice.metrics import Metrics
from sluice.redis import connection as redis_connection
from sluice.redis.cache import RedisCache
from sluice.redis.connection import Away, Connection
from sluice.redis.counters import RedisCounters

pytestmark = pytest.mark.needs("redis-server")
INGEST = "/api/v1/ingest"
EVENT = {"event_type": "log", "event_name": "of a limit"}


@pytest.fixture(scope="module")
def shared_redis() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.fixture
def redis_server(shared_redis: RedisServer) -> RedisServer:
    with shared_redis.client() as client:
        client.flushall()
    return shared_redis


class Clock:
    """Seconds that pass when the test says so."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


def connection(server: RedisServer, pause: Callable[[float], object] = time.sleep) -> Connection:
    return Connection(server.url, pause=pause)


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine Redis is late now and then, and then each process has its own limit for a while."""
    monkeypatch.setattr(redis_connection, "TIMEOUT", 10.0)


def processes(server: RedisServer, number: int, clock: Clock) -> list[RedisCounters]:
    return [RedisCounters(connection(server), SharedCounters(None, 1), clock) for _ in range(number)]


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize("limit", [1, 100, 20_000])
def test_twelve_processes_together_grant_a_limit_to_5_percent_and_never_more(redis_server: RedisServer, limit: int) -> None:
    granted = 0
    waiting = processes(redis_server, 12, Clock())
    # In turns, until one refuses: the worst for those that hold a part.
    for process in itertools.cycle(waiting):
        allowed, left, seconds = process.spend("requests/a", 1, limit)
        assert 0 <= left <= limit
        assert 0 < seconds <= 60
        if not allowed:
            break
        granted += 1
    assert 0.95 * limit <= granted <= limit
    while any(process.spend("requests/a", 1, limit)[0] for process in waiting):
        granted += 1
        assert granted <= limit


@pytest.mark.usefixtures("patient")
def test_a_cost_is_granted_as_a_whole_or_not_at_all(redis_server: RedisServer) -> None:
    one, other = processes(redis_server, 2, Clock())
    assert one.spend("events/a", 900, 1_000)[0]
    assert not other.spend("events/a", 200, 1_000)[0]
    assert other.spend("events/a", 90, 1_000)[0]
    assert one.spend("events/b", 1_000, 1_000)[0]


def test_a_new_window_grants_again(redis_server: RedisServer) -> None:
    clock = Clock()
    (process,) = processes(redis_server, 1, clock)
    assert [process.spend("requests/a", 1, 2)[0] for _ in range(3)] == [True, True, False]
    clock.now += 61
    with redis_server.client() as client:
        assert 0 < client.pttl("sluice:limit:requests/a") <= 60_000
        client.delete("sluice:limit:requests/a")
    assert process.spend("requests/a", 1, 2)[0]


@pytest.mark.usefixtures("patient")
def test_many_requests_need_few_round_trips(redis_server: RedisServer) -> None:
    (process,) = processes(redis_server, 1, Clock())
    with redis_server.client() as client:
        before = client.info("commandstats")["cmdstat_eval"]["calls"] if "cmdstat_eval" in client.info("commandstats") else 0
        assert sum(process.spend("requests/a", 1, 3_000)[0] for _ in range(4_000)) == 3_000
        assert client.info("commandstats")["cmdstat_eval"]["calls"] - before <= 301


def test_without_redis_each_pod_has_its_own_limit_and_a_metric_reports(redis_server: RedisServer) -> None:
    registry = CollectorRegistry()
    back = threading.Event()
    process = RedisCounters(
        Connection(redis_server.url, Metrics(registry).redis_away, lambda _: back.wait(20)), SharedCounters(None, 1)
    )
    redis_server.kill()
    try:
        assert [process.spend("requests/a", 1, 2)[0] for _ in range(3)] == [True, True, False]
        assert registry.get_sample_value("sluice_redis_away_total", {"use": "limits"}) == 3
    finally:
        redis_server.start()
    back.set()
    until(lambda: process.spend("requests/b", 1, 1_000)[0] and asked(redis_server, "sluice:limit:requests/b"), 10)


def asked(server: RedisServer, key: str) -> bool:
    with server.client() as client:
        return bool(client.exists(key))


@pytest.mark.parametrize("found", ["5", "-100", "garbage", "1e300", b"\xff", None])
def test_what_others_leave_in_redis_refuses_nobody_and_breaks_nothing(
    redis_server: RedisServer, found: str | bytes | None
) -> None:
    with redis_server.client() as client:
        client.flushall()
        for name in ("sluice:limit:k", "sluice:cache:g"):
            if found is None:
                client.lpush(name, "a list")
            else:
                client.set(name, found)
        connection = Connection(redis_server.url)
        spent = [RedisCounters(connection, SharedCounters(None, 1)).spend("k", 5, 5)[0] for _ in range(2)]
        assert (spent, 0 < client.pttl("sluice:limit:k") <= 60_000) == ([True, False], True)
        cache = RedisCache(connection)
        assert cache.through("g", "n", 5, lambda: b"before") == b"before"
        RedisCache(Connection(redis_server.url)).forget("g")
        assert RedisCache(Connection(redis_server.url)).through("g", "n", 5, lambda: b"after") == b"after"
        client.flushall()


def test_a_redis_that_takes_nothing_is_away_until_it_does(redis_server: RedisServer) -> None:
    with redis_server.client() as client:
        client.config_set("maxmemory", 1)
        try:
            with pytest.raises(Away, match="OutOfMemoryError"):
                Connection(redis_server.url).check()
        finally:
            client.config_set("maxmemory", 0)
        Connection(redis_server.url).check()


def test_a_cluster_is_away_whichever_of_its_servers_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of its keys are elsewhere: limits would be shared now and then, and away in between."""
    monkeypatch.setattr(redis_connection, "TIMEOUT", 10.0)  # a busy machine's Redis would be away for that
    buses = [str(free_port()), str(free_port())]
    with ExitStack() as stack:
        servers = [stack.enter_context(RedisServer("--cluster-enabled", "yes", "--cluster-port", bus)) for bus in buses]
        clients = [stack.enter_context(server.client()) for server in servers]
        for client, slots in zip(clients, ((0, 8_191), (8_192, 16_383)), strict=True):
            client.execute_command("CLUSTER", "ADDSLOTSRANGE", *slots)
        clients[0].execute_command("CLUSTER", "MEET", "127.0.0.1", servers[1].port, buses[1])
        until(lambda: all(client.cluster("info")["cluster_state"] == "ok" for client in clients), 20, "a cluster")
        for server in servers:
            with pytest.raises(Away, match="MovedError"):
                Connection(server.url).check()
        counters = RedisCounters(Connection(servers[0].url, pause=lambda _: time.sleep(0.05)), SharedCounters(None, 1))
        with capture_logs() as lines:
            assert all(counters.spend(f"requests/{n}", 1, 5)[0] for n in range(20))
        assert [line["fix"] for line in lines] == [redis_connection.NO_CLUSTER]


def test_after_a_failover_the_name_is_asked_for_anew(redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A primary that became a replica keeps its connections, and refuses every write on them for ever."""
    system, ports = socket.getaddrinfo, [redis_server.port]

    def resolve(host: str, port: int, *more: Any) -> Any:
        return system("127.0.0.1", ports[-1], *more) if host == "redis.test" else system(host, port, *more)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    with RedisServer() as promoted, redis_server.client() as demoted:
        process = RedisCounters(Connection("redis://redis.test:6379", pause=lambda _: time.sleep(0.05)), SharedCounters(None, 1))
        assert process.spend("requests/a", 1, 5)[0]
        demoted.replicaof("127.0.0.1", promoted.port)
        ports.append(promoted.port)
        try:
            until(lambda: process.spend("requests/b", 1, 1_000)[0] and asked(promoted, "sluice:limit:requests/b"), 10)
        finally:
            demoted.replicaof("NO", "ONE")


def test_one_that_is_lost_again_and_again_is_looked_for_less_often(redis_server: RedisServer) -> None:
    pauses: list[float] = []
    connection = Connection(redis_server.url, pause=pauses.append)

    def fail(_client: Any) -> None:
        raise redis.ResponseError("wrong type")

    for number in range(1, 7):
        with pytest.raises(Away):
            connection.call("cache", fail)
        until(lambda number=number: len(pauses) == number and not connection._away, 5, "it is back")  # type: ignore[misc]
    assert pauses == [1, 2, 4, 8, 16, 30]


def test_a_redis_that_hangs_is_waited_for_once(redis_server: RedisServer) -> None:
    tries: list[float] = []
    (process,) = (RedisCounters(connection(redis_server, tries.append), SharedCounters(None, 1)) for _ in range(1))
    assert process.spend("requests/a", 1, 10_000)[0]
    with redis_server.frozen():
        for number in range(50):
            assert process.spend(f"requests/{number}", 1, 10_000)[0]
    until(lambda: tries, 5, "a thread looks whether it is back")


def test_one_process_makes_an_answer_and_the_others_wait_for_it(redis_server: RedisServer) -> None:
    caches = [RedisCache(connection(redis_server)) for _ in range(8)]
    made: list[int] = []
    begun, go = threading.Event(), threading.Event()

    def fill() -> bytes:
        made.append(1)
        begun.set()
        go.wait(10)
        return b"[1]"

    with ThreadPoolExecutor(8) as pool:
        first = pool.submit(caches[0].through, "events", "figures", 60, fill)
        assert begun.wait(10)
        others = [pool.submit(cache.through, "events", "figures", 60, fill) for cache in caches[1:]]
        go.set()
        assert [each.result(10) for each in (first, *others)] == [b"[1]"] * 8
    assert made == [1]


def test_what_was_forgotten_is_not_read_again_also_when_it_was_being_made(redis_server: RedisServer) -> None:
    cache, other = RedisCache(connection(redis_server)), RedisCache(connection(redis_server))
    assert cache.through("errors", "list", 60, lambda: b"before") == b"before"
    assert other.through("errors", "list", 60, lambda: b"unused") == b"before"

    def fill() -> bytes:
        other.forget("errors")
        return b"late"

    other.forget("errors")
    assert cache.through("errors", "list", 60, fill) == b"late"
    assert other.through("errors", "list", 60, lambda: b"after") == b"after"
    assert other.through("events", "list", 60, lambda: b"another group") == b"another group"


def test_an_answer_that_could_not_be_made_is_tried_anew_at_once(redis_server: RedisServer) -> None:
    cache = RedisCache(connection(redis_server))

    def fail() -> bytes:
        raise ValueError("of the test")

    with pytest.raises(ValueError, match="of the test"):
        cache.through("events", "figures", 60, fail)
    assert cache.through("events", "figures", 60, lambda: b"made") == b"made"


def test_without_redis_every_answer_is_made(redis_server: RedisServer) -> None:
    cache = RedisCache(connection(redis_server, lambda _: time.sleep(20)))
    redis_server.kill()
    try:
        numbers = itertools.count()
        assert [cache.through("events", "figures", 60, lambda: b"%d" % next(numbers)) for _ in range(3)] == [b"0", b"1", b"2"]
        cache.forget("events")
    finally:
        redis_server.start()


def test_two_pods_grant_one_limit_and_go_on_without_redis(redis_server: RedisServer, database: Database) -> None:
    with ExitStack() as stack:
        pods = [
            stack.enter_context(running(database.url, REDIS_URL=redis_server.url, RATE_LIMIT_REQUESTS_PER_MINUTE="40"))
            for _ in range(2)
        ]
        clients = [stack.enter_context(pod.client()) for pod in pods]
        statuses = [clients[number % 2].post(INGEST, json=EVENT).status_code for number in range(60)]
        assert (statuses.count(201), statuses.count(429)) == (40, 20)
        refused = clients[0].post(INGEST, json=EVENT)
        assert 0 < int(refused.headers["Retry-After"]) <= 60
        assert database.count() == 40
        redis_server.kill()
        try:
            others = [stack.enter_context(pod.client(OTHER_KEY)) for pod in pods]
            assert [client.post(INGEST, json=EVENT).status_code for client in others for _ in range(2)] == [201] * 4
            until(lambda: values(scrape(pods[0]))["sluice_redis_away_total", (("use", "limits"),)] >= 1, 5)
            assert database.count() == 44
        finally:
            redis_server.start()


def test_figures_come_from_the_cache_and_without_redis_from_the_store(redis_server: RedisServer, database: Database) -> None:
    with running(database.url, REDIS_URL=redis_server.url) as pod, pod.client() as client:
        assert client.get("/api/v1/metrics").json()["data"]["total_logs"] == 0
        assert client.post(INGEST, json=EVENT).status_code == 201
        assert client.get("/api/v1/metrics").json()["data"]["total_logs"] == 0
        assert client.get("/api/v1/status").json()["data"]["database"]["total_logs"] == 1
        redis_server.kill()
        try:
            assert client.get("/api/v1/metrics").json()["data"]["total_logs"] == 1
        finally:
            redis_server.start()


def test_a_list_of_errors_is_kept_until_one_is_resolved(redis_server: RedisServer, database: Database) -> None:
    error = {"event_type": "error", "event_name": "of a list", "properties": {"message": "boom"}}
    with running(database.url, REDIS_URL=redis_server.url) as pod, pod.client() as client:

        def listed() -> list[dict[str, object]]:
            return list(client.get("/api/v1/errors").json()["data"]["errors"])

        client.post(INGEST, json=error)
        [group] = listed()
        client.post(INGEST, json=error)
        assert listed() == [group]
        assert client.post(f"/api/v1/errors/{group['fingerprint']}/resolve").status_code == 200
        assert [(each["status"], each["count"]) for each in listed()] == [("resolved", 2)]


def test_tls_is_verified_by_the_ca_that_the_url_names(tmp_path: Path) -> None:
    authority, port = Authority(), free_port()
    certificate, key = authority.sign("localhost")
    options = ["--tls-port", str(port), "--tls-auth-clients", "no"]
    for name, text in (("ca-cert", authority.certificate), ("cert", certificate), ("key", key)):
        (tmp_path / name).write_text(text)
        options += [f"--tls-{name}-file", str(tmp_path / name)]
    with RedisServer(*options):
        Connection(f"rediss://localhost:{port}?ssl_ca_certs={tmp_path}/ca-cert").check()
        for url in (f"rediss://localhost:{port}", f"rediss://127.0.0.1:{port}?ssl_ca_certs={tmp_path}/ca-cert"):
            with pytest.raises(Away):
                Connection(url).check()
