"""The stores that tests/stores/test_conformance.py holds to the same promises, each empty and on a real server."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import msgspec
from tests.integration import postgres
from tests.integration.conftest import ready
from tests.integration.sample import NOW, poisoned, row, statuses
from tests.integration.walks import ids
from tests.stores.aws import REGION, Aws
from tests.stores.ferretdb import Ferretdb
from tests.stores.influxdb import ORG, TOKEN, Influxdb

from sluice.events import Record
from sluice.filters import Filter
from sluice.settings import Settings
from sluice.stores import Store
from sluice.stores.dynamodb import migrate
from sluice.stores.dynamodb.store import DynamodbStore
from sluice.stores.influxdb import migrate as influxdb_migrate
from sluice.stores.influxdb.store import InfluxdbStore
from sluice.stores.mongodb import migrate as mongodb_migrate
from sluice.stores.mongodb.store import MongodbStore
from sluice.stores.postgresql.store import PostgresqlStore


class Clock:
    """Stands at `now`."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now


@dataclass(frozen=True)
class Subject:
    """`store`: of one process; `open`: that of another; `ids`: what is stored, seen past our code; `poisoned`: a record that the
    engine would not hold."""

    store: Store
    open: Callable[[], Store]
    ids: Callable[[], list[str]]
    poisoned: Callable[[str], Record]


@contextmanager
def postgresql(server: postgres.Server, template: str) -> Iterator[Subject]:
    with server.database(template) as database, ExitStack() as stack:

        def open_store() -> Store:
            store = PostgresqlStore(database.login, 8)
            stack.callback(store.close)
            return ready(store)

        yield Subject(open_store(), open_store, database.ids, poisoned)


def of_dynamodb(aws: Aws, **more: Any) -> Settings:
    """Settings of a table of its own, which is not there yet."""
    name = f"t-{uuid.uuid4().hex}"
    return Settings(
        storage_type="dynamodb", aws_region=REGION, dynamodb_endpoint=aws.url, table_name=name, dynamodb_shards=3, **more
    )


@contextmanager
def dynamodb(aws: Aws, clock: Callable[[], datetime] = lambda: NOW, **more: Any) -> Iterator[Subject]:
    settings, client = of_dynamodb(aws, **more), aws.client("dynamodb")
    migrate.migrate(settings)

    def ids() -> list[str]:
        pages = client.get_paginator("scan").paginate(TableName=settings.dynamodb_table)
        return sorted(item["event_id"]["S"] for page in pages for item in page["Items"] if "event_id" in item)

    with ExitStack() as stack:

        def open_store() -> Store:
            store = DynamodbStore(settings, 20.0, clock)
            stack.callback(store.close)
            return store

        yield Subject(open_store(), open_store, ids, too_large)
        client.delete_table(TableName=settings.dynamodb_table)


def too_large(event_id: str, size: int = 420_000) -> Record:
    """An item of DynamoDB holds 400 KB, a document of MongoDB 16 MiB."""
    good = row(event_id)
    return msgspec.structs.replace(good, event=msgspec.structs.replace(good.event, properties={"text": "x" * size}))


def of_mongodb(server: Ferretdb, options: str = "", **more: Any) -> Settings:
    """Settings of a database of its own, which is not there yet."""
    return Settings(storage_type="mongodb", mongodb_uri=server.uri(options=options), **more)


@contextmanager
def mongodb(server: Ferretdb) -> Iterator[Subject]:
    settings = of_mongodb(server)
    mongodb_migrate.migrate(settings)
    with ExitStack() as stack:
        client = stack.enter_context(server.client())
        database = client[str(settings.mongodb_uri).rpartition("/")[2]]
        stack.callback(client.drop_database, database.name)

        def open_store() -> Store:
            store = MongodbStore(settings, 20.0, lambda: NOW)
            stack.callback(store.close)
            return store

        def ids() -> list[str]:
            return sorted(str(each["_id"]) for each in database["events"].find({}, {"_id": 1}))

        yield Subject(open_store(), open_store, ids, lambda event_id: too_large(event_id, 17 << 20))


def of_influxdb(server: Influxdb, **more: Any) -> Settings:
    """Settings of a bucket of its own, in a database without anything."""
    place = {"influxdb_url": server.url, "influxdb_token": TOKEN, "influxdb_org": ORG, "influxdb_bucket": server.database()}
    return Settings(storage_type="influxdb", **{**place, **more})


@contextmanager
def influxdb(server: Influxdb, clock: Callable[[], datetime] = lambda: NOW, **more: Any) -> Iterator[Subject]:
    settings = of_influxdb(server, **more)
    influxdb_migrate.migrate(settings)
    bucket = str(settings.influxdb_bucket)

    def ids() -> list[str]:
        return sorted(json.loads(row["sluice_event"])["log"]["event_id"] for row in server.rows(bucket, "sluice_event"))

    with ExitStack() as stack:

        def open_store() -> Store:
            store = InfluxdbStore(settings, 20.0, clock)
            stack.callback(store.close)
            return store

        yield Subject(open_store(), open_store, ids, too_early)
        server.say(f"DROP DATABASE {bucket.partition('/')[0]}")


def too_early(event_id: str) -> Record:
    """InfluxDB's time begins in 1677."""
    return row(event_id, timestamp=datetime(1600, 1, 1, tzinfo=UTC))


EVENT = {"event_type": "error", "event_name": "n", "event_id": "e-1"}


def everything(store: Store) -> list[str]:
    """The ids on a page of all, oldest first, which are those of an export."""
    found = ids(store.page(Filter(page_size=1_000, descending=False)))
    assert found == [json.loads(line)["event_id"] for line in b"".join(store.export(Filter())).splitlines()]
    return found


def forgets(store: Store, clock: Clock) -> None:
    """An event that expired, an hour after its 30 days, is not shown, and its id is free again."""
    store.insert([row("a", timestamp=NOW - timedelta(days=29)), row("b")], NOW)
    clock.now = NOW + timedelta(days=1, minutes=59)
    assert everything(store) == ["a", "b"]
    clock.now = NOW + timedelta(days=1, hours=1)
    assert (store.get("a"), everything(store)) == (None, ["b"])
    assert statuses(store.insert([row("a", user_id="x"), row("b", user_id="x")], clock.now)) == ["created", "conflict"]
    assert (store.get("a") is not None, everything(store)) == (True, ["b", "a"])


def takes_events_in_and_gives_them_back(client: httpx.Client, *, exact: bool) -> None:
    """One, a duplicate, a conflict and a batch; then two pages, whose count is exact or not, one by its id, and the export."""
    answers = [client.post("/api/v1/ingest", json=each) for each in (EVENT, EVENT, {**EVENT, "source": "x"})]
    assert [answer.status_code for answer in answers] == [201, 201, 409]
    batch = client.post("/api/v1/batch-ingest", json=[{**EVENT, "event_id": f"b-{n}"} for n in range(50)])
    assert batch.json()["data"]["created"] == 50
    page = client.get("/api/v1/logs/filter?event_type=error&page_size=40").json()["data"]
    rest = client.get(f"/api/v1/logs/filter?event_type=error&page_size=40&cursor={page['next_cursor']}").json()["data"]
    assert (len(page["logs"]), len(rest["logs"]), page["total_count_exact"]) == (40, 11, exact)
    assert client.get("/api/v1/events/e-1").json()["data"]["id"] == answers[0].json()["data"]["id"]
    assert client.get("/api/v1/export").text.count("\n") == 51


def says_what_it_cannot(client: httpx.Client, **paths: str) -> None:
    """501 by the name of what is missing: what PostgreSQL alone has, and `paths`."""
    refused = {
        "atomic": client.post("/api/v1/batch-ingest?atomic=true", json=[EVENT]),
        "idempotency_keys": client.post("/api/v1/ingest", json=EVENT, headers={"Idempotency-Key": "k"}),
        "figures": client.get("/api/v1/metrics"),
        "database": client.get("/api/v1/errors"),
        **{name: client.get(path) for name, path in paths.items()},
    }
    found = {name: (answer.status_code, answer.json()["error"], answer.json()["reason"]) for name, answer in refused.items()}
    assert found == {name: (501, "not_supported_by_store", name) for name in refused}
