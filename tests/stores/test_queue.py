"""The service before a queue: what it answers, and what is then on the broker's disk."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from tests.conftest import ROOT
from tests.integration.postgres import Database
from tests.integration.scrape import events, law_broken, scrape
from tests.integration.service import Service, running
from tests.integration.waiting import until
from tests.stores import queues
from tests.stores.queues import NO_DATABASE
from tests.stores.rabbitmq import Broker

from sluice import doctor, errors
from sluice.events import Record, Rules
from sluice.queue import DEAD_LETTERS, EVENTS, messages
from sluice.queue.broker import DEADLINE, Link
from sluice.queue.link import Message
from sluice.settings import Settings

# To start RabbitMQ takes most of a minute where other tests take its cores.
pytestmark = pytest.mark.timeout(400)
EVENT = {"event_type": "log", "event_name": "n", "properties": {"a": 1.50, "b": 10**30}}
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture
def service(queue_url: str) -> Iterator[Service]:
    """A service in queue mode, whose database is away."""
    with running(NO_DATABASE, QUEUE_URL=queue_url, WORKERS="1", ANONYMOUS_PATHS="/,/log", RETENTION_DAYS="30") as service:
        yield service


@pytest.fixture
def client(service: Service) -> Iterator[httpx.Client]:
    with service.client() as client:
        yield client


def records(url: str) -> list[Record]:
    """What waits in the queue, as a worker would store it."""
    return [record for message in queues.waiting(url) for record in messages.unpacked(message, datetime.now(UTC), Rules())]


def test_an_event_is_queued_on_disk_before_the_answer_and_without_the_database(client: httpx.Client, queue_url: str) -> None:
    answer = client.post("/api/v1/ingest", json={**EVENT, "event_id": "e-1"}, headers={"traceparent": TRACE})
    assert (answer.status_code, answer.json()["data"]) == (201, {"event_id": "e-1", "id": None, "status": "queued"})
    (record,) = records(queue_url)
    assert (record.event_id, record.event.properties, record.traceparent) == ("e-1", EVENT["properties"], TRACE)


def test_an_id_that_the_service_assigned_is_the_one_that_is_stored(client: httpx.Client, queue_url: str) -> None:
    answer = client.post("/api/v1/ingest", json=EVENT)
    assert [record.event_id for record in records(queue_url)] == [answer.json()["data"]["event_id"]]


def test_a_batch_is_one_message_and_its_counts_say_queued(client: httpx.Client, queue_url: str) -> None:
    batch = [{**EVENT, "event_id": f"b-{number}"} for number in range(1_000)]
    answer = client.post("/api/v1/batch-ingest", json=batch)
    data = answer.json()["data"]
    assert (answer.status_code, data["queued"], data["logs_processed"], data["results"]) == (201, 1_000, 1_000, [])
    assert queues.depth(queue_url) == 1
    assert [record.event_id for record in records(queue_url)] == [event["event_id"] for event in batch]


def test_a_bad_item_of_a_batch_does_not_stop_its_neighbours(client: httpx.Client, queue_url: str, service: Service) -> None:
    old = (datetime.now(UTC) - timedelta(days=31)).isoformat()
    answer = client.post("/api/v1/batch-ingest?results=all", json=[EVENT, {**EVENT, "timestamp": old}])
    results = answer.json()["data"]["results"]
    assert (answer.status_code, [item["status"] for item in results]) == (200, ["queued", "invalid"])
    assert results[1]["reason"] == "too_old"
    assert len(records(queue_url)) == 1
    text = scrape(service)
    assert (events(text)["batch"]["queued"], law_broken(text)) == (1, {})


def test_the_clients_of_seeds_000_and_004_get_their_answers(client: httpx.Client, queue_url: str) -> None:
    report = client.post("/", json={"service": "s", "endpoint": "/e", "error": "x", "traceback": "t"})
    log = client.post("/log", json={"level": "info"})
    assert (report.status_code, report.content) == (204, b"")
    assert (log.status_code, log.json()["message"]) == (202, "Log accepted")
    assert [record.event.event_type for record in records(queue_url)] == ["error", "log"]


def test_a_stream_is_queued_chunk_by_chunk(client: httpx.Client, queue_url: str) -> None:
    lines = b'{"event_type": "log", "event_name": "n"}\n' * 2_500
    answer = client.post("/api/v1/batch-ingest", content=lines, headers={"Content-Type": "application/x-ndjson"})
    assert (answer.status_code, answer.json()["data"]["queued"]) == (201, 2_500)
    assert len({record.event_id for record in records(queue_url)}) == 2_500


@pytest.mark.parametrize(
    ("query", "headers", "reason"), [("?atomic=true", {}, "atomic"), ("", {"Idempotency-Key": "k"}, "idempotency_keys")]
)
def test_what_only_a_commit_can_promise_is_501(
    client: httpx.Client, queue_url: str, query: str, headers: dict[str, str], reason: str
) -> None:
    answer = client.post(f"/api/v1/batch-ingest{query}", json=[EVENT, {"event_type": "no"}], headers=headers)
    assert (answer.status_code, answer.json()["reason"]) == (501, reason)
    assert reason not in client.get("/api/v1/limits").json()["data"]["store"]
    assert queues.depth(queue_url) == 0


def unavailable(client: httpx.Client, reason: str) -> None:
    """A post is refused in time, with a Retry-After."""
    began = time.monotonic()
    answer = client.post("/api/v1/ingest", json=EVENT)
    took = time.monotonic() - began
    assert (answer.status_code, answer.json()["reason"]) == (503, reason)
    assert answer.headers["Retry-After"].isdigit()
    assert took < 0.25


def test_a_full_queue_is_503_and_nothing_is_dropped(queue_url: str) -> None:
    queues.bounded(queue_url, 3)
    with running(NO_DATABASE, QUEUE_URL=queue_url, WORKERS="1") as service, service.client() as client:
        answers = [client.post("/api/v1/ingest", json=EVENT) for _ in range(5)]
        taken = [answer.json()["data"]["event_id"] for answer in answers if answer.status_code == 201]
        unavailable(client, "queue_full")
        whole = client.post("/api/v1/batch-ingest", json=[EVENT])
        assert (whole.status_code, whole.json()["reason"]) == (503, "queue_full")
    assert [record.event_id for record in records(queue_url)] == taken
    assert len(taken) < 5


def test_a_queue_that_is_gone_is_503_once_and_made_again(client: httpx.Client, queue_url: str) -> None:
    assert client.post("/api/v1/ingest", json=EVENT).status_code == 201
    queues.delete(queue_url)
    unavailable(client, "queue_missing")
    until(lambda: client.post("/api/v1/ingest", json=EVENT).status_code == 201, 10, "the queue is there again")
    assert len(records(queue_url)) == 1


def test_a_broker_that_dies_or_is_blocked_is_503_until_it_takes_messages_again(broker: Broker, queue_url: str) -> None:
    with running(NO_DATABASE, QUEUE_URL=queue_url, WORKERS="1") as service, service.client() as client:
        assert client.post("/api/v1/ingest", json=EVENT).status_code == 201
        broker.alarm(on=True)
        unavailable(client, "queue_blocked")
        broker.alarm(on=False)
        until(lambda: client.post("/api/v1/ingest", json=EVENT).status_code == 201, 10, "the alarm is over")
        broker.kill()
        unavailable(client, "queue_unreachable")
        assert service.ready()
        broker.start()
        until(lambda: client.post("/api/v1/ingest", json=EVENT).status_code == 201, 10, "the service is connected again")
    # The blocked one may have been taken in the end: its client was not told so, and sends it again.
    assert queues.depth(queue_url) in (3, 4)


def test_a_service_without_a_broker_is_not_ready(database: Database) -> None:
    with running(database.url, ready_within=None, QUEUE_URL="amqp://127.0.0.1:1", WORKERS="1") as service:
        until(lambda: service.lines("readiness"), 20, "readiness is judged")
        assert service.admin("/readiness") == (503, {"ready": False, "message": "queue_unreachable"})


@pytest.mark.parametrize("given", [{"durable": False, "auto_delete": False}, {"durable": True, "auto_delete": True}], ids=str)
def test_a_queue_that_would_lose_what_it_confirms_takes_nothing_until_it_is_deleted(
    queue_url: str, given: dict[str, bool]
) -> None:
    with queues.channel(queue_url) as channel:
        channel.queue_declare(EVENTS, **given)
    with running(NO_DATABASE, ready_within=None, QUEUE_URL=queue_url, WORKERS="1") as service, service.client() as client:
        until(lambda: service.admin("/readiness")[1]["message"] == "queue_not_durable", 20, "readiness names it")
        unavailable(client, "queue_not_durable")
        (line,) = service.lines("queue.lost")
        assert "rabbitmqctl delete_queue" in line["fix"]
        with queues.channel(queue_url) as channel:
            assert channel.queue_declare(EVENTS, passive=True).message_count == 0
        queues.delete(queue_url)
        until(lambda: client.post("/api/v1/ingest", json=EVENT).status_code == 201, 10, "Sluice made another")
    assert len(records(queue_url)) == 1


def test_a_queue_that_another_connection_holds_is_no_broker_that_is_away(queue_url: str) -> None:
    with queues.channel(queue_url) as channel:
        channel.queue_declare(EVENTS, exclusive=True)
        with pytest.raises(errors.QueueUnavailable, match="queue_refused"):
            Link(queue_url, EVENTS)


def test_the_rights_that_the_docs_list_are_enough_and_without_them_the_doctor_says_so(broker: Broker, queue_url: str) -> None:
    broker.control("add_user", "sluice", "password")
    theirs = queue_url.replace("guest:guest", "sluice:password")
    rights = re.search(r"rabbitmqctl set_permissions sluice '(.*)' '(.*)' '(.*)'", (ROOT / "docs/queue.md").read_text())
    assert rights is not None
    try:
        (finding,) = doctor.queue(Settings(queue_url=theirs))
        assert (finding.verdict, finding.what) == ("failed", "the queue cannot be used: queue_refused")
        assert "docs/queue.md" in finding.fix
        broker.control("set_permissions", "sluice", *rights.groups())
        with contextlib.closing(Link(theirs, EVENTS, DEAD_LETTERS)) as link:
            assert [link.publish(queue, [Message(b"{}")]) for queue in (EVENTS, DEAD_LETTERS)] == [[None], [None]]
            assert link.get(EVENTS) is not None
        assert [each.verdict for each in doctor.queue(Settings(queue_url=theirs))] == ["ok"]
    finally:
        broker.control("delete_user", "sluice")


@pytest.mark.usefixtures("queue_url")
@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_no_step_waits_for_ever_for_a_broker_that_hangs(broker: Broker, queue_url: str, tls: bool) -> None:
    """Its machine answers, so no connection is lost: a frozen virtual machine, a node that has lost the others."""
    url = f"{broker.tls_url}?cacertfile={broker.authority}" if tls else queue_url
    steps: list[Callable[[Link], object]] = [
        lambda link: link.depth(EVENTS),
        lambda link: link.get(EVENTS),
        lambda link: link.consume(EVENTS, 1),
    ]
    for step in steps:
        with contextlib.closing(Link(url, EVENTS)) as link, broker.frozen():
            began = time.monotonic()
            with pytest.raises(errors.QueueUnavailable, match="queue_unreachable"):
                step(link)
            assert time.monotonic() - began < 3 * DEADLINE


def test_tls_is_verified(broker: Broker) -> None:
    with pytest.raises(errors.QueueUnavailable, match="queue_refused"):
        Link(broker.tls_url)
    with pytest.raises(errors.QueueUnavailable, match="queue_refused"):
        Link(f"{broker.tls_url.replace('localhost', '127.0.0.1')}?cacertfile={broker.authority}")
    with contextlib.closing(Link(f"{broker.tls_url}?cacertfile={broker.authority}", EVENTS)) as link:
        assert link.publish(EVENTS, [Message(b"{}")]) == [None]


def test_a_wrong_password_is_reported_as_such(broker: Broker) -> None:
    with pytest.raises(errors.QueueUnavailable, match="queue_refused"):
        Link(broker.url.replace("guest:guest", "guest:wrong"))
