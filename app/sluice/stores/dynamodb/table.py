"""One table of DynamoDB by boto3: the only module of this store that speaks the driver, and where its errors become ours.

id          "e:" and the event_id; of the one item that describes the table: "sluice"
by_time     index on (shard, at): what newest-first means; the keys only
by_type     index on (type_shard, at), for filters by event_type
expires_at  seconds since the epoch, after which DynamoDB removes the item by itself; reads no longer show it
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from typing import Any, Literal

from botocore import exceptions
from botocore.config import Config

from sluice import errors
from sluice.aws import client as aws_client
from sluice.aws import code_of, refuses_login
from sluice.settings import Settings
from sluice.stores.repeats import Repeats

Item = dict[str, Any]
Index = Literal["by_time", "by_type"]
KEYS = ("id", "shard", "type_shard", "at")
PARTITION: dict[Index, str] = {"by_time": "shard", "by_type": "type_shard"}
META = "sluice"
repeats = Repeats()
# Of one call; tries in all, of which botocore makes the later ones after a throttling, a 5xx or a lost connection.
CONNECT_SECONDS, READ_SECONDS, ATTEMPTS = 1.0, 2.0, 3
# How many keys BatchGetItem takes, and how often what it left undone is asked for again.
BATCH, ROUNDS, PAUSE = 100, 5, 0.05
# Items of one transaction: DynamoDB takes 100, and fewer are surely through within READ_SECONDS.
WRITES = 25
CODES = {
    "ProvisionedThroughputExceededException": "database_busy",
    "ThrottlingException": "database_busy",
    "RequestLimitExceeded": "database_busy",
    "ResourceNotFoundException": "schema_behind",
    # Of the table, that is: `Table.put` knows which are about an item.
    "ValidationException": "schema_behind",
}


@contextlib.contextmanager
def ours() -> Iterator[None]:
    """Driver errors become StoreUnavailable. Nothing of their text goes further."""
    try:
        yield
    except exceptions.ClientError as error:
        code = code_of(error)
        reason = "login_refused" if refuses_login(error) else CODES.get(code, "database_error")
        raise repeats.unavailable(code, reason) from error
    except exceptions.BotoCoreError as error:
        raise repeats.unavailable(type(error).__name__, reason_of(error)) from error


def reason_of(error: exceptions.BotoCoreError) -> str:
    if refuses_login(error):
        return "login_refused"
    return "tls_refused" if isinstance(error, exceptions.SSLError) else "database_unreachable"


def client(settings: Settings, connections: int) -> Any:
    """DynamoDB's client in AWS_REGION. Credentials come from where boto3 looks: Pod Identity, IRSA, AWS_*."""
    config = Config(
        connect_timeout=CONNECT_SECONDS,
        read_timeout=READ_SECONDS,
        retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
        max_pool_connections=connections,
        tcp_keepalive=True,
    )
    return aws_client("dynamodb", region_name=settings.aws_region, endpoint_url=settings.dynamodb_endpoint, config=config)


def when(version: int | None) -> dict[str, Any]:
    """The condition of a put."""
    if version is None:
        return {"ConditionExpression": "attribute_not_exists(id)"}
    return {"ConditionExpression": "version = :version", "ExpressionAttributeValues": {":version": {"N": str(version)}}}


class Table:
    """Thread-safe. Every method may raise StoreUnavailable."""

    def __init__(self, settings: Settings, connections: int) -> None:
        self.name = settings.dynamodb_table
        self._client = client(settings, connections)

    def close(self) -> None:
        self._client.close()

    def put(self, item: Item, now: int) -> Item | None:
        """Store `item` when its id is free, or held by an item that expired before `now`; else the item that is there.

        Raises RecordsRefused when DynamoDB would not hold it.
        """
        with ours():
            try:
                self._client.put_item(
                    TableName=self.name,
                    Item=item,
                    ConditionExpression="attribute_not_exists(id) OR expires_at <= :now",
                    ExpressionAttributeValues={":now": {"N": str(now)}},
                    ReturnValuesOnConditionCheckFailure="ALL_OLD",
                )
            except exceptions.ClientError as error:
                if code_of(error) == "ConditionalCheckFailedException":
                    if before := error.response.get("Item") or self.get(item["id"]["S"]):
                        return dict(before)
                    raise errors.StoreUnavailable("database_busy") from error  # it expired in between
                if code_of(error) == "ValidationException" and self._takes_keys(item):
                    raise errors.RecordsRefused(code_of(error)) from error
                raise
        return None

    def _takes_keys(self, item: Item) -> bool:
        """Whether the table takes an item with the keys of `item` and no content: else it is the table that is wrong."""
        keys = {name: item[name] for name in KEYS}
        try:
            # It stores nothing: what is looked at first is the item, and then a condition that nothing fulfils.
            never = "attribute_exists(id) AND attribute_not_exists(id)"
            self._client.put_item(TableName=self.name, Item=keys, ConditionExpression=never)
        except exceptions.ClientError as error:
            if code_of(error) == "ValidationException":
                return False
            if code_of(error) != "ConditionalCheckFailedException":
                raise
        return True

    def replace(self, items: Sequence[Item], known: Sequence[int | None]) -> bool:
        """Put all of `items` (up to WRITES) or none: each where the item of its id has the `version` in `known`, or is not there.

        False: one has another version, or somebody writes it now.
        """
        puts = [
            {"Put": {"TableName": self.name, "Item": item, **when(version)}} for item, version in zip(items, known, strict=True)
        ]
        with ours():
            try:
                self._client.transact_write_items(TransactItems=puts)
            except self._client.exceptions.TransactionCanceledException:
                return False
        return True

    def get(self, id: str) -> Item | None:
        with ours():
            found: Item = self._client.get_item(TableName=self.name, Key={"id": {"S": id}}, ConsistentRead=True)
        return found.get("Item")

    def get_all(self, ids: Sequence[str]) -> list[Item]:
        """Up to BATCH items in the order of their ids, without those that are gone."""
        asked: Any = {self.name: {"Keys": [{"id": {"S": id}} for id in ids], "ConsistentRead": True}}
        found: dict[str, Item] = {}
        for tried in range(ROUNDS):
            with ours():
                answer = self._client.batch_get_item(RequestItems=asked)
            found |= {item["id"]["S"]: item for item in answer["Responses"].get(self.name, ())}
            if not (asked := answer.get("UnprocessedKeys")):
                return [found[id] for id in ids if id in found]
            time.sleep(PAUSE * 2**tried)
        raise errors.StoreUnavailable("database_busy")

    def keys(
        self, index: Index, partition: str, low: str, high: str, *, descending: bool, size: int
    ) -> Iterator[tuple[str, str]]:
        """(at, id) of one partition with low <= at <= high, in order, `size` in one call."""
        if low > high:
            return
        start: dict[str, Any] = {}
        while True:
            with ours():
                answer = self._client.query(
                    TableName=self.name,
                    IndexName=index,
                    KeyConditionExpression="#partition = :partition AND #at BETWEEN :low AND :high",
                    ExpressionAttributeNames={"#partition": PARTITION[index], "#at": "at"},
                    ExpressionAttributeValues={":partition": {"S": partition}, ":low": {"S": low}, ":high": {"S": high}},
                    ScanIndexForward=not descending,
                    Limit=size,
                    **start,
                )
            yield from ((item["at"]["S"], item["id"]["S"]) for item in answer["Items"])
            if "LastEvaluatedKey" not in answer:
                return
            start = {"ExclusiveStartKey": answer["LastEvaluatedKey"]}
