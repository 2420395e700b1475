"""SQS by boto3: the only module that speaks that driver, and where its errors become ours.

SQS has no connection. What a link received stays invisible to others for VISIBLE_AFTER seconds, longer after each `tick`; `close`
gives back what is not acknowledged.
"""

from __future__ import annotations

import base64
import contextlib
import re
import time
import uuid
import zlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import structlog
from botocore import exceptions
from botocore.config import Config

from sluice import errors
from sluice.aws import client, code_of, refuses_login
from sluice.queue.link import Message

log = structlog.get_logger()
# Of one call: its tries, and how long a receipt may wait for a message.
TIMEOUT, ATTEMPTS, LONG_POLL = 3.0, 2, 5
VISIBLE_AFTER, EXTEND_AFTER = 60, 20.0
# Entries and bytes of one SendMessageBatch (SQS developer guide, "Message quotas").
ENTRIES, REQUEST_BYTES = 10, 1 << 20
# What a message of REQUEST_BYTES holds before it is compressed and written in base64; the same, were nothing won by it, is still
# below the limit. A queue with a lower limit gets as much less.
MAX_BYTES = 700_000
# More than one of ours ever has when it is inflated.
INFLATED = 8 << 20
# Messages that are held and not acknowledged.
HELD = 100
KEPT = str(14 * 86_400)
CONTENT_TYPE, ENCODING, DEFLATE, MESSAGE_ID = "content_type", "encoding", "deflate", "message_id"
# What SQS refuses, and U+FFFD, which here stands for bytes that are no text.
NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffc\U00010000-\U0010ffff]")
MISSING = frozenset(("AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist"))


@contextlib.contextmanager
def ours() -> Iterator[None]:
    try:
        yield
    except exceptions.ClientError as error:
        code = code_of(error)
        reason = "queue_refused" if refuses_login(error) else "queue_missing" if code in MISSING else "queue_unreachable"
        log.debug("queue.error", cause=code, reason=reason)
        raise errors.QueueUnavailable(reason) from error
    except exceptions.BotoCoreError as error:
        log.debug("queue.error", cause=type(error).__name__)
        raise errors.QueueUnavailable("queue_refused" if refuses_login(error) else "queue_unreachable") from error


class SqsLink:
    """Implements queue.link.Link for `sqs://region/prefix`: the queue `logs.dead` is named `<prefix>logs-dead` there."""

    blocked = False

    def __init__(self, url: str, *queues: str) -> None:
        parts = urlsplit(url)
        self._prefix = parts.path[1:]
        config = Config(
            connect_timeout=TIMEOUT,
            read_timeout=LONG_POLL + TIMEOUT,
            retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
        )
        endpoint = dict(parse_qsl(parts.query)).get("endpoint")
        with ours():
            self._client = client("sqs", region_name=parts.hostname, endpoint_url=endpoint, config=config)
            self._urls = {queue: self._url_of(queue) for queue in queues}
            limits = [int(self._attribute(queue, "MaximumMessageSize")) for queue in queues]
        # Of a message, and of all in a request together: SQS, or what speaks like it, takes no more of them than of one.
        self._limit = min(*limits, REQUEST_BYTES)
        self.max_bytes = MAX_BYTES * self._limit // REQUEST_BYTES
        self._consumed = ""
        self._tag = 0
        # Tag to queue and receipt handle, in the order of delivery.
        self._held: dict[int, tuple[str, str]] = {}
        self._ready: list[Message] = []
        self._extended = time.monotonic()

    def close(self) -> None:
        with contextlib.suppress(errors.QueueUnavailable):
            self._make_visible(0)
        with contextlib.suppress(Exception):
            self._client.close()

    def publish(self, queue: str, messages: Iterable[Message]) -> list[str | None]:
        found: list[str | None] = []
        for entries in requests((entry_of(message) for message in messages), self._limit):
            with ours():
                try:
                    answer = self._client.send_message_batch(QueueUrl=self._urls[queue], Entries=entries)
                except self._client.exceptions.BatchRequestTooLong:
                    if len(entries) > 1:
                        raise
                    answer = {"Failed": [{"Id": entries[0]["Id"], "SenderFault": True}]}
            taken = {each["Id"] for each in answer.get("Successful", ())}
            blamed = {each["Id"] for each in answer.get("Failed", ()) if each.get("SenderFault")}
            for entry in entries:
                why = "queue_refused" if entry["Id"] in blamed else "queue_timeout"
                found.append(None if entry["Id"] in taken else why)
        return found

    def probe(self) -> None:
        for queue in self._urls:
            self.depth(queue)

    def tick(self) -> None:
        if self._held and time.monotonic() - self._extended > EXTEND_AFTER:
            self._make_visible(VISIBLE_AFTER)
            self._extended = time.monotonic()

    def consume(self, queue: str, prefetch: int) -> None:
        self._consumed = queue

    def next(self, seconds: float) -> Message | None:
        """SQS waits whole seconds: an empty queue is asked for LONG_POLL of them, a batch that has begun not at all."""
        if not self._ready and len(self._held) < HELD:
            self._ready = self._receive(self._consumed, ENTRIES, 0 if self._held else LONG_POLL)
        self.tick()
        return self._ready.pop(0) if self._ready else None

    def get(self, queue: str) -> Message | None:
        # (Without a wait only some of its servers are asked.)
        return next(iter(self._receive(queue, 1, 1)), None)

    def ack(self, tag: int, *, multiple: bool = False) -> None:
        tags = [each for each in self._held if each <= tag] if multiple else [tag]
        for queue, held in self._by_queue(tags):
            entries = [{"Id": str(each), "ReceiptHandle": self._held[each][1]} for each in held]
            with ours():
                answer = self._client.delete_message_batch(QueueUrl=self._urls[queue], Entries=entries)
            if answer.get("Failed"):
                raise errors.QueueUnavailable("queue_unreachable")
            for each in held:
                del self._held[each]

    def depth(self, queue: str) -> int:
        """About: SQS counts within a minute."""
        with ours():
            return int(self._attribute(queue, "ApproximateNumberOfMessages"))

    def _attribute(self, queue: str, name: str) -> str:
        found = self._client.get_queue_attributes(QueueUrl=self._urls[queue], AttributeNames=[name])
        return str(found["Attributes"][name])

    def _url_of(self, queue: str) -> str:
        name = self._prefix + queue.replace(".", "-")
        try:
            return str(self._client.get_queue_url(QueueName=name)["QueueUrl"])
        except self._client.exceptions.QueueDoesNotExist:
            attributes = {"MessageRetentionPeriod": KEPT, "SqsManagedSseEnabled": "true"}
            return str(self._client.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"])

    def _receive(self, queue: str, number: int, seconds: int) -> list[Message]:
        with ours():
            answer = self._client.receive_message(
                QueueUrl=self._urls[queue],
                MaxNumberOfMessages=number,
                WaitTimeSeconds=seconds,
                VisibilityTimeout=VISIBLE_AFTER,
                AttributeNames=["SentTimestamp", "ApproximateReceiveCount"],
                MessageAttributeNames=["All"],
            )
        return [self._delivered(queue, each) for each in answer.get("Messages", ())]

    def _delivered(self, queue: str, message: Any) -> Message:
        self._tag += 1
        self._held[self._tag] = (queue, message["ReceiptHandle"])
        given = message.get("MessageAttributes", {})
        # What others publish may have attributes of bytes, which say nothing here.
        headers = {name: value["StringValue"] for name, value in given.items() if "StringValue" in value}
        content_type, encoding = headers.pop(CONTENT_TYPE, None), headers.pop(ENCODING, None)
        return Message(
            decoded(message["Body"], encoding),
            content_type,
            headers,
            headers.pop(MESSAGE_ID, message["MessageId"]),
            int(message["Attributes"]["SentTimestamp"]) // 1000,
            self._tag,
            int(message["Attributes"]["ApproximateReceiveCount"]) > 1,
        )

    def _make_visible(self, seconds: int) -> None:
        """What is held is shown to others `seconds` from now. One that is shown already is stored twice by nobody."""
        for queue, held in self._by_queue(list(self._held)):
            entries = [{"Id": str(each), "ReceiptHandle": self._held[each][1], "VisibilityTimeout": seconds} for each in held]
            with ours():
                self._client.change_message_visibility_batch(QueueUrl=self._urls[queue], Entries=entries)

    def _by_queue(self, tags: Sequence[int]) -> list[tuple[str, list[int]]]:
        """`tags` in parts of one queue and at most ENTRIES."""
        of_queue = {queue: [tag for tag in tags if self._held[tag][0] == queue] for queue in self._urls}
        return [(queue, held[n : n + ENTRIES]) for queue, held in of_queue.items() for n in range(0, len(held), ENTRIES)]


def entry_of(message: Message) -> dict[str, Any]:
    """Compressed and in base64, for SQS takes only characters of XML; what others publish is text as it is.

    So is what is shorter that way: a dead letter of such a text must fit where it came from.
    """
    headers = {**message.headers, MESSAGE_ID: message.message_id or uuid.uuid4().hex}
    if message.content_type is not None:
        headers[CONTENT_TYPE] = message.content_type
    body = base64.b64encode(zlib.compress(message.body, 1)).decode()
    plain = message.body.decode("utf-8", "replace")
    if not plain or len(body) < len(message.body) or NOT_XML.search(plain):
        headers[ENCODING] = DEFLATE
    else:
        body = plain
    return {
        "Id": uuid.uuid4().hex,
        "MessageBody": body,
        # An empty value is refused.
        "MessageAttributes": {
            name: {"DataType": "String", "StringValue": NOT_XML.sub("?", str(value))} for name, value in headers.items() if value
        },
    }


def requests(entries: Iterable[dict[str, Any]], limit: int) -> Iterator[list[dict[str, Any]]]:
    """Entries in as few requests of up to `limit` bytes as hold them; one that is larger is alone."""
    request: list[dict[str, Any]] = []
    size = 0
    for entry in entries:
        own = len(entry["MessageBody"].encode()) + sum(
            len(n) + len(v["StringValue"]) + 6 for n, v in entry["MessageAttributes"].items()
        )
        if request and (len(request) == ENTRIES or size + own > limit):
            yield request
            request, size = [], 0
        request.append(entry)
        size += own
    if request:
        yield request


def decoded(body: str, encoding: str | None) -> bytes:
    """The bytes of a body; one that is not what it says is given on as it is, for the worker to name it undecodable."""
    if encoding == DEFLATE:
        with contextlib.suppress(ValueError, zlib.error):
            inflater = zlib.decompressobj()
            inflated = inflater.decompress(base64.b64decode(body, validate=True), INFLATED)
            return body.encode() if inflater.unconsumed_tail else inflated
    return body.encode()
