"""What is MongoDB's alone: documents, commands, partial failures, outages, and the service on it."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, suppress
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from pymongo import MongoClient, monitoring
from pymongo import errors as driver
from tests.conftest import ROOT
from tests.integration.sample import NOW, row, rows, statuses
from tests.integration.service import Service, running
from tests.integration.waiting import until
from tests.integration.walks import ids, parsed
from tests.stores import queues, subjects
from tests.stores.ferretdb import Ferretdb

from sluice import errors, stores
from sluice.events import Integral, Record
from sluice.filters import Filter
from sluice.queue import DEAD_LETTERS, EVENTS, messages
from sluice.queue.broker import Link
from sluice.queue.link import Message
from sluice.settings import Settings
from sluice.stores import matching
from sluice.stores.mongodb import migrate
from sluice.stores.mongodb.store import MongodbStore

DEADLINE = 10.0


@pytest.fixture
def settings(mongo: Ferretdb) -> Iterator[Settings]:
    settings = subjects.of_mongodb(mongo)
    yield settings
    with mongo.client() as client:
        client.drop_database(name_of(settings))


@pytest.fixture
def store(settings: Settings) -> Iterator[MongodbStore]:
    migrate.migrate(settings)
    with closing(MongodbStore(settings, DEADLINE, lambda: NOW)) as store:
        yield store


@pytest.fixture
def client(mongo: Ferretdb) -> Iterator[MongoClient[dict[str, Any]]]:
    with mongo.client() as client:
        yield client


def name_of(settings: Settings) -> str:
    return str(settings.mongodb_uri).rpartition("/")[2]


def properties_of(store: MongodbStore, event_id: str) -> Any:
    return json.loads(bytes(store.get(event_id) or b"{}"))["properties"]


# The schema


def test_migrate_makes_what_is_missing_and_nothing_twice(settings: Settings, client: MongoClient[dict[str, Any]]) -> None:
    with closing(MongodbStore(settings, DEADLINE)) as store:
        for call in (store.check, lambda: store.insert([row("a")], NOW)):
            with pytest.raises(errors.StoreUnavailable, match="schema_behind"):
                call()
        made = ["collection events", "index by_at", "index by_type", "index by_timestamp", "schema 1"]
        assert migrate.migrate(settings) == made
        store.check()
        secret = store.cursor_secret
        assert migrate.migrate(settings) == []
        client[name_of(settings)]["events"].drop_index("by_type")
        with pytest.raises(errors.StoreUnavailable, match="schema_behind"):
            store.check()
        assert migrate.migrate(settings) == ["index by_type"]
    with closing(MongodbStore(settings, DEADLINE)) as other:
        assert other.cursor_secret == secret


def test_the_collection_of_another_program_is_left_alone(settings: Settings, client: MongoClient[dict[str, Any]]) -> None:
    client[name_of(settings)]["events"].insert_one({"_id": "theirs"})
    with pytest.raises(errors.SettingsError, match="did not put there; name another database"):
        migrate.migrate(settings)
    client.drop_database(name_of(settings))
    client[name_of(settings)].create_collection("events", capped=True, size=1 << 20)
    with pytest.raises(errors.SettingsError, match="is capped"):
        migrate.migrate(settings)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ("maxPoolSize=x&tls=true", "has a wrong value for maxPoolSize"),
        ("tls=true&tlsCAFile=/nowhere/ca.pem", "has a wrong value for tlsCAFile"),
        ("replicaset=a&speed=high", "has an option that is not known"),
        ("tls=true&ssl=false", "options that do not go together"),
    ],
)
def test_an_option_that_pymongo_does_not_take_is_named_where_it_is_one(options: str, told: str) -> None:
    with pytest.raises(errors.SettingsError, match=told):
        stores.examine(Settings(storage_type="mongodb", mongodb_uri=f"mongodb://db/?{options}"))


# Commands


class Heard(monitoring.CommandListener):
    def __init__(self) -> None:
        self.commands: list[tuple[str, dict[str, Any]]] = []

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        self.commands.append((event.command_name, dict(event.command)))

    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None:
        pass

    def failed(self, event: monitoring.CommandFailedEvent) -> None:
        pass

    def named(self, *names: str) -> list[dict[str, Any]]:
        return [command for name, command in self.commands if name in names]


def test_every_write_asks_for_a_majority_with_journal_and_every_read_for_what_that_has(settings: Settings) -> None:
    """FerretDB takes both and ignores them: that they are sent is all that can be seen here."""
    heard = Heard()
    migrate.migrate(settings, [heard])
    with closing(MongodbStore(settings, DEADLINE, lambda: NOW, [heard])) as store:
        store.insert(rows(3), NOW)
        store.insert(rows(3), NOW)
        store.purge(NOW + timedelta(days=1), NOW, 100)
        store.page(Filter())
    writes = heard.named("create", "createIndexes", "insert", "update", "delete")
    assert len(writes) == 8
    assert [each["writeConcern"] for each in writes] == [{"w": "majority", "j": True}] * len(writes)
    reads = heard.named("find", "aggregate")
    assert [each["readConcern"] for each in reads] == [{"level": "majority"}] * len(reads)
    assert [each["ordered"] for each in heard.named("insert")] == [False, False]
    assert all(0 < each["maxTimeMS"] <= DEADLINE * 1_000 for each in heard.named("insert", "find")[-3:])
    made = {index["name"]: dict(index["key"]) for each in heard.named("createIndexes") for index in each["indexes"]}
    assert made == {"by_at": {"at": 1}, "by_type": {"event_type": 1, "at": 1}, "by_timestamp": {"timestamp": 1}}


def test_fields_and_times_are_searched_by_the_server(settings: Settings) -> None:
    heard = Heard()
    migrate.migrate(settings)
    with closing(MongodbStore(settings, DEADLINE, lambda: NOW, [heard])) as store:
        store.page(parsed(event_type="error", event_id="a", sequence_number="7", created_end_time="2024-06-01T12:00:00Z"))
    moment = "2024-06-01T12:00:00.000000+00:00$"
    conditions: list[dict[str, Any]] = [{"event_type": "error"}, {"_id": "a"}, {"sequence_number": 7}, {"at": {"$lt": moment}}]
    assert heard.named("find")[-1]["filter"] == {"$and": conditions}


# Documents


PLAIN = {"a": {"b": [1, 2.5, None, True, {"c": "☃"}]}, "": 0, "_id": 7, "int": -(2**63), "float": Integral(1e39), "none": {}}
ODD: list[dict[str, Any]] = [
    {"a.b": 1},
    {"a": [{"$b": 1}]},
    {"$ref": "events", "$id": 1},
    {"a": 2**63},
    {"a": [10**400, -(2**63) - 1]},
    {"a": [[1], [[]]]},  # FerretDB alone refuses these.
]


def test_properties_are_a_document_and_json_text_where_that_would_change_them(
    store: MongodbStore, settings: Settings, client: MongoClient[dict[str, Any]]
) -> None:
    batch = [row("plain", properties=PLAIN, device_info={"os": {"name": "x"}})]
    batch += [row(f"odd-{n}", properties=odd, device_info={"os": {"name": "x"}}) for n, odd in enumerate(ODD)]
    assert statuses(store.insert(batch, NOW)) == ["created"] * len(batch)
    assert properties_of(store, "plain") == {**PLAIN, "float": 1e39}
    assert [properties_of(store, f"odd-{n}") for n in range(len(ODD))] == ODD
    kept = {each["_id"]: each for each in client[name_of(settings)]["events"].find()}
    assert kept["plain"]["properties"]["a"] == PLAIN["a"]
    assert [type(kept[f"odd-{n}"]["properties"]) for n in range(len(ODD))] == [str] * len(ODD)
    assert kept["odd-0"]["device_info"] == {"os": {"name": "x"}}
    assert ids(store.page(parsed(**{'properties["a.b"]': "1"}))) == ["odd-0"]
    assert statuses(store.insert(batch, NOW)) == ["duplicate"] * len(batch)


def with_properties(event_id: str, value: Any) -> Record:
    """Also larger than events may be."""
    good = row(event_id)
    return msgspec.structs.replace(good, event=msgspec.structs.replace(good.event, properties={"a": value}))


def test_what_fits_as_json_only_is_json_and_what_does_not_fit_is_refused_alone(store: MongodbStore) -> None:
    """A list of a million and a half small numbers has 3 MB in JSON and 19 MB in BSON."""
    numbers, text = [7] * 1_500_000, "x" * (17 << 20)
    found = store.insert([row("a"), with_properties("many", numbers), with_properties("large", text), row("z")], NOW)
    assert statuses(found) == ["created", "created", "invalid", "created"]
    assert (found[2].reason, found[2].retryable) == ("refused_by_store", False)
    assert properties_of(store, "many") == {"a": numbers}


def test_a_record_that_fits_is_stored_though_another_with_its_id_does_not(store: MongodbStore) -> None:
    found = store.insert([with_properties("a", "x" * (17 << 20)), row("a"), row("a")], NOW)
    assert statuses(found)[1:] == ["created", "duplicate"]
    assert store.get("a") is not None


def documents(chance: random.Random, depth: int = 3) -> Any:
    """Values out of few names and words, so that paths meet them."""
    leaf = [1, 1.0, 10, -1, 0.5, True, False, None, "1", "1.0", "true", "null", "", "x", "[1]", 2**53 + 1, 2**70]
    kind = chance.random()
    if depth == 0 or kind < 0.3:
        return chance.choice(leaf)
    if kind < 0.6:
        return [documents(chance, depth - 1) for _ in range(chance.randrange(3))]
    return {chance.choice(["a", "b", "0", "1", "-1", "00", "x.y", "$d", " s"]): documents(chance, depth - 1) for _ in range(3)}


def test_a_path_finds_what_every_store_finds_whatever_the_server_makes_of_it(store: MongodbStore) -> None:
    chance = random.Random(7)
    store.insert([with_properties(f"e{n}", documents(chance)) for n in range(100)], NOW)
    logs = [json.loads(line) for line in b"".join(store.export(Filter())).splitlines()]
    texts = [{**each, "properties": json.dumps(each["properties"])} for each in logs]
    met = 0
    for _ in range(60):
        path = ("a", *chance.choices(["a", "b", "0", "1", "-1", "00", "x.y", "$d", " s"], k=chance.randrange(3)))
        value = chance.choice(["1", "1.0", "10", "-1", "0.5", "true", "", "x", "[1]", "{}", "[]", str(2**53 + 1), str(2**70)])
        query = parsed(**{f"properties[{']['.join(map(json.dumps, path))}]": value})
        wanted = sorted(each["event_id"] for each in texts if matching.holds(each, query.matches))
        assert sorted(ids(store.page(msgspec.structs.replace(query, page_size=200)))) == wanted, (path, value)
        met += len(wanted)
    assert met > 40


# Retention


def test_purge_removes_what_is_older_in_steps(store: MongodbStore) -> None:
    store.insert([row(f"{days}", timestamp=NOW - timedelta(days=days)) for days in range(10)], NOW)
    before = NOW - timedelta(days=4)
    assert [store.purge(before, NOW, 3) for _ in range(3)] == [(3, 0), (2, 0), (0, 0)]
    assert sorted(ids(store.page(Filter()))) == ["0", "1", "2", "3", "4"]
    assert statuses(store.insert([row("9", user_id="x")], NOW)) == ["created"]


# Faults


Put = Callable[[Sequence[bytes]], dict[int, int]]


def test_an_event_that_the_server_could_not_take_is_failed_and_its_neighbours_are_stored(store: MongodbStore) -> None:
    real = store._connection.put

    def busy(made: Sequence[bytes]) -> dict[int, int]:
        """With a WriteConflict for the first."""
        return {**(real(made[1:]) if made[1:] else {}), 0: 112}

    store._connection.put = busy  # type: ignore[method-assign, assignment]
    found = store.insert(rows(3), NOW)
    assert statuses(found) == ["failed", "created", "created"]
    assert (found[0].reason, found[0].retryable) == ("database_busy", True)
    with pytest.raises(errors.StoreUnavailable, match="database_busy"):
        store.insert([row("a")], NOW)
    store._connection.put = real  # type: ignore[method-assign]
    assert statuses(store.insert([*rows(3), row("a")], NOW)) == ["created", "duplicate", "duplicate", "created"]


def test_a_duplicate_that_most_members_do_not_have_yet_is_no_duplicate(store: MongodbStore) -> None:
    store._connection.put = lambda made: {0: 11_000}  # type: ignore[method-assign, assignment]
    with pytest.raises(errors.StoreUnavailable, match="database_busy"):
        store.insert([row("a")], NOW)


class Events:
    """The collection of events, of which insert_many does something else first."""

    def __init__(self, real: Any, *acts: Callable[[Any, list[Any]], Any]) -> None:
        self._real, self._acts = real, list(acts)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def insert_many(self, documents: list[Any], **more: Any) -> Any:
        return self._acts.pop(0)(self._real, documents) if self._acts else self._real.insert_many(documents, **more)


def breaks_an_index(real: Any, documents: list[Any]) -> None:
    real.insert_many(documents[1:]) if documents[1:] else None
    problem = {"index": 0, "code": 11_000, "errmsg": "E11000 ...", "keyPattern": {"user_id": 1}}
    raise driver.BulkWriteError({"writeErrors": [problem], "writeConcernErrors": []})


def test_an_event_that_breaks_an_index_of_somebody_else_is_refused_alone(store: MongodbStore) -> None:
    """For ever: a queue would not go on behind it."""
    store._connection.events = Events(store._connection.events, *[breaks_an_index] * 2)  # type: ignore[assignment]
    found = store.insert(rows(3), NOW)
    assert statuses(found) == ["invalid", "created", "created"]
    assert found[0].reason == "refused_by_store"


class Validated:
    """The collection of events with a validator, which MongoDB asks before any index; FerretDB has none."""

    def __init__(self, real: Any, takes: Callable[[Any], bool]) -> None:
        self._real, self.takes = real, takes

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def insert_many(self, documents: list[Any], **more: Any) -> Any:
        good = [n for n, each in enumerate(documents) if self.takes(each)]
        problems = [{"index": n, "code": 121} for n in range(len(documents)) if n not in good]
        try:
            self._real.insert_many([documents[n] for n in good], **more) if good else None
        except driver.BulkWriteError as error:
            problems += [{**each, "index": good[each["index"]]} for each in error.details["writeErrors"]]
        if problems:
            raise driver.BulkWriteError({"writeErrors": problems, "writeConcernErrors": []})


def test_a_validator_that_refuses_all_is_no_fault_of_an_event(store: MongodbStore) -> None:
    real = store._connection.events
    store._connection.events = Validated(real, lambda _: False)  # type: ignore[assignment]
    with pytest.raises(errors.StoreUnavailable, match="database_error"):
        store.insert([row("first")], NOW)
    store._connection.events = real
    assert statuses(store.insert([row("stored")], NOW)) == ["created"]
    store._connection.events = Validated(real, lambda _: False)  # type: ignore[assignment]
    found = store.insert([row("good"), row("stored")], NOW)
    assert statuses(found) == ["failed", "duplicate"]
    assert (found[0].reason, found[0].retryable) == ("database_error", True)
    assert ids(store.page(Filter())) == ["stored"]


def test_an_event_that_breaks_a_validator_which_others_fulfil_is_refused_alone(store: MongodbStore) -> None:
    store._connection.events = Validated(store._connection.events, lambda each: "user_id" in each)  # type: ignore[assignment]
    found = store.insert([row("a", user_id="u"), row("b"), row("c", user_id="u")], NOW)
    assert statuses(found) == ["created", "invalid", "created"]
    assert found[1].reason == "refused_by_store"
    assert statuses(store.insert([row("d")], NOW)) == ["invalid"]
    assert sorted(ids(store.page(Filter()))) == ["a", "c"]


def lost_after_half(real: Any, documents: list[Any]) -> None:
    real.insert_many(documents[: len(documents) // 2])
    raise driver.AutoReconnect("connection closed")


def unconfirmed(real: Any, documents: list[Any]) -> None:
    real.insert_many(documents)
    raise driver.BulkWriteError({"writeErrors": [], "writeConcernErrors": [{"code": 64, "errmsg": "waiting timed out"}]})


def test_a_connection_that_is_lost_after_half_of_a_batch_loses_and_doubles_nothing(store: MongodbStore) -> None:
    store._connection.events = Events(store._connection.events, lost_after_half)  # type: ignore[assignment]
    assert statuses(store.insert(rows(10), NOW)) == ["duplicate"] * 5 + ["created"] * 5
    assert sorted(ids(store.page(Filter()))) == [each.event_id for each in rows(10)]


def test_what_most_members_did_not_confirm_is_not_said_to_be_stored(store: MongodbStore) -> None:
    store._connection.events = Events(store._connection.events, unconfirmed)  # type: ignore[assignment]
    with pytest.raises(errors.StoreUnavailable, match="query_timeout"):
        store.insert(rows(3), NOW)
    assert statuses(store.insert(rows(3), NOW)) == ["duplicate"] * 3


# Of a free or flex cluster of Atlas, which has one code for everything.
QUOTA = {"code": 8000, "errmsg": "you are over your space quota, using 513 MB of 512 MB"}


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (driver.OperationFailure("bad auth", 18), "login_refused"),
        (driver.OperationFailure("not allowed", 13), "login_refused"),
        (driver.OperationFailure("full", 14031), "database_full"),
        (driver.OperationFailure("bad auth : authentication failed", 8000), "login_refused"),
        (driver.OperationFailure(str(QUOTA["errmsg"]), 8000), "database_full"),
        (driver.BulkWriteError({"writeErrors": [{"index": 0, **QUOTA}], "writeConcernErrors": []}), "database_full"),
        (driver.OperationFailure("Request rate is large", 16500), "database_busy"),
        (driver.OperationFailure("?", 1), "database_error"),
        (driver.ExecutionTimeout("slow", 50), "query_timeout"),
        (driver.NetworkTimeout("slow"), "database_unreachable"),
        (driver.WaitQueueTimeoutError("busy"), "database_busy"),
        (driver.ConfigurationError("no such name"), "database_unreachable"),
    ],
)
def test_a_fault_of_the_driver_has_one_of_our_reasons(store: MongodbStore, error: Exception, reason: str) -> None:
    def fail(_real: Any, _documents: list[Any]) -> None:
        raise error

    store._connection.events = Events(store._connection.events, fail)  # type: ignore[assignment]
    with pytest.raises(errors.StoreUnavailable, match=f"^{reason}$"):
        store.insert([row("a")], NOW)


def test_a_server_without_retryable_writes_is_told_apart_in_the_log(
    store: MongodbStore, capfd: pytest.CaptureFixture[str]
) -> None:
    """DocumentDB and Cosmos DB, which say so by 301 or 20."""

    def fail(_real: Any, _documents: list[Any]) -> None:
        raise driver.OperationFailure("Retryable writes are not supported", 301)

    store._connection.events = Events(store._connection.events, fail)  # type: ignore[assignment]
    with pytest.raises(errors.StoreUnavailable, match="database_error"):
        store.insert([row("a")], NOW)
    assert "retryWrites=false" in "".join(capfd.readouterr())


def test_a_read_that_takes_too_long_is_a_query_timeout(store: MongodbStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def slow(*_: Any) -> Any:
        raise driver.ExecutionTimeout("operation exceeded time limit", 50)

    monkeypatch.setattr(store, "_rows", slow)
    with pytest.raises(errors.QueryTimeout):
        store.page(Filter())


@pytest.fixture
def own_server(mongo: Ferretdb) -> Iterator[Ferretdb]:
    """One that may be killed."""
    with Ferretdb() as server:
        yield server


def answers(store: MongodbStore) -> bool:
    with suppress(errors.StoreUnavailable):
        store.check()
        return True
    return False


def test_a_server_that_is_killed_is_unreachable_and_found_again(own_server: Ferretdb) -> None:
    settings = subjects.of_mongodb(own_server)
    migrate.migrate(settings)
    with closing(MongodbStore(settings, DEADLINE)) as store:
        store.insert(rows(3, "a"), NOW)
        own_server.kill()
        for call in (lambda: store.insert(rows(3, "b"), NOW), lambda: store.get("a00000"), store.check):
            with pytest.raises(errors.StoreUnavailable, match="database_unreachable"):
                call()
        own_server.start()
        until(lambda: answers(store), 20, "it is found again")
        assert statuses(store.insert(rows(6, "a"), NOW)) == ["duplicate"] * 3 + ["created"] * 3


def test_a_server_that_hangs_costs_one_deadline(own_server: Ferretdb) -> None:
    settings = subjects.of_mongodb(own_server)
    migrate.migrate(settings)
    with closing(MongodbStore(settings, 1.0)) as store:
        store.insert([row("a")], NOW)
        with own_server.frozen(), pytest.raises(errors.StoreUnavailable, match="database_unreachable"):
            store.insert([row("b")], NOW)
        assert statuses(store.insert([row("a"), row("b")], NOW))[0] == "duplicate"


# The service


@pytest.fixture
def environment(settings: Settings) -> dict[str, str]:
    migrate.migrate(settings)
    return {"STORAGE_TYPE": "mongodb", "MONGODB_URI": str(settings.mongodb_uri), "WORKERS": "1"}


@pytest.fixture
def service(environment: dict[str, str]) -> Iterator[Service]:
    with running("", ready_within=40, **environment) as service:
        yield service


def test_the_service_takes_events_in_gives_them_back_and_says_what_it_cannot(
    service: Service, environment: dict[str, str]
) -> None:
    with service.client() as client:
        subjects.takes_events_in_and_gives_them_back(client, exact=True)
        page = client.get("/api/v1/logs/filter?event_type=error&page_size=40&page=2").json()["data"]
        assert (len(page["logs"]), page["total_count"]) == (11, 51)
        assert client.get("/api/v1/logs/filter?sort_by=event_id&page_size=1").json()["data"]["logs"][0]["event_id"] == "e-1"
        assert client.get("/api/v1/limits").json()["data"]["store"] == sorted(MongodbStore.capabilities)
        state = client.get("/api/v1/status").json()["data"]
        assert (state["database"]["status"], state["metrics"]) == ("up", None)
        subjects.says_what_it_cannot(client, tail="/api/v1/logs/tail")
    assert "the store (mongodb) answers and is up to date" in sluice("doctor", **environment)


def sluice(*arguments: str, **environment: str) -> str:
    """What a command writes."""
    given = {
        "PYTHONPATH": str(ROOT / "app"),
        "API_KEYS": "a-plain-key-for-tests",
        "COLUMNS": "200",
        "PORT": "0",
        "ADMIN_PORT": "0",
    }
    command = [sys.executable, "-m", "sluice", *arguments]
    done = subprocess.run(command, env={**given, **environment}, capture_output=True, text=True, timeout=60, check=False)
    return done.stdout + done.stderr


def test_the_commands_say_what_was_made_and_what_is_missing(settings: Settings) -> None:
    given = {"STORAGE_TYPE": "mongodb", "MONGODB_URI": str(settings.mongodb_uri)}
    assert "run `sluice migrate`" in " ".join(sluice("doctor", **given).split())
    assert "made index by_at" in sluice("migrate", **given)


def test_an_outage_is_503_with_retry_after_and_the_pod_stays_ready(own_server: Ferretdb) -> None:
    event = {"event_type": "log", "event_name": "n"}
    settings = subjects.of_mongodb(own_server)
    migrate.migrate(settings)
    given = {"STORAGE_TYPE": "mongodb", "MONGODB_URI": str(settings.mongodb_uri), "WORKERS": "1"}
    with running("", ready_within=40, **given) as service, service.client() as client:
        own_server.kill()
        answers = [client.post("/api/v1/ingest", json=event), client.get("/api/v1/logs/recent")]
        assert [(answer.status_code, answer.json()["error"]) for answer in answers] == [(503, "database_error")] * 2
        assert all(answer.headers["Retry-After"] for answer in answers)
        assert service.ready()
        own_server.start()
        until(lambda: client.post("/api/v1/ingest", json=event).status_code == 201, 20, "it is found again")
        assert {line["reason"] for line in service.lines("store.error")} == {"database_unreachable"}


def test_a_worker_stores_what_the_queue_holds(queue_url: str, store: MongodbStore, environment: dict[str, str]) -> None:
    records = [*rows(50), row("e00000", user_id="other")]
    with closing(Link(queue_url, EVENTS)) as link:
        assert link.publish(EVENTS, [Message(messages.body(records, NOW), messages.CONTENT_TYPE)]) == [None]
    with queues.worker(queue_url, "", **environment):
        until(lambda: len(store.page(Filter(page_size=100)).logs) == 50, 40, "the worker stores what the queue holds")
        until(lambda: queues.depth(queue_url, DEAD_LETTERS) == 1, 10, "the conflict is a dead letter")
