"""Make the table and its indexes, each where it is not there yet; safe to run at any time."""

from __future__ import annotations

import contextlib
import secrets
import time
from typing import Any

from botocore import exceptions

from sluice import errors
from sluice.aws import code_of
from sluice.settings import Settings
from sluice.stores.dynamodb import table
from sluice.stores.dynamodb.store import VERSION
from sluice.stores.dynamodb.table import META, PARTITION, ours

# An index on a table full of events takes its time; an interrupted run may be started again.
PATIENCE, LOOK = 3_600.0, 1.0
STRINGS = ("id", "at", *PARTITION.values())


def migrate(settings: Settings) -> list[str]:
    """Bring the table up to date; what was done. Raises StoreUnavailable, and SettingsError when it is not one of ours."""
    client, name, done = table.client(settings, 1), settings.dynamodb_table, []
    with ours():
        if make(client, name):
            done.append(f"table {name}")
        described = active(client, name)
        ttl = client.describe_time_to_live(TableName=name)["TimeToLiveDescription"]
        if problem := unlike_ours(described, ttl):
            raise errors.SettingsError([f"TABLE_NAME {name} is a table with {problem}"])
        there = indexes_of(described)
        for index in PARTITION:
            if index not in there:
                add(client, name, index)
                active(client, name)
                done.append(f"index {index}")
        if ttl["TimeToLiveStatus"] not in ("ENABLED", "ENABLING"):
            client.update_time_to_live(TableName=name, TimeToLiveSpecification={"Enabled": True, "AttributeName": "expires_at"})
            done.append("time to live")
        if describe_itself(client, name, settings.dynamodb_shards):
            done.append(f"{settings.dynamodb_shards} shards")
    return done


def make(client: Any, name: str) -> bool:
    """Make the table with on-demand capacity; False when there is one.

    It is looked for first: where Terraform made it, the migration has no right to make one.
    """
    with contextlib.suppress(client.exceptions.ResourceNotFoundException):
        client.describe_table(TableName=name)
        return False
    try:
        client.create_table(
            TableName=name,
            BillingMode="PAY_PER_REQUEST",
            KeySchema=key_schema("id"),
            AttributeDefinitions=[{"AttributeName": each, "AttributeType": "S"} for each in STRINGS],
            GlobalSecondaryIndexes=[index_of(index) for index in PARTITION],
        )
    except exceptions.ClientError as error:
        if code_of(error) == "ResourceInUseException":
            return False
        raise
    return True


def unlike_ours(described: dict[str, Any], ttl: dict[str, Any]) -> str | None:
    """What of a table somebody else made, and what to do; None when it can be completed."""
    kinds = {each["AttributeName"]: each["AttributeType"] for each in described["AttributeDefinitions"]}
    indexes = indexes_of(described)
    other = "; set TABLE_NAME to another name"
    if described["KeySchema"] != key_schema("id") or kinds["id"] != "S":
        return f"another key than ours{other}"
    for index, partition in PARTITION.items():
        keys = key_schema(partition, "at")
        if indexes.get(index, keys) != keys or {kinds.get(each, "S") for each in (partition, "at")} != {"S"}:
            return f"another index {index}, or other types of its keys, than ours{other}"
    if ttl.get("AttributeName", "expires_at") != "expires_at":
        return f"a time to live by {ttl['AttributeName']}, and it can have one only{other}"
    if described.get("BillingModeSummary", {}).get("BillingMode") != "PAY_PER_REQUEST" and PARTITION.keys() - indexes.keys():
        return "provisioned capacity and without our indexes, which need some of their own; set it to on-demand capacity"
    return None


def indexes_of(described: dict[str, Any]) -> dict[str, Any]:
    """The keys of each index by its name."""
    return {index["IndexName"]: index["KeySchema"] for index in described.get("GlobalSecondaryIndexes", ())}


def add(client: Any, name: str, index: table.Index) -> None:
    client.update_table(
        TableName=name,
        AttributeDefinitions=[{"AttributeName": each, "AttributeType": "S"} for each in (PARTITION[index], "at")],
        GlobalSecondaryIndexUpdates=[{"Create": index_of(index)}],
    )


def active(client: Any, name: str) -> dict[str, Any]:
    """The table's description, as soon as it and its indexes can be used."""
    give_up = time.monotonic() + PATIENCE
    while time.monotonic() < give_up:
        found: dict[str, Any] = client.describe_table(TableName=name)["Table"]
        if {found["TableStatus"], *(index["IndexStatus"] for index in found.get("GlobalSecondaryIndexes", ()))} == {"ACTIVE"}:
            return found
        time.sleep(LOOK)
    raise errors.StoreUnavailable("schema_behind")


def describe_itself(client: Any, name: str, shards: int) -> bool:
    """The item that says how many shards there are, never fewer than there were: those hold events. False: all is so already."""
    try:
        client.update_item(
            TableName=name,
            Key={"id": {"S": META}},
            UpdateExpression="SET shards = :shards, version = :version, secret = if_not_exists(secret, :secret)",
            ConditionExpression="attribute_not_exists(id) OR shards < :shards",
            ExpressionAttributeValues={
                ":shards": {"N": str(shards)},
                ":version": {"N": str(VERSION)},
                ":secret": {"B": secrets.token_bytes(32)},
            },
        )
    except exceptions.ClientError as error:
        if code_of(error) == "ConditionalCheckFailedException":
            return False
        raise
    return True


def key_schema(partition: str, sort: str | None = None) -> list[dict[str, str]]:
    keys = [{"AttributeName": partition, "KeyType": "HASH"}]
    return keys if sort is None else [*keys, {"AttributeName": sort, "KeyType": "RANGE"}]


def index_of(index: table.Index) -> dict[str, Any]:
    """Keys only: it costs one write unit an event, whatever its size."""
    return {"IndexName": index, "KeySchema": key_schema(PARTITION[index], "at"), "Projection": {"ProjectionType": "KEYS_ONLY"}}
