"""One database of MongoDB by pymongo: who waits for it and how long, and where the driver's errors become ours.

events   the events (documents.py)
sluice   one document that describes them: the version of the schema, and what cursors are signed with
"""

from __future__ import annotations

import contextlib
import time
import warnings
from collections.abc import Callable, Sequence
from typing import Any, TypeVar
from urllib.parse import parse_qsl, urlsplit

import pymongo
from bson.codec_options import CodecOptions
from bson.raw_bson import RawBSONDocument
from pymongo import MongoClient, monitoring
from pymongo import errors as driver
from pymongo.collection import Collection
from pymongo.read_concern import ReadConcern
from pymongo.read_preferences import ReadPreference
from pymongo.write_concern import WriteConcern

from sluice import errors
from sluice.settings import Settings
from sluice.stores.mongodb.documents import Document
from sluice.stores.repeats import Repeats

T = TypeVar("T")
repeats = Repeats()

DATABASE = "sluice"
# A request learns within a quarter of a second that the database is away: after one slice, when no server answers the driver.
SLICE, PAUSE = 0.1, 0.01
# Seconds: between two looks at a server, and until one that drops packets is given up.
LOOK, CONNECT = 0.5, 3.0
DEFAULTS = {"appname": "sluice", "connecttimeoutms": CONNECT * 1000, "heartbeatfrequencyms": LOOK * 1000}
# On disk on most members before the answer, whatever the URI and the server's own default say.
DURABLE = WriteConcern("majority", j=True)
# Documents as they are on the wire.
RAW = CodecOptions(document_class=RawBSONDocument)
# What pymongo says of a URI.
NOT_TAKEN = (driver.PyMongoError, ValueError, TypeError, OSError, Warning)
DUPLICATE, NOT_VALID = 11000, 121
FULL, ATLAS = 14031, 8000
# What the server says of a document's content: BadValue, InvalidBSON, DollarPrefixedFieldName, InvalidDBRef, DottedFieldName,
# DocumentValidationFailure, BSONObjectTooLarge, KeyTooLong.
CONTENT = frozenset((2, 22, 52, 55, 57, NOT_VALID, 10334, 17280))
CODES = {
    13: "login_refused",  # Unauthorized
    18: "login_refused",  # AuthenticationFailed
    ATLAS: "login_refused",
    26: "schema_behind",  # NamespaceNotFound
    24: "database_busy",  # LockTimeout
    112: "database_busy",  # WriteConflict
    16500: "database_busy",  # of Cosmos DB: its request units are used up
    50: "query_timeout",  # MaxTimeMSExpired
    262: "query_timeout",  # ExceededTimeLimit
    64: "query_timeout",  # WriteConcernTimeout
    79: "not_durable",  # UnknownReplWriteConcern
    100: "not_durable",  # UnsatisfiableWriteConcern
    FULL: "database_full",  # OutOfDiskSpace
}


class Interrupted(errors.StoreUnavailable):
    """The connection was lost, or no server is known yet. Nobody knows what was done, so only what is safe is repeated."""


class Pulse(monitoring.ServerHeartbeatListener):
    """The servers that did not answer the driver when it looked last, and why one did not."""

    def __init__(self) -> None:
        self.silent: set[Any] = set()
        self.reason = "database_unreachable"

    def started(self, event: monitoring.ServerHeartbeatStartedEvent) -> None:
        pass

    def succeeded(self, event: monitoring.ServerHeartbeatSucceededEvent) -> None:
        self.silent.discard(event.connection_id)

    def failed(self, event: monitoring.ServerHeartbeatFailedEvent) -> None:
        self.reason = lost_by(event.reply)
        self.silent.add(event.connection_id)


class Connection:
    """Thread-safe. `deadline`: seconds that one call of `run` may take; `listeners` hear of every command."""

    def __init__(self, settings: Settings, deadline: float, listeners: Sequence[monitoring.CommandListener] = ()) -> None:
        self.deadline = deadline
        self._pulse = Pulse()
        self._client = client(settings, [self._pulse, *listeners])
        self.database = self._client.get_default_database(
            DATABASE, write_concern=DURABLE, read_concern=ReadConcern("majority"), read_preference=ReadPreference.PRIMARY
        )
        self.events: Collection[Document] = self.database["events"]
        self.meta: Collection[Document] = self.database["sluice"]

    def close(self) -> None:
        self._client.close()

    def run(self, work: Callable[[], T]) -> T:
        """Do `work`, and again when the connection it had was lost, so it must be safe to repeat. Raises StoreUnavailable."""
        give_up = time.monotonic() + self.deadline
        while True:
            try:
                self._await_server(give_up)
                with pymongo.timeout(max(give_up - time.monotonic(), 0.001)):
                    return work()
            except driver.PyMongoError as error:
                problem = ours(error)
                if not isinstance(problem, Interrupted) or time.monotonic() > give_up:
                    raise problem from error

    def query(self, work: Callable[[], T]) -> T:
        """As `run`, for what only reads; raises QueryTimeout when it takes longer than the deadline."""
        try:
            return self.run(work)
        except errors.StoreUnavailable as error:
            if error.reason == "query_timeout":
                raise errors.QueryTimeout from error
            raise

    def put(self, documents: Sequence[bytes]) -> dict[int, int]:
        """Store those whose `_id` is free; place and error code of those that were not stored."""
        try:
            self.events.insert_many([RawBSONDocument(each) for each in documents], ordered=False)
        except driver.BulkWriteError as error:
            if unconfirmed := error.details["writeConcernErrors"]:
                raise unavailable("WriteConcernError", unconfirmed[0]["code"]) from error
            return {each["index"]: code_of(each) for each in error.details["writeErrors"]}
        return {}

    def _await_server(self, give_up: float) -> None:
        """Return when a server that takes writes is known. Without one, and while one does not answer, the database is away."""
        if self._known():
            return
        with contextlib.suppress(driver.ServerSelectionTimeoutError):
            _ = self._client.is_primary  # Begins to look, and waits for nothing.
        hope = time.monotonic() + SLICE
        while not self._known():
            # Away is only said by the driver's own look at a server: of a connection that was lost the server may know nothing.
            if time.monotonic() > (hope if self._pulse.silent else give_up):
                raise unavailable("ServerSelectionTimeoutError", 0, self._pulse.reason)
            time.sleep(PAUSE)

    def _known(self) -> bool:
        return bool(self._client.topology_description.has_writable_server())


def client(settings: Settings, listeners: Sequence[Any] = ()) -> MongoClient[Document]:
    """A client that connects when it is used first; raises SettingsError for a URI that pymongo does not take."""
    uri = settings.mongodb_uri or ""
    options = parse_qsl(urlsplit(uri).query, keep_blank_values=True)
    defaults = {**DEFAULTS, "maxpoolsize": settings.threads}
    for name, _ in options:
        defaults.pop(name.lower(), None)
    try:
        # Who waits for a server, and what is repeated, is said by `run`.
        bounds = {"serverselectiontimeoutms": 0, "retryreads": False}
        return made(uri, event_listeners=list(listeners), **defaults, **bounds)
    except NOT_TAKEN:
        # Not its text, which quotes the URI.
        raise errors.SettingsError([f"MONGODB_URI has {culprit(options)}; see MongoDB's connection string options"]) from None


def made(uri: str, **options: Any) -> MongoClient[Document]:
    with warnings.catch_warnings():
        # A wrong option in a URI is no more than that to pymongo.
        warnings.simplefilter("error")
        return MongoClient(uri, connect=False, **options)


def culprit(options: Sequence[tuple[str, str]]) -> str:
    """The option that is wrong by itself. The name of one that pymongo does not know may be half a password."""
    for name, value in options:
        try:
            made("mongodb://host/", **{name: value}).close()
        except driver.ConfigurationError:
            pass  # It needs another one beside it, or is not known.
        except NOT_TAKEN:
            return f"a wrong value for {name}"
    return "an option that is not known, or options that do not go together"


def ours(error: driver.PyMongoError) -> errors.StoreUnavailable:
    """Our error for the driver's. Nothing of its text goes further: it may hold values of a client."""
    if isinstance(error, driver.WaitQueueTimeoutError):
        return unavailable("WaitQueueTimeoutError", 0, "database_busy")
    if isinstance(error, driver.AutoReconnect) and not isinstance(error, driver.NetworkTimeout):
        return Interrupted(lost_by(error))
    code = told_apart(error.code or 0, str(error)) if isinstance(error, driver.OperationFailure) else 0
    # The name of a host that cannot be found is an error of configuration to pymongo.
    lost = isinstance(error, driver.ConnectionFailure | driver.ConfigurationError)
    if "retryable writes" in str(error).lower():
        fix = "add retryWrites=false to MONGODB_URI: the server has none"
        return repeats.unavailable(type(error).__name__, "database_error", code=code, fix=fix)
    return unavailable(type(error).__name__, code, "database_unreachable" if lost else "database_error")


def told_apart(code: int, text: str) -> int:
    """Atlas has one code for a login and for a cluster that is full."""
    return FULL if code == ATLAS and "quota" in text else code


def unavailable(cause: str, code: int, otherwise: str = "database_error") -> errors.StoreUnavailable:
    return repeats.unavailable(cause, reason_of(code, otherwise), code=code)


def refuses_all() -> errors.StoreUnavailable:
    """Of an event that a validator refused, as it would refuse each that is there."""
    fix = "correct the validator of the collection events: it refuses every event"
    return repeats.unavailable("DocumentValidationFailure", "database_error", code=NOT_VALID, fix=fix)


def code_of(problem: Document) -> int:
    """Of one document: what breaks another unique index than that of `_id` is refused like what breaks a validator."""
    another = problem["code"] == DUPLICATE and problem.get("keyPattern", {"_id": 1}) != {"_id": 1}
    return NOT_VALID if another else told_apart(int(problem["code"]), str(problem.get("errmsg")))


def reason_of(code: int, otherwise: str = "database_error") -> str:
    return CODES.get(code, otherwise)


def lost_by(error: Exception) -> str:
    """Of a connection that could not be made, or was lost: TLS's own words are the only ones that say more."""
    text = str(error)
    return "tls_refused" if "SSL handshake failed" in text or "certificate" in text else "database_unreachable"
