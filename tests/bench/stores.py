"""Batches into the stores other than PostgreSQL, beside a plain loop of the driver's own calls: the same server, indexes and
conditions, one thread, what is sent made before the clock starts."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import click
import msgspec
import pytest
from influxdb_client import InfluxDBClient
from influxdb_client.client.write_api import SYNCHRONOUS
from pymongo import MongoClient, WriteConcern
from tests.bench import rows
from tests.bench.lines import Line, ratio_line
from tests.bench.load import Rate
from tests.stores import subjects
from tests.stores.aws import ENVIRONMENT, Aws
from tests.stores.ferretdb import Ferretdb
from tests.stores.influxdb import ORG, TOKEN, Influxdb
from tools import Missing

from sluice import events
from sluice.events import Record, Rules
from sluice.stores import Store, matching
from sluice.stores.dynamodb import items
from sluice.stores.dynamodb import migrate as dynamodb_migrate
from sluice.stores.dynamodb.store import DynamodbStore
from sluice.stores.influxdb import migrate as influxdb_migrate
from sluice.stores.influxdb import points
from sluice.stores.influxdb.store import ASKED, InfluxdbStore
from sluice.stores.mongodb import migrate as mongodb_migrate
from sluice.stores.mongodb.store import MongodbStore
from sluice.stores.postgresql.embedded import Owned

# One call of the driver or more, for one batch.
Call = Callable[[], object]


@dataclass(frozen=True)
class Pair:
    """`ours`: the store. `own`: from a batch to the calls that a plain loop makes, in a place of its own. `size`: of a batch."""

    ours: Store
    own: Callable[[Sequence[Record]], Call]
    loop: str
    size: int = 1_000
    batches: int = 20


@contextmanager
def mongodb() -> Iterator[Pair]:
    with Ferretdb() as server:
        ours, theirs = subjects.of_mongodb(server), subjects.of_mongodb(server)
        for each in (ours, theirs):
            mongodb_migrate.migrate(each)
        with MongoClient[dict[str, Any]](theirs.mongodb_uri) as client, closing(MongodbStore(ours, 60.0)) as store:
            durable = WriteConcern("majority", j=True)
            collection = client.get_default_database().get_collection("events", write_concern=durable)

            def own(batch: Sequence[Record]) -> Call:
                documents = [document(each) for each in batch]
                return lambda: collection.insert_many(documents, ordered=False)

            yield Pair(store, own, "insert_many(ordered=False)")


def document(record: Record) -> dict[str, Any]:
    """The fields that our document has, as a dict."""
    now = datetime.now(UTC)
    log = {name: value for name, value in matching.log_of(record, now, now).items() if value is not None}
    documents = {"properties": record.event.properties or {}, "device_info": record.event.device_info or {}}
    position = f"{log['created_at']}#00000#{record.digest.hex()[:16]}"
    return {"_id": log.pop("event_id"), **log, **documents, "at": position, "digest": matching.digest_of(record)}


@contextmanager
def dynamodb() -> Iterator[Pair]:
    """moto is an emulator in Python: what the ratio says is that nothing of ours is in the way."""
    with pytest.MonkeyPatch.context() as patch, Aws() as aws:
        for name, value in ENVIRONMENT.items():
            patch.setenv(name, value)
        ours, theirs = subjects.of_dynamodb(aws), subjects.of_dynamodb(aws)
        for each in (ours, theirs):
            dynamodb_migrate.migrate(each)
        client = aws.client("dynamodb")

        def own(batch: Sequence[Record]) -> Call:
            now = datetime.now(UTC)
            made = [items.of_record(each, place, 3, now, now, None) for place, each in enumerate(batch)]

            def puts() -> None:
                for item in made:
                    client.put_item(TableName=theirs.dynamodb_table, Item=item, ConditionExpression="attribute_not_exists(id)")

            return puts

        with closing(DynamodbStore(ours, 60.0)) as store:
            yield Pair(store, own, "put_item, one after the other", size=100, batches=3)


@contextmanager
def influxdb() -> Iterator[Pair]:
    """A point that is there is overwritten: to store once, a plain loop has to ask for the ids, too."""
    with Influxdb() as server:
        ours, theirs = subjects.of_influxdb(server), subjects.of_influxdb(server)
        for each in (ours, theirs):
            influxdb_migrate.migrate(each)
        bucket = str(theirs.influxdb_bucket)
        with InfluxDBClient(server.url, TOKEN, org=ORG) as client, closing(InfluxdbStore(ours, 60.0)) as store:
            queries, writes = client.query_api(), client.write_api(write_options=SYNCHRONOUS)

            def own(batch: Sequence[Record]) -> Call:
                now = datetime.now(UTC)
                made = [points.new(each, now) for each in batch]
                lines = [points.event_line(each, now) for each in made]
                asked = [f'r.event_key == "{each.key}"' for each in made]
                conditions = [balanced(asked[first : first + ASKED]) for first in range(0, len(asked), ASKED)]
                texts = [
                    f'from(bucket: "{bucket}") |> range(start: 1970-01-01T00:00:00Z, stop: 2200-01-01T00:00:00Z)'
                    f" |> filter(fn: (r) => {condition})"
                    for condition in conditions
                ]

                def loop() -> None:
                    if any(queries.query(text) for text in texts):
                        raise RuntimeError("an event was there")
                    writes.write(bucket, record=lines)

                return loop

            yield Pair(store, own, f"a query for each {ASKED} ids, then one write")


def balanced(conditions: Sequence[str]) -> str:
    """One condition in Flux, which compiles nothing that is nested some hundred times."""
    if len(conditions) == 1:
        return conditions[0]
    half = len(conditions) // 2
    return f"({balanced(conditions[:half])} or {balanced(conditions[half:])})"


# Name -> the store on a server of its own; raises tools.Missing when there is none here.
STORES: dict[str, Callable[[], AbstractContextManager[Pair]]] = {"MongoDB": mongodb, "DynamoDB": dynamodb, "InfluxDB": influxdb}


def records(size: int) -> list[Record]:
    now = datetime.now(UTC)
    parsed = msgspec.json.decode(rows.arrays(1, size)[0], type=list[msgspec.Raw])
    return [events.prepare(events.parse(each), now=now, key_id="bench", rules=Rules()) for each in parsed]


def stores(_server: Owned, rounds: int, scale: float) -> Iterator[Line]:
    """Batches into each store of STORES that can run here."""
    for name, opened in STORES.items():
        try:
            with opened() as pair:
                ours, own = measured(pair, rounds, scale)
        except Missing as missing:
            click.echo(f"{name} is not measured: {missing}", err=True)
            continue
        yield ratio_line(f"{name}, batches of {pair.size:,}, 1 thread", ours, pair.loop, own, 0.7, "events/s")


def measured(pair: Pair, rounds: int, scale: float) -> tuple[list[Rate], list[Rate]]:
    """Events a second of the store and of the plain loop, in turns."""
    count = max(2, int(pair.batches * scale))
    ours, own = list[Rate](), list[Rate]()
    for _ in range(rounds):
        batches = [records(pair.size) for _ in range(count)]
        ours.append(rate([of_store(pair.ours, batch) for batch in batches], pair.size))
        own.append(rate([pair.own(batch) for batch in batches], pair.size))
    return ours, own


def of_store(store: Store, batch: Sequence[Record]) -> Call:
    def insert() -> None:
        found = store.insert(batch, datetime.now(UTC))
        # A duplicate is a put that the driver repeated: ids are new.
        if any(outcome.status not in ("created", "duplicate") for outcome in found):
            raise RuntimeError("an event was not stored")

    return insert


def rate(calls: Sequence[Call], size: int) -> Rate:
    calls[0]()  # The connection is made.
    start = time.perf_counter()
    for call in calls[1:]:
        call()
    return Rate((len(calls) - 1) * size / (time.perf_counter() - start))
