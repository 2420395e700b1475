"""RabbitMQ by py-amqp: the only module that speaks the driver, and where its errors become ours.

A `Link` belongs to one thread at a time, for py-amqp reads and writes on the caller's.
"""

from __future__ import annotations

import contextlib
import logging
import ssl
import time
import uuid
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import amqp
import structlog
from amqp import exceptions, serialization, spec

from sluice import errors
from sluice.queue import DEAD_LETTERS
from sluice.queue import messages as contents
from sluice.queue.link import Message

log = structlog.get_logger()
# It warns of what it then raises.
logging.getLogger("amqp").setLevel(logging.CRITICAL)

# Of one step: to connect, to confirm a window, to declare.
DEADLINE = 5.0
HEARTBEAT = 20
PERSISTENT = 2
PORTS = {"amqp": 5672, "amqps": 5671}
# Nobody reads it: what is published there is dropped and confirmed, so that a broker that takes nothing says so.
NOWHERE = "sluice.nowhere"
# A quorum queue of RabbitMQ 4 drops what was delivered 20 times.
UNLIMITED = {"x-delivery-limit": -1}

read_properties = serialization.decode_properties_basic


def properties_of(buffer: Any, offset: int) -> tuple[dict[str, Any], int]:
    """The properties of a message; none when the driver cannot read them (a date beyond its calendar, a name that is no UTF-8).

    It would raise in the midst of a delivery: that message, which comes again and again, would end every worker.
    """
    try:
        found: tuple[dict[str, Any], int] = read_properties(buffer, offset)
    except Exception as error:
        log.warning("queue.properties", cause=type(error).__name__, effect="the message is read without its headers")
        return {}, len(buffer)
    return found


serialization.PROPERTY_CLASSES[spec.Basic.CLASS_ID] = properties_of
REFUSED = (
    exceptions.AccessRefused,
    exceptions.AMQPNotImplementedError,
    exceptions.NotAllowed,
    exceptions.PreconditionFailed,
    exceptions.ResourceLocked,
    ssl.SSLCertVerificationError,
)
# RabbitMQ names the first property in which a queue differs; these come before all arguments.
NOT_DURABLE = ("arg 'durable'", "arg 'auto_delete'")


@contextlib.contextmanager
def ours() -> Iterator[None]:
    """Driver errors become QueueUnavailable. Nothing of their text goes further: it may quote user or address."""
    try:
        yield
    except (exceptions.AMQPError, exceptions.MessageNacked, OSError) as error:
        reason = "queue_refused" if isinstance(error, REFUSED) else "queue_unreachable"
        # A broken link is a transport that is None inside of the driver, too.
        log.debug("queue.error", cause=type(error).__name__, code=getattr(error, "code", None), reason=reason)
        raise errors.QueueUnavailable(reason) from error


class Link:
    """Implements queue.link.Link: one connection with one channel, on which every message is confirmed."""

    max_bytes = contents.MAX_BYTES

    def __init__(self, url: str, *queues: str) -> None:
        """Connect, and declare `queues` where they are not there."""
        self.blocked = False
        self._sent = 0
        # Delivery tags to message ids, of what is published and not confirmed.
        self._waiting: dict[int, str] = {}
        self._refused: dict[str, str] = {}
        self._delivered: list[Message] = []
        with ours():
            self._connection = amqp.Connection(**parameters(url), on_blocked=self._on_blocked, on_unblocked=self._on_unblocked)
            try:
                self._connection.connect()
                # Of each read: `read_timeout` is not for one within a frame.
                self._connection.transport.sock.settimeout(DEADLINE)
                for queue in queues:
                    self._declare(queue)
                self._channel = self._open()
            except BaseException:
                self.close()
                raise

    def close(self) -> None:
        """Never waits for a broker that does not answer, and never fails."""
        with contextlib.suppress(Exception):
            self._connection.send_method((10, 50), "BsBB", (200, "", 0, 0))
        with contextlib.suppress(Exception):
            self._connection.collect()

    def publish(self, queue: str, messages: Iterable[Message]) -> list[str | None]:
        """Publish in one confirm window; per message why it was not taken, or None: then it is on the broker's disk."""
        self._waiting.clear()
        self._refused.clear()
        ids = []
        with ours():
            for message in messages:
                ids.append(message.message_id or uuid.uuid4().hex)
                self._put(queue, message, ids[-1])
            self._settle()
        left = dict.fromkeys(self._waiting.values(), "queue_blocked" if self.blocked else "queue_timeout")
        why = {**left, **self._refused}
        return [why.get(each) for each in ids]

    def probe(self) -> None:
        """Keep the connection alive, and learn whether the broker takes messages: `blocked`. Raises when it does not answer."""
        with ours():
            self._connection.heartbeat_tick()
            while self._read(0):
                pass
            if not self.blocked:
                self._waiting.clear()
                self._put(NOWHERE, Message(b""), "", mandatory=False)
                self._settle()
                if self._waiting and not self.blocked:
                    raise errors.QueueUnavailable("queue_timeout")

    def tick(self) -> None:
        """Keep the connection alive without reading what else is delivered."""
        with ours():
            self._connection.send_heartbeat()

    def consume(self, queue: str, prefetch: int) -> None:
        with ours():
            self._channel.basic_qos(0, prefetch, False)
            self._channel.basic_consume(queue, callback=lambda message: self._delivered.append(delivered(message)))

    def next(self, seconds: float) -> Message | None:
        """The next message of `consume`, in the order of delivery; None when none comes within `seconds`."""
        give_up = time.monotonic() + seconds
        with ours():
            while not self._delivered:
                left = give_up - time.monotonic()
                if left <= 0 or not self._read(left):
                    self._connection.heartbeat_tick()
                    return None
        return self._delivered.pop(0)

    def get(self, queue: str) -> Message | None:
        """One message, held until `ack`, or until the link closes: then it is back in its place."""
        with ours():
            found = self._channel.basic_get(queue)
            return delivered(found) if found is not None else None

    def ack(self, tag: int, *, multiple: bool = False) -> None:
        with ours():
            self._channel.basic_ack(tag, multiple)

    def depth(self, queue: str) -> int:
        """How many messages wait there."""
        with ours():
            return int(self._channel.queue_declare(queue, passive=True).message_count)

    def _declare(self, queue: str) -> None:
        """As seed 004 declares it; one that is there, of whatever kind and bounds, is taken as it is.

        The dead letters are ours alone: where a queue is a quorum queue by default, none goes because it was looked at often.

        But for one that goes with the broker, or with its last consumer: its messages would be confirmed, and lost then.
        """
        there = True
        try:
            self._connection.channel().queue_declare(queue, passive=True)
        except exceptions.NotFound:
            there = False
            if queue == DEAD_LETTERS:
                # A broker refuses what its kind of queue does not have.
                with contextlib.suppress(exceptions.PreconditionFailed, exceptions.AccessRefused):
                    self._connection.channel().queue_declare(queue, durable=True, auto_delete=False, arguments=UNLIMITED)
                    return
        try:
            self._connection.channel().queue_declare(queue, durable=True, auto_delete=False)
        except exceptions.PreconditionFailed as error:
            if any(each in str(error) for each in NOT_DURABLE):
                raise errors.QueueUnavailable("queue_not_durable") from error
            if not there:
                raise
        except exceptions.AccessRefused:
            if not there:
                raise

    def _open(self) -> Any:
        channel = self._connection.channel()
        channel.auto_decode = False
        channel.confirm_select()
        channel.events["basic_ack"].add(self._on_ack)
        channel.events["basic_nack"].add(self._on_nack)
        channel.events["basic_return"].add(self._on_return)
        return channel

    def _put(self, queue: str, message: Message, id: str, *, mandatory: bool = True) -> None:
        self._sent += 1
        self._waiting[self._sent] = id
        properties: dict[str, Any] = {"delivery_mode": PERSISTENT, "message_id": id, "timestamp": int(time.time())}
        if message.content_type is not None:
            properties["content_type"] = message.content_type
        content = amqp.basic_message.Message(message.body, application_headers=dict(message.headers), **properties)
        self._channel.basic_publish(content, routing_key=queue, mandatory=mandatory)

    def _settle(self) -> None:
        """Read until everything is confirmed or refused, the broker is blocked, or the time is up."""
        give_up = time.monotonic() + DEADLINE
        while self._waiting and not self.blocked and (left := give_up - time.monotonic()) > 0:
            self._read(left)

    def _read(self, seconds: float) -> bool:
        """Take one frame in; False when none came in time."""
        try:
            self._connection.drain_events(timeout=max(seconds, 0.0005))
        except TimeoutError:
            return False
        return True

    def _confirmed(self, tag: int, multiple: bool) -> list[str]:
        tags = [each for each in self._waiting if each <= tag] if multiple else [tag]
        return [self._waiting.pop(each) for each in tags if each in self._waiting]

    def _on_ack(self, tag: int, multiple: bool) -> None:
        self._confirmed(tag, multiple)

    def _on_nack(self, tag: int, multiple: bool) -> None:
        self._refused.update(dict.fromkeys(self._confirmed(tag, multiple), "queue_full"))

    def _on_return(self, _error: Exception, _exchange: str, _routing_key: str, message: Any) -> None:
        # Before its confirm, which says only that the broker is done with it.
        self._refused[message.properties.get("message_id", "")] = "queue_missing"

    def _on_blocked(self, _reason: str) -> None:
        self.blocked = True

    def _on_unblocked(self) -> None:
        self.blocked = False


def parameters(url: str) -> dict[str, Any]:
    """Arguments of amqp.Connection for a URL that settings took. TLS is verified, by the system's trust or `cacertfile`."""
    parts = urlsplit(url)
    given = dict(parse_qsl(parts.query))
    host = parts.hostname or "localhost"
    tls = {"cert_reqs": ssl.CERT_REQUIRED, "ca_certs": given.get("cacertfile"), "server_hostname": host}
    return {
        "host": f"[{host}]:{port_of(parts)}" if ":" in host else f"{host}:{port_of(parts)}",
        "userid": unquote(parts.username or "guest"),
        "password": unquote(parts.password or "guest"),
        "virtual_host": unquote(parts.path[1:]) or "/",
        "login_method": "PLAIN",
        "ssl": tls if parts.scheme == "amqps" else False,
        "heartbeat": int(given.get("heartbeat", HEARTBEAT)),
        "connect_timeout": DEADLINE,
        # Of what has no time limit of its own: to declare, to ask for one message.
        "read_timeout": int(DEADLINE),
        "write_timeout": int(DEADLINE),
    }


def port_of(parts: Any) -> int:
    return int(parts.port or PORTS[parts.scheme])


def delivered(message: Any) -> Message:
    properties, info = message.properties, message.delivery_info
    return Message(
        # An empty one is text in py-amqp.
        bytes(message.body or b""),
        properties.get("content_type"),
        properties.get("application_headers") or {},
        properties.get("message_id"),
        properties.get("timestamp"),
        info["delivery_tag"],
        bool(info["redelivered"]),
    )
