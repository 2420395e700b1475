"""Does a service work, seen from outside? The steps of `sluice check`, each asked of the service itself.

A request is sent again while the service is away or not ready. The event brings its id, so that is safe.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec
import urllib3
from urllib3.exceptions import HTTPError, SSLError

from sluice import client, errors
from sluice.client import Key
from sluice.doctor import Finding

T = TypeVar("T")
Step = Callable[[], Finding]

RETRY_FOR = 10.0
PAUSE = 0.5
TIMEOUT = urllib3.Timeout(connect=3, read=15)
INGEST, EVENTS, WHOAMI = "/api/v1/ingest", "/api/v1/events/", "/api/v1/whoami"
NOT_SLUICE = "is this the address of a Sluice service? Give another as `sluice check URL`"
UNREACHABLE = "start it, or give its address as `sluice check URL`; does a firewall or NetworkPolicy stand between?"
MENDS = {
    401: f"{client.SET_A_KEY}; `sluice keys check` tells whether it was copied whole",
    403: "use a key with the scope ingest",
    404: NOT_SLUICE,
    429: "wait a minute, or raise the key's limit",
    503: "run `sluice doctor` where the service runs",
}
NOT_READY = {
    "schema_behind": "run `sluice migrate` as the schema's owner",
    "keyset_missing": "mount the key set that KEYSET_FILE names",
    "not_durable": "turn fsync, full_page_writes and synchronous_commit of the database on",
    "draining": "it is about to end; ask again in a minute",
    "starting": "ask again in a minute, or give it longer: --retry-for 60",
}


class Broken(errors.SluiceError):
    """A step failed, so what comes after it can not work."""

    def __init__(self, what: str, mend: str) -> None:
        super().__init__(what)
        self.finding = Finding("failed", what, mend)


class Body(msgspec.Struct):
    """What an answer may hold: `data` in a success, the others in a refusal; `message` is the readiness's reason."""

    data: msgspec.Raw = msgspec.Raw(b"null")
    error: str | None = None
    reason: str | None = None
    detail: str | None = None
    message: str | None = None


class Owner(msgspec.Struct):
    key_id: str
    version: int
    scopes: list[str]


class Stored(msgspec.Struct):
    id: int
    status: str


class Found(msgspec.Struct):
    event_id: str
    event_name: str


@dataclass(frozen=True)
class Answer:
    """`location`: of a redirect, or empty. `repeated`: an earlier try may have reached the service, too."""

    status: int
    content: bytes
    location: str
    repeated: bool

    @property
    def body(self) -> Body:
        try:
            return msgspec.json.decode(self.content, type=Body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return Body()

    def data(self, kind: type[T]) -> T:
        """`data` of a success; raises Broken when it is not what a Sluice service says."""
        try:
            return msgspec.json.decode(self.body.data, type=kind)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise Broken(f"the answer {self.status} is not that of a Sluice service", NOT_SLUICE) from error

    @property
    def told(self) -> str:
        """The status and the reason that was given with it."""
        body = self.body
        return printable(f"{self.status} {body.reason or body.error or body.message or ''}".strip())

    def refusal(self, what: str) -> Broken:
        """`what` failed because of this answer."""
        if self.location:
            return Broken(f"{what}: it redirects ({self.status})", f"give the address it names: {printable(self.location)}")
        mend = MENDS.get(self.status, printable(self.body.detail or "") or NOT_SLUICE)
        return Broken(f"{what} ({self.told})", mend)


def printable(text: str) -> str:
    """Text of somebody else for a terminal: no escape sequence, and not too much of it."""
    return "".join(letter if letter.isprintable() else "?" for letter in text[:300])


class Caller:
    """One service and one key (None: none is sent). `retry_for`: seconds that all its tries may take together.

    `on_wait` is told why it waits.
    """

    def __init__(
        self,
        url: str,
        key: Key | None,
        retry_for: float = RETRY_FOR,
        on_wait: Callable[[str], None] = lambda _why: None,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Raises client.ClientError for what is no http(s) address."""
        self._url = client.checked(url)
        self._key = key
        self._on_wait = on_wait
        self._sleep = sleep
        self._clock = clock
        self._deadline = clock() + retry_for
        self._pool = urllib3.PoolManager(timeout=TIMEOUT, retries=False)

    def ask(self, method: str, path: str, event: dict[str, Any] | None = None) -> Answer:
        """The first answer that another try would not mend, or the last one before the deadline; raises Broken for none."""
        repeated = False
        while True:
            try:
                response = self._send(method, path, event)
            except SSLError as error:
                what = f"no trusted TLS with {self._url} ({client.cause_of(error)})"
                raise Broken(what, "check the address and its certificate") from error
            except HTTPError as error:
                what = f"no answer from {self._url} ({client.cause_of(error)})"
                if not self._wait(what, 0):
                    raise Broken(what, UNREACHABLE) from error
            else:
                answer = self._answer(response, repeated)
                what = f"{self._url} answers {answer.told}"
                if answer.status not in client.RETRIED or not self._wait(what, client.retry_after(response)):
                    return answer
            repeated = True

    def _send(self, method: str, path: str, event: dict[str, Any] | None) -> urllib3.BaseHTTPResponse:
        headers = {"User-Agent": "sluice-cli", "Content-Type": "application/json"}
        if self._key is not None:
            headers["Authorization"] = f"Bearer {self._key.text}"
        body = None if event is None else client.encode(event)
        return self._pool.request(method, self._url + path, body=body, headers=headers, redirect=False)

    def _answer(self, response: urllib3.BaseHTTPResponse, repeated: bool) -> Answer:
        """The answer without our key, should it repeat it: what it says is shown."""
        secret = self._key.text if self._key else "\0"
        location = response.headers.get("Location", "").replace(secret, "[key]")
        return Answer(response.status, response.data.replace(secret.encode(), b"[key]"), location, repeated)

    def _wait(self, why: str, asked: float) -> bool:
        """Wait before another try; False when there is no time left for one."""
        seconds = max(PAUSE, asked)
        if self._clock() + seconds > self._deadline:
            return False
        self._on_wait(why)
        self._sleep(seconds)
        return True


class Check:
    """The steps. They store one event, `event_id`, which stays."""

    def __init__(self, caller: Caller, key: Key | None, event_id: str) -> None:
        self._ask = caller.ask
        self._key = key
        self._event = {
            "event_id": event_id,
            "event_type": "observability",
            "event_name": "sluice_check",
            "source": "sluice check",
        }
        self._scopes: list[str] = []

    def with_key(self) -> Sequence[Step]:
        return (self.ready, self.key, self.store, self.store_again, self.read_back)

    def without_key(self) -> Sequence[Step]:
        return (self.ready, self.refuse)

    def ready(self) -> Finding:
        answer = self._ask("GET", "/readiness")
        if answer.status == 404:
            # An Ingress carries the API's paths only.
            return Finding("warning", "/readiness is not to be had here", "fine behind an Ingress; else " + NOT_SLUICE)
        if answer.status == 503:
            reason = answer.body.message or "no reason told"
            raise Broken(f"not ready: {printable(reason)}", NOT_READY.get(reason, MENDS[503]))
        if answer.status != 200:
            raise answer.refusal("not ready")
        return Finding("ok", "ready")

    def key(self) -> Finding:
        if self._key is None:
            raise Broken("no key was found", f"{client.SET_A_KEY}; or check less: --no-key")
        answer = self._ask("GET", WHOAMI)
        if answer.status != 200:
            raise answer.refusal(f"the key from {self._key.source} is not taken")
        owner = answer.data(Owner)
        self._scopes = owner.scopes
        text = f"the key is {printable(owner.key_id)}, version {owner.version}, scopes {printable(', '.join(owner.scopes))}"
        if "ingest" not in owner.scopes:
            raise Broken(text, MENDS[403])
        return Finding("ok", text)

    def store(self) -> Finding:
        answer = self._ask("POST", INGEST, self._event)
        if answer.status != 201:
            raise answer.refusal("an event is not taken")
        stored = answer.data(Stored)
        # When only the first answer was lost, the second says duplicate.
        if stored.status != "created" and not answer.repeated:
            raise Broken(f"a new event is answered as {printable(stored.status)}", NOT_SLUICE)
        return Finding("ok", f"an event is stored: {self._event['event_id']}")

    def store_again(self) -> Finding:
        answer = self._ask("POST", INGEST, self._event)
        if answer.status != 201:
            raise answer.refusal("the same event is not taken again")
        status = answer.data(Stored).status
        if status != "duplicate":
            text = f"the same event is answered as {printable(status)} when it comes again"
            raise Broken(text, "do all addresses of this service use one database?")
        return Finding("ok", "the same event again is a duplicate, stored once")

    def read_back(self) -> Finding:
        if "read" not in self._scopes:
            return Finding("ok", "not read back: the key has no scope read, which is fine")
        answer = self._ask("GET", EVENTS + self._event["event_id"])
        if answer.status != 200:
            raise answer.refusal("the event is not to be read")
        found = answer.data(Found)
        if (found.event_id, found.event_name) != (self._event["event_id"], self._event["event_name"]):
            raise Broken("another event is read than was stored", NOT_SLUICE)
        return Finding("ok", "the event is read back")

    def refuse(self) -> Finding:
        answer = self._ask("POST", INGEST, self._event)
        if 200 <= answer.status < 300:
            raise Broken(f"an event without a key is taken ({answer.status})", "does something in front of it add a key?")
        if answer.status != 401:
            raise answer.refusal("an event without a key is not refused with 401")
        return Finding("ok", f"an event without a key is refused ({answer.told})")


def findings(steps: Sequence[Step]) -> Iterator[Finding]:
    """What the steps find, as they go, until one fails."""
    for step in steps:
        try:
            yield step()
        except Broken as broken:
            yield broken.finding
            return
