"""SQS before the store: what RabbitMQ's tests promise, where SQS differs."""

from __future__ import annotations

import random
import string
import time
import uuid
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.exceptions import ClientError
from tests.integration.postgres import Database
from tests.integration.scrape import events, law_broken, scrape
from tests.integration.service import running
from tests.integration.waiting import until
from tests.stores import queues
from tests.stores.aws import ENVIRONMENT, REGION, Aws

from sluice import errors
from sluice.events import Event, Rules, prepare
from sluice.queue import DEAD_LETTERS, EVENTS, messages, sqs, worker
from sluice.queue.link import Message
from sluice.queue.sqs import SqsLink

NOW = datetime.now(UTC)


@pytest.fixture
def url(aws: Aws) -> str:
    return f"sqs://{REGION}/t{uuid.uuid4().hex}-?endpoint={aws.url}"


@pytest.fixture
def link(url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[SqsLink]:
    monkeypatch.setattr(sqs, "LONG_POLL", 0)
    with closing(SqsLink(url, EVENTS, DEAD_LETTERS)) as link:
        yield link


def received(link: SqsLink) -> list[Message]:
    found = []
    while (message := link.next(0)) is not None:
        found.append(message)
    return found


def test_a_message_comes_back_as_it_was_sent_until_it_is_acknowledged(link: SqsLink, url: str) -> None:
    sent = [
        Message(f"\x00\uffff☃{number}".encode(), messages.CONTENT_TYPE, {"x-sluice-reason": "r"}, f"m-{number}")
        for number in range(25)
    ]
    assert link.publish(EVENTS, sent) == [None] * 25
    assert link.depth(EVENTS) == 25
    link.consume(EVENTS, 1)
    found = received(link)
    assert sorted((each.body, each.message_id) for each in found) == sorted((each.body, each.message_id) for each in sent)
    assert {(each.content_type, each.headers["x-sluice-reason"], each.redelivered) for each in found} == {
        (messages.CONTENT_TYPE, "r", False)
    }
    link.ack(found[19].tag, multiple=True)
    link.close()
    with closing(SqsLink(url, EVENTS)) as other:
        other.consume(EVENTS, 1)
        again = received(other)
        assert sorted(each.body for each in again) == sorted(each.body for each in found[20:])
        assert all(each.redelivered for each in again)


def test_the_biggest_chunk_fits_whatever_it_holds(link: SqsLink) -> None:
    noise = random.Random(1)
    event = Event(
        event_type="log", event_name="n", properties={"a": "".join(map(chr, noise.choices(range(32, 0xD000), k=60_000)))}
    )
    records = [prepare(event, now=NOW, key_id="k", rules=Rules()) for _ in range(10)]
    packed = [body for body, _ in messages.packed(records, NOW, link.max_bytes)]
    assert link.publish(EVENTS, [Message(body, messages.CONTENT_TYPE) for body in packed]) == [None] * len(packed)
    link.consume(EVENTS, 1)
    unpacked = [record for each in received(link) for record in messages.unpacked(each, NOW, Rules())]
    assert sorted(each.event_id for each in unpacked) == sorted(each.event_id for each in records)


def test_what_is_held_stays_invisible_to_others_for_as_long_as_it_takes(
    link: SqsLink, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqs, "VISIBLE_AFTER", 2)
    monkeypatch.setattr(sqs, "EXTEND_AFTER", 0.1)
    link.publish(EVENTS, [Message(b"{}")])
    link.consume(EVENTS, 1)
    assert len(received(link)) == 1
    with closing(SqsLink(url, EVENTS)) as other:
        other.consume(EVENTS, 1)
        give_up = time.monotonic() + 3
        while time.monotonic() < give_up:
            link.tick()
            assert other.next(0) is None
            time.sleep(0.1)
        link.close()
        assert other.next(0) is not None


def test_what_others_publish_is_read_and_fits_among_the_dead_letters_whatever_it_is(link: SqsLink) -> None:
    noise = random.Random(1)
    text = "".join(noise.choices(string.ascii_letters + string.digits + "+/", k=1_000_000))
    attributes = {"b": {"DataType": "Binary", "BinaryValue": b"\0"}, "n": {"DataType": "Number", "StringValue": "1"}}
    link._client.send_message(QueueUrl=link._urls[EVENTS], MessageBody=text, MessageAttributes=attributes)
    link.consume(EVENTS, 1)
    (found,) = received(link)
    assert (found.body, found.headers) == (text.encode(), {"n": "1"})
    assert link.publish(DEAD_LETTERS, [worker.dead_letter(found, "undecodable", "\0\ufffe" * 100_000)]) == [None]
    letter = link.get(DEAD_LETTERS)
    assert letter is not None
    assert (letter.body, letter.headers["x-sluice-detail"]) == (found.body, "?" * 1_000)


class Refusing:
    """SQS, which takes every other entry of a request."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def send_message_batch(self, *, QueueUrl: str, Entries: list[dict[str, Any]]) -> Any:  # noqa: N803
        answer = self._client.send_message_batch(QueueUrl=QueueUrl, Entries=Entries[::2])
        answer["Failed"] = [{"Id": each["Id"], "SenderFault": False, "Code": "InternalError"} for each in Entries[1::2]]
        return answer


def test_an_entry_that_is_not_taken_is_reported_and_the_others_are_queued(link: SqsLink) -> None:
    link._client = Refusing(link._client)
    assert link.publish(EVENTS, [Message(b"1"), Message(b"2"), Message(b"3")]) == [None, "queue_timeout", None]
    link.consume(EVENTS, 1)
    assert sorted(each.body for each in received(link)) == [b"1", b"3"]


class Bounded(Refusing):
    """SQS, which takes no request that is longer than a message of the queue may be; moto counts up to 1 MiB."""

    def send_message_batch(self, *, QueueUrl: str, Entries: list[dict[str, Any]]) -> Any:  # noqa: N803
        attributes = self._client.get_queue_attributes(QueueUrl=QueueUrl, AttributeNames=["MaximumMessageSize"])["Attributes"]
        if sum(len(each["MessageBody"]) for each in Entries) > int(attributes["MaximumMessageSize"]):
            code = {"Error": {"Code": "AWS.SimpleQueueService.BatchRequestTooLong", "Message": ""}}
            raise self._client.exceptions.BatchRequestTooLong(code, "SendMessageBatch")
        return self._client.send_message_batch(QueueUrl=QueueUrl, Entries=Entries)


def test_a_request_is_no_longer_than_a_message_of_the_queue_may_be(url: str, aws: Aws) -> None:
    prefix = url.partition("?")[0].rpartition("/")[2]
    for name in ("logs", "logs-dead"):
        aws.client("sqs").create_queue(QueueName=prefix + name, Attributes={"MaximumMessageSize": "262144"})
    noise = random.Random(1)
    with closing(SqsLink(url, EVENTS, DEAD_LETTERS)) as link:
        link._client = Bounded(link._client)
        sent = [Message(noise.randbytes(150_000)) for _ in range(4)]
        assert link.publish(EVENTS, sent) == [None] * 4
        sent[1] = Message(noise.randbytes(250_000))
        assert link.publish(EVENTS, sent) == [None, "queue_refused", None, None]


@pytest.mark.parametrize(
    ("status", "code", "reason"),
    [
        (403, "AccessDenied", "queue_refused"),
        (400, "KMS.AccessDeniedException", "queue_refused"),
        (400, "KMS.DisabledException", "queue_refused"),
        (400, "InvalidIdentityToken", "queue_refused"),
        (403, "InvalidSignatureException", "queue_refused"),
        (400, "KMS.ThrottlingException", "queue_unreachable"),
        (403, "RequestThrottled", "queue_unreachable"),
        (400, "AWS.SimpleQueueService.NonExistentQueue", "queue_missing"),
        (500, "InternalError", "queue_unreachable"),
    ],
)
def test_what_sqs_refuses_has_one_of_our_reasons(link: SqsLink, status: int, code: str, reason: str) -> None:
    def refuse(**_: Any) -> None:
        raise ClientError({"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}, "SendMessageBatch")

    link._client.meta.events.register("before-call.sqs", refuse)
    with pytest.raises(errors.QueueUnavailable, match=f"^{reason}$"):
        link.publish(EVENTS, [Message(b"{}")])


@pytest.mark.usefixtures("aws")
def test_a_place_where_nobody_answers_is_unreachable() -> None:
    with pytest.raises(errors.QueueUnavailable, match="queue_unreachable"):
        SqsLink(f"sqs://{REGION}/?endpoint=http://127.0.0.1:1", EVENTS)


def test_from_the_service_to_the_store_and_the_dead_letters(url: str, database: Database, aws: Aws) -> None:
    batch: list[dict[str, Any]] = [{"event_type": "log", "event_name": "n", "event_id": f"e-{n}"} for n in range(1_000)]
    with (
        running(queues.NO_DATABASE, ready_within=40, QUEUE_URL=url, WORKERS="1", **ENVIRONMENT) as service,
        service.client() as client,
    ):
        until(lambda: client.post("/api/v1/ingest", json=batch[0]).status_code == 201, 20, "the queue is there")
        answer = client.post("/api/v1/batch-ingest", json=batch)
        assert (answer.status_code, answer.json()["data"]["queued"]) == (201, 1_000)
        assert client.post("/api/v1/batch-ingest?atomic=true", json=batch).status_code == 501
        text = scrape(service)
        assert (events(text)["batch"]["queued"], law_broken(text)) == (1_000, {})
        with closing(SqsLink(url, EVENTS)) as link:
            link._client.send_message(QueueUrl=link._urls[EVENTS], MessageBody="poison")
            link._client.send_message(QueueUrl=link._urls[EVENTS], MessageBody='{"level": "info"}')
        with queues.worker(url, database.url, **ENVIRONMENT) as running_worker, closing(SqsLink(url, DEAD_LETTERS)) as dead:
            until(lambda: database.count() == 1_001, 60, "all are stored but the poison")
            # Only now, for SQS keeps no order, and nor do commits at the same time.
            assert client.post("/api/v1/ingest", json={**batch[0], "source": "other"}).json()["data"]["status"] == "queued"
            until(lambda: dead.depth(DEAD_LETTERS) == 2, 60, "two dead letters")
            listed = queues.sluice(url, database.url, "dead-letters", "list")
            assert ("conflict" in listed, "undecodable" in listed) == (True, True)
            database.execute("DELETE FROM sluice.events WHERE event_id = 'e-0'")
            assert "replayed 2" in queues.sluice(url, database.url, "dead-letters", "replay", "--all")
            until(
                lambda: database.execute("SELECT 1 FROM sluice.events WHERE event_id = 'e-0'") == [(1,)], 30, "it is stored now"
            )
            assert running_worker.metric("sluice_worker_dead_letters_total", reason="conflict") == 1
