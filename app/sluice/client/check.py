"""Does a service work, seen from outside? The steps of `sluice check`, each asked of the service itself.

A request is sent again while the service is away or not ready. The event brings its id, so that is safe.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec
import tenacity
import urllib3

from sluice.client.http import FIXES, NOT_SLUICE, SET_A_KEY, Answer, Client, ClientError, Key, encode, printable, stranger
from sluice.doctor import Finding

Step = Callable[[], Finding]

RETRY_FOR = 10.0
PAUSES = tenacity.wait_fixed(0.5)
TIMEOUT = urllib3.Timeout(connect=3, read=15)
INGEST, EVENTS, WHOAMI = "/api/v1/ingest", "/api/v1/events/", "/api/v1/whoami"
NOT_READY = {
    "schema_behind": "run `sluice migrate` as the schema's owner",
    "keyset_missing": "mount the key set that KEYSET_FILE names",
    "not_durable": "turn fsync, full_page_writes and synchronous_commit of the database on",
    "draining": "it is about to end; ask again in a minute",
    "starting": "ask again in a minute, or give it longer: --retry-for 60",
}


class Owner(msgspec.Struct):
    key_id: str
    version: int
    scopes: list[str]


class Stored(msgspec.Struct):
    id: int | None
    status: str


class Found(msgspec.Struct):
    event_id: str
    event_name: str


def connect(url: str, key: Key | None, **options: Any) -> Client:
    """A client that is less patient than one that has events to store; raises ClientError for what is no http(s) address."""
    return Client(url, key, **{"retry_for": RETRY_FOR, "backoff": PAUSES, "timeout": TIMEOUT, **options})


class Check:
    """The steps. They store one event, `event_id`, which stays."""

    def __init__(self, client: Client, event_id: str) -> None:
        self._client = client
        self._deadline = client.deadline()
        self._event = {
            "event_id": event_id,
            "event_type": "observability",
            "event_name": "sluice_check",
            "source": "sluice check",
        }
        self._scopes: list[str] = []
        # A queue stands before the store.
        self._queued = False

    def with_key(self) -> Sequence[Step]:
        return (self.ready, self.key, self.store, self.store_again, self.read_back)

    def without_key(self) -> Sequence[Step]:
        return (self.ready, self.refuse)

    def ready(self) -> Finding:
        answer = self._ask("GET", "/readiness")
        if answer.status == 404:
            # An Ingress carries the API's paths only.
            return Finding("warning", "/readiness cannot be read here", "fine behind an Ingress; else " + NOT_SLUICE)
        if answer.status == 503:
            reason = answer.body.message or "no reason given"
            raise ClientError(f"not ready: {printable(reason)}", NOT_READY.get(reason, FIXES[503]))
        if answer.status != 200:
            raise refusal(answer, "not ready")
        if answer.body.message is None:
            raise stranger(200)
        return Finding("ok", "ready")

    def key(self) -> Finding:
        if (key := self._client.key) is None:
            raise ClientError("no key was found", f"{SET_A_KEY}; or check less: --no-key")
        answer = self._ask("GET", WHOAMI)
        if answer.status != 200:
            raise refusal(answer, f"the key from {key.source} is not taken")
        owner = answer.data(Owner)
        self._scopes = owner.scopes
        text = f"the key is {printable(owner.key_id)}, version {owner.version}, scopes {printable(', '.join(owner.scopes))}"
        if "ingest" not in owner.scopes:
            raise ClientError(text, FIXES[403])
        return Finding("ok", text)

    def store(self) -> Finding:
        answer = self._ask("POST", INGEST, self._event)
        if answer.status != 201:
            raise refusal(answer, "an event is not taken")
        stored = answer.data(Stored)
        self._queued = stored.status == "queued"
        # When only the first answer was lost, the second says duplicate.
        if stored.status not in ("created", "queued") and not answer.repeated:
            raise ClientError(f"a new event is answered as {printable(stored.status)}", NOT_SLUICE)
        return Finding("ok", f"an event is {'queued' if self._queued else 'stored'}: {self._event['event_id']}")

    def store_again(self) -> Finding:
        answer = self._ask("POST", INGEST, self._event)
        if answer.status != 201:
            raise refusal(answer, "the same event is not taken again")
        status = answer.data(Stored).status
        if self._queued and status == "queued":
            return Finding("ok", "the same event again is queued, too; the worker stores it once")
        if status != "duplicate":
            text = f"the same event is answered as {printable(status)} when it comes again"
            raise ClientError(text, "do all addresses of this service use one database?")
        return Finding("ok", "the same event again is a duplicate, stored once")

    def read_back(self) -> Finding:
        if "read" not in self._scopes:
            return Finding("ok", "not read back: the key has no scope read, which is fine")
        answer = self._client.retry(self._read, self._deadline, self._under_way, lambda answer: answer.retry_after)
        if self._under_way(answer):
            fix = "does `sluice worker` run? The depth of the queue says; or give it longer: --retry-for 60"
            raise ClientError("the event was queued and is not stored", fix)
        if answer.status != 200:
            raise refusal(answer, "the event cannot be read")
        found = answer.data(Found)
        if (found.event_id, found.event_name) != (self._event["event_id"], self._event["event_name"]):
            raise ClientError("another event is read than was stored", NOT_SLUICE)
        return Finding("ok", "the event is read back")

    def refuse(self) -> Finding:
        answer = self._ask("POST", INGEST, self._event)
        if 200 <= answer.status < 300:
            raise ClientError(f"an event without a key is taken ({answer.status})", "does something in front of it add a key?")
        if answer.status != 401:
            raise refusal(answer, "an event without a key is not refused with 401")
        return Finding("ok", f"an event without a key is refused ({answer.reason})")

    def _read(self) -> Answer:
        return self._ask("GET", EVENTS + self._event["event_id"])

    def _under_way(self, answer: Answer) -> str:
        return "the event is not stored yet" if self._queued and answer.status == 404 else ""

    def _ask(self, method: str, path: str, event: dict[str, str] | None = None) -> Answer:
        return self._client.request(method, path, None if event is None else encode(event), self._deadline)


def refusal(answer: Answer, what: str) -> ClientError:
    """`what` failed because of this answer."""
    return ClientError(f"{what} ({answer.reason})", answer.fix or printable(answer.body.detail or "") or NOT_SLUICE)


def findings(steps: Sequence[Step]) -> Iterator[Finding]:
    """What the steps find, as they go, until one fails: what comes after it cannot work."""
    for step in steps:
        try:
            yield step()
        except ClientError as error:
            yield Finding("failed", error.what, error.fix)
            return
